// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { decades, fitting, linear, logarithmic, nearest, roundUp, steps } from "../src/draw/axis.js";
import { contrast, PAGE, type Rgb } from "../src/draw/colour.js";
import { type Picture, plot, spoken } from "../src/draw/plot.js";
import { areaOf, COLOURS, corners, inkOf, lineOf, type Point, Slots, spread } from "../src/draw/series.js";
import { key } from "./open.js";

describe("scales", () => {
  it("place values from the beginning to the end of an axis, and hold what lies outside", () => {
    expect([0, 5, 10, 20, -1].map(linear(0, 10))).toEqual([0, 0.5, 1, 1, 0]);
    expect([0.01, 0.1, 1].map(logarithmic(0.01, 1))).toEqual([0, 0.5, 1]);
    expect(logarithmic(0.01, 1)(0)).toBe(0);
    expect(logarithmic(0.01, 1)(Number.NaN)).toBeNaN();
    expect(linear(3, 3)(3)).toBe(0.5);
  });

  it("are written at round numbers, no more than there is room for", () => {
    expect(steps(0, 1, 5)).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(steps(0, 163, 9)).toEqual([0, 25, 50, 75, 100, 125, 150]);
    expect(steps(0, 7, 4, true)).toEqual([0, 5]);
    expect(steps(0, 3, 9, true)).toEqual([0, 1, 2, 3]);
    expect(steps(0.05, 1, 6)).toEqual([0.2, 0.4, 0.6, 0.8, 1]);
    expect(steps(4, 4, 5)).toEqual([4]);
    for (const most of [2, 3, 5, 9, 30]) expect(steps(0, 1234.5, most).length).toBeLessThanOrEqual(most);
    expect(decades(1e-6, 1, 10)).toEqual([1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1]);
    expect(decades(1e-6, 1, 4)).toEqual([1e-6, 1e-4, 0.01, 1]);
    expect([0.013, 0.2, 0.51, 3].map((value) => roundUp(value))).toEqual([0.02, 0.2, 1, 5]);
  });

  it("leave out the words that would touch the ones before", () => {
    const ticks = [0, 1, 2, 3].map((value) => ({ value, text: "a word" }));
    expect(fitting(ticks, linear(0, 3), 100).map(({ value }) => value)).toEqual([0, 2]);
    expect(fitting(ticks, linear(0, 3), 400)).toHaveLength(4);
  });

  it("find the place that is nearest", () => {
    const places = [0, 1, 4, 9];
    const at = (wanted: number) => nearest(4, (i) => places[i], wanted);
    expect([-5, 0.4, 2.4, 2.6, 6, 7, 50].map(at)).toEqual([0, 0, 1, 2, 2, 3, 3]);
    expect(nearest(0, () => 0, 1)).toBe(-1);
  });
});

describe("a line", () => {
  it("keeps first, least, greatest and last of each pixel, so that no peak is lost", () => {
    const values = Float64Array.from({ length: 10_000 }, (_, i) => Math.sin(i) / 2);
    values[4321] = 40;
    values[8765] = -40;
    const [line] = corners(values.length, (i) => [i / 100, values[i]]);
    expect(line.length).toBeLessThanOrEqual(4 * 100);
    const ys = line.map(([, y]) => y);
    expect([Math.max(...ys), Math.min(...ys)]).toEqual([40, -40]);
    expect(line.every(([x], i) => i === 0 || x >= line[i - 1][0])).toBe(true);
    expect([line[0], line.at(-1)]).toEqual([
      [0, 0],
      [99.99, values[9999]],
    ]);
  });

  it("is broken where nobody knows, and a lone value is still drawn", () => {
    const values = [Number.NaN, 1, 2, Number.NaN, 3];
    const lines = corners(5, (i) => [10 * i, values[i]]);
    expect(lineOf(lines)).toBe("M10 1L20 2M40 3h0");
    expect(corners(0, () => [0, 0])).toEqual([]);
  });

  it("has a stretch below it", () => {
    const above: Point[] = [
      [0, 1],
      [5, 2],
    ];
    const below: Point[] = [
      [0, 8],
      [5, 9],
    ];
    expect(areaOf(above, below)).toBe("M0 1L5 2L5 9L0 8Z");
  });
});

it("names that are close are moved apart, in their order and within the plot", () => {
  expect(spread([10, 50], 16, 0, 100)).toEqual([10, 50]);
  expect(spread([12, 10, 11], 16, 0, 100)).toEqual([42, 10, 26]);
  expect(spread([99, 100, 98], 10, 0, 100)).toEqual([90, 100, 80]);
});

describe("colours", () => {
  it("stay with their names while others come and go", () => {
    const slots = new Slots();
    slots.keep(["a", "b", "c"]);
    slots.keep(["c", "a"]);
    slots.keep(["d", "c", "a"]);
    expect(["a", "c", "d"].map((name) => slots.of(name))).toEqual([0, 2, 1]);
    expect([inkOf(0), inkOf(COLOURS), inkOf(slots.of("b"))]).toEqual(["ink0", "ink0 dashed", "ink-others"]);
  });

  const style = readFileSync(`${import.meta.dirname}/../src/css/plot.css`, "utf8");
  const palette = (theme: "light" | "dark"): Rgb[] => {
    const block = style.split("}")[theme === "light" ? 0 : 1];
    return [...block.matchAll(/--ink\d: #(..)(..)(..)/g)].map(
      ([, ...bytes]) => bytes.map((byte) => Number.parseInt(byte, 16)) as unknown as Rgb,
    );
  };

  describe.each(["light", "dark"] as const)("on a %s page", (theme) => {
    it("have a contrast of 3:1", () => {
      expect(palette(theme)).toHaveLength(COLOURS);
      for (const colour of palette(theme)) expect(contrast(colour, PAGE[theme])).toBeGreaterThan(3);
    });

    it.each(Object.keys(SEEN))("are apart in %s vision", (vision) => {
      const seen = palette(theme).map((colour) => oklab(multiply(SEEN[vision], colour.map(toLinear))));
      for (const [i, one] of seen.entries())
        for (const other of seen.slice(0, i))
          expect(Math.hypot(...one.map((value, j) => value - other[j]))).toBeGreaterThan(0.12);
    });
  });
});

/** What a colour-blind reader sees of linear light (Machado, Oliveira and Fernandes 2009, severity 1). */
const SEEN: Record<string, number[][]> = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanope: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranope: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanope: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};
const multiply = (matrix: number[][], of: number[]): number[] =>
  matrix.map((row) =>
    Math.min(
      1,
      Math.max(
        0,
        row.reduce((sum, factor, i) => sum + factor * of[i], 0),
      ),
    ),
  );
const toLinear = (value: number): number => {
  const c = value / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
};
/** Ottosson's perceptual space: equal distances look equally different. */
const oklab = (light: number[]): number[] => {
  const cones = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ].map((row) => Math.cbrt(row.reduce((sum, factor, i) => sum + factor * light[i], 0)));
  return [
    [0.2104542553, 0.793617785, -0.0040720468],
    [1.9779984951, -2.428592205, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.808675766],
  ].map((row) => row.reduce((sum, factor, i) => sum + factor * cones[i], 0));
};

describe("a plot", () => {
  const values = [10, 20, 40];
  const picture = (marked = -1): Picture => ({
    x: { title: "token", scale: linear(0, 2), ticks: () => [{ value: 0, text: "first" }] },
    y: { title: "value", scale: linear(0, 40), ticks: () => [{ value: 40, text: "forty" }] },
    stops: 3,
    valueAt: (stop) => stop,
    marked,
    names: [{ text: "a line", at: 40, slot: 1 }],
    paint: () => [],
  });
  const chosen: number[] = [];
  const make = () => {
    const made = plot({
      name: "some-plot",
      label: "Some values",
      height: 200,
      read: (stop) => ({
        title: `place ${stop}`,
        rows: [{ name: "a line", value: `${values[stop]}`, slot: 1, at: values[stop] }],
      }),
      choose: (stop) => chosen.push(stop),
    });
    document.body.append(made.element);
    return made;
  };
  afterEach(() => {
    chosen.length = 0;
    document.body.replaceChildren();
  });

  it("says axes, names and what is selected", () => {
    const { element, draw } = make();
    draw(picture(1));
    expect(element.querySelector("svg")?.textContent).toBe("fortyfirstvaluetoken");
    expect(element.querySelector(".plot-name")?.className).toContain("ink1");
    expect(element.querySelectorAll(".plot-marked")).toHaveLength(1);
    expect(element.getAttribute("aria-valuetext")).toBe("place 1, a line 20");
    expect(element.getAttribute("aria-label")).toBe("Some values");
  });

  it("is read and chosen from by keyboard", () => {
    const { element, draw } = make();
    draw(picture());
    expect(element.getAttribute("aria-valuetext")).toBe("no place chosen");
    key(element, "ArrowLeft");
    expect(element.getAttribute("aria-valuetext")).toBe("place 2, a line 40");
    key(element, "ArrowLeft");
    key(element, "ArrowLeft");
    key(element, "ArrowLeft");
    expect(element.getAttribute("aria-valuenow")).toBe("0");
    key(element, "End");
    key(element, "Enter");
    expect(chosen).toEqual([2]);
    const tip = element.querySelector<HTMLElement>(".plot-tip");
    expect(tip?.textContent).toBe("place 2a line40");
    expect(element.querySelectorAll(".plot-dot")).toHaveLength(1);
    expect(key(element, "Escape")).toBe(false);
    expect(tip?.hidden).toBe(true);
    expect(key(element, "Escape"), "the second Escape is for the drawer").toBe(true);
  });

  it("is read by pointer, and a click chooses the nearest place", () => {
    const { element, draw } = make();
    draw(picture());
    // 640 px wide; the axis begins at 52 and ends 14 before the names, of which the longest has 6 signs.
    const wide = 640 - 52 - 14 - (6 * 7.5 + 34);
    element.dispatchEvent(new MouseEvent("pointermove", { clientX: 52 + 0.4 * wide, bubbles: true }));
    expect(element.querySelector(".plot-tip b")?.textContent).toBe("place 1");
    element.dispatchEvent(new MouseEvent("click", { clientX: 52 + 0.9 * wide, bubbles: true }));
    expect(chosen).toEqual([2]);
    element.dispatchEvent(new MouseEvent("pointerleave"));
    expect(element.querySelector<HTMLElement>(".plot-tip")?.hidden).toBe(true);
  });

  it("is read on by keyboard while the page scrolls below a pointer at rest", () => {
    const { element, draw } = make();
    draw(picture());
    key(element, "Home");
    element.dispatchEvent(new MouseEvent("pointermove", { clientX: 300, bubbles: true }));
    element.dispatchEvent(new MouseEvent("pointerleave"));
    key(element, "Enter");
    expect(chosen).toEqual([0]);
  });

  it("keeps its place when fewer values are left", () => {
    const { element, draw } = make();
    draw(picture());
    key(element, "End");
    draw({ ...picture(), stops: 1 });
    expect(element.getAttribute("aria-valuetext")).toBe("place 0, a line 10");
    draw({ ...picture(), stops: 0 });
    expect(element.getAttribute("aria-valuetext")).toBe("no place chosen");
  });
});

it("a reading is said in one sentence", () => {
  expect(spoken({ title: "token 3", rows: [{ name: "king", value: "4%", slot: 0 }], note: "so far" })).toBe(
    "token 3, king 4%, so far",
  );
});
