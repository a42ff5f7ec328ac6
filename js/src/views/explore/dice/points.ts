/** A parameter's value against the first token that it would change. */

import type { WhatIf, WhatIfChange } from "../../../answers/roads.js";
import { decades, linear, logarithmic, steps } from "../../../draw/axis.js";
import { whole } from "../../../draw/format.js";
import { type Axis, type Frame, type Picture, type Reading, rule } from "../../../draw/plot.js";
import { svg } from "../../../draw/svg.js";
import type { Store } from "../../../store.js";
import { fieldOf } from "../../parts/sampling.js";
import { pieceOf, quoted } from "../../parts/words.js";
import { isLog, type Parameter } from "./range.js";

/** Share of the axis above the text, where the values stand that change nothing. */
const ABOVE = 0.1;
const RADIUS = 4;
const DIGITS = 4;

/** The first position at which the run may differ; null where none can. */
export const earliest = ({ at, unknown }: WhatIfChange): number | null => unknown ?? at;

const never = (length: number): number => length * (1 + ABOVE);

function valueAxis(answer: WhatIf): Axis {
  const values = answer.changes.map(({ value }) => value);
  const [from, to] = [values[0], values[values.length - 1]];
  const title = fieldOf(answer.parameter as Parameter).label;
  const text = (value: number): string => String(Number(value.toPrecision(DIGITS)));
  if (!isLog(answer.parameter as Parameter)) {
    const ticks = (room: number) =>
      steps(from, to, Math.max(2, Math.floor(room / 56))).map((value) => ({ value, text: text(value) }));
    return { title, scale: linear(from, to), ticks };
  }
  const between = [1, 2, 5].flatMap((factor) => decades(from / factor, to / factor, 9).map((power) => factor * power));
  const ticks = between.sort((a, b) => a - b).map((value) => ({ value, text: text(value) }));
  return { title, scale: logarithmic(from, to), ticks: () => ticks };
}

const changeAxis = (length: number): Axis => ({
  title: "first token that differs",
  scale: linear(0, never(length)),
  ticks: (room) => [
    ...steps(0, length, room - 1, true)
      .filter((value) => value < 0.97 * length)
      .map((value) => ({ value, text: whole(value) })),
    { value: never(length), text: "never" },
  ],
});

export function picture(answer: WhatIf, marked: number): Picture {
  const { changes, length, current } = answer;
  const [low, high] = [changes[0].value, changes[changes.length - 1].value];
  return {
    x: valueAxis(answer),
    y: changeAxis(length),
    stops: changes.length,
    valueAt: (stop) => changes[stop].value,
    marked: -1,
    names: [],
    paint: (frame) => {
      const { x, y, width } = frame;
      const run = current === null || current < low || current > high ? [] : had(frame, current);
      const here =
        marked < 0 ? [] : [svg("line", { class: "dice-here", x1: 0, x2: width, y1: y(marked), y2: y(marked) })];
      const points = changes.flatMap((change) => {
        const place = y(earliest(change) ?? never(length));
        const sure = change.unknown === null;
        const point = svg("circle", {
          class: `dice-point${sure ? "" : " open"}`,
          cx: x(change.value),
          cy: place,
          r: RADIUS,
          "data-value": String(change.value),
        });
        if (sure) return [point];
        const proved = y(change.at ?? never(length));
        return [
          svg("line", { class: "dice-reach", x1: x(change.value), x2: x(change.value), y1: place, y2: proved }),
          point,
        ];
      });
      return [...run, ...here, ...points];
    },
  };
}

/** The value that the run had. */
function had(frame: Frame, current: number): SVGElement[] {
  const at = frame.x(current);
  const left = at > frame.width / 2;
  const place = { x: at + (left ? -6 : 6), y: frame.height - 6, "text-anchor": left ? "end" : "start" };
  return [rule("dice-current", at, frame), svg("text", { class: "plot-word", ...place }, `the run: ${current}`)];
}

/** What a point says. `nodes` are those of the run that was asked about, by position. */
export function readingOf(store: Store, nodes: Int32Array, answer: WhatIf, stop: number): Reading {
  const change = answer.changes[stop];
  const { value, at, text, unknown } = change;
  const name = fieldOf(answer.parameter as Parameter).label;
  const title = `${name} ${value}${value === answer.current ? ", as the run had" : ""}`;
  const place = (position: number): string =>
    `position ${whole(position)}: ${text === null ? "another token" : quoted(text)} instead of ‘${pieceOf(store, nodes[position])}’`;
  if (unknown === null)
    return { title, rows: [], note: at === null ? "the same run, token for token" : `another token at ${place(at)}` };
  const proved = at === null ? "no difference is proved" : `proved at ${place(at)}`;
  return {
    title,
    rows: [],
    note: `may differ from position ${whole(unknown)} on, of which the stored candidates prove nothing; ${proved}`,
  };
}
