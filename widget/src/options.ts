/** What a page may choose, read from `data-*` attributes. */

import { chooseLanguage, isRightToLeft, speak, texts } from "./texts.ts";

export interface Options {
  /** The relay's address, without a slash at its end. */
  readonly relay: string;
  readonly title: string;
  readonly greeting: string;
  readonly placeholder: string;
  /** A CSS colour; absent when none, or none that the browser knows, was given. */
  readonly accent: string | undefined;
  readonly position: "left" | "right";
  /** A BCP 47 tag. */
  readonly language: string;
  readonly direction: "ltr" | "rtl";
}

/** Throws a `TypeError` when the relay's address is missing or not one. */
export function readOptions(data: DOMStringMap): Options {
  const { accent } = data;
  const language = chooseLanguage([
    data.lang,
    document.documentElement.lang,
    ...navigator.languages,
  ]);
  speak(language);
  const isRtl = data.dir ? data.dir === "rtl" : isRightToLeft(language);
  return {
    relay: relayAddress(data.relay ?? ""),
    title: data.title || texts.title,
    greeting: data.greeting || texts.greeting,
    placeholder: data.placeholder || texts.placeholder,
    accent: accent && CSS.supports("color", accent) ? accent : undefined,
    position: sideOf(data.position) ?? (isRtl ? "left" : "right"),
    language,
    direction: isRtl ? "rtl" : "ltr",
  };
}

function sideOf(position: string | undefined): "left" | "right" | undefined {
  return position === "left" || position === "right" ? position : undefined;
}

function relayAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new TypeError(`Postern: data-relay must be the address of a relay, not "${text}".`);
  }
  return (url.origin + url.pathname).replace(/\/+$/, "");
}
