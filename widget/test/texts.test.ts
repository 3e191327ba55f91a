import assert from "node:assert/strict";
import { test } from "node:test";
import { KEYS, LANGUAGES, textsOf } from "../src/languages.ts";
import { chooseLanguage, counted, learn, speak, texts } from "../src/texts.ts";

for (const [language, lines] of Object.entries(LANGUAGES)) learn(language, textsOf(lines));

test("every language has a text for everything", () => {
  for (const [language, lines] of Object.entries(LANGUAGES)) {
    assert.equal(lines.split("\n").length, KEYS.length, language);
    assert(
      lines.split("\n").every((line) => line.trim() === line && line !== ""),
      language,
    );
  }
});

test("a text that counts has all the forms of its language", () => {
  for (const language of ["en", ...Object.keys(LANGUAGES)]) {
    speak(language);
    const forms = texts.openUnread.split("~");
    const categories = new Set(
      Array.from({ length: 200 }, (_, index) => new Intl.PluralRules(language).select(index + 1)),
    );
    const order = ["one", "two", "few", "many", "other"];
    const needed = order.filter((category) => categories.has(category as Intl.LDMLPluralRule));
    assert.equal(forms.length, needed.length, language);
  }
});

test("numbers go with their nouns", () => {
  const said = (language: string, count: number) => {
    speak(language);
    return counted(texts.openUnread, count);
  };
  assert.equal(said("en-GB", 1), "Open chat, 1 new message");
  assert.equal(said("en", 2), "Open chat, 2 new messages");
  assert.equal(said("fr", 1), "Ouvrir la discussion, 1 nouveau message");
  assert.equal(said("ja", 1), "チャットを開く、新着メッセージ1件");
  assert.equal(said("ar-EG", 1), "فتح المحادثة، رسالة جديدة واحدة");
  assert.equal(said("ar-EG", 2), "فتح المحادثة، رسالتان جديدتان");
  assert.equal(said("ar-EG", 3), "فتح المحادثة، ٣ رسائل جديدة");
  assert.equal(said("ar-EG", 11), "فتح المحادثة، ١١ رسالة جديدة");
});

test("the first language that is known is chosen", () => {
  assert.equal(chooseLanguage([undefined, "", "nl", "PT-br", "de"]), "PT-br");
  assert.equal(chooseLanguage(["zh-Hans-CN"]), "zh-Hans-CN");
  assert.equal(chooseLanguage(["nl", "constructor"]), "en");
  assert.equal(chooseLanguage([]), "en");
});

test("a page's own words go before the widget's", () => {
  speak("de", { title: "Fragen?" });
  assert.deepEqual([texts.title, texts.send], ["Fragen?", "Nachricht senden"]);
  speak("en");
  assert.equal(texts.title, "Chat");
});

test("words that are missing, or are none, are said in English", () => {
  learn("pt", { title: "Conversa", send: { toString: "no" }, retry: 7, html: "<b>" });
  speak("pt");
  assert.deepEqual(
    [texts.title, texts.send, texts.retry],
    ["Conversa", "Send message", "Try again"],
  );
  assert.equal(Object.hasOwn(texts, "html"), false);
  for (const nothing of [null, "words", ["Conversa"]]) {
    learn("pt", nothing);
    speak("pt");
    assert.equal(texts.title, "Chat");
  }
});
