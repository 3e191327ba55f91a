/** Names the day before the first message of it. */

import { language } from "../texts.ts";
import { element } from "./dom.ts";

const DAY_MS = 24 * 60 * 60_000;

/** What is the same for all times of one day, where the visitor is. */
export function dayOf(at: string | number): number {
  return new Date(at).setHours(0, 0, 0, 0);
}

export function dayNode(day: number): HTMLElement {
  return element("div", { part: "day" }, dayName(day, dayOf(Date.now())));
}

/** The time of day, in as few characters as the language has for it. */
export function timeOf(at: string): string {
  return new Date(at).toLocaleTimeString(language, { hour: "numeric", minute: "2-digit" });
}

export function dayName(day: number, today: number): string {
  // Days on which the clocks change are an hour longer or shorter.
  const age = Math.round((today - day) / DAY_MS);
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  if (age === 0 || age === 1) return words.format(-age, "day");
  const isThisYear = new Date(day).getFullYear() === new Date(today).getFullYear();
  const options: Intl.DateTimeFormatOptions = { weekday: "long", day: "numeric", month: "long" };
  if (!isThisYear) options.year = "numeric";
  return new Date(day).toLocaleDateString(language, options);
}
