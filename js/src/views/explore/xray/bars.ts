/** The candidates at one stage as bars side by side: before as an outline, after filled. */
import { h, setAttribute, setShare, setText } from "../../../dom.js";
import { percent } from "../../../draw/format.js";
import { nameOf } from "../../parts/words.js";
import type { Cell, Column } from "./columns.js";

/** A row of the table: a cell for each candidate, and one for all others. */
export interface Line {
  cells: readonly Cell[];
  others: Cell;
}

/** Names of the columns; `came`: the token that came, `would`: the one that these settings take. */
export function columnHeads() {
  const corner = h("span", { role: "columnheader", class: "hidden" }, "stage");
  const row = h("div", { class: "xray-names xray-bars", role: "row" }, corner);
  return {
    element: row,
    draw(columns: readonly Column[], came: number, would: number): void {
      const names = columns.map((column, i) =>
        h(
          "span",
          { role: "columnheader", title: nameOf(column), class: markOf(i, column.id, came, would) },
          nameOf(column),
        ),
      );
      row.replaceChildren(corner, ...names, h("span", { role: "columnheader", class: "others" }, "others"));
    },
  };
}

/** Bars that stay where their columns stay, so that they move when a setting does. */
export function barRow() {
  const element = h("div", { class: "xray-bars", role: "presentation" });
  let bars: ReturnType<typeof bar>[] = [];
  return {
    element,
    draw(line: Line, columns: readonly Column[], scale: number, came: number, would: number): void {
      const wanted = columns.length + 1;
      if (bars.length !== wanted) {
        bars = Array.from({ length: wanted }, bar);
        element.replaceChildren(...bars.map((one) => one.element));
      }
      columns.forEach((column, i) => {
        bars[i].draw(line.cells[i], nameOf(column), scale, markOf(i, column.id, came, would));
      });
      bars[columns.length].draw(line.others, "all others", scale, "others");
    },
  };
}

function bar() {
  const [before, after] = [h("i", { class: "before" }), h("i", { class: "after" })];
  const number = h("span", { class: "share", "aria-hidden": "true" });
  const words = h("span", { class: "hidden" });
  const element = h("span", { role: "cell" }, h("span", { class: "tower" }, before, after), number, words);
  return {
    element,
    draw(cell: Cell, name: string, scale: number, mark: string): void {
      const { fate } = cell;
      setAttribute(element, "class", `xray-bar ${fate} ${mark}`.trim());
      setShare(before, Math.min(1, cell.before / scale));
      setShare(after, Math.min(1, cell.after / scale));
      setText(number, fate === "kept" ? percent(cell.after) : fate === "removed" ? "✕" : "");
      setText(words, wordsOf(cell));
      setAttribute(element, "title", `${name}: ${wordsOf(cell)}`);
    },
  };
}

function wordsOf({ fate, before, after, reason }: Cell): string {
  const [from, to] = [percent(before), percent(after)];
  if (fate === "removed") return `${from}, removed${reason ? `: ${reason}` : ""}`;
  if (fate === "gone") return "removed before";
  if (fate === "unlisted") return "among the others";
  return from === to ? to : `${from} → ${to}`;
}

/** Columns from this one on are left out where there is little room. */
const LATE = 7;

const markOf = (i: number, id: number, came: number, would: number): string =>
  [i >= LATE && "late", id === came && "came", id === would && "would"].filter(Boolean).join(" ");
