/** What a token is coloured by: its value for a metric, and where that lies on the metric's scale. */
import { KINDS } from "../protocol.js";
import type { Metric } from "../state.js";
import type { Store } from "../store.js";
import { percent, whole } from "./format.js";

/** Steps of a scale. Step 0 is what was expected: it has no colour. */
export const STEPS = 36;

export interface Scale {
  title: string;
  /** What it means, in a sentence. */
  help: string;
  /** Value at which the scale ends: the hot end and beyond. Of time, where the run says nothing else: see `endOf`. */
  end: number;
  /** Share of the scale, 0 to 1 and beyond, that a value takes. */
  share: (value: number, end: number) => number;
  /** The value with its unit. */
  format: (value: number) => string;
  /** The two ends, as a legend has them. */
  range: (end: number) => [quiet: string, hot: string];
}

/** 0.001, 0.002, 0.005, 0.01, ... ms: where the scale of time may end. */
const ENDS = Array.from({ length: 28 }, (_, i) => Number(`${[1, 2, 5][i % 3]}e${Math.floor(i / 3) - 3}`));
/** A usual token lies at a third of the scale of time or below, so that slow ones stand out. */
const SLOW = 3;

const linear = (value: number, end: number): number => value / end;
const number = (value: number): string => (value >= 100 ? whole(value) : String(Number(value.toPrecision(3))));

export const SCALES: Record<Metric, Scale> = {
  probability: {
    title: "probability",
    help: "How likely the model held the token that came; from certain (no colour) to impossible",
    end: 0,
    share: (value) => 1 - value,
    format: percent,
    range: () => ["100%", "0%"],
  },
  surprisal: {
    title: "surprisal",
    help: "-ln p: how little the model expected the token that came",
    end: 9,
    share: linear,
    format: (value) => `${value.toFixed(2)} nats`,
    range: (end) => ["0", `${end} nats`],
  },
  entropy: {
    title: "entropy",
    help: "How undecided the model was before the token came, over its whole vocabulary",
    end: 6,
    share: linear,
    format: (value) => `${value.toFixed(2)} nats`,
    range: (end) => ["0", `${end} nats`],
  },
  rank: {
    title: "rank",
    help: "Place of the token that came among all tokens, 1 is the most likely; ten times the rank is as far everywhere",
    end: 1000,
    share: (value, end) => Math.log10(value) / Math.log10(end),
    format: whole,
    range: (end) => ["1", whole(end)],
  },
  time: {
    title: "time",
    help: "How long the token took. The scale follows the run: its usual token lies in the first third",
    end: 100,
    share: linear,
    format: (value) => `${number(value)} ms`,
    range: (end) => ["0", `${number(end)} ms`],
  },
};

/** Where on a metric's scale a value lies: 0 (expected, or no prediction) to STEPS. */
export function stepOf(metric: Metric, value: number, end: number = SCALES[metric].end): number {
  const share = SCALES[metric].share(value, end);
  return share > 0 ? Math.min(STEPS, Math.round(share * STEPS)) : 0;
}

/** A token's value; NaN where there was no prediction, or nobody took the time. */
export function tokenValue(store: Store, node: number, metric: Metric): number {
  const { logprob, entropy, rank, ms } = store.columns;
  switch (metric) {
    case "probability":
      return Math.exp(logprob[node]);
    case "surprisal":
      return -logprob[node];
    case "entropy":
      return entropy[node];
    case "rank":
      return rank[node] > 0 ? rank[node] : Number.NaN;
    case "time":
      return ms[node] > 0 ? ms[node] : Number.NaN;
  }
}

/**
 * The value of a unit: of a character made of several tokens, as if it had come at once. Probabilities multiply,
 * surprisals, entropies and times add (the chain rule), and of ranks the worst counts.
 */
export function unitValue(store: Store, unit: number, metric: Metric): number {
  const [from, to] = store.unitSpan(unit);
  let value = tokenValue(store, store.path[from], metric);
  for (let at = from + 1; at < to; at++) {
    const next = tokenValue(store, store.path[at], metric);
    if (metric === "probability") value *= next;
    else if (metric === "rank") value = Math.max(value, next);
    else value += next;
  }
  return value;
}

/** Value and unit in words, as a tooltip has them. */
export function valueText(metric: Metric, value: number): string {
  if (metric === "time") return Number.isNaN(value) ? "no time" : `time ${SCALES.time.format(value)}`;
  return Number.isNaN(value) ? "no prediction" : `${SCALES[metric].title} ${SCALES[metric].format(value)}`;
}

interface Times {
  epoch: number;
  size: number;
  /** Tokens by the scale that each would ask for if it were the usual one. */
  counts: number[];
  total: number;
}

const TIMES = new WeakMap<Store, Times>();

/**
 * Where the scale of a metric ends for this trace. That of time follows the run: it ends at the 1, 2 or 5 times a power
 * of ten that is no less than three times the median of what was generated. What is counted is counted once.
 */
export function endOf(store: Store, metric: Metric): number {
  if (metric !== "time") return SCALES[metric].end;
  let times = TIMES.get(store);
  if (!times || times.epoch !== store.epoch || times.size > store.size) {
    times = { epoch: store.epoch, size: 0, counts: ENDS.map(() => 0), total: 0 };
    TIMES.set(store, times);
  }
  const { ms, kind } = store.columns;
  for (; times.size < store.size; times.size++) {
    if (KINDS[kind[times.size]] === "prompt" || !(ms[times.size] > 0)) continue;
    const asked = ENDS.findIndex((end) => end >= SLOW * ms[times.size]);
    times.counts[asked < 0 ? ENDS.length - 1 : asked]++;
    times.total++;
  }
  // Rounding up keeps the order, so the end that the median token asks for is the median of those asked for.
  let below = times.counts[0];
  let at = 0;
  while (at < ENDS.length - 1 && below < times.total / 2) below += times.counts[++at];
  return times.total ? ENDS[at] : SCALES.time.end;
}
