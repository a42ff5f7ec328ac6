/** All heads of all layers, and each layer's attention and MLP as a whole: what is pressed is changed. */

import type { Causal } from "../../../answers/inside.js";
import { h, setAttribute, setText } from "../../../dom.js";
import type { Edit } from "../../../state.js";
import { cellAt, type Place, walked } from "../cells.js";
import { stepClass } from "../legend.js";
import { editAt, type Spot, spotWords } from "./edits.js";

export interface Size {
  n_layer: number;
  n_head: number;
}

/** Columns behind the heads: the parts as a whole. */
const WHOLE = [
  { part: "attention", name: "all" },
  { part: "mlp", name: "MLP" },
] as const;

export const spotAt = ({ row, column }: Place, { n_head }: Size): Spot => ({
  layer: row,
  head: column < n_head ? column : null,
  part: column < n_head ? "attention" : WHOLE[column - n_head].part,
});

/** KL of the heads of a map on a scale from nothing to the most. */
export const share = (kl: number, most: number): number => (most > 0 ? Math.sqrt(Math.max(0, kl) / most) : 0);
export const mostOf = ({ kl }: Causal): number => Math.max(0, ...kl.flat().map((value) => value ?? 0));

/** What a map says of a head, in words; "" where it says nothing. */
export function causalWords(map: Causal | null, { layer, head }: Spot): string {
  const row = map && head !== null ? map.layers.indexOf(layer) : -1;
  const kl = map && head !== null ? map.kl[row]?.[head] : null;
  if (!map || head === null || kl === null || kl === undefined) return "";
  const change = map.change[row][head] ?? 0;
  return `without it: KL ${kl.toFixed(3)} nats, logprob ${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(3)}`;
}

export function headGrid(press: (spot: Spot) => void) {
  const element = h("div", { class: "surgery-grid", role: "grid", "aria-label": "Heads by layer" });
  const told = h("p", { class: "surgery-told note", "data-testid": "spot" });
  const frame = h("div", { class: "surgery-frame" }, element);
  const walk = walked(element, {
    look: (place) => tell(place),
    press: (place) => {
      if (able && size) press(spotAt(place, size));
      tell(place);
    },
  });
  let size: Size | null = null;
  let cells: HTMLElement[][] = [];
  let able = false;

  function make(next: Size): void {
    size = next;
    const names = [...Array.from({ length: next.n_head }, (_, head) => String(head)), ...WHOLE.map(({ name }) => name)];
    cells = Array.from({ length: next.n_layer }, (_, row) => names.map((_, column) => cellAt({ row, column })));
    const rows = cells.map((line, layer) => rowOf("rowheader", `layer ${layer}`, line));
    const heads = names.map((name) => h("span", { role: "columnheader", class: "surgery-name" }, name));
    element.style.setProperty("--heads", String(next.n_head));
    walk.take(cells, { row: 0, column: 0 }, () =>
      element.replaceChildren(...rows.reverse(), rowOf("columnheader", "head", heads)),
    );
  }

  function tell(place: Place | null): void {
    setText(told, (place && cells[place.row]?.[place.column]?.getAttribute("aria-label")) || HINT);
  }

  return {
    element: h("div", {}, frame, told),
    draw(next: Size, edits: readonly Edit[], map: Causal | null, can: boolean): void {
      if (size?.n_layer !== next.n_layer || size.n_head !== next.n_head) make(next);
      able = can;
      const most = map ? mostOf(map) : 0;
      cells.forEach((line, row) => {
        line.forEach((cell, column) => {
          const spot = spotAt({ row, column }, next);
          drawCell(cell, spot, editAt(edits, spot), map, most);
        });
      });
      if (!told.textContent) tell(null);
    },
  };
}

const HINT = "Press a head to change it; press it again to leave it as it is.";

function drawCell(cell: HTMLElement, spot: Spot, edit: Edit | undefined, map: Causal | null, most: number): void {
  const tried = causalWords(map, spot);
  const kl = tried && map && spot.head !== null ? (map.kl[map.layers.indexOf(spot.layer)][spot.head] ?? 0) : 0;
  const off = edit?.kind === "ablate" || (edit?.kind === "scale" && edit.factor === 0);
  const louder = edit?.kind === "scale" && !off ? edit.factor : null;
  const marks = [off && "off", louder !== null && "louder", spot.head === null && "whole", tried && "tried"];
  setAttribute(cell, "class", ["surgery-cell", stepClass(share(kl, most)), ...marks.filter(Boolean)].join(" "));
  setText(cell, louder !== null ? `×${louder}` : off ? "✕" : "");
  const state = off ? "off" : louder !== null ? `times ${louder}` : "as it is";
  setAttribute(cell, "aria-label", [`${spotWords(spot)}: ${state}`, tried].filter(Boolean).join("; "));
}

function rowOf(role: string, name: string, cells: HTMLElement[]): HTMLElement {
  return h("div", { role: "row", class: "surgery-row" }, h("span", { role, class: "surgery-name" }, name), ...cells);
}
