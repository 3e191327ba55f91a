import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/backoff.ts";
import { TestClock } from "./clock.ts";

test("the ceiling doubles from one second and stops at thirty", () => {
  const backoff = new Backoff(new TestClock(), () => 1);
  const delays = Array.from({ length: 7 }, () => backoff.next());
  assert.deepEqual(delays, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
});

test("the jitter is full: a delay may be anything from nothing to the ceiling", () => {
  const rolls = [0, 0.5, 0.25];
  const backoff = new Backoff(new TestClock(), () => rolls.shift() ?? 0);
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next()], [0, 1_000, 1_000]);
});

test("what the relay asked for is a minimum", () => {
  assert.equal(new Backoff(new TestClock(), () => 0).next(7_000), 7_000);
});

test("a success starts it over", () => {
  const backoff = new Backoff(new TestClock(), () => 1);
  backoff.next();
  backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 1_000);
});

test("a wait ends when it is woken, and the next one waits again", async () => {
  const clock = new TestClock();
  const backoff = new Backoff(clock, () => 1);
  const { signal } = new AbortController();
  const first = backoff.wait(signal);
  backoff.wake();
  await first;
  const second = backoff.wait(signal);
  await clock.sleeping(2_000);
  clock.advance(2_000);
  await second;
});
