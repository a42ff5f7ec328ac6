/** A number with a slider: both give the same value, and what was refused is said beside them. */
import { h, setAttribute, setText } from "../../dom.js";
import type { Failure } from "../../protocol.js";

export interface NumberOptions {
  label: string;
  name: string;
  min: number;
  max: number;
  step: number;
  unit?: string;
  help?: string;
  /** Equal steps of the slider multiply by the same. */
  log?: boolean;
}

const STEPS = 1000;

/** `give` is called with every value that a person settles on; what it returns is why that was refused. */
export function numberField(options: NumberOptions, give: (value: number) => Promise<Failure | null> | undefined) {
  const { label, name, step, unit = "", help = "", log = false } = options;
  let { min, max } = options;
  let value = Number.NaN;
  let held = value; // what holds, as far as is known
  let sending = 0;
  const slider = h("input", { type: "range", min: 0, max: STEPS, "aria-label": label, "data-slider": name });
  const input = h("input", { type: "text", inputmode: "decimal", "data-field": name, "aria-label": label });
  const error = h("span", { class: "field-error", role: "alert" });
  const element = h(
    "div",
    { class: "number", title: help },
    h("span", { class: "number-name" }, label),
    slider,
    input,
    h("span", { class: "number-unit" }, unit),
    error,
  );

  const round = (raw: number): number =>
    Math.min(max, Math.max(min, Number((Math.round(raw / step) * step).toPrecision(12))));
  const valueAt = (share: number): number => (log ? min * (max / min) ** share : min + share * (max - min));
  const shareOf = (of: number): number => (log ? Math.log(of / min) / Math.log(max / min) : (of - min) / (max - min));

  const say = (message: string): void => {
    setText(error, message);
    setAttribute(input, "aria-invalid", message ? "true" : null);
  };
  const place = (): void => {
    const share = Math.max(0, Math.min(1, shareOf(value) || 0));
    slider.value = String(Math.round(share * STEPS));
    setAttribute(slider, "aria-valuetext", `${value} ${unit}`.trim());
  };

  async function settle(next: number): Promise<void> {
    value = next;
    input.value = String(value);
    say("");
    place();
    sending++;
    const failure = await give(value);
    if (--sending === 0) say(failure?.message ?? "");
  }

  function commit(): void {
    const text = input.value.replaceAll(/[\s,_]/g, "");
    const typed = Number(text);
    if (text === "" || Number.isNaN(typed)) say(`${label} is a number`);
    else if (typed < min || typed > max) say(`${label} lies between ${min} and ${max}`);
    else if (typed !== value) void settle(typed);
    else say("");
  }

  slider.addEventListener("input", () => void settle(round(valueAt(Number(slider.value) / STEPS))));
  input.addEventListener("change", commit);
  input.addEventListener("keydown", (event) => {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (direction) void settle(round(value + direction * step));
    else if (event.key === "Enter") commit();
    else if (event.key === "Escape" && (edited() || error.textContent)) revert();
    else return;
    event.preventDefault();
  });

  const edited = (): boolean => input.value !== String(value);
  function revert(): void {
    value = held;
    input.value = String(value);
    say("");
    place();
  }

  return {
    element,
    get value() {
      return value;
    },
    /** Shows what holds now, unless a person is writing another one, or reads why it was refused. */
    show(next: number): void {
      held = next;
      const busy = sending || error.textContent || (document.activeElement === input && edited());
      if (next !== value && !busy) revert();
    },
    /** As if a person had chosen it. */
    settle,
    limit(low: number, high: number): void {
      [min, max] = [low, high];
      place();
    },
    enable(able: boolean): void {
      input.disabled = slider.disabled = !able;
    },
  };
}
