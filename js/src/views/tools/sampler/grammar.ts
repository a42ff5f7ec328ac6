/** What the text may be at all: a grammar, in which a mistake is shown at its line. */
import { h, setAttribute, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import { button } from "../../parts/button.js";
import { USUAL } from "../../parts/sampling.js";
import { mark, type Part, resetButton } from "./field.js";

const EXAMPLES: readonly [name: string, grammar: string][] = [
  ["yes or no", 'root ::= " yes" | " no"'],
  [
    "JSON object",
    JSON.stringify(
      {
        type: "object",
        properties: { name: { type: "string" }, age: { type: "integer" } },
        required: ["name", "age"],
      },
      null,
      2,
    ),
  ],
];
const LINES = 4;

export function grammar(link: Link): Part {
  const area = h("textarea", {
    class: "entry code-entry",
    rows: LINES,
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    wrap: "off",
    "data-field": "grammar",
    "aria-label": "Grammar",
    "aria-keyshortcuts": "Control+Enter",
    placeholder: 'root ::= [a-z]+ "."',
  });
  const examples = EXAMPLES.map(([name, text]) =>
    button(name, () => give(text), { "data-action": "grammar-example", title: `An example:\n${text}` }),
  );
  const undo = resetButton("grammar", "none", () => give(USUAL.grammar));
  const error = h("span", { class: "field-error", role: "alert" });
  const culprit = h("code", { class: "code-line", hidden: true });
  const help = "Only text of this shape can come: GBNF, or a JSON schema in braces; empty is off; Ctrl+Enter applies";
  const element = h(
    "div",
    { class: "field wide", "data-setting": "grammar" },
    h("span", { class: "field-name" }, "grammar"),
    h("span", { class: "line" }, ...examples),
    undo,
    area,
    h("p", { class: "field-help" }, help),
    error,
    culprit,
  );
  let sent: string | null = null; // on its way to the kernel, or refused by it

  const trait = (): string => link.settings.grammar ?? USUAL.grammar;

  function say(message: string): void {
    setText(error, message);
    setAttribute(area, "aria-invalid", message ? "true" : null);
    const line = Number(/\bline (\d+)/.exec(message)?.[1]);
    const text = area.value.split("\n")[line - 1];
    culprit.hidden = !text;
    setText(culprit, text ? `${line}: ${text}` : "");
  }

  async function commit(): Promise<void> {
    const text = area.value.trim() ? area.value : "";
    if (text === (sent ?? trait())) return;
    sent = text;
    const failure = await link.command({ kind: "set", name: "grammar", value: text });
    if (sent !== text) return; // another one was given meanwhile
    say(failure?.message ?? "");
    if (!failure) sent = null;
  }

  /** As if a person had written it. */
  function give(text: string): void {
    area.value = text;
    void commit();
  }

  function revert(): void {
    sent = null;
    area.value = trait();
    say("");
  }

  area.addEventListener("blur", () => void commit());
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void commit();
    else if (event.key === "Escape" && (area.value !== trait() || error.textContent)) revert();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw() {
      for (const control of [area, ...examples]) control.disabled = !link.reachable;
      const editing = document.activeElement === area || sent !== null || error.textContent !== "";
      if (!editing && area.value !== trait()) area.value = trait();
      mark(element, undo, link, "grammar");
    },
  };
}
