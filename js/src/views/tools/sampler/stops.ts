/** Strings that end a run, as chips. */
import { h, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import { button } from "../../parts/button.js";
import { keyedList, type Row } from "../../parts/list.js";
import { fromTyped, toTyped } from "./escapes.js";
import { mark, type Part, resetButton } from "./field.js";

export function stopStrings(link: Link): Part {
  const list = keyedList<string>("Stop strings", (text) => text, chip);
  const input = h("input", {
    class: "entry",
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "\\n\\n",
    "data-field": "stop",
    "aria-label": "New stop string; write \\n for a line break",
  });
  const add = button("Add", () => void give(), { "data-action": "add-stop" });
  const undo = resetButton("stop strings", "none", () => void set([]));
  const error = h("span", { class: "field-error", role: "alert" });
  const element = h(
    "div",
    { class: "field wide", "data-setting": "stop" },
    h("span", { class: "field-name" }, "stop strings"),
    h("div", { class: "chips" }, list.element, h("span", { class: "line" }, input, add)),
    undo,
    h("p", { class: "field-help" }, "The run ends where one of them appears; \\n is a line break, \\t a tab"),
    error,
  );

  const strings = (): string[] => link.settings.stop ?? [];

  async function set(value: string[]): Promise<boolean> {
    const failure = await link.command({ kind: "set", name: "stop", value });
    setText(error, failure?.message ?? "");
    return !failure;
  }

  async function give(): Promise<void> {
    const text = fromTyped(input.value);
    if (!text) return input.focus();
    if (strings().includes(text)) input.value = "";
    else if (await set([...strings(), text])) input.value = "";
    input.focus();
  }

  function chip(text: string): Row<string> {
    const remove = button("✕", () => void drop(text), {
      class: "quiet",
      "data-row": true,
      "aria-label": `Remove the stop string ${toTyped(text)}`,
    });
    return { element: h("li", { class: "chip-text" }, h("code", {}, toTyped(text)), remove), draw() {} };
  }

  async function drop(text: string): Promise<void> {
    if (await set(strings().filter((other) => other !== text))) input.focus();
  }

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void give();
    else if (event.key === "Escape" && (input.value || error.textContent)) {
      input.value = "";
      setText(error, "");
    } else if (event.key === "Backspace" && !input.value && strings().length) void set(strings().slice(0, -1));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw() {
      list.draw(strings());
      input.disabled = add.disabled = !link.reachable;
      mark(element, undo, link, "stop");
    },
  };
}
