/** Where one token is decided: how likely the final answer and the token that came are, layer by layer. */
import { decades, linear, logarithmic, steps } from "../../../draw/axis.js";
import { percent, whole } from "../../../draw/format.js";
import { type Axis, type Frame, noted, type Picture, type Reading } from "../../../draw/plot.js";
import { corners, inkOf, lineOf, type Point } from "../../../draw/series.js";
import { svg } from "../../../draw/svg.js";
import type { Store } from "../../../store.js";
import { pieceOf, quoted } from "../../parts/words.js";
import type { Table } from "./table.js";

export type Scale = "probability" | "rank";

interface Line {
  name: string;
  slot: number;
  probability: number[];
  rank: number[];
}

const SHARES = [0, 0.25, 0.5, 0.75, 1].map((value) => ({ value, text: `${100 * value}%` }));

/** The final answer, and the token that came where that is another one. */
export function linesOf(store: Store, table: Table, column: number): Line[] {
  const rows = Array.from({ length: table.rows }, (_, row) => row);
  const plane = (name: Parameters<Table["value"]>[0]): number[] => rows.map((row) => table.value(name, row, column));
  const answer: Line = {
    name: table.answer(column),
    slot: 0,
    probability: plane("logprob").map(Math.exp),
    rank: plane("rank"),
  };
  const came = cameAt(store, table, column);
  if (came < 0 || store.columns.token_id[came] === table.lens.answer[column]) return [answer];
  const other: Line = {
    name: pieceOf(store, came),
    slot: 1,
    probability: plane("cameLogprob").map(Math.exp),
    rank: plane("cameRank"),
  };
  return [answer, other];
}

/** The node that came behind a column's token; -1 where none has. */
export const cameAt = (store: Store, { lens }: Table, column: number): number =>
  store.at(store.depth[lens.nodes[column]] + 1);

export function picture(store: Store, table: Table, column: number, scale: Scale): Picture {
  const { layers } = table.lens;
  const lines = linesOf(store, table, column);
  const last = layers.length - 1;
  const decided = layers[table.decided(column)];
  return {
    x: {
      title: "layer",
      scale: linear(layers[0], layers[last]),
      ticks: (room) => steps(layers[0], layers[last], room / 40, true).map((value) => ({ value, text: String(value) })),
    },
    y: scale === "probability" ? PROBABILITY : rankAxis(Math.max(10, ...lines.flatMap(({ rank }) => rank))),
    stops: layers.length,
    valueAt: (stop) => layers[stop],
    marked: -1,
    names: lines.map((line) => ({ text: line.name, at: line[scale][last], slot: line.slot })),
    paint: (frame) => [
      ...lines.map(({ slot, [scale]: values }) => drawn(values, layers, slot, frame)),
      ...noted(frame, frame.x(decided), "decided"),
    ],
  };
}

const PROBABILITY: Axis = { title: "probability", scale: linear(0, 1), ticks: () => SHARES };

/** The first rank is on top. */
function rankAxis(worst: number): Axis {
  const down = logarithmic(1, worst);
  const ticks = (room: number) => decades(1, worst, room).map((value) => ({ value, text: whole(value) }));
  return { title: "rank", scale: (rank) => 1 - down(rank), ticks };
}

function drawn(values: readonly number[], layers: readonly number[], slot: number, { x, y }: Frame): SVGElement {
  const lines = corners(values.length, (i): Point => [x(layers[i]), y(values[i])]);
  return svg("path", { class: `plot-line ${inkOf(slot)}`, d: lineOf(lines) });
}

export function readingOf(store: Store, table: Table, column: number, scale: Scale, stop: number): Reading {
  const { layers } = table.lens;
  const rows = linesOf(store, table, column).map(({ name, slot, probability, rank, [scale]: values }) => {
    const value = `${percent(probability[stop])}, rank ${whole(rank[stop])}`;
    return { name, value, slot, at: values[stop] };
  });
  const [{ name }] = table.top(stop, column);
  return { title: `behind layer ${layers[stop]}`, rows, note: `most likely there: ${name}` };
}

/** The picture in one sentence. */
export function verdict(store: Store, table: Table, column: number): string {
  const { lens } = table;
  const answer = quoted(lens.texts[lens.answer[column]] ?? "");
  const [at, last] = [table.decided(column), table.rows - 1];
  const from =
    at === 0
      ? `from the first layer on`
      : at === last
        ? `behind the last layer only`
        : `from layer ${lens.layers[at]} on`;
  const said = `After ${`‘${pieceOf(store, lens.nodes[column])}’`}, ${answer} is the most likely ${from}.`;
  const came = cameAt(store, table, column);
  if (came < 0 || store.columns.token_id[came] === lens.answer[column]) return said;
  return `${said} ‘${pieceOf(store, came)}’ came, the ${ordinal(table.value("cameRank", last, column))} most likely.`;
}

function ordinal(rank: number): string {
  const [tens, ones] = [rank % 100, rank % 10];
  const ending = tens > 10 && tens < 14 ? "th" : (["th", "st", "nd", "rd"][ones] ?? "th");
  return `${whole(rank)}${ending}`;
}
