/** Bundles the *.test.ts of a folder, since Node 20 does not read TypeScript, and runs them. */

import { spawnSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const root = import.meta.dirname;
const [folder, ...options] = process.argv.slice(2);
const outdir = join(root, "node_modules/.cache/postern", folder);
const names = (await readdir(join(root, folder))).filter((name) => name.endsWith(".test.ts"));

await rm(outdir, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: names.map((name) => `${folder}/${name}`),
  outdir,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
});
const files = names.map((name) => join(outdir, name.replace(/\.ts$/, ".mjs")));
const args = ["--enable-source-maps", "--test", "--test-timeout=60000", ...options, ...files];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
