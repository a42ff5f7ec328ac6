// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Committed, Resampled } from "../src/answers/roads.js";
import { Slots } from "../src/draw/series.js";
import { stretches } from "../src/views/explore/resample/curve.js";
import { encode } from "./encode.js";
import { key, openPage, type Page, run } from "./open.js";

const part = (done: number, ...counts: number[]): Resampled => ({
  node: 3,
  done,
  n: 8,
  answers: counts
    .map((count, i) => ({ answer: ["had", "was", null][i], count, example: [" had a son", " was a", " …"][i] }))
    .filter(({ count }) => count),
});
const curve = (done: number, more: Partial<Committed> = {}): Committed => ({
  positions: [2, 3, 4, 5].slice(0, done),
  nodes: [2, 3, 4, 5].slice(0, done),
  of: 4,
  n: 10,
  answers: ["king", "fox", null],
  counts: [
    [3, 6, 1],
    [5, 5, 0],
    [9, 1, 0],
    [10, 0, 0],
  ].slice(0, done),
  answer: "king",
  decided: done > 2 ? 4 : null,
  ...more,
});
let page: Page;

beforeEach(async () => {
  page = openPage({}, "resample");
  page.model.rows(run(["Once", " a"], [" king", " had", " a", " son"]));
  await vi.waitFor(() => expect(page.get<HTMLButtonElement>("[data-action=resample]").disabled).toBe(false));
});
afterEach(() => page.close());

const last = (kind: "resample" | "commitment"): number => page.sent(kind).at(-1)?.id ?? -1;
const shares = () => page.all(".resample-row .bar").map((bar) => Number(bar.style.getPropertyValue("--p")));

describe("what comes out", () => {
  it("is asked for in place of the selected token, or behind the text", async () => {
    await page.click("[data-action=resample]");
    expect(page.sent("resample")).toMatchObject([{ node: -1, n: 32, max_tokens: 16, by: "" }]);
    await page.answer("resample", part(8, 8));
    page.model.put("selection", 3);
    await vi.waitFor(() => expect(page.texts(".note").join()).toContain("in place of token 3 ‘·had’"));
    await page.write("[data-field=resample-n]", "8");
    await page.click("[data-action=resample]");
    expect(page.sent("resample")[1]).toMatchObject({ node: 3, n: 8 });
  });

  it("grows while it comes, to shares that make one, and a bar tells an example", async () => {
    await page.click("[data-action=resample]");
    page.model.partial(last("resample"), part(2, 1, 1));
    expect(page.texts(".resample-row")).toEqual(["had150.0%", "was150.0%"]);
    const [had] = page.all(".resample-row");
    page.model.partial(last("resample"), part(6, 3, 2, 1));
    expect(page.all(".resample-row")[0]).toBe(had);
    await page.answer("resample", part(8, 4, 3, 1));
    expect(page.texts(".resample-name")).toEqual(["had", "was", "no answer"]);
    expect(page.texts(".resample-count").map(Number)).toEqual([4, 3, 1]);
    expect(shares()).toEqual([0.5, 0.375, 0.125]);
    expect(page.get("[data-testid=resampled]").textContent).toContain(
      "8 of 8 continuations, in place of token 3 ‘·had’: 3",
    );
    page.all(".resample-row")[1].dispatchEvent(new Event("pointerenter"));
    expect(page.texts(".resample-example")).toEqual(["for example: ·was·a"]);
    expect(page.all(".resample-row")[2].className).toContain("ink-others");
  });

  it("ends early", async () => {
    await page.click("[data-action=resample]");
    expect(page.get<HTMLButtonElement>("[data-action=resample]").disabled).toBe(true);
    await page.click("[data-action=resample-stop]");
    expect(page.sent("enough")).toMatchObject([{ request: last("resample") }]);
    await page.answer("resample", part(3, 2, 1));
    expect(page.get("[data-testid=resampled]").textContent).toContain("3 of 8");
    expect(page.get("[data-action=resample-stop]").hidden).toBe(true);
  });

  it("is read by a regular expression, where one is written", async () => {
    const by = page.get<HTMLSelectElement>("[data-field=by]");
    by.value = "pattern";
    by.dispatchEvent(new Event("change"));
    await page.click("[data-action=resample]");
    expect(page.texts(".failure")[0]).toContain("Write the regular expression");
    await page.write("[data-field=pattern]", "(king|fox)");
    await page.click("[data-action=resample]");
    expect(page.sent("resample")).toMatchObject([{ by: "(king|fox)" }]);
    await page.refuse("resample", "by is no regular expression");
    expect(page.texts(".failure")[0]).toContain("no regular expression");
  });

  it("takes whole numbers alone", async () => {
    await page.write("[data-field=resample-n]", "2.5");
    await page.click("[data-action=resample]");
    expect(page.texts(".failure")[0]).toContain("continuations is a whole number from 1 on");
    expect(page.sent("resample")).toEqual([]);
  });
});

describe("when it was decided", () => {
  const plotOf = () => page.get("[data-testid=commitment-plot]");
  const words = () => page.get("[data-testid=decided]").textContent;

  it("is asked for from behind the prompt, or from the selected token", async () => {
    expect(page.texts(".note").join()).toContain("begins with token 2 ‘·king’, the first behind the prompt");
    await page.click("[data-action=commitment]");
    expect(page.sent("commitment")).toMatchObject([{ node: -1, n: 16, every: 1, by: "" }]);
    await page.answer("commitment", curve(4));
    page.model.put("selection", 4);
    await page.click("[data-action=commitment]");
    expect(page.sent("commitment")[1]).toMatchObject({ node: 4 });
  });

  it("is drawn position by position, and said in words", async () => {
    await page.click("[data-action=commitment]");
    page.model.partial(last("commitment"), curve(2));
    expect(words()).toContain("The text says ‘king’, but that is not decided so far");
    expect(page.all(".plot-noted")).toHaveLength(0);
    expect(page.all("[role=progressbar]").map((bar) => bar.getAttribute("aria-valuenow"))).toContain("50");
    await page.answer("commitment", curve(4));
    expect(words()).toBe(
      "The text says ‘king’: decided before token 4 ‘·a’. From there on nine in ten of 10 continuations say the same.",
    );
    expect(page.all(".plot-area").map(({ classList }) => classList[1])).toEqual(["ink0", "ink1", "ink-others"]);
    expect(page.all(".plot-noted")).toHaveLength(1);
    expect(page.texts(".plot-tick")).toEqual(expect.arrayContaining(["·king", "·had", "100%"]));
    key(plotOf(), "Home");
    expect(plotOf().getAttribute("aria-valuetext")).toBe(
      "before token 2 ‘·king’, king 30.0%, fox 60.0%, no answer 10.0%",
    );
    key(plotOf(), "End");
    key(plotOf(), "Enter");
    expect(page.sent("select").at(-1)).toMatchObject({ node: 5 });
  });

  it("may never be, or there may be no answer at all", async () => {
    await page.click("[data-action=commitment]");
    await page.answer("commitment", curve(4, { decided: null }));
    expect(words()).toContain("not decided: never do nine in ten of 10");
    await page.click("[data-action=commitment]");
    await page.answer("commitment", curve(4, { answer: null, decided: null }));
    expect(words()).toBe("The text itself has no answer, so nothing was decided.");
  });

  it("has one colour for an answer in both pictures", async () => {
    await page.click("[data-action=resample]");
    await page.answer("resample", part(8, 5, 3));
    await page.click("[data-action=commitment]");
    await page.answer("commitment", curve(4, { answers: ["was", "had", null], answer: "was" }));
    const bars = page.all(".resample-row").map(({ classList }) => classList[1]);
    const areas = page.all(".plot-area").map(({ classList }) => classList[1]);
    expect(areas.slice(0, 2)).toEqual([bars[1], bars[0]]);
  });

  it("has a colour for each of its answers, and the bars those that are left: no two are the same", async () => {
    await page.click("[data-action=resample]");
    const answers = Array.from({ length: 9 }, (_, i) => ({ answer: `word ${i}`, count: 9 - i, example: "" }));
    await page.answer("resample", { node: -1, done: 45, n: 45, answers });
    await page.click("[data-action=commitment]");
    await page.answer("commitment", curve(4));
    const inks = page.all(".resample-row").map(({ classList }) => classList[1]);
    const areas = page.all(".plot-area").map(({ classList }) => classList[1]);
    const all = [...inks, ...areas].filter((ink) => ink !== "ink-others");
    expect(new Set(all).size).toBe(all.length);
    expect(all).toHaveLength(6);
    expect(areas).toEqual([expect.stringMatching(/ink\d/), expect.stringMatching(/ink\d/), "ink-others"]);
  });
});

it("says of both answers when the text that they are about is not shown any more", async () => {
  for (const kind of ["resample", "commitment"] as const) await page.click(`[data-action=${kind}]`);
  await page.answer("resample", part(8, 8));
  await page.answer("commitment", curve(4));
  const said = () => page.texts(".said").filter((words) => words.includes("Another text is shown by now"));
  expect(said()).toEqual([]);
  page.model.rows(encode({ start: 6, rows: [{ parent: 2, token_id: 1 }], k: 1, seq: 2 }));
  await vi.waitFor(() => expect(said()).toHaveLength(2));
});

it("stretches stand on one another, the text's own answer below, and make one; many answers share one", () => {
  const answers = ["a", "b", "c", "d", "e", "f", "g"];
  const counts = [
    [1, 1, 1, 1, 1, 1, 2],
    [0, 0, 0, 0, 0, 0, 8],
  ];
  const parts = stretches(
    { positions: [4, 5], nodes: [4, 5], of: 2, n: 8, answers, counts, answer: "g", decided: 5 },
    new Slots(),
  );
  expect(parts.map(({ name }) => name)).toEqual(["g", "a", "b", "c", "d", "2 others"]);
  expect(parts[0]).toMatchObject({ shares: [0.25, 1], below: [0, 0] });
  for (const at of [0, 1]) {
    expect(parts.reduce((sum, { shares: all }) => sum + all[at], 0)).toBeCloseTo(1);
    for (const [i, { below }] of parts.entries())
      if (i) expect(below[at]).toBeCloseTo(parts[i - 1].below[at] + parts[i - 1].shares[at]);
  }
});
