// Bundles the pages' scripts and styles into ../pages/static, each with a hash in its name, and lists them in
// manifest.json: {"front.js": "front-4QIXNHJU.js", …}. The gateway serves what the list names, for ever.
import { build } from "esbuild";
import { copyFile, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";

const ENTRIES = ["front.js", "person.js", "operate.js", "style.css", "icon.svg"];
const out = new URL("../pages/static/", import.meta.url).pathname;

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: new URL(".", import.meta.url).pathname,
  entryPoints: ENTRIES.map((name) => `src/${name}`),
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  legalComments: "eof",
  entryNames: "[name]-[hash]",
  chunkNames: "shared-[hash]",
  metafile: true,
  loader: { ".svg": "copy" },
  logLevel: "warning",
});
const names = Object.entries(metafile.outputs).map(([path, { entryPoint }]) => [
  basename(entryPoint ?? path),
  basename(path),
]);
// What is bundled asks to be given on with its licence.
await copyFile(new URL("node_modules/uplot/LICENSE", import.meta.url), `${out}uplot-LICENSE.txt`);
const draft = `${out}manifest.json.new`;
await writeFile(draft, `${JSON.stringify(Object.fromEntries(names.sort()), null, 2)}\n`);
await rename(draft, `${out}manifest.json`);
