/** All heads of a layer as small maps: a look at each, and the way to the one that is of interest. */

import type { Heads } from "../../../answers/inside.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { allOf, ORDERS, type Order, ordered, tellingOf } from "./heads.js";
import { colours, LEAST, type MapLook, pixels, put, reach } from "./paint.js";

/** What the kernel sent: the numbers, and the maps one behind the other. */
export interface Maps {
  heads: Heads;
  bytes: Uint8Array;
}

interface Cell {
  element: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  name: HTMLElement;
  statistic: HTMLElement;
}

export function headGrid(choose: (head: number) => void) {
  const title = h("h3");
  const sort = h(
    "select",
    { class: "entry", "aria-label": "Order of the heads", "data-field": "heads-order" },
    ...Object.entries(ORDERS).map(([value, { text, help }]) => h("option", { value, title: help }, text)),
  );
  const note = h("p", { class: "note" });
  const grid = h("div", { class: "attention-grid", role: "group", "data-testid": "heads" });
  const element = h(
    "section",
    { class: "attention-heads" },
    h("div", { class: "line" }, title, h("label", { class: "attention-sort" }, "by", sort)),
    grid,
    note,
  );
  const cells: Cell[] = [];
  let maps: Maps | null = null;
  let order: Order = "number";
  let shown: number[] = []; // heads, in their order on the page
  let painted: Maps | null = null; // and what the pictures show
  let dressed = "";

  function make(): Cell {
    const canvas = h("canvas", { "aria-hidden": "true" });
    const name = h("b");
    const statistic = h("span");
    const element = h("button", { type: "button", class: "attention-head" }, canvas, name, statistic);
    element.addEventListener("click", () => choose(Number(element.dataset.head)));
    return { element, canvas, name, statistic };
  }

  function paint({ theme, palette, skip }: MapLook): void {
    const now = [theme, palette, skip, shown.join()].join();
    if (!maps || (maps === painted && now === dressed)) return;
    [painted, dressed] = [maps, now];
    const { size } = maps.heads;
    for (const [i, head] of shown.entries()) {
      const { canvas } = cells[i];
      canvas.width = canvas.height = size;
      const part = {
        map: maps.bytes.subarray(head * size * size, (head + 1) * size * size),
        size,
        first: skip ? 1 : 0,
      };
      put(canvas, pixels(part, size, colours(theme, palette, reach(part))), size, 0, 0);
    }
  }

  function drawCells(heads: Heads, chosen: number): void {
    while (cells.length < heads.n_head) cells.push(make());
    cells.length = heads.n_head;
    shown = ordered(heads, order);
    for (const [i, head] of shown.entries()) {
      const { element: button, name, statistic } = cells[i];
      button.dataset.head = String(head);
      button.tabIndex = head === (shown.includes(chosen) ? chosen : shown[0]) ? 0 : -1;
      setText(name, `head ${head}`);
      setText(statistic, tellingOf(heads, head, order));
      setAttribute(button, "aria-pressed", String(head === chosen));
      setAttribute(button, "title", allOf(heads, head));
    }
    if (grid.childElementCount !== cells.length) grid.replaceChildren(...cells.map(({ element: button }) => button));
  }

  /** Maps in a row of the page. */
  function columns(): number {
    const top = cells[0]?.element.offsetTop;
    const next = cells.findIndex(({ element: button }) => button.offsetTop !== top);
    return next < 0 ? cells.length : next;
  }

  function focus(at: number): void {
    const to = cells[Math.max(0, Math.min(cells.length - 1, at))]?.element;
    if (!to) return;
    for (const { element: button } of cells) button.tabIndex = button === to ? 0 : -1;
    to.focus();
  }

  grid.addEventListener("keydown", (event) => {
    const at = cells.findIndex(({ element: button }) => button === event.target);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
    const step = steps[event.key as keyof typeof steps];
    const end = { Home: 0, End: cells.length - 1 }[event.key];
    if (at < 0 || (step === undefined && end === undefined)) return;
    if (end !== undefined) focus(end);
    else if (at + step >= 0 && at + step < cells.length) focus(at + step);
    event.preventDefault();
  });

  let redraw = (): void => {};
  sort.addEventListener("change", () => {
    order = sort.value as Order;
    redraw();
  });

  return {
    element,
    /** `chosen`: the head whose row is shown; -1: none. */
    draw(next: Maps, chosen: number, look: MapLook): void {
      maps = next;
      redraw = () => this.draw(next, chosen, look);
      const { layer, length, size, n_head } = next.heads;
      setText(title, `All ${n_head} heads of layer ${layer}`);
      setAttribute(grid, "aria-label", `Heads of layer ${layer}. Arrow keys move, Enter enlarges.`);
      const pooled = size < length ? ` Each point is the largest of ${Math.ceil(length / size)} tokens square.` : "";
      const scaled = look.skip
        ? ` Each map’s colours reach to its own largest, ${Math.round(100 * LEAST)}% at least, without the first token.`
        : "";
      setText(note, `${ORDERS[order].help}.${pooled}${scaled}`);
      drawCells(next.heads, chosen);
      paint(look);
    },
    /** Puts the focus on a head. */
    focus: (head: number): void => focus(shown.indexOf(head)),
  };
}
