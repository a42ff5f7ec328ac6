/** One cell of the table in full: the tokens that it would say, and its numbers. */
import { h, setAttribute, setShare, setText } from "../../../dom.js";
import { percent } from "../../../draw/format.js";
import type { Store } from "../../../store.js";
import { pieceOf } from "../../parts/words.js";
import type { Place } from "../cells.js";
import { MEASURES, type Table } from "./table.js";

const SHOWN = ["entropy", "kl", "rank"] as const;
const NAMES = { entropy: "entropy", kl: "KL to the end", rank: "rank of the answer" };

export function detail(store: Store) {
  const layer = h("b");
  const behind = h("code", { class: "lens-behind" });
  const list = h("ol", { class: "lens-top", "aria-label": "The most likely tokens there" });
  const values = SHOWN.map((name) => ({ name, value: h("b") }));
  const facts = values.map(({ name, value }) =>
    h("span", { class: "fact", title: MEASURES[name].help }, `${NAMES[name]} `, value),
  );
  const element = h(
    "aside",
    { class: "lens-detail", "aria-label": "One cell" },
    h("p", { class: "lens-where" }, "behind layer ", layer, ", after ", behind),
    list,
    h("p", { class: "lens-facts" }, ...facts),
  );
  return {
    element,
    draw(table: Table, { row, column }: Place): void {
      setText(layer, String(table.lens.layers[row]));
      setText(behind, pieceOf(store, table.lens.nodes[column]));
      const top = table.top(row, column);
      while (list.children.length > top.length) list.lastElementChild?.remove();
      while (list.children.length < top.length) list.append(line());
      top.forEach(({ id, name, probability }, i) => {
        const item = list.children[i] as HTMLElement;
        const [piece, bar, share] = item.children as unknown as HTMLElement[];
        setAttribute(item, "class", id === table.lens.answer[column] ? "answer" : null);
        setText(piece, name);
        setShare(bar, probability);
        setText(share, percent(probability));
      });
      for (const { name, value } of values)
        setText(value, MEASURES[name].format(MEASURES[name].of(table, row, column)));
    },
  };
}

const line = (): HTMLElement => h("li", {}, ...["piece", "bar", "percent"].map((name) => h("span", { class: name })));
