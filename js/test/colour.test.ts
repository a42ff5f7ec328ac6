import { describe, expect, it } from "vitest";
import {
  CONTRAST,
  contrast,
  FULL,
  flame,
  ground,
  inferno,
  ink,
  luminance,
  PAGE,
  STEPS,
  sheet,
  stepOf,
  type Theme,
} from "../src/draw/colour.js";

const THEMES: Theme[] = ["light", "dark"];
const STEP_NUMBERS = Array.from({ length: STEPS + 1 }, (_, step) => step);

describe("inferno", () => {
  it("ends where matplotlib's does, and passes its middle", () => {
    expect(inferno(0)).toEqual([0, 0, 4]);
    expect(inferno(1)).toEqual([252, 255, 164]);
    expect(inferno(0.5).map(Math.round)).toEqual([188, 55, 84]);
  });

  it("grows brighter all the way", () => {
    const lights = Array.from({ length: 256 }, (_, i) => luminance(inferno(i / 255)));
    expect(lights.every((light, i) => i === 0 || light > lights[i - 1])).toBe(true);
  });
});

describe.each(THEMES)("on a %s page", (theme) => {
  it("text can be read on every step", () => {
    for (const step of STEP_NUMBERS) {
      const on = ground(step, theme);
      expect(contrast(ink(on, theme), on), `step ${step}`).toBeGreaterThanOrEqual(CONTRAST);
    }
  });

  it("surprise leads away from the page", () => {
    const distances = STEP_NUMBERS.map((step) => contrast(ground(step, theme), PAGE[theme]));
    expect(distances[0]).toBe(1);
    expect(distances.every((distance, step) => step === 0 || distance > distances[step - 1])).toBe(true);
    const bars = STEP_NUMBERS.map((step) => contrast(flame(step, theme), PAGE[theme]));
    expect(bars.every((distance, step) => step === 0 || distance > bars[step - 1])).toBe(true);
  });

  it("every step but certainty has a rule", () => {
    for (const step of STEP_NUMBERS.slice(1)) expect(sheet()).toContain(`[data-theme=${theme}] .s${step}{`);
    expect(sheet()).not.toContain(".s0{");
  });
});

it("contrast is WCAG's", () => {
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21);
  expect(contrast([119, 119, 119], [255, 255, 255])).toBeCloseTo(4.48, 2);
});

it("steps span the scale and stop at its end", () => {
  expect([0, FULL / 2, FULL, 50, Number.NaN, -0].map(stepOf)).toEqual([0, STEPS / 2, STEPS, STEPS, 0, 0]);
});
