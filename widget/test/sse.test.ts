import assert from "node:assert/strict";
import { test } from "node:test";
import { type ServerEvent, SseParser } from "../src/sse.ts";

const FIXTURE = [
  "\uFEFF: a comment first\n\n",
  "id: 7\nevent: message\ndata: one\ndata: two\n\n",
  "retry: 2500\r\nevent:chunk\r\ndata:no space, \u00e9\u20ac\u{1f642}\r\n\r\n",
  "data:  two spaces\r\rid: 9\rdata\rdata: after an empty line\r\r",
  "event: forgotten without data\n\n",
  "data: plain\nunknown: field\ndata: text: with: colons\n\n",
  "id: bad\u0000id\ndata: keeps the id\n\nid\ndata: has none\n\n",
  "retry: soon\ndata: an event that never ends",
].join("");

const EVENTS: ServerEvent[] = [
  { type: "message", data: "one\ntwo", id: "7" },
  { type: "chunk", data: "no space, \u00e9\u20ac\u{1f642}", id: "7" },
  { type: "message", data: " two spaces", id: "7" },
  { type: "message", data: "\nafter an empty line", id: "9" },
  { type: "message", data: "plain\ntext: with: colons", id: "9" },
  { type: "message", data: "keeps the id", id: "9" },
  { type: "message", data: "has none", id: "" },
];

const bytes = new TextEncoder().encode(FIXTURE);

function parse(...pieces: Uint8Array[]): ServerEvent[] {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

test("a stream in one piece gives its events", () => {
  assert.deepEqual(parse(bytes), EVENTS);
});

test("every place to cut the stream in two gives the same events", () => {
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(parse(bytes.subarray(0, at), bytes.subarray(at)), EVENTS, `cut at ${at}`);
  }
});

test("pieces of every size, single bytes too, give the same events", () => {
  for (let size = 1; size <= 16; size++) {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
    assert.deepEqual(parse(...pieces), EVENTS, `pieces of ${size}`);
  }
});

test("a carriage return at the end of a piece ends the line at once", () => {
  const parser = new SseParser();
  assert.deepEqual(parser.push(new TextEncoder().encode("data: now\r\n\r")), [
    { type: "message", data: "now", id: "" },
  ]);
  assert.deepEqual(parser.push(new TextEncoder().encode("\ndata: next\n\n")), [
    { type: "message", data: "next", id: "" },
  ]);
});

test("empty pieces between a carriage return and its line feed change nothing", () => {
  const [head, tail] = ["data: a\r", "\ndata: b\r\n\r\n"].map((text) =>
    new TextEncoder().encode(text),
  );
  assert.deepEqual(parse(head as Uint8Array, new Uint8Array(), tail as Uint8Array), [
    { type: "message", data: "a\nb", id: "" },
  ]);
});

test("only a whole number sets the retry time", () => {
  const parser = new SseParser();
  parser.push(bytes);
  assert.equal(parser.retryMs, 2500);
});
