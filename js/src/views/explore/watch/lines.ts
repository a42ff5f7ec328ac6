/** The lines of what is watched: probability over position. */
import { decades, linear, logarithmic, roundUp, steps } from "../../../draw/axis.js";
import { percent, whole } from "../../../draw/format.js";
import type { Axis, Picture } from "../../../draw/plot.js";
import { corners, inkOf, lineOf } from "../../../draw/series.js";
import { svg } from "../../../draw/svg.js";
import type { Store } from "../../../store.js";

export interface Line {
  name: string;
  slot: number;
  /** By node. */
  values: Float32Array;
}

/** What is less likely lies at the floor of the logarithmic axis. */
const FLOOR = 1e-8;
/** The linear axis ends here at least, so that noise does not look like a signal. */
const LEAST = 0.01;

/** The value at a position of the path; NaN where it is not known. */
export const valueAt = (store: Store, { values }: Line, position: number): number =>
  values[store.path[position]] ?? Number.NaN;

function extent(store: Store, lines: readonly Line[]): [least: number, most: number] {
  let [least, most] = [1, 0];
  for (const line of lines)
    for (let at = 0; at < store.length; at++) {
      const value = valueAt(store, line, at);
      if (value < least) least = value;
      if (value > most) most = value;
    }
  return [least, most];
}

export function probabilityAxis(least: number, most: number, log: boolean): Axis {
  const title = "probability";
  if (log) {
    const from = 10 ** Math.floor(Math.log10(Math.max(FLOOR, Math.min(0.1, least))));
    const ticks = (room: number) => decades(from, 1, room).map((value) => ({ value, text: powerText(value) }));
    return { title, scale: logarithmic(from, 1), ticks };
  }
  const to = Math.min(1, roundUp(Math.max(LEAST, most)));
  return {
    title,
    scale: linear(0, to),
    ticks: (room) => steps(0, to, room).map((value) => ({ value, text: `${Number((100 * value).toPrecision(3))}%` })),
  };
}

const powerText = (value: number): string =>
  value >= 1e-4 ? `${Number((100 * value).toPrecision(1))}%` : `1e${Math.round(Math.log10(value))}`;

/** Positions in the text. */
export const positionAxis = (count: number): Axis => ({
  title: "token",
  scale: linear(0, Math.max(1, count - 1)),
  ticks: (room) =>
    steps(0, Math.max(1, count - 1), Math.floor(room / 56), true).map((value) => ({ value, text: whole(value) })),
});

export function picture(store: Store, lines: readonly Line[], log: boolean, marked: number): Picture {
  const [least, most] = extent(store, lines);
  const last = (line: Line): number => {
    let at = store.length - 1;
    while (at > 0 && Number.isNaN(valueAt(store, line, at))) at--;
    return valueAt(store, line, at) || 0;
  };
  return {
    x: positionAxis(store.length),
    y: probabilityAxis(least, most, log),
    stops: store.length,
    valueAt: (stop) => stop,
    marked,
    names: lines.map((line) => ({ text: line.name, at: last(line), slot: line.slot })),
    paint: ({ x, y }) =>
      lines.map((line) => {
        const drawn = corners(store.length, (at) => [x(at), y(valueAt(store, line, at))]);
        return svg("path", { class: `plot-line ${inkOf(line.slot)}`, d: lineOf(drawn), "data-watch": line.name });
      }),
  };
}

export const readingOf = (store: Store, lines: readonly Line[], position: number) =>
  lines.map((line) => {
    const at = valueAt(store, line, position);
    return { name: line.name, value: Number.isNaN(at) ? "not known" : probabilityText(at), slot: line.slot, at };
  });

/** As a percentage; what is very unlikely as a power of ten, which a percentage hides. */
export const probabilityText = (value: number): string =>
  value > 0 && value < 0.0001 ? value.toExponential(1) : percent(value);
