/** Which values of a parameter are asked about. */
import type { Settings } from "../../../state.js";
import { fieldOf, type NumberName } from "../../parts/sampling.js";

/** Parameters that change choices: their usual range, and whether equal factors count as equally far. */
const RANGES = {
  temperature: { from: 0, to: 2 },
  top_k: { from: 1, to: 100, log: true, whole: true },
  top_p: { from: 0.05, to: 1 },
  min_p: { from: 0, to: 0.5 },
  typical_p: { from: 0.05, to: 1 },
  top_n_sigma: { from: 0.1, to: 5 },
  repeat_penalty: { from: 0.8, to: 2 },
  frequency_penalty: { from: -1, to: 2 },
  presence_penalty: { from: -1, to: 2 },
  penalty_last_n: { from: 1, to: 512, log: true, whole: true },
  dry_multiplier: { from: 0, to: 5 },
  xtc_probability: { from: 0, to: 1 },
  xtc_threshold: { from: 0, to: 0.5 },
  mirostat_tau: { from: 0.5, to: 10 },
} as const satisfies Partial<Record<NumberName, Range>>;

interface Range {
  from: number;
  to: number;
  log?: boolean;
  whole?: boolean;
}

export type Parameter = keyof typeof RANGES;

export const PARAMETERS = Object.keys(RANGES) as Parameter[];

/** Values asked about at once. */
const MOST = 41;

const range = (parameter: Parameter): Range => RANGES[parameter];

export const isLog = (parameter: Parameter): boolean => range(parameter).log ?? false;

/** From and to where nobody chose them: the usual range, wide enough for the value that holds. */
export function usual(parameter: Parameter, settings: Partial<Settings>): [from: number, to: number] {
  const { from, to, log } = range(parameter);
  const now = settings[parameter] ?? fieldOf(parameter).usual ?? from;
  if (log && now < 1) return [from, to]; // all, or off
  return [Math.min(from, now), Math.max(to, now)];
}

/** Why these are no ends of a range, or "". */
export function wrong(parameter: Parameter, from: number, to: number): string {
  const { label } = fieldOf(parameter);
  if (Number.isNaN(from) || Number.isNaN(to)) return `The range of ${label} goes from a number to a number.`;
  if (!(from < to))
    return `The range of ${label} goes from a smaller number to a greater one, not from ${from} to ${to}.`;
  if (isLog(parameter) && from < 1) return `The range of ${label} begins at 1 or above, not at ${from}.`;
  return "";
}

const rounded = (value: number): number => Number(value.toFixed(4));

/** The values in between, the one that holds now among them, in rising order. */
export function valuesOf(parameter: Parameter, from: number, to: number, settings: Partial<Settings>): number[] {
  const { log, whole } = range(parameter);
  const share = (i: number): number => i / (MOST - 1);
  const at = (i: number): number => (log ? from * (to / from) ** share(i) : from + (to - from) * share(i));
  const values = Array.from({ length: MOST }, (_, i) => (whole ? Math.round(at(i)) : rounded(at(i))));
  const now = settings[parameter];
  if (now !== undefined && now >= from && now <= to) values.push(now);
  return [...new Set(values)].sort((a, b) => a - b);
}
