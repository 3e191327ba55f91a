/** Bundles test/*.test.ts, since Node 20 does not read TypeScript, and runs them by node:test. */

import { spawnSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const root = import.meta.dirname;
const outdir = join(root, "node_modules/.cache/postern-tests");
const names = (await readdir(join(root, "test"))).filter((name) => name.endsWith(".test.ts"));

await rm(outdir, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: names.map((name) => `test/${name}`),
  outdir,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
});
const files = names.map((name) => join(outdir, name.replace(/\.ts$/, ".mjs")));
const args = [
  "--enable-source-maps",
  "--test",
  "--test-timeout=60000",
  ...process.argv.slice(2),
  ...files,
];
const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
process.exit(status ?? 1);
