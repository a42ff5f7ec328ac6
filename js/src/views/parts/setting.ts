/** One number of the settings as a field: what is written in it goes to whoever holds them, who may refuse it. */
import { h, setAttribute, setText } from "../../dom.js";
import type { Failure } from "../../protocol.js";
import type { Command } from "../../requests.js";
import type { Settings } from "../../state.js";
import type { Field } from "./sampling.js";

/** Who has the settings: the kernel, by its link, or a panel that only tries some. */
export interface Holder {
  readonly settings: Partial<Settings>;
  readonly reachable: boolean;
  command(command: Extract<Command, { kind: "set" }>): Promise<Failure | null>;
}

export function settingInput(link: Holder, { name, label, step, help, stops }: Field) {
  const least = Math.min(0, ...stops);
  const input = h("input", {
    type: "text",
    inputmode: "decimal",
    autocomplete: "off",
    "data-field": name,
    "aria-label": label,
    title: help,
    placeholder: name === "seed" ? "any" : "",
  });
  const error = h("span", { class: "field-error", role: "alert" });
  let sent: string | null = null; // on its way to the kernel, or refused by it

  const trait = (): string => show(link.settings[name]);
  const say = (message: string): void => {
    setText(error, message);
    setAttribute(input, "aria-invalid", message ? "true" : null);
  };
  const resize = (): void =>
    input.style.setProperty("--width", `${Math.max(input.value.length || input.placeholder.length, 2) + 0.5}ch`);

  function write(text: string): void {
    input.value = text;
    resize();
  }

  function revert(): void {
    sent = null;
    write(trait());
    say("");
  }

  async function commit(): Promise<void> {
    const text = input.value.trim();
    if (text === (sent ?? trait())) return;
    const value = text === "" && name === "seed" ? null : Number(text);
    if (value !== null && (text === "" || Number.isNaN(value))) return say(`${label} is a number`);
    if (Math.abs(value ?? 0) > Number.MAX_SAFE_INTEGER) return say(`${label} is too large to be exact here`);
    sent = text;
    const failure = await link.command({ kind: "set", name, value });
    if (sent !== text) return; // another value was given meanwhile
    say(failure?.message ?? "");
    if (!failure) sent = null;
  }

  function nudge(direction: number): void {
    const value = Number(input.value || 0) + direction * step;
    write(String(Number(Math.max(least, value).toFixed(4))));
  }

  input.addEventListener("input", resize);
  input.addEventListener("blur", () => void commit());
  input.addEventListener("focus", () => input.select());
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void commit();
    else if (event.key === "Escape" && (input.value !== trait() || error.textContent)) revert();
    else if (event.key === "ArrowUp") nudge(1);
    else if (event.key === "ArrowDown") nudge(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    input,
    error,
    /** The number that stands there; NaN where there is none. */
    get value(): number {
      return input.value.trim() ? Number(input.value) : Number.NaN;
    },
    /** As if a person had written it. */
    give(value: number | null): void {
      write(show(value));
      void commit();
    },
    draw(): void {
      input.disabled = !link.reachable;
      const editing = document.activeElement === input || sent !== null || error.textContent !== "";
      if (!editing && input.value !== trait()) write(trait());
    },
  };
}

/** The same with a slider at its own scale, and words for what a value means. */
export function settingSlider(link: Holder, field: Field) {
  const { name, label, stops } = field;
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
    slider,
    number,
    unit,
    draw(): void {
      number.draw();
      slider.disabled = !link.reachable;
      follow();
    },
  };
}

function nearest(stops: readonly number[], value: number): number {
  let best = stops.indexOf(value);
  if (best >= 0) return best;
  best = 0;
  stops.forEach((stop, i) => {
    if (Math.abs(stop - value) < Math.abs(stops[best] - value)) best = i;
  });
  return best;
}

const show = (value: unknown): string => (value === null || value === undefined ? "" : String(value));
