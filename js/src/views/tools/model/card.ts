/** What a loaded model's file says: the facts, every entry of its metadata, and its chat template. */

import type { Metadata } from "../../../answers/files.js";
import { h, setText } from "../../../dom.js";
import { bytes, count, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { button } from "../../parts/button.js";
import { copyButton } from "../../parts/copy.js";
import { failureBox } from "../../parts/failure.js";
import { findings } from "./findings.js";

/** Signs of a value that are shown at once. */
const SHORT = 120;

export function card(link: Link) {
  const title = h("h3");
  const odd = findings();
  const failure = failureBox();
  const body = h("div");
  const element = h("section", { class: "model-card", "aria-label": "Model data", hidden: true });
  element.append(title, failure.element, body);
  const known = new Map<number, Metadata>();
  let shown = -1;

  async function show(model: number): Promise<void> {
    if (model === shown) return element.scrollIntoView?.({ block: "nearest" });
    shown = model;
    element.hidden = model < 0;
    if (model < 0) return;
    failure.show(null);
    body.replaceChildren();
    setText(title, "Reading the metadata…");
    const answer = known.get(model) ?? (await fetch(model));
    if (shown !== model || !answer) return;
    setText(title, answer.card.name);
    odd.draw(answer.findings);
    body.replaceChildren(facts(answer.card), odd.element, table(answer.rows), template(answer.template));
  }

  async function fetch(model: number): Promise<Metadata | null> {
    const answer = await link.ask<Metadata>({ kind: "metadata", model });
    if (answer.ok) {
      known.set(model, answer.value);
      return answer.value;
    }
    if (shown !== model) return null;
    shown = -1; // asked again when it is wanted again
    setText(title, "Model data");
    failure.show(answer.error);
    return null;
  }

  return {
    element,
    show,
    get shown() {
      return shown;
    },
  };
}

function facts(data: Metadata["card"]): HTMLElement {
  const rows: [string, string][] = [
    ["architecture", data.architecture],
    ["parameters", `${count(data.parameters)} (${whole(data.parameters)})`],
    ["quantisation", data.quantisation],
    ["context", `${whole(data.n_ctx)}, trained for ${whole(data.n_ctx_train)}`],
    ["vocabulary", whole(data.n_vocab)],
    ["layers", whole(data.n_layer)],
    ["width", whole(data.n_embd)],
    ["heads", whole(data.n_head)],
    ["size", bytes(data.bytes)],
    ["file", data.file],
  ];
  const cells = rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  return h("dl", { class: "card-facts" }, ...cells);
}

function table(rows: Metadata["rows"]): HTMLElement {
  const search = h("input", { class: "entry", type: "search", placeholder: "Search keys and values" });
  search.setAttribute("aria-label", "Search the metadata");
  const found = h("span", { class: "note", role: "status" });
  const lines = rows.map(({ key, type, value }) => {
    const line = h(
      "tr",
      {},
      h("th", { scope: "row" }, ...breakable(key)),
      h("td", { class: "note" }, type),
      h("td", {}, longValue(value)),
    );
    return { line, text: `${key} ${value}`.toLowerCase() };
  });
  const heads = ["Key", "Type", "Value"].map((name) => h("th", { scope: "col" }, name));
  const grid = h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...lines.map(({ line }) => line)));
  const draw = (): void => {
    const sought = search.value.trim().toLowerCase();
    let n = 0;
    for (const { line, text } of lines) {
      line.hidden = !text.includes(sought);
      n += Number(!line.hidden);
    }
    setText(found, sought ? `${n} of ${rows.length}` : `${rows.length} entries`);
  };
  search.addEventListener("input", draw);
  draw();
  const scroll = h("div", { class: "card-table", tabindex: 0, role: "region", "aria-label": "Metadata" }, grid);
  return h("details", { open: true }, h("summary", {}, "Metadata"), h("div", { class: "line" }, search, found), scroll);
}

/** A key that breaks into lines at its dots and underscores, and copies as it is. */
const breakable = (key: string): (Node | string)[] => key.split(/(?<=[._])/).flatMap((part) => [h("wbr"), part]);

/** A value that can be opened and copied where it is long. */
function longValue(value: string): Node {
  if (value.length <= SHORT) return document.createTextNode(value);
  const text = h("span", { class: "long-value" }, `${value.slice(0, SHORT)}…`);
  const more = button("more", () => {
    const open = more.getAttribute("aria-expanded") !== "true";
    more.setAttribute("aria-expanded", String(open));
    setText(more, open ? "less" : "more");
    setText(text, open ? value : `${value.slice(0, SHORT)}…`);
  });
  more.className = "quiet";
  more.setAttribute("aria-expanded", "false");
  return h(
    "span",
    {},
    text,
    " ",
    more,
    copyButton(() => value, "Copy the whole value"),
  );
}

function template(text: string | null): HTMLElement {
  if (text === null) return h("p", { class: "note" }, "A base model: its file has no chat template.");
  const code = h("pre", { class: "card-template", tabindex: 0, role: "region", "aria-label": "Chat template" }, text);
  const copy = copyButton(() => text, "Copy the chat template");
  return h("details", { open: text.length < 4000 }, h("summary", {}, "Chat template"), copy, code);
}
