/** Builds dist/widget.js; with --check, tells whether the committed one is what would be built. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const OUTPUT = new URL("dist/widget.js", import.meta.url);
const GZIP_LIMIT_BYTES = 25_000;

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

const { outputFiles } = await build({
  absWorkingDir: import.meta.dirname,
  entryPoints: ["src/main.ts"],
  outfile: "dist/widget.js",
  write: false,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  plugins: [styleText],
});
const built = Buffer.from(outputFiles[0].contents);
const gzipBytes = gzipSync(built, { level: 9 }).length;
console.log(`widget.js: ${built.length} bytes, ${gzipBytes} gzipped (limit ${GZIP_LIMIT_BYTES})`);
if (gzipBytes > GZIP_LIMIT_BYTES) fail("The widget is larger than it may be.");

if (process.argv.includes("--check")) {
  const committed = await readFile(OUTPUT).catch(() => Buffer.alloc(0));
  if (!committed.equals(built)) {
    fail("dist/widget.js is stale: run `npm run build` in widget/ and commit the result.");
  }
} else {
  await mkdir(new URL(".", OUTPUT), { recursive: true });
  await writeFile(OUTPUT, built);
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
