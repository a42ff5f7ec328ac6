/** The text, or what of it is marked, for the clipboard: as text, as Markdown, as Python. */

import { h, setText } from "../../dom.js";
import { KINDS } from "../../protocol.js";
import type { Store } from "../../store.js";
import { button } from "../parts/button.js";
import { copyText, SAID_MS } from "../parts/copy.js";
import type { Marks } from "./marks.js";

export type Format = "text" | "Markdown" | "Python";
const FORMATS: readonly Format[] = ["text", "Markdown", "Python"];

/** A fence that the text cannot end. */
function fenced(text: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), ([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}text\n${text}\n${fence}`;
}

/** Prompt and continuation in fences, where nothing of them acts; what a person forced in brackets, as in an export. */
export function markdown(store: Store, from: number, to: number): string {
  const sections: { title: string; text: string }[] = [];
  for (let unit = from; unit < to; unit++) {
    if (store.isControl(unit)) continue;
    const kind = KINDS[store.columns.kind[store.path[store.unitStart[unit]]]];
    const title = kind === "prompt" ? "Prompt" : "What followed";
    if (sections.at(-1)?.title !== title) sections.push({ title, text: "" });
    const text = store.unitString(unit);
    (sections.at(-1) as { text: string }).text += kind === "forced" ? `⟦${text}⟧` : text;
  }
  return `${sections.map(({ title, text }) => `**${title}**\n\n${fenced(text)}`).join("\n\n")}\n`;
}

/** Text and token ids as literals; `model.session(ids)` begins where they end. */
export function python(store: Store, from: number, to: number): string {
  if (to <= from) return 'text = ""\nids = []\n';
  const text = Array.from({ length: to - from }, (_, i) => store.unitCopy(from + i)).join("");
  const [first, last] = [store.unitStart[from], store.unitSpan(to - 1)[1]];
  const ids = Array.from(store.path.subarray(first, last), (node) => store.columns.token_id[node]);
  // A JSON string is a Python string, but for lone halves of pairs, which it escapes.
  return `text = ${JSON.stringify(text)}\nids = [${ids.join(", ")}]  # tokens ${first} to ${last - 1}\n`;
}

export function formatted(store: Store, marks: Pick<Marks, "text" | "units">, format: Format): string {
  if (format === "text") return marks.text;
  return (format === "Markdown" ? markdown : python)(store, ...marks.units);
}

export interface CopyMenu {
  readonly element: HTMLElement;
  close(): void;
}

/** A button with a menu of formats. */
export function copyMenu(store: Store, marks: Marks): CopyMenu {
  const opener = button("copy", () => toggle(menu.hidden !== false), {
    class: "quiet",
    "aria-haspopup": "menu",
    "aria-expanded": "false",
    "data-action": "copy-text",
  });
  const what = h("p", { class: "menu-title", role: "presentation" });
  const items = FORMATS.map((format) =>
    button(`as ${format}`, () => void copy(format), {
      class: null,
      role: "menuitem",
      tabindex: -1,
      "data-format": format,
    }),
  );
  const menu = h("div", { class: "menu", role: "menu", "aria-label": "Copy", hidden: true }, what, ...items);
  const element = h("span", { class: "copy" }, opener, menu);

  function toggle(open: boolean): void {
    menu.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (!open) return;
    what.textContent = marks.range ? "Copy what is marked" : "Copy all";
    items[0].focus();
  }

  async function copy(format: Format): Promise<void> {
    const done = await copyText(formatted(store, marks, format));
    toggle(false);
    opener.focus(); // what had it is gone
    setText(opener, done ? "copied" : "not allowed");
    setTimeout(() => setText(opener, "copy"), SAID_MS);
  }

  // A press must not end what is marked.
  element.addEventListener("mousedown", (event) => event.preventDefault());
  menu.addEventListener("keydown", (event) => {
    const at = items.indexOf(event.target as HTMLButtonElement);
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step) items[(at + step + items.length) % items.length].focus();
    else if (event.key === "Escape") {
      toggle(false);
      opener.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  menu.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !element.contains(relatedTarget as Node)) toggle(false);
  });
  const away = (event: Event): void => {
    if (!event.composedPath().includes(element)) toggle(false);
  };
  document.addEventListener("pointerdown", away);
  return { element, close: () => document.removeEventListener("pointerdown", away) };
}
