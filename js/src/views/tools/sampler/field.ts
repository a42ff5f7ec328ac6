/** One number of the sampler: name, slider, number, unit, the way back to its default, and a line that explains it. */
import { h } from "../../../dom.js";
import type { Link } from "../../../link.js";
import type { Settings } from "../../../state.js";
import { button } from "../../parts/button.js";
import { fieldOf, isChanged, type NumberName } from "../../parts/sampling.js";
import { settingSlider } from "../../parts/setting.js";

export interface Part {
  readonly element: HTMLElement;
  draw(): void;
}

export function numberRow(link: Link, name: NumberName): Part {
  const field = fieldOf(name);
  const { label, stops, help } = field;
  const { slider, number, unit, draw } = settingSlider(link, field);
  const undo = resetButton(label, shown(field.usual), () => number.give(field.usual));
  const dice = button("new dice", () => number.give(crypto.getRandomValues(new Uint32Array(1))[0]), {
    "data-action": "dice",
    title: "Take a seed by chance",
    hidden: name !== "seed",
  });
  const element = h(
    "div",
    { class: "field", "data-setting": name },
    h("span", { class: "field-name" }, field.short ?? label),
    stops.length ? slider : dice,
    h("span", { class: "field-value" }, number.input, unit),
    undo,
    h("p", { class: "field-help" }, help),
    number.error,
  );

  return {
    element,
    draw() {
      draw();
      dice.disabled = !link.reachable;
      mark(element, undo, link, name);
    },
  };
}

export function resetButton(label: string, usual: string, act: () => void): HTMLButtonElement {
  const title = `Back to the default: ${usual}`;
  return button("↺", act, { class: "quiet reset", title, "aria-label": `Reset ${label} to its default, ${usual}` });
}

/** Shows whether a setting differs from its default, and lets it be taken back. */
export function mark(element: HTMLElement, undo: HTMLButtonElement, link: Link, name: keyof Settings): void {
  const differs = isChanged(link.settings, name);
  element.classList.toggle("changed", differs);
  // It keeps its room, so that nothing moves when a value changes.
  undo.style.visibility = differs ? "" : "hidden";
  undo.disabled = !link.reachable;
}

const shown = (value: number | null): string => (value === null ? "none" : String(value));
