/** What an answer is of a text: its first word, or what a regular expression finds. */
import { h } from "../../../dom.js";

export function answerBy() {
  const kind = h(
    "select",
    { class: "entry", "data-field": "by" },
    h("option", { value: "word" }, "the first word"),
    h("option", { value: "pattern" }, "a regular expression"),
  );
  const pattern = h("input", {
    class: "entry resample-pattern",
    type: "text",
    spellcheck: "false",
    autocomplete: "off",
    hidden: true,
    "data-field": "pattern",
    "aria-label": "Regular expression of the answer",
    title: "As Python's re has it: the first match, or its first group",
    placeholder: "(princess|dragon)",
  });
  kind.addEventListener("change", () => {
    pattern.hidden = kind.value === "word";
    if (!pattern.hidden) pattern.focus();
  });
  return {
    element: h("span", { class: "asked" }, h("label", {}, "the answer is", kind), pattern),
    /** As the kernel wants it: "" is the first word. */
    get value(): string {
      return kind.value === "word" ? "" : pattern.value;
    },
    /** Why it cannot be asked for, or "". */
    get wrong(): string {
      return kind.value === "pattern" && !pattern.value ? "Write the regular expression that finds the answer." : "";
    },
  };
}

export type By = ReturnType<typeof answerBy>;
