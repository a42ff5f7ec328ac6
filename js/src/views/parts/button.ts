/** A button, and the way to a drawer from anywhere in the widget. */
import { h } from "../../dom.js";

export function button(
  text: string,
  act: () => void,
  attributes: Record<string, string | number | boolean | null> = {},
): HTMLButtonElement {
  const element = h("button", { type: "button", class: "small", ...attributes }, text);
  element.addEventListener("click", act);
  return element;
}

/** Opens a drawer of the widget that `from` is in, where it has one and it is closed. */
export function openTool(from: Element, name: string): void {
  const tab = from.closest(".inferno-widget")?.querySelector<HTMLButtonElement>(`.tabs [data-tool="${name}"]`);
  if (tab?.getAttribute("aria-selected") === "false") tab.click();
  tab?.focus();
}
