/** The real relay with its SQLite file, and what its operator can see. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Entry } from "../src/wire.ts";
import { ADMIN_KEY, Process } from "./process.ts";

export interface Limits {
  readonly maxMessageChars?: number;
  readonly maxFileBytes?: number;
  readonly maxAttempts?: number;
  readonly awayAfterSeconds?: number;
  /** Hashes on average that a browser is asked for before a session is opened. */
  readonly proofOfWork?: number;
  /** With which the site's own server says who its visitors are. */
  readonly identitySecret?: string;
}

/** One database and one address; the process behind them may go and come back. */
export class Relay {
  /** Without a slash at its end. */
  readonly address: string;
  #folder: string;
  #process: Process;

  private constructor(folder: string, process: Process, address: string) {
    this.#folder = folder;
    this.#process = process;
    this.address = address;
  }

  /** `folder` takes the database. */
  static async start(folder: string, limits: Limits = {}): Promise<Relay> {
    const [process, address] = await serve(folder, "127.0.0.1:0", limits);
    const relay = new Relay(folder, process, address);
    try {
      await relay.#checkWidget();
      return relay;
    } catch (error) {
      await relay.kill();
      throw error;
    }
  }

  get log(): readonly string[] {
    return this.#process.log;
  }

  /** As a power cut would. */
  async kill(): Promise<void> {
    await this.#process.end("SIGKILL");
  }

  /** Serves the same file at the same address again. */
  async restart(limits: Limits = {}): Promise<void> {
    await this.kill();
    [this.#process] = await serve(this.#folder, new URL(this.address).host, limits);
  }

  /** All that was said in a session, as the operator sees it. */
  async said(session: string): Promise<Pick<Entry, "role" | "text">[]> {
    const { data } = await (await this.#ask(`/api/v1/sessions/${session}`)).json();
    return data.messages.map(({ role, text }: Entry) => ({ role, text }));
  }

  /** How often replies were rated up and down in the only session there is. */
  async ratings(): Promise<unknown> {
    const { data } = await (await this.#ask("/api/v1/sessions")).json();
    return data.sessions[0].ratings;
  }

  /** Who the visitor of the only session there is, is known to be. */
  async visitor(): Promise<{ readonly state: string; readonly sub?: string }> {
    const { data } = await (await this.#ask("/api/v1/sessions")).json();
    return data.sessions[0].visitor;
  }

  async sessionIds(): Promise<string[]> {
    const { data } = await (await this.#ask("/api/v1/sessions")).json();
    return data.sessions.map(({ id }: { id: string }) => id);
  }

  /** How many event streams are open. */
  async streams(): Promise<number> {
    const text = await (await this.#ask("/metrics")).text();
    const value = /event_streams (\d+)/.exec(text)?.[1];
    if (value === undefined) throw new Error("The relay does not count its event streams.");
    return Number(value);
  }

  async #ask(path: string): Promise<Response> {
    const headers = { Authorization: `Bearer ${ADMIN_KEY}`, Connection: "close" };
    const response = await fetch(this.address + path, { headers });
    if (!response.ok) throw new Error(`GET ${path} was answered ${response.status}.`);
    return response;
  }

  /** The binary holds a copy of the widget; an older one would be tested in its place. */
  async #checkWidget(): Promise<void> {
    const served = await (await fetch(`${this.address}/widget.js`)).text();
    if (served === (await readFile("dist/widget.js", "utf8"))) return;
    throw new Error("The relay holds another widget than dist/: run cargo build --workspace first");
  }
}

async function serve(folder: string, listen: string, limits: Limits): Promise<[Process, string]> {
  const db = join(folder, "relay.db");
  const args = ["serve", "--listen", listen, "--db", db];
  if (limits.proofOfWork) args.push("--proof-of-work", String(limits.proofOfWork));
  else args.push("--rate-limit", "off");
  if (limits.maxMessageChars) args.push("--max-message-chars", String(limits.maxMessageChars));
  if (limits.maxFileBytes) args.push("--max-file-bytes", String(limits.maxFileBytes));
  if (limits.maxAttempts) args.push("--max-attempts", String(limits.maxAttempts));
  if (limits.awayAfterSeconds) args.push("--away-after", String(limits.awayAfterSeconds));
  if (limits.identitySecret) {
    const [config, secret] = [join(folder, "relay.toml"), join(folder, "identity.secret")];
    await writeFile(secret, limits.identitySecret, { mode: 0o600 });
    await writeFile(config, `[[site]]\nid = "shop"\nidentity_key_files = ["${secret}"]\n`);
    args.push("--config", config);
  }
  const process = Process.start("postern-relay", args);
  const line = await process.lineWith("listening on http://");
  return [process, line.slice(line.indexOf("http://")).trim()];
}
