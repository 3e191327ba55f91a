/** A reverse proxy in front of the relay that hands on an answer only when it is complete. */

import { request as send } from "node:http";
import { buffer } from "node:stream/consumers";
import { listen, type Server } from "./server.ts";

/** Event streams never complete, so nothing of them ever comes through. */
export class BufferingProxy {
  /** Method and path of each request, as they came. */
  readonly requests: string[] = [];
  #server: Server | undefined;

  static async start(relay: string): Promise<BufferingProxy> {
    const proxy = new BufferingProxy();
    proxy.#server = await listen((request, response) => {
      const { method, url, headers } = request;
      proxy.requests.push(`${method} ${url}`);
      const upstream = send(relay + url, { method, headers, agent: false }, async (answer) => {
        try {
          const body = await buffer(answer);
          response.writeHead(answer.statusCode ?? 502, answer.headers).end(body);
        } catch {
          response.destroy();
        }
      });
      upstream.on("error", () => response.destroy());
      response.on("close", () => upstream.destroy());
      request.pipe(upstream);
    });
    return proxy;
  }

  get address(): string {
    return this.#server?.address ?? "";
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}
