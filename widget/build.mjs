/** Builds dist/; with --check, tells whether the committed files are what would be built. */

import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { gzipAsync } from "@gfx/zopfli";
import { build, transform } from "esbuild";
import { minify } from "terser";

const DIST = new URL("dist/", import.meta.url);
const BUNDLES = {
  "widget.js": { entryPoints: ["src/main.ts"], format: "iife" },
  "widget.mjs": { entryPoints: ["src/module.ts"], format: "esm" },
};
/** For what a page loads, as it is sent: the script, and the words of a language but English. */
const SCRIPT_LIMIT_BYTES = 25_000;
const WORDS_LIMIT_BYTES = 700;

/** Gives a style sheet to the script that imports it, as minified text. */
const styleText = {
  name: "style-text",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), {
        loader: "css",
        minify: true,
      });
      return { contents: code.trim(), loader: "text", watchFiles: [path] };
    });
  },
};

const texts = await textFiles();
const version = createHash("sha256")
  .update([...texts.values()].join(""))
  .digest("hex")
  .slice(0, 16);

await mkdir(new URL("texts/", DIST), { recursive: true });
for (const [name, bundle] of Object.entries(BUNDLES)) {
  const built = await bundled(name, bundle);
  await put(name, built);
  await putGzipped(name, built, SCRIPT_LIMIT_BYTES);
}
for (const [code, text] of texts) {
  await put(`texts/${code}.json`, text);
  await putGzipped(`texts/${code}.json`, text, WORDS_LIMIT_BYTES);
}
await put("widget.d.mts", await readFile(new URL("src/widget.d.mts", import.meta.url)));

/** By the code of the language, in the order in which the relay has them too. */
async function textFiles() {
  const entryPoints = ["src/languages.ts"];
  const options = { absWorkingDir: import.meta.dirname, write: false, format: "esm" };
  const { outputFiles } = await build({ ...options, entryPoints });
  const script = Buffer.from(outputFiles[0].contents).toString("base64");
  const { LANGUAGES, textsOf } = await import(`data:text/javascript;base64,${script}`);
  const files = Object.entries(LANGUAGES).map(([code, lines]) => {
    return [code, Buffer.from(JSON.stringify(textsOf(lines)))];
  });
  return new Map(files.sort());
}

/** As the relay sends it: packed by zopfli, which takes its time and saves a twenty-fifth. */
async function putGzipped(name, contents, limitBytes) {
  const gzipped = Buffer.from(await gzipAsync(contents, { numiterations: 60 }));
  console.log(`${name}: ${gzipped.length} bytes gzipped (at most ${limitBytes})`);
  if (gzipped.length > limitBytes) fail(`${name} is larger than it may be.`);
  await put(`${name}.gz`, gzipped);
}

async function bundled(name, bundle) {
  const { outputFiles } = await build({
    absWorkingDir: import.meta.dirname,
    ...bundle,
    outfile: `dist/${name}`,
    write: false,
    bundle: true,
    minify: true,
    define: { TEXTS_VERSION: JSON.stringify(version) },
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    plugins: [styleText],
  });
  return Buffer.from(await smaller(outputFiles[0].text));
}

/** What is left over once functions are bundled and inlined, about a fortieth of the whole. */
async function smaller(script) {
  const options = { ecma: 2022, toplevel: true, compress: { passes: 3 } };
  const { code } = await minify(script, options);
  return code;
}

async function put(name, contents) {
  const path = new URL(name, DIST);
  if (!process.argv.includes("--check")) return writeFile(path, contents);
  const committed = await readFile(path).catch(() => Buffer.alloc(0));
  if (!committed.equals(contents)) {
    fail(`dist/${name} is stale: run \`npm run build\` in widget/ and commit the result.`);
  }
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
