/** Values -> what is drawn of them: lines, stretches and where their names stand. */

export type Point = readonly [x: number, y: number];

/** Lines have so many colours; further ones have the same again, and other dashes. */
export const COLOURS = 6;

/** Stands for all that have no place of their own. */
export const OTHERS = -1;

/** Classes of the style sheet for what has a place among others. */
export const inkOf = (slot: number): string =>
  slot < 0 ? "ink-others" : `ink${slot % COLOURS}${slot < COLOURS ? "" : " dashed"}`;

/**
 * The corners of a line of `count` points, in pixels. Where several share a pixel it goes through the first, the
 * least, the greatest and the last of them, so that a peak is never lost. NaN breaks it into several.
 */
export function corners(count: number, pointAt: (index: number) => Point): Point[][] {
  const lines: Point[][] = [];
  let line: Point[] = [];
  let pixel: Point[] = []; // of the present pixel: first, those that stand out, last, in their order
  const flush = (): void => {
    line.push(...outstanding(pixel));
    pixel = [];
  };
  for (let i = 0; i < count; i++) {
    const point = pointAt(i);
    if (Number.isNaN(point[1])) {
      flush();
      if (line.length) lines.push(line);
      line = [];
      continue;
    }
    if (pixel.length && Math.floor(pixel[0][0]) !== Math.floor(point[0])) flush();
    pixel.push(point);
  }
  flush();
  if (line.length) lines.push(line);
  return lines;
}

function outstanding(pixel: readonly Point[]): readonly Point[] {
  if (pixel.length <= 2) return pixel;
  let [least, most] = [0, 0];
  for (let i = 1; i < pixel.length; i++) {
    if (pixel[i][1] < pixel[least][1]) least = i;
    if (pixel[i][1] > pixel[most][1]) most = i;
  }
  const kept = [...new Set([0, least, most, pixel.length - 1])].sort((a, b) => a - b);
  return kept.map((i) => pixel[i]);
}

const number = (value: number): string => String(Math.round(10 * value) / 10);
const joined = (points: readonly Point[]): string => points.map(([x, y]) => `${number(x)} ${number(y)}`).join("L");

/** Lines as SVG writes them; one of a single point becomes a dot where ends are round. */
export const lineOf = (lines: readonly (readonly Point[])[]): string =>
  lines.map((line) => `M${joined(line)}${line.length === 1 ? "h0" : ""}`).join("");

/** The stretch between a line and another below it, as SVG writes it. */
export const areaOf = (above: readonly Point[], below: readonly Point[]): string =>
  above.length ? `M${joined(above)}L${joined([...below].reverse())}Z` : "";

/** Moves places apart so that they are at least `gap` from one another, in their order, between two ends. */
export function spread(places: readonly number[], gap: number, from: number, to: number): number[] {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const out = [...places];
  let free = from;
  for (const i of order) {
    out[i] = Math.max(free, out[i]);
    free = out[i] + gap;
  }
  let end = to;
  for (const i of order.reverse()) {
    out[i] = Math.min(end, out[i]);
    end = out[i] - gap;
  }
  return out;
}

/** Gives each name a place, the first that is free, and lets it keep that for as long as it is there. */
export class Slots {
  #held = new Map<string, number>();

  keep(names: readonly string[]): void {
    this.#held = new Map([...this.#held].filter(([name]) => names.includes(name)));
    for (const name of names) {
      if (this.#held.has(name)) continue;
      const taken = new Set(this.#held.values());
      let free = 0;
      while (taken.has(free)) free++;
      this.#held.set(name, free);
    }
  }

  of(name: string): number {
    return this.#held.get(name) ?? OTHERS;
  }
}
