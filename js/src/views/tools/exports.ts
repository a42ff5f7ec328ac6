/** Keep the result, and hand it on. */

import type { Exported } from "../../answers/files.js";
import type { Verified } from "../../answers/text.js";
import { h, setAttribute, setText, uniqueId, type View } from "../../dom.js";
import { whole } from "../../draw/format.js";
import { themeOf } from "../../draw/theme.js";
import type { Link } from "../../link.js";
import { LOOK } from "../../state.js";
import { button } from "../parts/button.js";
import { fileName, wrote } from "../parts/download.js";
import { failureBox } from "../parts/failure.js";
import { pythonLine } from "../parts/python.js";
import { question } from "../parts/question.js";

interface Format {
  text: string;
  suffix: string;
  help: string;
  /** Method of a trace, and which picture it makes. */
  python: string;
  what?: "text" | "distribution";
}

const FORMATS: Record<string, Format> = {
  html: {
    text: "HTML page",
    suffix: "html",
    help: "one file that plays the run anywhere: no kernel, no network",
    python: "to_html",
  },
  png: {
    text: "PNG of the text",
    suffix: "png",
    help: "a picture for slides and messages, in the colours shown",
    python: "to_png",
    what: "text",
  },
  svg: {
    text: "SVG of the text",
    suffix: "svg",
    help: "the same, sharp in print",
    python: "to_svg",
    what: "text",
  },
  png_distribution: {
    text: "PNG of the distribution",
    suffix: "png",
    help: "the alternatives at the selected token",
    python: "to_png",
    what: "distribution",
  },
  svg_distribution: {
    text: "SVG of the distribution",
    suffix: "svg",
    help: "the same, sharp in print",
    python: "to_svg",
    what: "distribution",
  },
  json: {
    text: "JSON",
    suffix: "json",
    help: "every number, for another program; the schema is documented",
    python: "to_json",
  },
  markdown: {
    text: "Markdown",
    suffix: "md",
    help: "the transcript, with the card that says how to make it again",
    python: "to_markdown",
  },
  inferno: {
    text: ".inferno",
    suffix: "inferno",
    help: "the whole run, to open here again and to go on",
    python: "save",
  },
};

export function exports(link: Link): View {
  const group = uniqueId("format");
  const radios = Object.keys(FORMATS).map((name) => h("input", { type: "radio", name: group, value: name }));
  radios[0].checked = true;
  const rows = radios.map((radio) => {
    const { text, help } = FORMATS[radio.value];
    return h("label", { class: "format" }, radio, h("b", {}, text), h("span", { class: "note" }, help));
  });
  const formats = h("div", { class: "formats", role: "radiogroup", "aria-label": "Format" }, ...rows);
  const path = h("input", { class: "entry", "aria-label": "File to write", "data-field": "export" });
  const take = button("Download", () => void write(""), { class: "small primary", "data-action": "download" });
  const save = h("button", { type: "submit", class: "small" }, "Write to this path");
  const said = h("p", { class: "note", role: "status" });
  const failure = failureBox();
  const python = pythonLine("export-code");
  const form = h("form", { class: "line", "aria-label": "Export" }, take, path, save);
  const check = verifier(link);
  const doing = h("div", { class: "export-do" }, form, python.element, said, failure.element, check.element);
  const element = h("div", { class: "tool-exports" }, formats, doing);
  let busy = false;

  const format = (): string => radios.find(({ checked }) => checked)?.value ?? "html";
  const target = (): string => path.value.trim() || path.placeholder;

  async function write(to: string): Promise<void> {
    busy = true;
    draw();
    failure.show(null);
    setText(said, `Making ${FORMATS[format()].text}…`);
    const answer = await link.ask<Exported>({ kind: "export", format: format(), path: to, theme: themeOf(document) });
    busy = false;
    failure.show(answer.ok ? null : answer.error);
    setText(said, answer.ok ? wrote(answer.value, answer.buffers[0]) : "");
    draw();
  }

  function draw(): void {
    const { suffix } = FORMATS[format()];
    const name = link.library.sessions.find(({ current }) => current)?.name ?? "session";
    path.placeholder = `${fileName(name)}.${suffix}`;
    const nothing = !link.store.length;
    take.disabled = save.disabled = busy || nothing || !link.reachable;
    if (nothing) setText(said, "Nothing has been generated yet.");
    else if (said.textContent === "Nothing has been generated yet.") setText(said, "");
    python.draw(preview(link, FORMATS[format()], target()));
    check.draw(nothing);
  }

  formats.addEventListener("change", draw);
  path.addEventListener("input", draw);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!save.disabled) void write(target());
  });
  return { element, draw };
}

/** The line of Python that does the same. */
function preview(link: Link, { python, what }: Format, path: string): string {
  const given = [JSON.stringify(path)];
  if (what === "distribution") given.push('what="distribution"', `at=${selected(link)}`);
  if (what && themeOf(document) === "dark") given.push('theme="dark"');
  if (what === "text")
    for (const name of ["metric", "palette"] as const)
      if (link.look[name] !== LOOK[name]) given.push(`${name}="${link.look[name]}"`);
  if (python === "to_html") given.push(...htmlLook(link));
  return `session.trace.${python}(${given.join(", ")})`;
}

/** Position of the token whose distribution is shown. */
const selected = ({ store, selection }: Link): number =>
  Math.max(0, selection < 0 ? store.length - 1 : store.depth[selection]);

/** How the page is to look, where somebody changed that. */
function htmlLook({ look }: Link): string[] {
  const names = (["metric", "palette", "top_k", "glyphs", "font_size"] as const).filter((n) => look[n] !== LOOK[n]);
  if (!names.length) return [];
  const python = (value: unknown): string =>
    typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value);
  return [`look={${names.map((name) => `"${name}": ${python(look[name])}`).join(", ")}}`];
}

/** Scores the run again with the loaded model, and says how far the numbers agree. */
function verifier(link: Link) {
  const help = "scores every token again with the loaded model and compares the numbers";
  const result = h("p", { class: "verified", role: "status", hidden: true });
  const code = pythonLine("verify-code");
  code.draw("verify(session.trace, model)");
  let nothing = true;
  let epoch = 0; // of the trace that was verified
  const asking = question<Verified>(
    link,
    {
      text: "Verify",
      title: help,
      name: "verify",
      able: () => !nothing,
      hindrance: () => (link.reachable ? "" : link.silence),
    },
    () => {
      result.hidden = true;
      epoch = link.store.epoch;
      return { command: { kind: "verify" }, done: show };
    },
  );
  const line = h("div", { class: "line" }, asking.buttons, h("span", { class: "note" }, help));
  const element = h("section", { class: "export-verify" }, h("h3", {}, "Does it hold?"));
  element.append(line, asking.below, result, code.element);

  function show({ same, compared, largest, tolerance, message }: Verified): void {
    result.hidden = false;
    setAttribute(result, "data-same", String(same));
    const figures = `${whole(compared)} tokens compared, largest difference ${precise(largest)} nats, tolerance ${precise(tolerance)}`;
    result.replaceChildren(h("b", {}, same ? "✓" : "✗"), ` ${message || figures}`);
  }

  return {
    element,
    draw(empty: boolean): void {
      nothing = empty;
      asking.draw();
      if (link.store.epoch !== epoch) result.hidden = true; // it was said of another trace
    },
  };
}

const precise = (value: number): string => (value === 0 ? "0" : value.toPrecision(2));
