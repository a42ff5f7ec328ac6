/** The distribution at a token as it is and under edits: two bars for each of the most likely tokens. */

import type { Tried } from "../../../answers/inside.js";
import { h, setAttribute, setShare, setText } from "../../../dom.js";
import { percent } from "../../../draw/format.js";
import { keyedList, type Row } from "../../parts/list.js";
import { nameOf } from "../../parts/words.js";

type Moved = Tried["tokens"][number];

/** `cameId`: the token that came there. */
export function pairedBars(cameId: () => number) {
  const list = keyedList<Moved>("The most likely tokens, before and after", ({ id }) => id, row);
  let most = 1;

  function row(): Row<Moved> {
    const name = h("span", { class: "piece" });
    const [before, after] = [h("i", { class: "before" }), h("i", { class: "after" })];
    const [was, is] = [h("span", { class: "percent was" }), h("span", { class: "percent" })];
    const element = h(
      "li",
      { class: "surgery-pair", "data-row": true, tabindex: -1 },
      name,
      h("span", { class: "pair" }, before, after),
      was,
      h("span", { class: "arrow" }, "→"),
      is,
    );
    return {
      element,
      draw(moved) {
        setAttribute(element, "class", `surgery-pair${moved.id === cameId() ? " came" : ""}`);
        setText(name, nameOf(moved));
        setShare(before, moved.before / most);
        setShare(after, moved.after / most);
        setText(was, percent(moved.before));
        setText(is, percent(moved.after));
        const words = `${nameOf(moved)}: ${percent(moved.before)} as it is, ${percent(moved.after)} under the edits`;
        setAttribute(element, "title", words);
      },
    };
  }

  return {
    element: list.element,
    draw({ tokens }: Tried): void {
      most = Math.max(1e-9, ...tokens.flatMap(({ before, after }) => [before, after]));
      list.draw(tokens);
    },
  };
}
