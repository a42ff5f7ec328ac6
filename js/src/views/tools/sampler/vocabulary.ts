/** A search of the model's vocabulary: a text field with a list below it. */

import type { Named } from "../../../answers/text.js";
import { h, setAttribute, setText, uniqueId } from "../../../dom.js";
import type { Link } from "../../../link.js";
import { label } from "../../../text.js";
import { later } from "../../parts/later.js";

/** Milliseconds without a key before the kernel is asked. */
const WAIT_MS = 180;

export function vocabulary(link: Link, pick: (token: Named) => void) {
  const id = uniqueId("words");
  const input = h("input", {
    class: "entry",
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "find a token…",
    "data-field": "vocabulary",
    "aria-label": "Find a token in the vocabulary",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": id,
  });
  const list = h("ul", { class: "found", id, role: "listbox", "aria-label": "Tokens found", hidden: true });
  const note = h("span", { class: "note", role: "status" });
  const element = h("div", { class: "vocabulary" }, input, list, note);
  let found: Named[] = [];
  let at = -1;

  const ask = later(async (query: string) => {
    const answer = await link.ask<Named[]>({ kind: "vocabulary", query });
    if (query !== input.value) return; // more was written meanwhile
    show(answer.ok ? answer.value : []);
    setText(note, answer.ok ? (found.length ? "" : "no such token") : answer.error.message);
  }, WAIT_MS);

  function show(tokens: Named[]): void {
    found = tokens;
    list.hidden = !found.length;
    setAttribute(input, "aria-expanded", String(!list.hidden));
    list.replaceChildren(
      ...found.map(({ id: token, text }, i) =>
        h(
          "li",
          { role: "option", id: `${id}-${i}`, "aria-selected": "false" },
          h("code", {}, label([text]) || "∅"),
          ` ${token}`,
        ),
      ),
    );
    move(found.length ? 0 : -1);
  }

  function move(to: number): void {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = to;
    const option = list.children[at];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView?.({ block: "nearest" });
    setAttribute(input, "aria-activedescendant", option?.id ?? null);
  }

  function close(): void {
    ask.cancel();
    setText(note, "");
    show([]);
  }

  function take(index: number): void {
    const token = found[index];
    if (!token) return;
    input.value = "";
    close();
    pick(token);
  }

  input.addEventListener("input", () => (input.value ? ask(input.value) : close()));
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const last = found.length - 1;
    if (event.key === "ArrowDown" && found.length) move(at < last ? at + 1 : 0);
    else if (event.key === "ArrowUp" && found.length) move(at > 0 ? at - 1 : last);
    else if (event.key === "Enter") take(at);
    else if (event.key === "Escape" && (input.value || found.length)) {
      if (!found.length) input.value = "";
      close();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  // A press would take the focus, and with it the list.
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = (event.target as Element).closest("li");
    if (option) take([...list.children].indexOf(option));
  });

  return {
    element,
    focus: () => input.focus(),
    draw() {
      input.disabled = !link.reachable || !link.status.model;
      setAttribute(input, "placeholder", link.status.model ? "find a token…" : "load a model to search its vocabulary");
    },
  };
}
