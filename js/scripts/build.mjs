// Bundles the front end into inferno_widget/static; --watch rebuilds on change, --preview makes build/preview.html instead.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const flag = (name) => process.argv.includes(name);

/** Lets widget.css import "palette": the rules that src/draw/colour.ts makes. */
const palette = {
  name: "palette",
  setup(build) {
    const source = at("../src/draw/colour.ts");
    build.onResolve({ filter: /^palette$/ }, () => ({ path: source, namespace: "palette" }));
    build.onLoad({ filter: /.*/, namespace: "palette" }, async () => {
      const made = await esbuild.build({ entryPoints: [source], bundle: true, format: "esm", write: false });
      const code = Buffer.from(made.outputFiles[0].contents).toString("base64");
      const { sheet } = await import(`data:text/javascript;base64,${code}`);
      return { contents: sheet(), loader: "css", watchFiles: [source] };
    });
  },
};

const common = { bundle: true, format: "esm", target: "es2022", charset: "utf8", logLevel: "info", plugins: [palette] };

async function preview() {
  await esbuild.build({
    ...common,
    entryPoints: [at("preview.ts"), at("../src/widget.css")],
    outdir: at("../build/preview"),
  });
  const read = (path) => readFileSync(at(`../build/preview/${path}`), "utf8");
  // Inlined, because a module may not be loaded from a file: address. A function, because "$&" in the code must stay.
  const html = readFileSync(at("preview.html"), "utf8")
    .replace("/* style */", () => read("src/widget.css"))
    .replace("/* script */", () => read("scripts/preview.js").replaceAll("</script", "<\\/script"));
  writeFileSync(at("../build/preview.html"), html);
}

async function build(watch) {
  const context = await esbuild.context({
    ...common,
    entryPoints: ["widget.ts", "widget.css", "page.ts", "page.css"].map((name) => at(`../src/${name}`)),
    outdir: at("../../inferno_widget/static"),
    minify: true,
  });
  if (watch) return context.watch();
  await context.rebuild();
  await context.dispose();
}

mkdirSync(at("../build"), { recursive: true });
await (flag("--preview") ? preview() : build(flag("--watch")));
