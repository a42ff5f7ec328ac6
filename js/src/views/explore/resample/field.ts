/** A field for a whole number of a question. */
import { h } from "../../../dom.js";

export function wholeField(name: string, label: string, value: number, least = 1) {
  const input = h("input", { class: "entry", type: "text", inputmode: "numeric", value, "data-field": name });
  return {
    element: h("label", {}, label, input),
    get value(): number {
      return Number(input.value);
    },
    get wrong(): string {
      const number = Number(input.value);
      return Number.isInteger(number) && number >= least ? "" : `${label} is a whole number from ${least} on.`;
    },
  };
}
