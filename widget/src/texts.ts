/** The words the widget says. A page speaks one language, so there is one set of them. */

import { CODES, ENGLISH, KEYS, type Texts } from "./languages.ts";

/** As `speak` has set them last. */
export const texts = {} as Texts;

/** A BCP 47 tag, for numbers and dates. */
export let language = "en";

const known = new Map<string, Partial<Texts>>([["en", ENGLISH]]);

/** The first of these language tags that there are words for, else English. */
export function chooseLanguage(tags: readonly (string | undefined)[]): string {
  const codes: readonly string[] = ["en", ...CODES];
  return tags.find((tag) => tag && codes.includes(base(tag))) ?? "en";
}

/** Whether the words of a language are here, and not only to be had. */
export function isKnown(tag: string): boolean {
  return known.has(base(tag));
}

/** Takes the words of a language as a relay sent them, and nothing but words. */
export function learn(tag: string, words: unknown): void {
  const found = Object(words);
  const pairs = KEYS.map((key) => [key, found[key]]).filter(([, text]) => typeof text === "string");
  known.set(base(tag), Object.fromEntries(pairs));
}

/** Takes up a language; the page's own words go before its, and English stands in for the rest. */
export function speak(tag: string, own: Partial<Texts> = {}): void {
  const words = known.get(base(tag));
  for (const key of KEYS) texts[key] = own[key] ?? words?.[key] ?? ENGLISH[key];
  language = tag;
}

/** The form of a text that goes with the number, with the number in it. */
export function counted(text: string, count: number): string {
  const forms = text.split("~");
  const category = new Intl.PluralRules(language).select(count);
  const index = ["one", "two", "few", "many"].indexOf(category);
  const form = index < forms.length - 1 ? forms.at(index) : forms.at(-1);
  return form?.replace("#", count.toLocaleString(language)) ?? "";
}

export function isRightToLeft(tag: string): boolean {
  return base(tag) === "ar";
}

/** The file of a language is named so, too. */
export function base(tag: string): string {
  return tag.toLowerCase().split("-", 1)[0] ?? "";
}
