/** What a page may choose, read from `data-*` attributes. */

import { texts } from "./texts.ts";

export interface Options {
  /** The relay's address, without a slash at its end. */
  readonly relay: string;
  readonly title: string;
  readonly greeting: string;
  readonly placeholder: string;
  /** A CSS colour; absent when none, or none that the browser knows, was given. */
  readonly accent: string | undefined;
  readonly position: "left" | "right";
}

/** Throws a `TypeError` when the relay's address is missing or not one. */
export function readOptions(data: DOMStringMap): Options {
  const { accent } = data;
  return {
    relay: relayAddress(data.relay ?? ""),
    title: data.title || texts.title,
    greeting: data.greeting || texts.greeting,
    placeholder: data.placeholder || texts.placeholder,
    accent: accent && CSS.supports("color", accent) ? accent : undefined,
    position: data.position === "left" ? "left" : "right",
  };
}

function relayAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new TypeError(`Postern: data-relay must be the address of a relay, not "${text}".`);
  }
  return (url.origin + url.pathname).replace(/\/+$/, "");
}
