/** What a press on a head does: it switches it off, or makes it louder or softer by a factor. */
import { h, setAttribute } from "../../../dom.js";
import { choice } from "../../parts/choice.js";

const KINDS = {
  off: { title: "switches it off", help: "What the head adds becomes 0" },
  times: { title: "multiplies it by", help: "Louder above 1, softer below, against itself below 0" },
};

export function pressing() {
  const field = h("input", {
    class: "entry surgery-factor",
    type: "text",
    inputmode: "decimal",
    value: "2",
    "data-field": "factor",
    "aria-label": "Factor",
    title: "Louder above 1, softer below, against itself below 0",
  });
  const kind = choice("press", "What a press does", KINDS, (value) => {
    if (value === "times") field.select();
  });
  const element = h(
    "div",
    { class: "line surgery-press" },
    h("span", { class: "note" }, "a press"),
    kind.element,
    field,
  );
  const valid = (): boolean => field.value.trim() !== "" && Number.isFinite(Number(field.value));

  field.addEventListener("input", () => {
    setAttribute(field, "aria-invalid", valid() ? null : "true");
    kind.show("times");
  });

  return {
    element,
    /** 0: off; null: what is written is no number. */
    get factor(): number | null {
      if (kind.value === "off") return 0;
      return valid() ? Number(field.value) : null;
    },
  };
}
