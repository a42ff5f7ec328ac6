/** What is odd about a model's file, quietly, in the file's own words and ours: always as text. */

import type { Finding } from "../../../answers/files.js";
import { h } from "../../../dom.js";

/** Shown at once; a file with more is broken anyway. */
const SHOWN = 5;

export function findings() {
  const title = h("summary", { class: "findings-title" });
  const list = h("ul", { class: "findings-list" });
  const element = h("details", { class: "findings", open: true, hidden: true }, title, list);
  return {
    element,
    draw(found: readonly Finding[]): void {
      element.hidden = !found.length;
      title.replaceChildren(warnings(found.length));
      const lines = found.slice(0, SHOWN).map(({ text }) => h("li", {}, text));
      const rest = found.length - lines.length;
      list.replaceChildren(...lines, ...(rest > 0 ? [h("li", {}, `and ${rest} more`)] : []));
    },
  };
}

export const warnings = (n: number): string => (n === 1 ? "1 warning about its file" : `${n} warnings about its file`);
