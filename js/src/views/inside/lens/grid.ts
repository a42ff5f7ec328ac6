/** The table: a column for each token that was read, a row for each layer; what comes in is below, what comes out above. */
import { h, setAttribute, setText } from "../../../dom.js";
import { whole } from "../../../draw/format.js";
import type { Store } from "../../../store.js";
import { pieceOf } from "../../parts/words.js";
import { cellAt, type Place, walked } from "../cells.js";
import { stepClass } from "../legend.js";
import { cameAt } from "./line.js";
import { MEASURES, type MeasureName, type Table } from "./table.js";

export interface GridOptions {
  /** A cell that is looked at; null: none is any more. */
  look: (place: Place | null) => void;
  choose: (column: number) => void;
}

/** Pixels of a column at least, and of the names of the layers. */
const COLUMN = 85;
const NAMES = 76;
/** Layers that are so few that their rows may be higher. */
const FEW = 8;
/** Columns where a page cannot be measured. */
const USUAL = 8;

export function lensGrid(store: Store, { look, choose }: GridOptions) {
  const element = h("div", { class: "lens-grid", role: "grid", "aria-label": "What it would say behind each layer" });
  const frame = h("div", { class: "lens-frame" }, element);
  const walk = walked(element, { look, press: ({ column }) => choose(column) });
  let table: Table | null = null;
  let cells: HTMLElement[][] = []; // by row of the table: the first layer first
  let heads: HTMLElement[][] = []; // by column: what came, what was read

  element.addEventListener("click", ({ target }) => {
    const head = (target as Element).closest<HTMLElement>("[role=columnheader][data-column]");
    if (head) choose(Number(head.dataset.column));
  });

  function make(next: Table, chosen: number): void {
    const columns = Array.from({ length: next.columns }, (_, column) => column);
    const head = (column: number) => h("span", { role: "columnheader", class: "lens-head", "data-column": column });
    heads = columns.map((column) => [head(column), head(column)]);
    cells = next.lens.layers.map((_, row) =>
      columns.map((column) => cellAt({ row, column }, next.top(row, column)[0].name)),
    );
    const rows = cells.map((line, row) => rowOf(`layer ${next.lens.layers[row]}`, "rowheader", line));
    const [above, below] = ["then came", "it read"].map((name, i) =>
      rowOf(
        name,
        "columnheader",
        heads.map((pair) => pair[i]),
      ),
    );
    above.classList.add("above");
    below.classList.add("below");
    element.classList.toggle("few", next.rows <= FEW);
    element.style.setProperty("--columns", String(next.columns));
    walk.take(cells, { row: next.decided(chosen), column: chosen }, () =>
      element.replaceChildren(above, ...rows.reverse(), below),
    );
    const kept = table ? frame.scrollWidth : 0;
    table = next;
    if (!kept || chosen === next.columns - 1) frame.scrollLeft = frame.scrollWidth;
  }

  function paint(shown: Table, measure: MeasureName, chosen: number): void {
    const { of, share } = MEASURES[measure];
    cells.forEach((line, row) => {
      line.forEach((cell, column) => {
        const marks = [row === shown.decided(column) && "decided", column === chosen && "chosen"].filter(Boolean);
        setAttribute(cell, "class", ["lens-cell", stepClass(share(of(shown, row, column))), ...marks].join(" "));
        setAttribute(cell, "aria-label", spoken(shown, row, column, store));
      });
    });
    heads.forEach(([came, read], column) => {
      const node = shown.lens.nodes[column];
      const next = cameAt(store, shown, column);
      setText(read, pieceOf(store, node));
      setText(came, next < 0 ? "…" : pieceOf(store, next));
      setAttribute(
        came,
        "title",
        next < 0 ? "Nothing has come here yet" : `token ${whole(store.depth[next])}: click selects it`,
      );
      setAttribute(read, "title", `token ${whole(store.depth[node])}, the last that was read`);
      for (const head of [came, read]) head.classList.toggle("chosen", column === chosen);
    });
  }

  return {
    element: frame,
    /** Columns that fit beside one another. */
    get room(): number {
      const width = frame.parentElement?.clientWidth ?? 0;
      return width ? Math.max(3, Math.floor((width - NAMES) / COLUMN)) : USUAL;
    },
    draw(next: Table, measure: MeasureName, chosen: number): void {
      if (next !== table) make(next, chosen);
      paint(next, measure, chosen);
    },
    focus: walk.focus,
  };
}

function rowOf(name: string, role: string, cells: HTMLElement[]): HTMLElement {
  return h("div", { role: "row", class: "lens-row" }, h("span", { role, class: "lens-name" }, name), ...cells);
}

/** A cell in one sentence. */
function spoken(table: Table, row: number, column: number, store: Store): string {
  const { layers, nodes } = table.lens;
  const [{ name }] = table.top(row, column);
  const said = Object.values(MEASURES).map(({ title, of, format }) => `${title} ${format(of(table, row, column))}`);
  const decided = row === table.decided(column) ? ", decided from here on" : "";
  return `layer ${layers[row]} behind ${pieceOf(store, nodes[column])}: ${name}, ${said.join(", ")}${decided}`;
}
