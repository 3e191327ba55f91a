/** `Postern("open")`, or `Postern.open()`: what a page's own script may do with the element. */

import type { PosternChat } from "./element.ts";
import { pageElement } from "./embed.ts";

const COMMANDS = [
  "open",
  "close",
  "toggle",
  "show",
  "hide",
  "identify",
  "update",
  "reset",
  "send",
  "setContext",
  "destroy",
] as const;

type Command = (typeof COMMANDS)[number];
type Call = [command: string, ...rest: unknown[]];

export interface Api extends Pick<PosternChat, Command> {
  (...call: Call): void;
  /** Listens for an event of any element; without the prefix of its name. */
  on(event: string, listener: EventListener): void;
  off(event: string, listener: EventListener): void;
}

/** What the page may have put in its place, to collect the calls made before this runs. */
export interface Stub {
  q?: Iterable<ArrayLike<unknown>>;
}

export function makeApi(): Api {
  const run = (...[command, ...rest]: Call) => {
    const method = Object.hasOwn(api, command) ? Reflect.get(api, command) : undefined;
    if (!method) throw new TypeError(`Postern: there is no command "${command}".`);
    method(...rest);
  };
  const forward =
    (command: Command) =>
    (...rest: unknown[]) =>
      whenBodyIsThere(() => {
        const element = pageElement();
        if (element) Reflect.apply(element[command], element, rest);
      });
  const api = Object.assign(run, {
    on: (event: string, listener: EventListener) => addEventListener(`postern:${event}`, listener),
    off: (event: string, listener: EventListener) =>
      removeEventListener(`postern:${event}`, listener),
    ...Object.fromEntries(COMMANDS.map((command) => [command, forward(command)])),
  }) as Api;
  return api;
}

export function whenBodyIsThere(then: () => void): void {
  if (document.readyState !== "loading") then();
  else document.addEventListener("DOMContentLoaded", then, { once: true });
}
