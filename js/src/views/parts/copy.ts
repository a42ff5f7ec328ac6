/** Copying text, also in a page that is not trusted with the clipboard. */
import { h, setText } from "../../dom.js";
import { button } from "./button.js";

/** How long a button says what became of it. */
export const SAID_MS = 1_500;

/** Puts a text onto the clipboard; whether that was allowed. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text); // there only where the page is trusted
    return true;
  } catch {
    return copyFilled(text) || copySelected(text);
  }
}

/** Has the browser copy what is selected, and puts the text in its place: the selection stays. */
function copyFilled(text: string): boolean {
  let done = false;
  const fill = (event: ClipboardEvent): void => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopPropagation();
    done = true;
  };
  document.addEventListener("copy", fill, { capture: true, once: true });
  document.execCommand?.("copy");
  document.removeEventListener("copy", fill, { capture: true });
  return done;
}

/** Selects it, for browsers that copy nothing where nothing is selected. */
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
