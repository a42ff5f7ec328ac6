// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Pace, pace } from "../src/pace.js";

/** What was drawn, as the milliseconds it was drawn at and whether it was a drawing in passing. */
let drawn: [at: number, streaming: boolean][];
let drawing: Pace;

beforeEach(() => {
  vi.useFakeTimers();
  const start = performance.now();
  drawn = [];
  drawing = pace((streaming) => drawn.push([performance.now() - start, streaming]), 100);
});
afterEach(() => {
  drawing.close();
  vi.useRealTimers();
});

it("draws what streams in ten times a second, and the last of it too", () => {
  for (let i = 0; i < 50; i++) {
    drawing.ask(true);
    vi.advanceTimersByTime(20);
  }
  expect(drawn.length).toBeGreaterThanOrEqual(8);
  expect(drawn.length).toBeLessThanOrEqual(10);
  expect(drawn.every(([, streaming]) => streaming)).toBe(true);
  const before = drawn.length;
  drawing.ask(true);
  vi.advanceTimersByTime(200);
  expect(drawn).toHaveLength(before + 1);
  vi.advanceTimersByTime(1_000);
  expect(drawn).toHaveLength(before + 1);
});

it("draws what a person does in the next frame, once, whatever waits", () => {
  drawing.ask(true);
  vi.advanceTimersByTime(20);
  drawing.ask(true);
  drawing.ask(false);
  drawing.ask(true);
  vi.advanceTimersByTime(20);
  expect(drawn.map(([, streaming]) => streaming)).toEqual([true, false]);
  expect(drawn[1][0]).toBeLessThan(50);
  vi.advanceTimersByTime(1_000);
  expect(drawn).toHaveLength(2);
});

it("draws nothing more when it was closed", () => {
  drawing.ask(true);
  drawing.close();
  vi.advanceTimersByTime(1_000);
  expect(drawn).toEqual([]);
});
