/** What a page may choose: as a settings object, or in `data-*` attributes of the same names. */

import type { Texts } from "./languages.ts";
import { chooseLanguage, isKnown, isRightToLeft, speak } from "./texts.ts";

export type Mode = "popup" | "inline" | "full-page";

/** As the page gives it; what is missing is chosen for it. */
export interface Settings {
  relay?: string | undefined;
  /** The relay's name for the site that the page belongs to. */
  site?: string | undefined;
  title?: string | undefined;
  greeting?: string | undefined;
  placeholder?: string | undefined;
  /** Said while nobody is there to answer. */
  away?: string | undefined;
  /** Questions to begin with; in an attribute, with bars between them. */
  starters?: string | readonly string[] | undefined;
  /** Whether a reply is heard; "false" and absence mean it is not. */
  sound?: string | boolean | undefined;
  /** "off": replies are not to be rated. */
  feedback?: string | undefined;
  /** "off": no files can be attached. */
  files?: string | undefined;
  /** "off": a panel that was left open is closed on the next page. */
  reopen?: string | undefined;
  accent?: string | undefined;
  /** `light` or `dark`; else as the visitor's system is. */
  theme?: string | undefined;
  position?: string | undefined;
  mode?: string | undefined;
  lang?: string | undefined;
  dir?: string | undefined;
  /** Words in place of the widget's own; in the settings object only. */
  texts?: Partial<Texts> | undefined;
}

export interface Options {
  /** The relay's address, without a slash at its end. */
  readonly relay: string;
  /** Absent where the relay knows by itself which site it serves. */
  readonly site: string | undefined;
  readonly starters: readonly string[];
  readonly hasSound: boolean;
  readonly hasFeedback: boolean;
  readonly takesFiles: boolean;
  readonly reopens: boolean;
  /** A CSS colour; absent when none, or none that the browser knows, was given. */
  readonly accent: string | undefined;
  readonly theme: "light" | "dark" | undefined;
  readonly position: "left" | "right";
  readonly mode: Mode;
  /** A BCP 47 tag. */
  readonly language: string;
  readonly direction: "ltr" | "rtl";
}

/** Throws a `TypeError` when the relay's address is missing or not one. */
export function readOptions(settings: Settings): Options {
  const { accent } = settings;
  const wanted = wantedLanguage(settings);
  const language = isKnown(wanted) ? wanted : "en";
  speak(language, ownTexts(settings));
  const isRtl = settings.dir ? settings.dir === "rtl" : isRightToLeft(language);
  return {
    relay: relayAddress(settings.relay),
    site: settings.site || undefined,
    starters: listOf(settings.starters),
    hasSound: settings.sound !== undefined && String(settings.sound) !== "false",
    hasFeedback: settings.feedback !== "off",
    takesFiles: settings.files !== "off",
    reopens: settings.reopen !== "off",
    accent: accent && CSS.supports("color", accent) ? accent : undefined,
    theme: oneOf(["light", "dark"], settings.theme),
    position: oneOf(["left", "right"], settings.position) ?? (isRtl ? "left" : "right"),
    mode: oneOf(["popup", "inline", "full-page"], settings.mode) ?? "popup",
    language,
    direction: isRtl ? "rtl" : "ltr",
  };
}

/** The language to speak once its words are known, a BCP 47 tag. */
export function wantedLanguage({ lang }: Settings): string {
  return chooseLanguage([lang, document.documentElement.lang, ...navigator.languages]);
}

/** The words that a page is likely to have of its own are settings by themselves. */
function ownTexts(settings: Settings): Partial<Texts> {
  const own = { ...settings.texts };
  for (const key of ["title", "greeting", "placeholder", "away"] as const) {
    const text = settings[key];
    if (text) own[key] = text;
  }
  return own;
}

function listOf(value: string | readonly string[] = []): readonly string[] {
  const items = typeof value === "string" ? value.split("|") : value;
  return items.map((item) => item.trim()).filter(Boolean);
}

function oneOf<T extends string>(choices: readonly T[], text: string | undefined): T | undefined {
  return choices.find((choice) => choice === text);
}

/** Without a slash at its end; throws a `TypeError` when it is missing or no address. */
export function relayAddress(text = ""): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new TypeError(`Postern: data-relay must be the address of a relay, not "${text}".`);
  }
  return (url.origin + url.pathname).replace(/\/+$/, "");
}
