/** One number of the sampler: name, slider, number, unit, the way back to its default, and a line that explains it. */
import { h, setAttribute, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import type { Settings } from "../../../state.js";
import { button } from "../../parts/button.js";
import { fieldOf, isChanged, type NumberName } from "../../parts/sampling.js";
import { settingInput } from "../../parts/setting.js";

export interface Part {
  readonly element: HTMLElement;
  draw(): void;
}

export function numberRow(link: Link, name: NumberName): Part {
  const field = fieldOf(name);
  const { label, stops, help } = field;
  const number = settingInput(link, field);
  const slider = h("input", {
    type: "range",
    min: 0,
    max: Math.max(0, stops.length - 1),
    step: 1,
    "data-slider": name,
    "aria-label": `${label}, slider`,
    hidden: !stops.length,
  });
  const unit = h("span", { class: "field-unit" });
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

  slider.addEventListener("input", () => number.give(stops[Number(slider.value)]));
  number.input.addEventListener("input", follow);

  /** The slider and the words beside the number say what is written. */
  function follow(): void {
    const value = number.value;
    const meaning = Number.isNaN(value) ? "" : (field.means?.(value) ?? "");
    setText(unit, meaning || (field.unit ?? ""));
    if (!stops.length || Number.isNaN(value)) return;
    slider.value = String(nearest(stops, value));
    setAttribute(slider, "aria-valuetext", meaning || `${value} ${field.unit ?? ""}`.trim());
  }

  return {
    element,
    draw() {
      number.draw();
      slider.disabled = dice.disabled = !link.reachable;
      mark(element, undo, link, name);
      follow();
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

function nearest(stops: readonly number[], value: number): number {
  let best = stops.indexOf(value);
  if (best >= 0) return best;
  best = 0;
  stops.forEach((stop, i) => {
    if (Math.abs(stop - value) < Math.abs(stops[best] - value)) best = i;
  });
  return best;
}
