/** The text, or what of it is marked, for the clipboard: as text, as Markdown, as Python. */

import { h } from "../../dom.js";
import { KINDS } from "../../protocol.js";
import type { Store } from "../../store.js";
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
  const text = Array.from({ length: to - from }, (_, i) => store.unitString(from + i)).join("");
  const [first, last] = [store.unitStart[from], store.unitSpan(to - 1)[1]];
  const ids = Array.from(store.path.subarray(first, last), (node) => store.columns.token_id[node]);
  // A JSON string is a Python string, but for lone halves of pairs, which it escapes.
  return `text = ${JSON.stringify(text)}\nids = [${ids.join(", ")}]  # tokens ${first} to ${last - 1}\n`;
}

export function formatted(store: Store, marks: Pick<Marks, "text" | "units">, format: Format): string {
  if (format === "text") return marks.text;
  return (format === "Markdown" ? markdown : python)(store, ...marks.units);
}

/** Whether a text has come onto the clipboard. */
export async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // That is there only where the page is trusted; a copy that the reader asked for can be filled everywhere.
    let done = false;
    const fill = (event: ClipboardEvent): void => {
      event.clipboardData?.setData("text/plain", text);
      event.preventDefault();
      event.stopPropagation();
      done = true;
    };
    document.addEventListener("copy", fill, { capture: true, once: true });
    document.execCommand?.("copy");
    document.removeEventListener("copy", fill, { capture: true });
    return done;
  }
}

export interface CopyMenu {
  readonly element: HTMLElement;
  close(): void;
}

/** A button with a menu of formats. */
export function copyMenu(store: Store, marks: Marks): CopyMenu {
  const button = h(
    "button",
    { type: "button", class: "quiet", "aria-haspopup": "menu", "aria-expanded": "false", "data-action": "copy-text" },
    "copy",
  );
  const what = h("p", { class: "menu-title", role: "presentation" });
  const items = FORMATS.map((format) =>
    h("button", { type: "button", role: "menuitem", tabindex: -1, "data-format": format }, `as ${format}`),
  );
  const menu = h("div", { class: "menu", role: "menu", "aria-label": "Copy", hidden: true }, what, ...items);
  const element = h("span", { class: "copy" }, button, menu);

  function toggle(open: boolean): void {
    menu.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (!open) return;
    what.textContent = marks.range ? "Copy what is marked" : "Copy all";
    items[0].focus();
  }

  async function copy(format: Format): Promise<void> {
    const done = await toClipboard(formatted(store, marks, format));
    toggle(false);
    button.textContent = done ? "copied" : "not allowed";
    setTimeout(() => {
      button.textContent = "copy";
    }, 1_500);
  }

  // A press must not end what is marked.
  element.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", () => toggle(menu.hidden !== false));
  items.forEach((item, i) => {
    item.addEventListener("click", () => void copy(FORMATS[i]));
  });
  menu.addEventListener("keydown", (event) => {
    const at = items.indexOf(event.target as HTMLButtonElement);
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step) items[(at + step + items.length) % items.length].focus();
    else if (event.key === "Escape") {
      toggle(false);
      button.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const away = (event: Event): void => {
    if (!event.composedPath().includes(element)) toggle(false);
  };
  document.addEventListener("pointerdown", away);
  return { element, close: () => document.removeEventListener("pointerdown", away) };
}
