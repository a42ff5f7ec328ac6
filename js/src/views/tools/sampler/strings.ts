/** Settings that are a list of strings, as chips. */
import { h, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import { button } from "../../parts/button.js";
import { keyedList, type Row } from "../../parts/list.js";
import { USUAL } from "../../parts/sampling.js";
import { fromTyped, toTyped } from "./escapes.js";
import { mark, type Part, resetButton } from "./field.js";

interface Words {
  name: "stop" | "dry_sequence_breakers";
  label: string;
  /** A single one. */
  one: string;
  placeholder: string;
  help: string;
}

export const stopStrings = (link: Link): Part =>
  strings(link, {
    name: "stop",
    label: "stop strings",
    one: "stop string",
    placeholder: "\\n\\n",
    help: "The run ends where one of them appears; \\n is a line break, \\t a tab",
  });

export const breakers = (link: Link): Part =>
  strings(link, {
    name: "dry_sequence_breakers",
    label: "breakers",
    one: "breaker",
    placeholder: "\\n",
    help: "A repetition ends where one of them appears: DRY does not look beyond it; \\n is a line break, \\t a tab",
  });

function strings(link: Link, { name, label, one, placeholder, help }: Words): Part {
  const title = `${label[0].toUpperCase()}${label.slice(1)}`;
  const usual = USUAL[name];
  const list = keyedList<string>(title, (text) => text, chip);
  const input = h("input", {
    class: "entry",
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    placeholder,
    "data-field": name,
    "aria-label": `New ${one}; write \\n for a line break`,
  });
  const add = button("Add", () => void give(), { "data-action": `add-${name}` });
  const undo = resetButton(label, usual.map(toTyped).join(" ") || "none", () => void set(usual));
  const error = h("span", { class: "field-error", role: "alert" });
  const element = h(
    "div",
    { class: "field wide", "data-setting": name },
    h("span", { class: "field-name" }, label),
    h("div", { class: "chips" }, list.element, h("span", { class: "line" }, input, add)),
    undo,
    h("p", { class: "field-help" }, help),
    error,
  );

  const current = (): string[] => link.settings[name] ?? usual;

  async function set(value: string[]): Promise<boolean> {
    const failure = await link.command({ kind: "set", name, value });
    setText(error, failure?.message ?? "");
    return !failure;
  }

  async function give(): Promise<void> {
    const text = fromTyped(input.value);
    if (!text) return input.focus();
    if (current().includes(text)) input.value = "";
    else if (await set([...current(), text])) input.value = "";
    input.focus();
  }

  function chip(text: string): Row<string> {
    const remove = button("✕", () => void drop(text), {
      class: "quiet",
      "data-row": true,
      "aria-label": `Remove the ${one} ${toTyped(text)}`,
    });
    return {
      element: h("li", { class: "chip-text" }, h("code", {}, toTyped(text)), remove),
      draw() {
        remove.disabled = !link.reachable;
      },
    };
  }

  async function drop(text: string): Promise<void> {
    if (await set(current().filter((other) => other !== text))) input.focus();
  }

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void give();
    else if (event.key === "Escape" && (input.value || error.textContent)) {
      input.value = "";
      setText(error, "");
    } else if (event.key === "Backspace" && !input.value && current().length) void set(current().slice(0, -1));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw() {
      list.draw(current());
      input.disabled = add.disabled = !link.reachable;
      mark(element, undo, link, name);
    },
  };
}
