/** The real poller, and an agent behind it that does what a test tells it. */

import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { Process } from "./process.ts";
import { listen, type Server } from "./server.ts";

export class Poller {
  #process: Process;

  private constructor(process: Process) {
    this.#process = process;
  }

  /** `folder` takes the queue; `agent` are the flags that name the agent. */
  static start(relay: string, folder: string, agent: readonly string[]): Poller {
    const queue = join(folder, "poller.db");
    const args = ["run", "--relay", relay, "--queue", queue, ...agent];
    return new Poller(Process.start("postern-poller", args));
  }

  get log(): readonly string[] {
    return this.#process.log;
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

  /** Begins the answer to the next question, to be written piece by piece. */
  async begins(): Promise<ServerResponse> {
    const { response } = await this.#next();
    response.socket?.setNoDelay();
    response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8" });
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
