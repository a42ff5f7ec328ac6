/** Writing a name in its place: Enter and leaving the field keep it, Escape does not. */
import { h } from "../../dom.js";

export interface Naming {
  /** It stands in the name's place now, or does not any more. */
  writing: (on: boolean) => void;
  /** Gets the focus back. */
  back: () => HTMLElement;
  /** Hears of a name that is another one. */
  keep: (name: string) => void;
}

export function nameEntry(attributes: Record<string, string>, { writing, back, keep }: Naming) {
  const entry = h("input", { ...attributes, hidden: true });
  let before = "";

  function leave(kept: boolean): void {
    if (entry.hidden) return;
    const wanted = entry.value.trim();
    const focused = document.activeElement === entry;
    entry.hidden = true;
    writing(false);
    if (focused) back().focus();
    if (kept && wanted !== before) keep(wanted);
  }

  entry.addEventListener("blur", () => leave(true));
  entry.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    leave(event.key === "Enter");
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element: entry,
    /** Begins with the name that there is. */
    edit(name: string): void {
      before = entry.value = name;
      entry.hidden = false;
      writing(true);
      entry.focus();
      entry.select();
    },
  };
}
