import assert from "node:assert/strict";
import { before, test } from "node:test";
import { speak } from "../src/texts.ts";
import { renderMarkdown, showMarkdown } from "../src/view/markdown.ts";
import { FakeElement, setDocument } from "./document.ts";

before(() => {
  setDocument();
  speak("en");
});

/** What a text becomes, without the attributes that all links and all texts have. */
function html(text: string): string {
  return fullHtml(text).replaceAll(/ (?:dir="auto"|target="[^"]*"|rel="[^"]*"|tabindex="0")/g, "");
}

function fullHtml(text: string): string {
  const nodes = renderMarkdown(text) as unknown as FakeElement[];
  return nodes.map((node) => node.html).join("");
}

const BECOMES: Record<string, Record<string, string>> = {
  emphasis: {
    "*a* **b** ***c*** _d_ __e__ ~~f~~":
      "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <strong>e</strong> <del>f</del></p>",
    "**a *b* c**": "<p><strong>a <em>b</em> c</strong></p>",
    "*a **b** c*": "<p><em>a <strong>b</strong> c</em></p>",
    "*a**b*": "<p><em>a**b</em></p>",
    "**a and *b": "<p>**a and *b</p>",
    "2 * 3 * 4": "<p>2 * 3 * 4</p>",
    "my_file_name and _x_": "<p>my_file_name and <em>x</em></p>",
    "**这是“重点”。**后面": "<p><strong>这是“重点”。</strong>后面</p>",
    "\\*not\\* \\a": "<p>*not* \\a</p>",
    "~a~ ~~b": "<p>~a~ ~~b</p>",
  },
  "code within a line": {
    "`a` ``b`c`` ` d ` `e": "<p><code>a</code> <code>b`c</code> <code>d</code> `e</p>",
    "`*a* [b](https://c.example)`": "<p><code>*a* [b](https://c.example)</code></p>",
    "**a `b**` c": "<p>**a <code>b**</code> c</p>",
  },
  links: {
    "[a *b*](https://c.example/d(e))": '<p><a href="https://c.example/d(e)">a <em>b</em></a></p>',
    '[a](https://c.example "title")': '<p><a href="https://c.example/">a</a></p>',
    "[a](<https://c.example/d e>)": '<p><a href="https://c.example/d%20e">a</a></p>',
    "[](mailto:a@b.example)": '<p><a href="mailto:a@b.example">mailto:a@b.example</a></p>',
    "[ring](tel:+49123)": '<p><a href="tel:+49123">ring</a></p>',
    "<https://c.example/d>": '<p><a href="https://c.example/d">https://c.example/d</a></p>',
    "(see https://c.example/d.)":
      '<p>(see <a href="https://c.example/d">https://c.example/d</a>.)</p>',
    "**https://c.example/a_b_c**":
      '<p><strong><a href="https://c.example/a_b_c">https://c.example/a_b_c</a></strong></p>',
    "请看https://c.example/d。":
      '<p>请看<a href="https://c.example/d">https://c.example/d</a>。</p>',
    "[see https://c.example](https://d.example)":
      '<p><a href="https://d.example/">see https://c.example</a></p>',
    "a[0] and [1]": "<p>a[0] and [1]</p>",
  },
  "an image is a link: nothing is loaded": {
    "![a cat](https://c.example/cat.png)": '<p><a href="https://c.example/cat.png">a cat</a></p>',
    "![](https://c.example/)": '<p><a href="https://c.example/">https://c.example/</a></p>',
  },
  "an address that is not safe to follow stays text": {
    "[a](javascript:alert(1))": "<p>[a](javascript:alert(1))</p>",
    "[a](java\u0001script:alert)": "<p>[a](java\u0001script:alert)</p>",
    "[a](<java\tscript:alert()>)": "<p>[a](&lt;java\tscript:alert()>)</p>",
    "[a](\u0001javascript:b)": "<p>[a](\u0001javascript:b)</p>",
    "[a](JaVaScRiPt:b)": "<p>[a](JaVaScRiPt:b)</p>",
    "[a](data:text/html,b)": "<p>[a](data:text/html,b)</p>",
    "[a](//c.example)": "<p>[a](//c.example)</p>",
    "[a](/c)": "<p>[a](/c)</p>",
    "<javascript:b>": "<p>&lt;javascript:b></p>",
  },
  "HTML is text": {
    "<b onclick=x>a</b> &amp; <!-- b -->": "<p>&lt;b onclick=x>a&lt;/b> &amp; &lt;!-- b --></p>",
    "<script>\nalert(1)\n</script>": "<p>&lt;script>\nalert(1)\n&lt;/script></p>",
  },
  blocks: {
    "# One\ntwo\n### Three": "<h3>One</h3><p>two</p><h3>Three</h3>",
    "#tag": "<p>#tag</p>",
    "one\ntwo\n\n\nthree": "<p>one\ntwo</p><p>three</p>",
    "one\n---\ntwo\n* * *": "<p>one</p><hr></hr><p>two</p><hr></hr>",
    "> one\n> > two\n>\n> three\nfour":
      "<blockquote><p>one</p><blockquote><p>two</p></blockquote><p>three</p></blockquote><p>four</p>",
  },
  lists: {
    "one:\n- two\n- three\n\nfour":
      "<p>one:</p><ul><li><p>two</p></li><li><p>three</p></li></ul><p>four</p>",
    "3. one\n   - two\n     - three\n4. four":
      '<ol start="3"><li><p>one</p><ul><li><p>two</p><ul><li><p>three</p></li></ul></li></ul></li><li><p>four</p></li></ol>',
    "1. one\n  * two": '<ol start="1"><li><p>one</p><ul><li><p>two</p></li></ul></li></ol>',
    "- one\ntwo\n\n  three": "<ul><li><p>one\ntwo</p><p>three</p></li></ul>",
    "- one\n\n- two": "<ul><li><p>one</p></li><li><p>two</p></li></ul>",
    "It was in\n1984. Then": "<p>It was in\n1984. Then</p>",
    "-1 and -2": "<p>-1 and -2</p>",
  },
  tables: {
    "a\n| *b* | c \\| d |\n|:--|--:|\n| 1 | 2 |\n\ne":
      '<p>a</p><div part="table"><table><tr><th><em>b</em></th><th>c | d</th></tr><tr><td>1</td><td>2</td></tr></table></div><p>e</p>',
    "a|b\n-|-": '<div part="table"><table><tr><th>a</th><th>b</th></tr></table></div>',
    "a|b\n-": "<p>a|b\n-</p>",
  },
};

for (const [what, examples] of Object.entries(BECOMES)) {
  test(`Markdown: ${what}`, () => {
    for (const [text, expected] of Object.entries(examples)) assert.equal(html(text), expected);
  });
}

test("a block of code is kept as it is, also before its end has come", () => {
  const code = (text: string) => {
    const [block] = renderMarkdown(text) as unknown as FakeElement[];
    const [language, pre] = ["span", "pre"].map(
      (tag) => block?.elements.find((element) => element.tag === tag)?.textContent,
    );
    return [language, pre];
  };
  assert.deepEqual(code("```js title=x\n*a*\n\n\tb\n```"), ["js", "*a*\n\n\tb"]);
  assert.deepEqual(code("````\n```\n````"), ["", "```"]);
  assert.deepEqual(code("~~~ sh\nls\n"), ["sh", "ls\n"]);
  assert.equal(html("text\n```\na\n```\nmore").match(/<p>(text|more)<\/p>/g)?.length, 2);
});

test("a link opens elsewhere and tells nothing of this page", () => {
  assert.equal(
    fullHtml("<https://c.example/>"),
    '<p dir="auto"><a href="https://c.example/" target="_blank" rel="noopener noreferrer nofollow">https://c.example/</a></p>',
  );
});

const PIECES = [
  ..."*_`~[]()!<>#|-+\\\"'\n\n  \t",
  ...["**", "***", "```", "\n```js\n", "~~~", "\n- ", "\n1. ", "\n  - ", "\n> ", "\n# ", "\n---\n"],
  ...[
    "\n|-|-|\n",
    "|a|b|\n|-|-|\n",
    "](https://x.example)",
    "](javascript:x)",
    "![",
    "<img src=x>",
  ],
  ...["https://x.example/y_z", "<https://x.example>", "\n\n", "\n    ", "🙂", "你好", "word"],
];

/** Always the same row of texts, so that a failure can be looked at again. */
function* texts(count: number): Generator<string> {
  let state = 1;
  const random = (below: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  for (let made = 0; made < count; made += 1) {
    const length = 1 + random(40);
    yield Array.from({ length }, (_, index) =>
      random(3) === 0 ? `w${index}w` : (PIECES[random(PIECES.length)] as string),
    ).join("");
  }
}

const TAGS = new Set(
  "p h3 div span pre code button blockquote ul ol li table tr th td hr em strong del a".split(" "),
);
const ATTRIBUTES = new Set("dir part tabindex start href target rel type".split(" "));

test("whatever the text, there is nothing but known elements with known attributes", () => {
  for (const text of texts(20_000)) {
    for (const { tag, attributes } of renderAll(text)) {
      assert(TAGS.has(tag), `${tag} from ${JSON.stringify(text)}`);
      for (const [name, value] of attributes) {
        assert(ATTRIBUTES.has(name), `${name} from ${JSON.stringify(text)}`);
        if (name === "href") assert.match(value, /^https:\/\/x\.example/);
      }
    }
  }
});

test("whatever the text, no word of it is lost", () => {
  for (const text of texts(20_000)) {
    const shown = (renderMarkdown(text) as unknown as FakeElement[]).map((n) => n.textContent);
    const isShown = new Set(shown.join(" ").match(/w\d+w/g));
    // What follows a fence in its line names the language, of which the first word is shown.
    const told = text.replaceAll(/(?:`{3,}|~{3,}).*/g, "").match(/w\d+w/g) ?? [];
    for (const word of told) assert(isShown.has(word), `${word} of ${JSON.stringify(text)}`);
  }
});

test("however a text comes in pieces, it is shown as if it had come whole", () => {
  for (const text of texts(3_000)) {
    const grown = new FakeElement("div");
    for (let end = 1; end < text.length + 5; end += 5) show(grown, text.slice(0, end));
    const whole = new FakeElement("div");
    show(whole, text);
    assert.equal(grown.html, whole.html, JSON.stringify(text));
  }
});

test("a text that grows leaves the blocks before its end alone", () => {
  const node = new FakeElement("div");
  show(node, "one\n\n- two\n\nthree");
  const before = [...node.childNodes];
  show(node, "one\n\n- two\n\nthree and more\n\nfour");
  const same = before.map((child, index) => child === node.childNodes[index]);
  assert.deepEqual(same, [true, true, false]);
  show(node, "other");
  assert.equal(node.textContent, "other");
});

const KIB_256 = 256 * 1024;
const HOSTILE = [
  "[",
  "*",
  "_",
  "`",
  "~~",
  "<",
  "(",
  "|",
  "> ",
  "- ",
  "1. ",
  "\\",
  "#",
  "a",
  " ",
  "\n",
];
const PAIRS = [
  "*a ",
  "a* ",
  "[a](",
  "![",
  "](",
  "`a``",
  "*a**b_",
  "<https:",
  '](a "',
  "\n\n",
  "| ",
  "a|\n-|\n",
  "_a*",
  "https://",
  "- a\n ",
  ">\n- ",
];

for (const piece of [...HOSTILE, ...PAIRS]) {
  test(`256 KiB of ${JSON.stringify(piece)} are shown in bounded time`, () => {
    const text = piece.repeat(KIB_256 / piece.length);
    const start = performance.now();
    renderMarkdown(text);
    assert(performance.now() - start < 4_000);
  });
}

test("nesting has an end", () => {
  const lists = Array.from({ length: 500 }, (_, depth) => `${"  ".repeat(depth)}- a`).join("\n");
  for (const text of [lists, "> ".repeat(500), "**a *b ".repeat(500) + "* **".repeat(500)]) {
    const depth = (element: FakeElement): number =>
      1 + Math.max(0, ...element.childNodes.map((n) => (n instanceof FakeElement ? depth(n) : 0)));
    for (const node of renderMarkdown(text)) assert(depth(node as unknown as FakeElement) < 80);
  }
});

function renderAll(text: string): FakeElement[] {
  return (renderMarkdown(text) as unknown as FakeElement[]).flatMap((node) => node.elements);
}

function show(node: FakeElement, text: string): void {
  showMarkdown(node as unknown as Element, text);
}
