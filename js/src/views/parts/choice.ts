/** One of a few: buttons beside one another, of which one is pressed. */
import { h, setAttribute } from "../../dom.js";
import { button } from "./button.js";

export interface Option {
  title: string;
  help: string;
}

/** `label` stands before them, where it says anything; the first of them holds. */
export function choice<T extends string>(
  name: string,
  label: string,
  options: Record<T, Option>,
  changed: (value: T) => void,
) {
  const entries = Object.entries<Option>(options) as [T, Option][];
  const buttons = entries.map(([value, { title, help }]) =>
    button(title, () => choose(value), { "data-choice": value, title: help }),
  );
  const element = h("span", { class: "choice", role: "group", "aria-label": label, "data-field": name }, ...buttons);
  let [held] = entries[0];

  function choose(value: T): void {
    show(value);
    changed(value);
  }

  function show(value: T): void {
    held = value;
    for (const one of buttons) setAttribute(one, "aria-pressed", String(one.dataset.choice === value));
  }

  show(held);
  return {
    element,
    get value(): T {
      return held;
    },
    show,
  };
}
