/** What it would say if it stopped behind a layer. */

import type { LensTable } from "../../answers/inside.js";
import { h, setAttribute, setText, type View } from "../../dom.js";
import type { Link } from "../../link.js";
import { button } from "../parts/button.js";
import { choice } from "../parts/choice.js";
import { failureBox } from "../parts/failure.js";
import { pythonLine } from "../parts/python.js";
import { obstacle, selected } from "../parts/words.js";
import type { Place } from "./cells.js";
import { fresh, type Told } from "./fresh.js";
import { stepLegend } from "./legend.js";
import { below } from "./lens/below.js";
import { detail } from "./lens/detail.js";
import { lensGrid } from "./lens/grid.js";
import { cameAt } from "./lens/line.js";
import { MEASURES, type MeasureName, Table } from "./lens/table.js";

const WHAT =
  "Each cell reads the stream behind a layer as if the model ended there: the last norm and the output matrix, nothing " +
  "trained for it. It shows what could be said there, not all that is known there: early layers do not speak in tokens.";
const FIRST = "This is the first token: nothing was read before it. Select a later one.";
const BUSY = "Reading the layers …";
/** Tokens that a cell names. */
const TOP = 10;

export function lens(link: Link): View {
  const { store } = link;
  const asking = fresh<LensTable>(link, draw);
  const note = h("p", { class: "note", role: "status" });
  const failure = failureBox();
  const again = button("Try again", retry, { "data-action": "lens-again" });
  const measures = choice("lens-measure", "Colour of the cells", MEASURES, draw);
  const legend = stepLegend();
  const earlier = button("Earlier tokens", more, {
    "data-action": "lens-earlier",
    title: "Show as many columns again",
  });
  const grid = lensGrid(store, { look, choose });
  const cell = detail(store);
  const under = below(link, (row) => grid.focus({ row, column: chosen }));
  const python = pythonLine("lens-code");
  const controls = h(
    "div",
    { class: "line lens-controls" },
    h("span", { class: "note" }, "colour"),
    measures.element,
    legend.element,
    earlier,
  );
  const body = h(
    "div",
    { class: "lens-body" },
    controls,
    h("div", { class: "lens-table" }, h("div", { class: "lens-room" }, grid.element), cell.element),
    python.element,
    under.element,
  );
  const what = h("p", { class: "note lens-what" }, WHAT);
  const element = h("div", { class: "inside-lens" }, what, note, failure.element, again, body);
  let shown: { told: Told<LensTable>; table: Table } | null = null;
  let chosen = 0; // the column that led to the selected token
  let room = 0; // columns that are wanted of the tokens that are shown
  let wanted = 0; // columns that were asked for; fewer come where the text slid
  let ahead = -1; // the newest token, where what comes behind it is looked at

  function retry(): void {
    asking.forget();
    under.forget();
    draw();
  }

  function more(): void {
    room = (shown?.table.columns ?? 0) + grid.room;
    draw();
  }

  function look(place: Place | null): void {
    if (shown) cell.draw(shown.table, place ?? { row: shown.table.decided(chosen), column: chosen });
  }

  /** Selects the token that a column led to; where none has come yet, the selection goes, and the column is looked at. */
  function choose(column: number): void {
    if (!shown) return;
    const came = cameAt(store, shown.table, column);
    ahead = came < 0 ? shown.table.lens.nodes[column] : -1;
    link.select(came);
    draw();
  }

  /** The token that was read before the selected one, or before the newest; -1: there is none. */
  function readNode(): number {
    const tip = store.length - 1;
    const at = selected(link);
    if (at < 0 && ahead >= 0 && ahead === store.at(tip)) return ahead;
    return store.at((at < 0 ? tip : at) - 1);
  }

  /** The last column of the table: that of the newest token, where it is near, so that one sees what would come. */
  function lastNode(node: number): number {
    const tip = store.at(store.length - 1);
    return store.depth[tip] === store.depth[node] + 1 ? tip : node;
  }

  /** What an answer depends on besides its node: the tree, what is changed inside, and which way was taken from there. */
  const stateAt = (node: number): string =>
    JSON.stringify([store.epoch, node, store.at(store.depth[node] + 1), link.marks.edits]);

  /** Whether the table that is there has a node's column, as things are now. */
  function covers({ told: { key, value } }: { told: Told<LensTable> }, node: number): boolean {
    const last = value.nodes[value.nodes.length - 1];
    return value.nodes.includes(node) && value.nodes.every((one) => store.onPath(one)) && key.startsWith(stateAt(last));
  }

  function ask(node: number): void {
    body.hidden = false; // what is hidden has no width
    const covered = shown !== null && covers(shown, node);
    const last = shown && covered ? (shown.told.value.nodes.at(-1) as number) : lastNode(node);
    const n = Math.min(covered ? room : grid.room, store.depth[last] + 1);
    if (shown && covered && shown.told.value.nodes.length >= n) return;
    wanted = n;
    asking.look(`${stateAt(last)} ${n}`, { kind: "lens", node: last, n, k: TOP });
  }

  function draw(): void {
    const hindered = obstacle(link);
    const node = store.length ? readNode() : -1;
    if (!hindered && node >= 0) ask(node);
    const { told } = asking;
    if (told && told !== shown?.told) shown = { told, table: new Table(told.value, told.buffers) };
    const ready = shown !== null && node >= 0 && covers(shown, node);
    setText(note, hindered || (node < 0 ? FIRST : asking.busy ? BUSY : ""));
    note.hidden = !note.textContent || (!hindered && asking.busy && ready);
    failure.show(hindered ? null : asking.failure);
    again.hidden = failure.element.hidden;
    body.hidden = !ready && !(shown && asking.busy && shown.told.value.nodes.every((one) => store.onPath(one)));
    setAttribute(body, "aria-busy", String(asking.busy));
    if (shown && ready) drawTable(shown.table, node, hindered === "");
  }

  function drawTable(table: Table, node: number, able: boolean): void {
    chosen = table.lens.nodes.indexOf(node);
    legend.draw(MEASURES[measures.value].range);
    earlier.hidden = store.depth[table.lens.nodes[0]] === 0 || table.columns < wanted;
    grid.draw(table, measures.value as MeasureName, chosen);
    python.draw(table.lens.code);
    look(null);
    under.draw(table, chosen, cameAt(store, table, chosen), stateAt(node), able);
  }

  return { element, draw, close: under.close };
}
