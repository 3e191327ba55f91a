/** The real poller, and an agent behind it that does what a test tells it. */

import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { Process } from "./process.ts";
import { listen, type Server } from "./server.ts";

export class Poller {
  #args: readonly string[];
  #process: Process;

  private constructor(args: readonly string[]) {
    this.#args = args;
    this.#process = Process.start("postern-poller", args);
  }

  /** `folder` takes the queue; `agent` are the flags that name the agent. */
  static start(relay: string, folder: string, agent: readonly string[]): Poller {
    const queue = join(folder, "poller.db");
    return new Poller(["run", "--relay", relay, "--queue", queue, ...agent]);
  }

  get log(): readonly string[] {
    return this.#process.log;
  }

  /** As a power cut would, and on with the same queue. */
  async restart(): Promise<void> {
    await this.close();
    this.#process = Process.start("postern-poller", this.#args);
  }

  async close(): Promise<void> {
    await this.#process.end("SIGKILL");
  }
}

interface Asked {
  readonly message: string;
  readonly response: ServerResponse;
}

/** An `http` agent; each question waits for the test's answer. */
export class Agent {
  #server: Server | undefined;
  #asked: Asked[] = [];
  #whenAsked = () => {};

  static async start(): Promise<Agent> {
    const agent = new Agent();
    agent.#server = await listen(async (request, response) => {
      const { message } = (await json(request)) as { message: string };
      agent.#asked.push({ message, response });
      agent.#whenAsked();
    });
    return agent;
  }

  get flags(): string[] {
    return ["--agent", "http", "--http-url", `${this.#server?.address}/`];
  }

  /** Answers the next question, and gives its text. */
  async replies(text: string): Promise<string> {
    const { message, response } = await this.#next();
    response.setHeader("Content-Type", "text/plain; charset=utf-8");
    response.end(text);
    return message;
  }

  /** Begins to answer the next question; what is written into the result follows. */
  async begins(text = ""): Promise<ServerResponse> {
    const { response } = await this.#next();
    response.socket?.setNoDelay();
    response.setHeader("Content-Type", "text/plain; charset=utf-8");
    response.flushHeaders();
    if (text !== "") response.write(text);
    return response;
  }

  /** Lets the next question fail for good. */
  async refuses(): Promise<void> {
    const { response } = await this.#next();
    response.writeHead(422).end();
  }

  async #next(): Promise<Asked> {
    for (;;) {
      const asked = this.#asked.shift();
      if (asked) return asked;
      await new Promise<void>((resolve) => {
        this.#whenAsked = resolve;
      });
    }
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}
