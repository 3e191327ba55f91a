import assert from "node:assert/strict";
import { test } from "node:test";
import { speak } from "../src/texts.ts";
import { dayName, dayOf } from "../src/view/days.ts";

const TODAY = dayOf("2026-03-30T12:00:00");

function named(language: string, at: string): string {
  speak(language);
  return dayName(dayOf(at), TODAY);
}

test("days are named from where the visitor is", () => {
  assert.equal(named("en", "2026-03-30T00:00:01"), "today");
  assert.equal(named("en", "2026-03-29T23:59:59"), "yesterday");
  assert.equal(named("en", "2026-03-28T08:00:00"), "Saturday, March 28");
  assert.equal(named("en", "2025-12-31T08:00:00"), "Wednesday, December 31, 2025");
  assert.equal(named("de", "2026-03-29T01:00:00"), "gestern");
  assert.equal(named("ja", "2026-03-28T08:00:00"), "3月28日土曜日");
});

test("a clock that is behind the relay's does not confuse it", () => {
  assert.equal(named("en", "2026-03-31T00:10:00"), "Tuesday, March 31");
});
