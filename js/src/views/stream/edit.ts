/** The text as a text: changed anywhere, it becomes a branch at the first token that differs. */

import { h, setText } from "../../dom.js";
import type { Link } from "../../link.js";
import type { State } from "../../protocol.js";
import type { Store } from "../../store.js";
import { failureBox } from "../parts/failure.js";

/** States in which the path can be changed. */
const EDITABLE: readonly State[] = ["prefill", "generating", "paused", "ready", "error"];

export interface Editor {
  readonly element: HTMLFormElement;
  readonly open: boolean;
  /** Whether there is a text to change, and somebody to do it. */
  readonly able: boolean;
  /** Takes the place of the text, with the caret where the selected token begins. */
  start(): Promise<void>;
}

/** `opened`: it was opened or closed. */
export function editor(link: Link, opened: () => void): Editor {
  const area = h("textarea", {
    "aria-label": "Text of the run",
    title: "Ctrl+Enter applies, Escape cancels",
    spellcheck: "false",
    "data-field": "edit-text",
  });
  const apply = h("button", { type: "submit", class: "small primary", title: "Ctrl+Enter" }, "Apply");
  const cancel = h("button", { type: "button", class: "small", title: "Escape" }, "Cancel");
  apply.dataset.action = "apply-edit";
  cancel.dataset.action = "cancel-edit";
  const note = h("span", { class: "note", role: "status" });
  const failure = failureBox();
  const foot = h("div", { class: "line" }, note, cancel, apply);
  const element = h("form", { class: "stream-edit", "aria-label": "Edit the text", hidden: true });
  element.append(area, failure.element, foot);
  let before = "";

  function busy(words: string): void {
    area.readOnly = apply.disabled = words !== "";
    setText(
      note,
      words || "A new branch begins at the first token that differs; what is new is marked as your choice.",
    );
  }

  function show(on: boolean): void {
    element.hidden = !on;
    opened();
  }

  async function start(): Promise<void> {
    if (!element.hidden) return;
    failure.show(null);
    area.value = "";
    busy("Fetching the text…");
    show(true);
    area.focus();
    const answer = await link.ask<string>({ kind: "text" });
    if (element.hidden) return;
    busy("");
    apply.disabled = !answer.ok;
    failure.show(answer.ok ? null : answer.error);
    if (!answer.ok) return;
    before = area.value = answer.value;
    const caret = caretOf(link.store, before, link.selection);
    area.setSelectionRange(caret, caret);
    // Browsers bring the caret into view when it gets the focus.
    area.blur();
    area.focus();
  }

  async function finish(): Promise<void> {
    if (apply.disabled) return;
    if (area.value === before) return leave();
    busy("Reading what is new…");
    const failed = await link.command({ kind: "edit", text: area.value });
    busy("");
    failure.show(failed);
    if (!failed) leave();
    else area.focus();
  }

  function leave(): void {
    if (element.hidden) return;
    show(false);
  }

  element.addEventListener("submit", (event) => {
    event.preventDefault();
    void finish();
  });
  cancel.addEventListener("click", leave);
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void finish();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    get open() {
      return !element.hidden;
    },
    get able() {
      return link.reachable && !link.recorded && link.store.length > 0 && EDITABLE.includes(link.able);
    },
    start,
  };
}

/** Where a token begins in the text of the path; its end where no token is meant. */
export function caretOf(store: Store, text: string, node: number): number {
  if (!store.onPath(node)) return text.length;
  const unit = store.unitOf[store.depth[node]];
  let at = 0;
  for (let i = 0; i < unit; i++)
    for (const part of store.unitText(i)) {
      // A byte that is no text stands as \xf0; a token that the text does not have, such as its end, takes no place.
      const written = typeof part === "number" ? `\\x${part.toString(16).padStart(2, "0")}` : part;
      if (text.startsWith(written, at)) at += written.length;
    }
  return at;
}
