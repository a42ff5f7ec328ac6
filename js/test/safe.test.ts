/** What no source of ours may do, whatever it is given: make markup or code of a text, or ask for anything. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../src/", import.meta.url));
const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(?:ts|css)$/.test(name))
  .map((name) => [name.replaceAll("\\", "/"), plain(root + name)] as const);

/** Without comments, which may speak of anything. */
function plain(path: string): string {
  return readFileSync(path, "utf8").replace(/\/\*[\s\S]*?\*\/|(?<![:"'`])\/\/.*$/gm, "");
}

const MARKUP =
  /\b(?:innerHTML|outerHTML|insertAdjacentHTML|setHTML\w*|parseHTML\w*|createContextualFragment|DOMParser|srcdoc)\b|\bdocument\s*\.\s*write|\bv-html\b|dangerously/;
const CODE =
  /\beval\s*\(|\bnew\s+Function\b|\bFunction\s*\(|\bimport\s*\(|\bset(?:Timeout|Interval)\s*\(\s*["'`]|javascript:/;
const HANDLERS = /["'`]on[a-z]{3,}["'`]\s*[:,]|\.on[a-z]+\s*=[^=]/;
const REQUESTS =
  /\b(?:XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|SharedWorker)\b|\bnew\s+(?:Worker|Image|Audio)\b|\bwindow\s*\.\s*(?:open|fetch)\b|globalThis\s*\.\s*fetch\b|\blocation\s*(?:\.\s*\w+\s*)?=[^=]|url\((?!["']?data:)|@import\s+url/;
const BUILT = /querySelector(?:All)?\(\s*`[^`]*\$\{/;

function found(pattern: RegExp, only = /\.(?:ts|css)$/): string[] {
  return sources.flatMap(([name, text]) => {
    const match = only.test(name) ? pattern.exec(text) : null;
    return match ? [`${name}: ${match[0]}`] : [];
  });
}

describe("the sources", () => {
  it("are all looked at", () => {
    expect(sources.length).toBeGreaterThan(100);
    expect(sources.map(([name]) => name)).toContain("dom.ts");
  });

  it("make no markup of a text", () => expect(found(MARKUP)).toEqual([]));

  it("make no code of a text", () => expect(found(CODE, /\.ts$/)).toEqual([]));

  it("name no handler as an attribute", () => expect(found(HANDLERS, /\.ts$/)).toEqual([]));

  it("ask for nothing", () => expect(found(REQUESTS)).toEqual([]));

  it("give no element an address, but a blob to a download", () => {
    const given = sources
      .filter(([name]) => name.endsWith(".ts"))
      .flatMap(([name, text]) => {
        const calls = [...text.matchAll(/\bh\(\s*"\w+",\s*\{[^}]*\}/g)].map(([call]) => call);
        return calls
          .filter((call) => /\b(?:src|href|action|formaction|ping|poster)\b\s*:/.test(call))
          .map((call) => `${name}: ${call}`);
      });
    expect(given).toEqual(['views/parts/download.ts: h("a", { href: url, download: name, hidden: true }']);
  });

  it("put no text into a selector", () => expect(found(BUILT, /\.ts$/)).toEqual([]));
});

describe("the patterns", () => {
  it.each([
    [MARKUP, "element.innerHTML = piece"],
    [MARKUP, "row.insertAdjacentHTML('beforeend', name)"],
    [MARKUP, "document.write(name)"],
    [CODE, "eval(text)"],
    [CODE, "setTimeout('go()', 5)"],
    [HANDLERS, 'h("img", { "onerror": text })'],
    [HANDLERS, "image.onload = go"],
    [REQUESTS, "new Image().src = url"],
    [REQUESTS, "background: url(https://example.org/x.png)"],
    [REQUESTS, "navigator.sendBeacon(url)"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the text of a source
    [BUILT, "root.querySelector(`[data-name='${name}']`)"],
  ])("$1 is found", (pattern, text) => expect(pattern.test(text)).toBe(true));
});
