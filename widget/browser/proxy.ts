/** A reverse proxy in front of the relay that may hold answers back until they are complete. */

import { type IncomingMessage, type ServerResponse, request as send } from "node:http";
import { buffer } from "node:stream/consumers";
import { listen, type Server } from "./server.ts";

/** What waits for its end; of an event stream, which has none, it never comes through. */
export type HeldBack = "nothing" | "bodies" | "all";

export class ReverseProxy {
  /** Method and path of each request, as they came. */
  readonly requests: string[] = [];
  holdsBack: HeldBack;
  /** Whether files get no further than here, and no answer. */
  holdsUploads = false;
  #server: Server | undefined;
  #open = new Set<ServerResponse>();

  private constructor(holdsBack: HeldBack) {
    this.holdsBack = holdsBack;
  }

  static async start(relay: string, holdsBack: HeldBack): Promise<ReverseProxy> {
    const proxy = new ReverseProxy(holdsBack);
    proxy.#server = await listen((request, response) => {
      const { method, url, headers } = request;
      proxy.requests.push(`${method} ${url}`);
      proxy.#open.add(response);
      if (proxy.holdsUploads && method === "POST" && url?.includes("/files?")) {
        request.resume();
        return;
      }
      const upstream = send(relay + url, { method, headers, agent: false }, (answer) =>
        proxy.#handOn(answer, response).catch(() => response.destroy()),
      );
      upstream.on("error", () => response.destroy());
      response.on("close", () => {
        proxy.#open.delete(response);
        upstream.destroy();
      });
      request.pipe(upstream);
    });
    return proxy;
  }

  get address(): string {
    return this.#server?.address ?? "";
  }

  /** Breaks every connection that waits for more. */
  cut(): void {
    for (const response of this.#open) response.destroy();
  }

  async #handOn(answer: IncomingMessage, response: ServerResponse): Promise<void> {
    const head = () => response.writeHead(answer.statusCode ?? 502, answer.headers);
    if (this.holdsBack !== "all") head().flushHeaders();
    if (this.holdsBack === "nothing") {
      answer.pipe(response);
      return;
    }
    const body = await buffer(answer);
    if (!response.headersSent) head();
    response.end(body);
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}
