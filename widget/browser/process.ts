/** The workspace's real binaries as processes; none outlives the tests. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { until } from "./until.ts";

/** Obviously no secrets; 16 characters or more, as the relay demands. */
export const API_KEY = "test-api-key-not-a-secret";
export const ADMIN_KEY = "test-admin-key-not-a-secret";

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

/** One running binary; its log is kept for the report of a failure. */
export class Process {
  readonly log: string[] = [];
  #child: ChildProcess;
  #isOver = false;
  #ended: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    running.add(child);
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => this.log.push(String(error)));
      child.once("close", () => {
        running.delete(child);
        this.#isOver = true;
        resolve();
      });
    });
    if (!child.stderr) throw new Error("The process has no standard error.");
    createInterface(child.stderr).on("line", (line) => this.log.push(line));
  }

  static start(name: string, args: readonly string[]): Process {
    const env = {
      PATH: process.env.PATH,
      POSTERN_API_KEY: API_KEY,
      POSTERN_ADMIN_KEY: ADMIN_KEY,
    };
    const stdio = ["ignore", "ignore", "pipe"] as const;
    return new Process(spawn(binary(name), args, { env, stdio: [...stdio] }));
  }

  /** Resolves with the first line of the log that holds the text. */
  async lineWith(text: string): Promise<string> {
    const find = () => this.log.find((line) => line.includes(text));
    // Where none comes, the log tells more than the difference would.
    await until(() => this.#isOver || find() !== undefined, true).catch(() => {});
    const line = find();
    if (line !== undefined) return line;
    await this.end("SIGKILL");
    throw new Error(`No line with "${text}" in the log:\n${this.log.join("\n")}`);
  }

  /** Resolves once the process is gone. */
  async end(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }
}

/** What a binary prints when it is run to its end. */
export function output(name: string, args: readonly string[]): string {
  return execFileSync(binary(name), args, { encoding: "utf8" });
}

function binary(name: string): string {
  const path = resolve(process.env.CARGO_TARGET_DIR ?? "../target", "debug", name);
  if (existsSync(path)) return path;
  throw new Error(`${path} is not there: run cargo build --workspace first`);
}
