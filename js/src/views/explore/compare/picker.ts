/** Chooses a branch; if nobody does, the usual one. */
import { h, setText } from "../../../dom.js";

export interface Choice {
  node: number;
  name: string;
}

/** `usual` says in words what is taken if nobody chooses. */
export function picker(letter: string, usual: string) {
  const first = h("option", { value: "" }, usual);
  const select = h("select", { "aria-label": `Branch ${letter}`, "data-field": `branch-${letter}` }, first);
  const element = h("label", { class: `compare-pick side-${letter.toLowerCase()}` }, h("b", {}, letter), select);
  let drawn = "";
  return {
    element,
    get value(): string {
      return select.value;
    },
    /** The chosen node; `fallback` where none is, or where it is an end no more. */
    node: (fallback: number): number => (select.value ? Number(select.value) : fallback),
    draw(choices: readonly Choice[], fallback: number): void {
      const known = choices.find(({ node }) => node === fallback)?.name;
      setText(first, known ? `${usual}: ${known}` : usual);
      const now = JSON.stringify(choices);
      if (now === drawn) return;
      drawn = now;
      const { value } = select;
      select.replaceChildren(first, ...choices.map(({ node, name }) => h("option", { value: node }, name)));
      select.value = choices.some(({ node }) => String(node) === value) ? value : "";
    },
  };
}
