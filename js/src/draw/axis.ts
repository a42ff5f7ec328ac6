/** Numbers -> places along an axis, and which of them are written beside it. */

/** Value -> place: 0 at the beginning of the axis, 1 at its end. */
export type Scale = (value: number) => number;

export interface Tick {
  value: number;
  text: string;
}

const clamp = (place: number): number => Math.min(1, Math.max(0, place));

export const linear =
  (from: number, to: number): Scale =>
  (value) =>
    from === to ? 0.5 : clamp((value - from) / (to - from));

/** Equal factors are equally far apart; what is not positive lies at the beginning. */
export const logarithmic =
  (from: number, to: number): Scale =>
  (value) =>
    value > 0 ? clamp(Math.log(value / from) / Math.log(to / from)) : Number.isNaN(value) ? value : 0;

/** The least of some factors times a power of ten that is no less than `value`. */
export function roundUp(value: number, factors: readonly number[] = [1, 2, 5, 10]): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = factors.find((one) => one * power >= value * (1 - 1e-9)) ?? 10;
  return Number((factor * power).toPrecision(2));
}

/**
 * Round numbers from one to another, `most` of them at most, both ends among them where they are round. `whole`: they
 * count something.
 */
export function steps(from: number, to: number, most: number, whole = false): number[] {
  if (!(to > from)) return [from];
  const wanted = (to - from) / Math.max(1, most - 1);
  const step = whole ? Math.max(1, roundUp(wanted)) : roundUp(wanted, [1, 2, 2.5, 5, 10]);
  const first = Math.ceil(from / step - 1e-9);
  const last = Math.floor(to / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Powers of ten from one to another, `most` of them at most. */
export function decades(from: number, to: number, most: number): number[] {
  const first = Math.ceil(Math.log10(from) - 1e-9);
  const last = Math.floor(Math.log10(to) + 1e-9);
  const by = Math.max(1, Math.ceil((last - first + 1) / most));
  const powers = Array.from({ length: Math.floor((last - first) / by) + 1 }, (_, i) => last - i * by);
  return powers.reverse().map((power) => Number(`1e${power}`));
}

/** Pixels that a sign takes at most, on the average of a text, in the size that axes are written in. */
const SIGN = 7;
const GAP = 10;

/** Those ticks that have room beside one another, from the first on; `width` is that of the axis in pixels. */
export function fitting(ticks: readonly Tick[], scale: Scale, width: number): Tick[] {
  let free = Number.NEGATIVE_INFINITY;
  return ticks.filter(({ value, text }) => {
    const half = (SIGN * [...text].length) / 2;
    const middle = scale(value) * width;
    if (middle - half < free) return false;
    free = middle + half + GAP;
    return true;
  });
}

/** Index of the place nearest to `wanted`, of `count` places in rising order; -1 where there are none. */
export function nearest(count: number, placeOf: (index: number) => number, wanted: number): number {
  let [low, high] = [0, count - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (placeOf(middle) < wanted) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - placeOf(low - 1) <= placeOf(low) - wanted ? low - 1 : count ? low : -1;
}
