/** The words the widget says. A page speaks one language, so there is one set of them. */

import { KEYS, LANGUAGES } from "./languages.ts";

export type Texts = Record<(typeof KEYS)[number], string>;

/** As `speak` has set them last. */
export const texts = {} as Texts;

/** A BCP 47 tag, for numbers and dates. */
export let language = "en";

/** The first of these language tags that the widget has words for, else English. */
export function chooseLanguage(tags: readonly (string | undefined)[]): string {
  return tags.find((tag) => tag && Object.hasOwn(LANGUAGES, base(tag))) ?? "en";
}

/** Takes up a language that was chosen; the page's own words go before the widget's. */
export function speak(tag: string, own: Partial<Texts> = {}): void {
  const lines = LANGUAGES[base(tag)]?.split("\n") ?? [];
  for (const [index, key] of KEYS.entries()) texts[key] = own[key] ?? lines[index] ?? "";
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

function base(tag: string): string {
  return tag.toLowerCase().split("-", 1)[0] ?? "";
}
