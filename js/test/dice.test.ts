// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { usual, valuesOf, wrong } from "../src/views/explore/dice/range.js";
import { encode } from "./encode.js";
import { key, openPage, type Page, run } from "./open.js";

const SETTINGS = { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, seed: 7, max_tokens: 20 };
const ANSWER = {
  parameter: "temperature",
  current: 0.8,
  length: 6,
  changes: [
    { value: 0, at: 2, text: " queen", unknown: null },
    { value: 0.5, at: 4, text: null, unknown: 3 },
    { value: 0.8, at: null, text: null, unknown: null },
    { value: 1.5, at: null, text: null, unknown: 5 },
  ],
};
let page: Page;

beforeEach(async () => {
  page = openPage({ settings: SETTINGS }, "dice");
  page.model.rows(run(["Once", " a"], [" king", " had", " a", " son"]));
  await vi.waitFor(() => expect(page.get<HTMLButtonElement>("[data-action=what-if]").disabled).toBe(false));
});
afterEach(() => page.close());

const plotOf = () => page.get("[data-testid=dice-plot]");
const said = () => page.get("[data-testid=what-if]").textContent;

describe("the values that are asked about", () => {
  it("are even, or even in their factors, and hold the present one", () => {
    const values = valuesOf("temperature", 0, 2, { temperature: 0.77 });
    expect([values[0], values[1], values.at(-1), values.length]).toEqual([0, 0.05, 2, 42]);
    expect(values).toContain(0.77);
    const counts = valuesOf("top_k", 1, 100, { top_k: 40 });
    expect(counts.slice(0, 4)).toEqual([1, 2, 3, 4]);
    expect(counts.every(Number.isInteger)).toBe(true);
    expect(counts).toContain(40);
  });

  it("begin with a range that holds the present one", () => {
    expect(usual("temperature", {})).toEqual([0, 2]);
    expect(usual("temperature", { temperature: 3.5 })).toEqual([0, 3.5]);
    expect(usual("top_k", { top_k: 0 })).toEqual([1, 100]);
  });

  it("go from a number to a greater one", () => {
    expect(wrong("temperature", 0, 2)).toBe("");
    expect(wrong("temperature", 2, 2)).toContain("smaller number to a greater");
    expect(wrong("temperature", Number.NaN, 2)).toContain("from a number to a number");
    expect(wrong("top_k", 0, 50)).toContain("begins at 1");
  });
});

describe("where it would differ", () => {
  async function ask(): Promise<void> {
    await page.click("[data-action=what-if]");
    await page.answer("what_if", ANSWER);
  }

  it("is asked for without rows, and drawn: certain ones filled, the others hollow", async () => {
    await ask();
    const [{ parameter, values, rows }] = page.sent("what_if");
    expect([parameter, values.length, rows]).toEqual(["temperature", 41, false]);
    expect(page.all(".dice-point").map((point) => point.classList.contains("open"))).toEqual([
      false,
      true,
      false,
      true,
    ]);
    const heights = page.all(".dice-point").map((point) => Number(point.getAttribute("cy")));
    expect(heights[2], "never").toBeLessThan(heights[3]);
    expect(heights[3], "at 5").toBeLessThan(heights[1]);
    expect(heights[1], "at 3").toBeLessThan(heights[0]);
    expect(page.texts(".plot-tick")).toContain("never");
    expect(page.all(".dice-current")).toHaveLength(1);
    expect(said()).toContain("The run had temperature 0.8. 1 of 4 values give the same run. Of 2 it is not certain");
  });

  it("is said of each point, and Enter selects the token", async () => {
    await ask();
    const words = ["Home", "ArrowRight", "ArrowRight", "ArrowRight"].map((name) => {
      key(plotOf(), name);
      return plotOf().getAttribute("aria-valuetext");
    });
    expect(words).toEqual([
      "temperature 0, another token at position 2: ‘·queen’ instead of ‘·king’",
      "temperature 0.5, may differ from position 3 on, of which the stored candidates prove nothing; proved at position 4: another token instead of ‘·a’",
      "temperature 0.8, as the run had, the same run, token for token",
      "temperature 1.5, may differ from position 5 on, of which the stored candidates prove nothing; no difference is proved",
    ]);
    key(plotOf(), "Enter");
    key(plotOf(), "Home");
    key(plotOf(), "Enter");
    key(plotOf(), "ArrowRight");
    key(plotOf(), "Enter");
    expect(
      page.sent("select").map(({ node }) => node),
      "the earliest that may differ",
    ).toEqual([5, 2, 3]);
  });

  it("what is missing is fetched, with progress, and no further than one likes", async () => {
    expect(page.get("[data-action=what-if-rows]").closest("[hidden]")).not.toBeNull();
    await ask();
    await page.click("[data-action=what-if-rows]");
    const asked = page.sent("what_if")[1];
    expect(asked.rows).toBe(true);
    page.model.partial(asked.id, 0.25);
    expect(page.all("[role=progressbar]").map((bar) => bar.getAttribute("aria-valuenow"))).toContain("25");
    await page.click("[data-action=what-if-rows-stop]");
    expect(page.sent("enough")).toMatchObject([{ request: asked.id }]);
    await page.answer("what_if", { ...ANSWER, changes: ANSWER.changes.map((one) => ({ ...one, unknown: null })) });
    expect(page.all(".dice-point.open")).toHaveLength(0);
    expect(page.get("[data-action=what-if-rows]").closest("[hidden]")).not.toBeNull();
  });

  it("is asked anew for another setting, and a wrong range is said, not sent", async () => {
    const select = page.get<HTMLSelectElement>("[data-field=parameter]");
    select.value = "top_p";
    select.dispatchEvent(new Event("change"));
    await vi.waitFor(() => expect(page.sent("what_if")).toMatchObject([{ parameter: "top_p" }]));
    await page.refuse("what_if", "the trace does not say with which sampler");
    expect(page.texts(".failure")).toContainEqual(expect.stringContaining("does not say"));
    page.get<HTMLInputElement>("[data-field=to]").value = "none";
    key(page.get("[data-field=to]"), "Enter");
    await vi.waitFor(() => expect(page.texts(".failure")).toContainEqual(expect.stringContaining("from a number")));
    expect(page.sent("what_if")).toHaveLength(1);
  });

  it("needs no model, and no end of the run: what was recorded answers", async () => {
    for (const state of ["closed", "generating"]) {
      page.model.status({ state });
      await vi.waitFor(() => expect(page.get<HTMLButtonElement>("[data-action=same-dice]").disabled).toBe(true));
      await ask();
    }
    expect(page.sent("what_if")).toHaveLength(2);
    expect(page.texts(".dice-replay .note")).toEqual([expect.stringContaining("Pause it")]);
    expect(page.get<HTMLButtonElement>("[data-action=what-if-rows]").disabled).toBe(true);
  });

  it("is of the text that was asked about: another one is said", async () => {
    await ask();
    page.model.rows(encode({ start: 6, rows: [{ parent: 1, token_id: 2 }], k: 1 }));
    await vi.waitFor(() => expect(said()).toContain("Another text is shown by now"));
    page.model.rows(run(["New"], [" run"], { epoch: 2 }));
    await vi.waitFor(() => expect(plotOf().hidden).toBe(true));
  });
});

describe("a replay", () => {
  const words = () => page.get("[data-testid=replayed]").textContent;

  it("begins with the selected token, else at the beginning", async () => {
    expect(page.get("[data-action=same-dice]").textContent).toBe("Replay with the present settings");
    page.model.put("selection", 3);
    await vi.waitFor(() => expect(page.get("[data-action=same-dice]").textContent).toContain("from token 3 ‘·had’"));
    await page.click("[data-action=same-dice]");
    expect(page.sent("same_dice")).toMatchObject([{ node: 3 }]);
    expect(page.get(".dice-settings").textContent).toBe("Sampler(seed=7)");
  });

  it("says where it first took another token", async () => {
    await page.click("[data-action=same-dice]");
    expect(page.sent("same_dice")).toMatchObject([{ node: -1 }]);
    page.model.status({ state: "generating" });
    await page.answer("same_dice");
    expect(words()).toBe("The same so far: 6 tokens.");
    const pieces = [[9, " fox"]] as const;
    page.model.rows(encode({ start: 6, rows: [{ parent: 2, token_id: 9 }], k: 1, pieces }));
    const first = "The first different token is at 3: ‘·fox’ instead of ‘·had’.";
    await vi.waitFor(() => expect(words()).toBe(`${first} The new branch goes on.`));
    page.model.status({ state: "ready" });
    await vi.waitFor(() => expect(words()).toBe(first));
  });

  it("says that nothing differs, or that it ended early", async () => {
    await page.click("[data-action=same-dice]");
    await page.answer("same_dice");
    expect(words()).toBe("Nothing differs: the same tokens, to the last one.");
    page.model.rows(encode({ start: 6, rows: [], k: 1, head: 4 }));
    await vi.waitFor(() => expect(words()).toBe("The same up to token 4, where it ended."));
  });

  it("says nothing before the rows that differ have come", async () => {
    await page.click("[data-action=same-dice]");
    page.model.put("marks", { names: {}, pruned: [], diverged: [6], watches: [] });
    await page.answer("same_dice");
    expect(words()).toBe("");
  });
});
