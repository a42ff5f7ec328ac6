/** One number of the settings as a field: what is written in it goes to the kernel, which may refuse it. */
import { h, setAttribute, setText } from "../../dom.js";
import type { Link } from "../../link.js";
import type { Field } from "./sampling.js";

export function settingInput(link: Link, { name, label, step, help, stops }: Field) {
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

const show = (value: unknown): string => (value === null || value === undefined ? "" : String(value));
