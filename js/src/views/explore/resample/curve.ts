/** How the distribution of answers narrows while a text is written: stretches of one height, over its tokens. */

import type { Committed } from "../../../answers/roads.js";
import { linear, type Tick } from "../../../draw/axis.js";
import { percent, whole } from "../../../draw/format.js";
import { type Frame, noted, type Picture, type Reading } from "../../../draw/plot.js";
import { areaOf, inkOf, OTHERS, type Point, type Slots } from "../../../draw/series.js";
import { svg } from "../../../draw/svg.js";
import type { Store } from "../../../store.js";
import { pieceOf, tokenWords } from "../../parts/words.js";
import { nameOf, slotOf } from "./answers.js";

/** Answers that have a stretch of their own; the others share one. */
const MOST = 5;
/** Signs of a token's text that are written at the axis. */
const SIGNS = 9;

interface Stretch {
  name: string;
  slot: number;
  /** Share at each position that is done, and where the stretch begins. */
  shares: number[];
  below: number[];
}

/** The text's own answer first, so that it stands on the floor of the plot; then the most frequent. */
function inOrder({ answers, answer }: Committed): number[] {
  return answers.map((_, i) => i).sort((a, b) => Number(answers[b] === answer) - Number(answers[a] === answer));
}

/** As many of them as have a stretch of their own. */
const shown = (order: number[]): number[] => order.slice(0, order.length > MOST + 1 ? MOST : MOST + 1);

/** The answers that have a stretch of their own. */
export const ownAnswers = (curve: Committed): (string | null)[] => shown(inOrder(curve)).map((i) => curve.answers[i]);

export function stretches(curve: Committed, slots: Slots): Stretch[] {
  const { answers, counts, n } = curve;
  const order = inOrder(curve);
  const own = shown(order);
  const groups = own.map((i) => ({ name: nameOf(answers[i]), slot: slotOf(slots, answers[i]), members: [i] }));
  const rest = order.slice(own.length);
  if (rest.length) groups.push({ name: `${rest.length} others`, slot: OTHERS, members: rest });
  const floor = counts.map(() => 0);
  return groups.map(({ name, slot, members }) => {
    const shares = counts.map((row) => members.reduce((sum, i) => sum + row[i], 0) / Math.max(1, n));
    const below = [...floor];
    for (let i = 0; i < floor.length; i++) floor[i] += shares[i];
    return { name, slot, shares, below };
  });
}

const short = (text: string): string => {
  const signs = [...text];
  return signs.length > SIGNS ? `${signs.slice(0, SIGNS - 1).join("")}…` : text;
};

/** Positions from the first to the last that there will be. */
function extent({ positions, of }: Committed): [from: number, to: number] {
  const step = positions.length > 1 ? positions[1] - positions[0] : 1;
  return [positions[0], positions[0] + Math.max(1, step * (of - 1))];
}

export function picture(store: Store, curve: Committed, slots: Slots, marked: number): Picture {
  const { positions, nodes, decided } = curve;
  const parts = stretches(curve, slots);
  const last = positions.length - 1;
  const tokens = positions.map((value, i): Tick => ({ value, text: short(pieceOf(store, nodes[i])) }));
  return {
    x: { title: "left open from here on", scale: linear(...extent(curve)), ticks: () => tokens },
    y: { title: "share of the answers", scale: linear(0, 1), ticks: () => SHARES },
    stops: positions.length,
    valueAt: (stop) => positions[stop],
    marked: positions.indexOf(marked),
    names: parts
      .filter(({ shares }) => shares[last] > 0)
      .map(({ name, slot, shares, below }) => ({ text: name, at: below[last] + shares[last] / 2, slot })),
    paint: (frame) => [
      ...parts.map((part) => stretch(part, positions, frame)),
      ...(decided === null ? [] : noted(frame, frame.x(decided), "decided")),
    ],
  };
}

const SHARES = [0, 0.25, 0.5, 0.75, 1].map((value): Tick => ({ value, text: `${100 * value}%` }));

function stretch({ slot, shares, below }: Stretch, positions: readonly number[], { x, y }: Frame): SVGElement {
  const line = (values: readonly number[]): Point[] => values.map((value, i) => [x(positions[i]), y(value)]);
  const above = shares.map((share, i) => below[i] + share);
  return svg("path", { class: `plot-area ${inkOf(slot)}`, d: areaOf(line(above), line(below)) });
}

export function readingOf(store: Store, curve: Committed, slots: Slots, stop: number): Reading {
  const rows = stretches(curve, slots)
    .filter(({ shares }) => shares[stop] > 0)
    .map(({ name, slot, shares }) => ({ name, value: percent(shares[stop]), slot }));
  return { title: `before ${tokenWords(store, curve.nodes[stop])}`, rows };
}

/** When it was decided, in words. */
export function verdict(store: Store, { positions, nodes, answer, decided, of, n }: Committed): string {
  if (!positions.length) return "";
  if (answer === null) return "The text itself has no answer, so nothing was decided.";
  const said = `The text says ‘${nameOf(answer)}’`;
  const so = positions.length < of ? " so far" : "";
  if (decided === null)
    return `${said}, but that is not decided${so}: never do nine in ten of ${whole(n)} continuations say it to the end.`;
  const node = nodes[positions.indexOf(decided)];
  const which = decided === positions[0] ? ", the first that was left open" : "";
  return `${said}: decided before ${tokenWords(store, node)}${which}. From there on nine in ten of ${whole(n)} continuations say the same${so}.`;
}
