/** A list whose rows stay where their keys stay, so that focus and half-written text survive; arrow keys walk it. */
import { h } from "../../dom.js";

export interface Row<T> {
  readonly element: HTMLElement;
  draw(item: T): void;
}

/**
 * Rows of items. What has the attribute `data-row` in a row is its place for the focus: one of them is in the tab
 * order, up, down, Home and End go to the others.
 */
export function keyedList<T>(label: string, key: (item: T) => string | number, make: (item: T) => Row<T>) {
  const element = h("ul", { class: "rows", "aria-label": label });
  let rows = new Map<string | number, Row<T>>();

  const stops = (): HTMLElement[] => [...element.querySelectorAll<HTMLElement>("[data-row]")];
  const settle = (chosen: Element | null): void => {
    const all = stops();
    const stop = chosen && all.includes(chosen as HTMLElement) ? chosen : (all.find((e) => e.tabIndex === 0) ?? all[0]);
    for (const one of all) one.tabIndex = one === stop ? 0 : -1;
  };

  element.addEventListener("focusin", ({ target }) => settle((target as Element).closest("[data-row]")));
  element.addEventListener("keydown", (event) => {
    const all = stops();
    const at = all.indexOf(event.target as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    all[Math.max(0, Math.min(all.length - 1, to))].focus();
    event.preventDefault();
  });

  return {
    element,
    draw(items: readonly T[]): void {
      const next = new Map<string | number, Row<T>>();
      for (const item of items) next.set(key(item), rows.get(key(item)) ?? make(item));
      const at = [...rows.values()].findIndex((row) => row.element.contains(document.activeElement));
      const lost = at >= 0 && !next.has([...rows.keys()][at]);
      for (const [name, row] of rows) if (!next.has(name)) row.element.remove();
      rows = next;
      let place = element.firstElementChild;
      for (const item of items) {
        const row = next.get(key(item)) as Row<T>;
        row.draw(item);
        // Moving an element costs it the focus, so only what is out of place moves.
        if (row.element === place) place = place.nextElementSibling;
        else element.insertBefore(row.element, place);
      }
      settle(null);
      if (!lost) return;
      const all = stops();
      all[Math.min(at, all.length - 1)]?.focus();
    },
  };
}
