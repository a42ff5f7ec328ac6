import { describe, expect, it } from "vitest";
import {
  CONTRAST,
  colourAt,
  contrast,
  endOf,
  flame,
  ground,
  ink,
  luminance,
  PAGE,
  SCALES,
  STEPS,
  sheet,
  stepOf,
  type Theme,
  tokenValue,
  unitValue,
  valueText,
} from "../src/draw/colour.js";
import { METRICS, PALETTES } from "../src/state.js";
import { Store } from "../src/store.js";
import { decode } from "../src/wire.js";
import { encode, type Row } from "./encode.js";

const THEMES: Theme[] = ["light", "dark"];
const STEP_NUMBERS = Array.from({ length: STEPS + 1 }, (_, step) => step);
const LOOKS = PALETTES.flatMap((palette) => THEMES.map((theme) => [palette, theme] as const));

describe("the maps", () => {
  it("are matplotlib's: ends and middle", () => {
    expect([0, 0.5, 1].map((t) => colourAt("inferno", t).map(Math.round))).toEqual([
      [0, 0, 4],
      [188, 55, 84],
      [252, 255, 164],
    ]);
    expect([0, 0.5, 1].map((t) => colourAt("viridis", t).map(Math.round))).toEqual([
      [68, 1, 84],
      [33, 144, 140],
      [253, 231, 37],
    ]);
    expect([0, 0.5, 1].map((t) => colourAt("cividis", t).map(Math.round))).toEqual([
      [0, 34, 78],
      [124, 123, 120],
      [254, 232, 56],
    ]);
  });

  it.each(PALETTES)("%s grows brighter all the way", (palette) => {
    const lights = Array.from({ length: 256 }, (_, i) => luminance(colourAt(palette, i / 255)));
    const falls = lights.filter((light, i) => i > 0 && light < lights[i - 1]);
    expect(falls).toEqual([]);
  });
});

describe.each(LOOKS)("%s on a %s page", (palette, theme) => {
  it("lets text be read on every step, as the style sheet has it", () => {
    const block = sheet()
      .split("\n")
      .filter((line) => line.startsWith(`.inferno-widget[data-theme=${theme}]`))
      .find((line) => (palette === "inferno" ? !line.includes("palette") : line.includes(`[data-palette=${palette}]`)));
    const value = (name: string): [number, number, number] => {
      const hex = block?.match(new RegExp(`[{;]--${name}:#(..)(..)(..)`)) ?? [];
      return [1, 2, 3].map((i) => Number.parseInt(hex[i], 16)) as [number, number, number];
    };
    for (const step of STEP_NUMBERS.slice(1))
      expect(contrast(value(`s${step}`), value(`t${step}`)), `step ${step}`).toBeGreaterThanOrEqual(CONTRAST[palette]);
    expect(contrast(PAGE[theme], ink(PAGE[theme], theme, palette))).toBeGreaterThan(12);
  });

  it("leads away from the page with every step", () => {
    const grounds = STEP_NUMBERS.map((step) => contrast(ground(step, theme, palette), PAGE[theme]));
    expect(grounds[0]).toBe(1);
    expect(grounds.filter((distance, step) => step > 0 && distance <= grounds[step - 1])).toEqual([]);
    const bars = STEP_NUMBERS.map((step) => contrast(flame(step, theme, palette), PAGE[theme]));
    expect(bars.filter((distance, step) => step > 0 && distance <= bars[step - 1])).toEqual([]);
  });
});

it("asks for 4.5:1 at least, and of the high-contrast palette for 7:1", () => {
  expect(CONTRAST).toEqual({ inferno: 4.5, viridis: 4.5, cividis: 4.5, contrast: 7 });
});

it("contrast is WCAG's", () => {
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21);
  expect(contrast([119, 119, 119], [255, 255, 255])).toBeCloseTo(4.48, 2);
});

it("the style sheet has one rule a step, and none for certainty", () => {
  expect(sheet().match(/\.s\d+\{/g)).toHaveLength(STEPS);
  expect(sheet()).not.toContain(".s0{");
  expect(sheet().length).toBeLessThan(12_000);
});

describe("the scales", () => {
  it("lead from what was expected to what was not, and stop at their end", () => {
    const steps = (metric: (typeof METRICS)[number], values: number[]) => values.map((value) => stepOf(metric, value));
    expect(steps("surprisal", [0, 4.5, 9, 50, Number.NaN, -0])).toEqual([0, 18, 36, 36, 0, 0]);
    expect(steps("probability", [1, 0.75, 0.5, 0, Number.NaN])).toEqual([0, 9, 18, 36, 0]);
    expect(steps("entropy", [0, 3, 6, 11, Number.NaN])).toEqual([0, 18, 36, 36, 0]);
    expect(steps("rank", [1, 10, 100, 1000, 50_000, Number.NaN])).toEqual([0, 12, 24, 36, 36, 0]);
    expect(steps("time", [0, 50, 100, 1e4, Number.NaN])).toEqual([0, 18, 36, 36, 0]);
    expect([10, 20, 25].map((ms) => stepOf("time", ms, 20))).toEqual([18, 36, 36]);
  });

  it("say what they are", () => {
    expect(METRICS.map((metric) => SCALES[metric].range(SCALES[metric].end).join(" – "))).toEqual([
      "100% – 0%",
      "0 – 9 nats",
      "0 – 6 nats",
      "1 – 1,000",
      "0 – 100 ms",
    ]);
    expect(METRICS.map((metric) => valueText(metric, 0.25))).toEqual([
      "probability 25.0%",
      "surprisal 0.25 nats",
      "entropy 0.25 nats",
      "rank 0",
      "time 0.25 ms",
    ]);
    expect(METRICS.map((metric) => valueText(metric, Number.NaN))).toEqual([
      "no prediction",
      "no prediction",
      "no prediction",
      "no prediction",
      "no time",
    ]);
  });
});

describe("the values of a trace", () => {
  const flag = [0xf0, 0x9f, 0x90, 0x89];
  const predicted = (i: number): Row => ({
    parent: i - 1,
    token_id: i,
    kind: i ? 1 : 0,
    ...(i > 0 && { logprob: -i, entropy: i / 2, rank: [0, 9, 2, 5, 1][i], ms: 10 * i }),
  });
  const filled = (rows: Row[]): Store => {
    const store = new Store();
    store.apply(decode(encode({ rows, pieces: flag.map((byte, i) => [i + 1, Uint8Array.of(byte)] as const) })));
    return store;
  };
  const rows = [0, 1, 2, 3, 4].map(predicted);

  it("are missing where there was no prediction", () => {
    const store = filled(rows);
    expect(METRICS.map((metric) => tokenValue(store, 0, metric))).toEqual(METRICS.map(() => Number.NaN));
    expect(METRICS.map((metric) => Number(tokenValue(store, 2, metric).toFixed(6)))).toEqual([0.135335, 2, 1, 2, 20]);
  });

  it("combine where several tokens are one character", () => {
    const store = filled(rows);
    expect(store.units).toBe(2);
    const values = METRICS.map((metric) => unitValue(store, 1, metric));
    expect(values.map((value) => Number(value.toFixed(6)))).toEqual([Number(Math.exp(-10).toFixed(6)), 10, 5, 9, 100]);
    expect(unitValue(store, 1, "probability")).toBeCloseTo(Math.exp(-unitValue(store, 1, "surprisal")), 12);
  });

  it("have a scale of time that follows what was generated, not the prompt, and counts it once", () => {
    const timed = (times: number[], kind = 1): Row[] =>
      times.map((ms, i) => ({ parent: i - 1, token_id: 1, kind, rank: 1, logprob: -1, ms }));
    expect(endOf(filled(timed([])), "time")).toBe(100);
    expect(endOf(filled(timed([700, 700], 0)), "time")).toBe(100);
    expect(endOf(filled(timed([0.5, 0.6, 40])), "time")).toBe(2); // 3 x 0.6 = 1.8
    expect(endOf(filled(timed([6, 9])), "time")).toBe(20); // the lower of two medians: 18
    expect(endOf(filled(timed([1e9])), "time")).toBe(1e6); // the longest there is
    expect(endOf(filled(timed([0.5])), "surprisal")).toBe(9);
    const store = filled(timed([7, 9, 8]));
    expect(endOf(store, "time")).toBe(50);
    const slow = Array.from({ length: 6 }, (_, i) => ({ ...timed([300])[0], parent: i + 2 }));
    store.apply(decode(encode({ start: 3, rows: slow, seq: 2 })));
    expect(endOf(store, "time")).toBe(1000);
    store.apply(decode(encode({ epoch: 2, rows: timed([2]), seq: 3 })));
    expect(endOf(store, "time")).toBe(10);
  });
});
