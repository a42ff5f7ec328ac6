// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Attributed, LensTable } from "../src/answers/inside.js";
import { sharesOf } from "../src/views/inside/lens/shares.js";
import { Table } from "../src/views/inside/lens/table.js";
import { key, openPage, type Page, run } from "./open.js";

const TEXTS = { "3": " king", "4": " had", "5": " a", "9": " fox" };
/** Bytes that do not begin where an array would like them to. */
function bytes(values: Float32Array | Int32Array): DataView {
  const moved = new Uint8Array(values.byteLength + 1);
  moved.set(new Uint8Array(values.buffer), 1);
  return new DataView(moved.buffer, 1);
}

/** Three layers over tokens, two candidates a cell: fox leads until a column decides for the token that comes. */
function answer(nodes: number[], decided: number[], answers: number[], came: number[]): [LensTable, DataView[]] {
  const [layers, n] = [3, nodes.length];
  const [ids, logprobs] = [new Int32Array(layers * n * 2), new Float32Array(layers * n * 2)];
  const planes = new Float32Array(6 * layers * n);
  for (let layer = 0; layer < layers; layer++)
    for (let column = 0; column < n; column++) {
      const cell = layer * n + column;
      const leads = layer >= decided[column];
      const p = 0.4 + 0.2 * layer;
      ids.set(leads ? [answers[column], 9] : [9, answers[column]], 2 * cell);
      logprobs.set([Math.log(p), Math.log(0.1)], 2 * cell);
      const own = leads ? [Math.log(p), 1] : [Math.log(0.1), 2];
      const other = came[column] === answers[column] ? own : came[column] < 0 ? [Number.NaN, 0] : [Math.log(0.01), 7];
      for (const [plane, value] of [2 - layer, 4 - 2 * layer, own[1], ...other, own[0]].entries())
        planes[plane * layers * n + cell] = value;
    }
  const value: LensTable = {
    layers: [0, 1, 2],
    positions: nodes,
    nodes,
    k: 2,
    texts: TEXTS,
    answer: answers,
    decided,
    code: "session.inspect(...)",
  };
  return [value, [bytes(ids), bytes(logprobs), bytes(planes)]];
}

const USUAL = () => answer([1, 2, 3, 4], [2, 1, 0, 2], [9, 3, 4, 5], [2, 3, 4, 5]);
const ATTRIBUTED: Attributed = {
  node: 4,
  token: { id: 4, text: " had" },
  attn_out: [0.5, -1, 2],
  mlp: [0.25, 0.25, 1],
  start: 0.5,
  added: 0,
  bias: 0,
  logit: 3.5,
  code: "session.attribution(4)",
};

let page: Page;

beforeEach(async () => {
  page = openPage({ marks: { edits: [] } }, "lens");
  page.model.rows(run(["Once", " a"], [" x", " king", " had", " a"]));
  await vi.waitFor(() => expect(page.sent("lens")).toHaveLength(1));
});
afterEach(() => page.close());

const cells = () => page.all(".lens-cell");
const texts = () => cells().map(({ textContent }) => textContent);
const columns = () => page.texts(".below .lens-head");
const chosen = () => page.texts(".below .lens-head.chosen");
const said = () => page.get("[data-testid=lens-said]").textContent;
const detail = () => page.texts(".lens-top .piece");

describe("the table", () => {
  it("is asked for by itself, up to the newest token, once", async () => {
    expect(page.sent("lens")).toMatchObject([{ node: 5, n: 6, k: 10 }]);
    expect(page.texts(".note").join()).toContain("Reading the layers");
    page.model.status({ used: 3 });
    await page.answer("lens", ...answer([3, 4, 5], [1, 0, 2], [4, 5, 9], [4, 5, -1]));
    expect(page.sent("lens")).toHaveLength(1);
    expect(columns()).toEqual(["·king", "·had", "·a"]);
    expect(page.texts(".above .lens-head")).toEqual(["·had", "·a", "…"]);
  });

  it("has the last layer on top, and the cell from which on it is decided marked", async () => {
    await page.answer("lens", ...answer([3, 4, 5], [1, 0, 2], [4, 5, 9], [4, 5, -1]));
    expect(page.texts(".lens-row:not(.above, .below) .lens-name")).toEqual(["layer 2", "layer 1", "layer 0"]);
    expect(texts()).toEqual(["·had", "·a", "·fox", "·had", "·a", "·fox", "·fox", "·a", "·fox"]);
    expect(page.texts(".lens-cell.decided")).toEqual(["·fox", "·had", "·a"]);
    const spoken = page.get(".lens-cell.decided[data-row='1']").getAttribute("aria-label");
    expect(spoken).toBe(
      "layer 1 behind ·king: ·had, probability 60.0%, entropy 1.00 nats, KL 2.00 nats, rank of the answer 1, decided from here on",
    );
  });

  it("is coloured by what is chosen: calm where it was sure", async () => {
    await page.answer("lens", ...answer([3, 4, 5], [1, 0, 2], [4, 5, 9], [4, 5, -1]));
    const steps = () => cells().map(({ classList }) => Number(classList[1].slice(1)));
    expect(steps().slice(0, 3)).toEqual([7, 7, 7]); // 1 - 0.8 of 36 steps
    expect(steps().slice(6)).toEqual([22, 22, 22]);
    await page.click("[data-choice=rank]");
    expect(steps()).toEqual([0, 0, 0, 0, 0, 4, 4, 0, 4]); // log10(2) / 3 of 36 steps
    await page.click("[data-choice=kl]");
    expect(steps()).toEqual([0, 0, 0, 8, 8, 8, 16, 16, 16]);
  });

  it("shows a cell in full where one points or goes by keys, and the selected one else", async () => {
    await page.answer("lens", ...answer([3, 4, 5], [1, 0, 2], [4, 5, 9], [4, 5, -1]));
    expect(page.texts(".lens-where")).toEqual(["behind layer 0, after ·had"]);
    expect(detail()).toEqual(["·a", "·fox"]);
    page.get("[data-row='0'][data-column='0']").dispatchEvent(new Event("pointerover", { bubbles: true }));
    expect(detail()).toEqual(["·fox", "·had"]);
    expect(page.texts(".lens-top .answer .piece")).toEqual(["·had"]);
    page.get(".lens-grid").dispatchEvent(new Event("pointerleave"));
    expect(detail()).toEqual(["·a", "·fox"]);
    page.get(".lens-cell[tabindex='0']").focus();
    key(document.activeElement as Element, "ArrowUp");
    key(document.activeElement as Element, "ArrowRight");
    expect(document.activeElement).toBe(page.get("[data-row='1'][data-column='2']"));
    expect(page.texts(".lens-where")).toEqual(["behind layer 1, after ·a"]);
    key(document.activeElement as Element, "ArrowRight");
    expect(document.activeElement).toBe(page.get("[data-row='1'][data-column='2']"));
  });

  it("keeps its columns when one of them is clicked, and selects the token that it led to", async () => {
    await page.answer("lens", ...answer([2, 3, 4, 5], [1, 1, 0, 2], [3, 4, 5, 9], [3, 4, 5, -1]));
    expect(chosen()).toEqual(["·had"]);
    await page.click(".lens-cell[data-column='1']");
    expect(page.sent("select").at(-1)).toMatchObject({ node: 4 });
    page.model.put("selection", 4);
    await vi.waitFor(() => expect(chosen()).toEqual(["·king"]));
    expect(page.sent("lens")).toHaveLength(1);
    await page.click(".below [data-column='3']");
    expect(chosen()).toEqual(["·a"]);
    expect(page.texts(".lens-added .note").join()).toContain("Nothing has come behind this token yet");
  });

  it("is asked for anew of a token outside it, and when what is changed inside is another thing", async () => {
    await page.answer("lens", ...answer([3, 4, 5], [1, 0, 2], [4, 5, 9], [4, 5, -1]));
    page.model.put("selection", 2);
    await vi.waitFor(() => expect(page.sent("lens")[1]).toMatchObject({ node: 1, n: 2 }));
    await page.answer("lens", ...answer([0, 1], [0, 0], [9, 9], [1, 2]));
    expect(columns()).toEqual(["Once", "·a"]);
    expect(page.get("[data-action=lens-earlier]").hidden).toBe(true);
    const edits = [{ kind: "ablate", layer: 0, head: 1, part: "attention" }];
    page.model.put("marks", { edits });
    await vi.waitFor(() => expect(page.sent("lens")).toHaveLength(3));
  });

  it("has as many columns as fit, and earlier ones on demand", async () => {
    const nodes = (from: number): number[] => Array.from({ length: 20 - from }, (_, i) => from + i);
    const of = (from: number) => answer(nodes(from), nodes(from).fill(0), nodes(from).fill(9), nodes(from).fill(9));
    page.model.rows(run(Array<string>(20).fill(" a"), [], { epoch: 2, seq: 1 }));
    await page.answer("lens", ...USUAL()); // of the text before
    await vi.waitFor(() => expect(page.sent("lens")[1]).toMatchObject({ node: 19, n: 8 }));
    await page.answer("lens", ...of(12));
    expect(columns()).toHaveLength(8);
    await page.click("[data-action=lens-earlier]");
    expect(page.sent("lens")[2]).toMatchObject({ node: 19, n: 16 });
    await page.answer("lens", ...of(4));
    expect(columns()).toHaveLength(16);
    expect(page.get("[data-action=lens-earlier]").hidden).toBe(false);
  });

  it("says why there is none", async () => {
    await page.refuse("lens", "this model has recurrent layers");
    expect(page.texts(".failure")[0]).toContain("recurrent layers");
    expect(page.sent("lens")).toHaveLength(1);
    await page.click("[data-action=lens-again]");
    expect(page.sent("lens")).toHaveLength(2);
    page.model.put("selection", 0);
    await vi.waitFor(() => expect(page.texts(".inside-lens > .note").join()).toContain("This is the first token"));
    page.model.status({ state: "generating" });
    await vi.waitFor(() => expect(page.texts(".inside-lens > .note").join()).toContain("The run goes on"));
  });
});

describe("where it is decided", () => {
  it("is said in one sentence, with the token that came where that is another one", async () => {
    await page.answer("lens", ...answer([2, 3, 4, 5], [1, 2, 0, 2], [3, 4, 5, 9], [3, 4, 5, -1]));
    expect(said()).toBe("After ‘·had’, ‘·a’ is the most likely from the first layer on.");
    page.model.put("selection", 3);
    await vi.waitFor(() => expect(said()).toBe("After ‘·x’, ‘·king’ is the most likely from layer 1 on."));
    page.model.put("selection", 4);
    await vi.waitFor(() => expect(said()).toBe("After ‘·king’, ‘·had’ is the most likely behind the last layer only."));
  });

  it("is drawn as lines, which are read layer by layer", async () => {
    await page.answer("lens", ...answer([2, 3, 4, 5], [1, 2, 0, 2], [3, 9, 5, 9], [3, 4, 5, -1]));
    page.model.put("selection", 4);
    await vi.waitFor(() =>
      expect(said()).toBe(
        "After ‘·king’, ‘·fox’ is the most likely behind the last layer only. ‘·had’ came, the 7th most likely.",
      ),
    );
    expect(page.texts(".plot-name")).toEqual(["·fox", "·had"]);
    const plot = page.get("[data-testid=lens-plot]");
    key(plot, "Home");
    expect(plot.getAttribute("aria-valuetext")).toBe(
      "behind layer 0, ·fox 10.0%, rank 2, ·had 1.0%, rank 7, most likely there: ·fox",
    );
    expect(page.all(".plot-noted")).toHaveLength(1);
    await page.click("[data-choice=rank]:not(.lens-controls *)");
    expect(page.texts(".inside-lens .plot-title")).toContain("rank");
  });

  it("takes the token's logit apart, and the parts make it up", async () => {
    await page.answer("lens", ...answer([2, 3, 4, 5], [1, 2, 0, 2], [3, 4, 5, 9], [3, 4, 5, -1]));
    expect(page.sent("attribution")).toMatchObject([{ node: 5 }]);
    page.model.put("selection", 4);
    await vi.waitFor(() => expect(page.sent("lens").length).toBe(1));
    await page.answer("attribution", { ...ATTRIBUTED, node: 5 });
    await vi.waitFor(() => expect(page.sent("attribution").at(-1)).toMatchObject({ node: 4 }));
    await page.answer("attribution", ATTRIBUTED);
    expect(page.get("[data-testid=attribution]").textContent).toContain("‘·had’ has the logit 3.50");
    expect(page.texts(".lens-part")).toEqual(["layer 2", "layer 1", "layer 0", "embedding"]);
    expect(page.texts(".lens-shares li")[1]).toBe("layer 1attention −1.00MLP +0.25");
    const sum = sharesOf(ATTRIBUTED)
      .flatMap(({ bars }) => bars)
      .reduce((total, { value }) => total + value, 0);
    expect(sum).toBeCloseTo(ATTRIBUTED.logit);
    const widths = page.all(".lens-track i").map((bar) => Number(bar.style.getPropertyValue("--p")));
    expect(widths).toEqual([1, 0.5, 0.5, 0.125, 0.25, 0.125, 0.25]);
    expect(page.all(".lens-track .less")).toHaveLength(1);
  });
});

it("numbers are read wherever their bytes lie", () => {
  const table = new Table(...USUAL());
  expect(table.top(2, 1)).toEqual([
    { id: 3, name: "·king", probability: expect.closeTo(0.8, 6) },
    { id: 9, name: "·fox", probability: expect.closeTo(0.1, 6) },
  ]);
  expect(table.value("logprob", 0, 1)).toBeCloseTo(Math.log(0.1));
  expect(table.value("kl", 1, 3)).toBe(2);
  expect(table.decided(3)).toBe(2);
});
