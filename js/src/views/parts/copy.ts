/** Copying text, also in a page that is not trusted with the clipboard. */
import { h, setText } from "../../dom.js";
import { button } from "./button.js";

const SAID_MS = 1_500;

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text); // there only where the page is trusted
    return true;
  } catch {
    return copySelected(text);
  }
}

/** The old way: select it, and let the browser copy what is selected. */
function copySelected(text: string): boolean {
  const before = document.activeElement;
  const area = h("textarea", { readonly: true, "aria-hidden": "true", style: "position:fixed;opacity:0" });
  area.value = text;
  document.body.append(area);
  area.focus({ preventScroll: true });
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
    if (before instanceof HTMLElement) before.focus();
  }
}

/** A quiet button that copies what `text` says then, and tells whether it did. */
export function copyButton(text: () => string, title: string): HTMLButtonElement {
  const copy = button("copy", () => void act(), { class: "quiet", "data-action": "copy", title });
  async function act(): Promise<void> {
    setText(copy, (await copyText(text())) ? "copied" : "select it to copy");
    setTimeout(() => setText(copy, "copy"), SAID_MS);
  }
  return copy;
}
