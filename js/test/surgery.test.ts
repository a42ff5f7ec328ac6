// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Causal, Tried } from "../src/answers/inside.js";
import type { Edit } from "../src/state.js";
import { editWords, toggled } from "../src/views/inside/surgery/edits.js";
import { key, openPage, type Page, run } from "./open.js";

const OFF: Edit = { kind: "ablate", layer: 1, head: 2, part: "attention" };
const NONE = [null, null, null];
const statistics = { entropy: NONE, distance: NONE, first_token: NONE, previous_token: NONE, induction: NONE };
const HEADS = { node: 0, layer: 0, n_layer: 2, n_head: 3, length: 1, size: 1, statistics, code: "" };
const tried = (node: number, more: Partial<Tried> = {}): Tried => ({
  node,
  tokens: [
    { id: 3, text: " had", before: 0.5, after: 0.1 },
    { id: 4, text: " fox", before: 0.2, after: 0.4 },
  ],
  kl: 0.31,
  code: "with session.intervene(...)",
  ...more,
});
const map = (more: Partial<Causal> = {}): Causal => ({
  node: 5,
  token: { id: 5, text: " son" },
  layers: [0, 1],
  kl: [
    [0.04, 0, 0.01],
    [null, null, null],
  ],
  change: [
    [-0.2, 0, 0.1],
    [null, null, null],
  ],
  last: false,
  ...more,
});
let page: Page;

beforeEach(async () => {
  page = openPage({ marks: { edits: [] } }, "surgery");
  const ranked = { parent: -1, rank: 1, logprob: -1, kind: 1 };
  const rows = [" a", " king", " who", " had", " a", " son"].map((_, i) => ({ ...ranked, parent: i - 1, token_id: i }));
  rows[0].rank = 0;
  page.model.rows(run([" a", " king", " who"], [" had", " a", " son"], { rows }));
  await vi.waitFor(() => expect(page.sent("heads")).toMatchObject([{ node: 0, layer: 0 }]));
  await page.answer("heads", HEADS, [new DataView(new ArrayBuffer(3))]);
});
afterEach(() => page.close());

const cell = (layer: number, column: number): HTMLElement =>
  page.get(`.surgery-cell[data-row='${layer}'][data-column='${column}']`);
const press = async (layer: number, column: number): Promise<void> =>
  page.click(`.surgery-cell[data-row='${layer}'][data-column='${column}']`);
const edits = () => page.texts(".surgery-words");
const last = (kind: "causal_map"): number => page.sent(kind).at(-1)?.id ?? -1;

it("changes a model whose first layer has no heads to count", async () => {
  page.close();
  page = openPage({ marks: { edits: [] }, status: { state: "ready", size: { n_layer: 2, n_head: 3 } } }, "surgery");
  page.model.rows(run([" a"], [" king"]));
  await vi.waitFor(() => expect(page.sent("heads")).toHaveLength(1));
  await page.refuse("heads", "no outputs of single heads in layer 0: it is recurrent");
  expect(page.texts(".inside-surgery .failure").join("")).toBe("");
  await press(1, 4);
  expect(edits()).toEqual(["the MLP of layer 1 is off"]);
});

describe("the grid", () => {
  it("has a cell for each head, and for each layer's parts as a whole; the last layer is on top", () => {
    expect(page.texts(".surgery-row > :first-child")).toEqual(["layer 1", "layer 0", "head"]);
    expect(page.texts(".surgery-name[role=columnheader]")).toEqual(["head", "0", "1", "2", "all", "MLP"]);
    expect(cell(1, 4).getAttribute("aria-label")).toBe("the MLP of layer 1: as it is");
  });

  it("switches a head off, and on again", async () => {
    await press(1, 2);
    expect(edits()).toEqual(["head 2 of layer 1 is off"]);
    expect(cell(1, 2).className).toContain("off");
    expect(page.sent("try_edits")).toMatchObject([{ node: 5, edits: [OFF] }]);
    await press(1, 2);
    expect(edits()).toEqual([]);
    expect(cell(1, 2).getAttribute("aria-label")).toBe("head 2 of layer 1: as it is");
  });

  it("makes parts louder or softer by a factor", async () => {
    await page.write("[data-field=factor]", "0.5");
    await press(0, 3);
    await press(0, 4);
    expect(edits()).toEqual(["all attention of layer 0 × 0.5", "the MLP of layer 0 × 0.5"]);
    expect(cell(0, 3).textContent).toBe("×0.5");
    await page.write("[data-field=factor]", "loud");
    await press(1, 1);
    expect(edits()).toHaveLength(2);
    expect(page.get("[data-field=factor]").getAttribute("aria-invalid")).toBe("true");
  });

  it("is walked by keys", async () => {
    cell(0, 0).focus();
    for (const name of ["ArrowUp", "ArrowRight", "Enter"]) key(document.activeElement as Element, name);
    expect(edits()).toEqual(["head 1 of layer 1 is off"]);
    expect(page.get("[data-testid=spot]").textContent).toBe("head 1 of layer 1: off");
  });
});

describe("what would be said", () => {
  it("stands beside what is said, and only the newest question counts", async () => {
    await press(1, 2);
    await press(0, 0);
    await press(0, 1);
    expect(page.sent("try_edits")).toHaveLength(1);
    await page.answer("try_edits", tried(5, { kl: 9 }));
    expect(page.all(".surgery-pair")).toHaveLength(0);
    expect(page.sent("try_edits").map((one) => one.edits.length)).toEqual([1, 3]);
    await page.answer("try_edits", tried(5));
    expect(page.texts(".surgery-pair")).toEqual(["·had50.0%→10.0%", "·fox20.0%→40.0%"]);
    const bars = page.all(".surgery-pair i").map((bar) => Number(bar.style.getPropertyValue("--p")));
    expect(bars).toEqual([1, 0.2, 0.4, 0.8]);
    expect(page.get("[data-testid=moved]").textContent).toContain("KL 0.31 nats, and another token is the most likely");
  });

  it("follows the selected token; nothing predicted the first", async () => {
    await press(1, 2);
    await page.answer("try_edits", tried(5));
    page.model.put("selection", 3);
    await vi.waitFor(() => expect(page.sent("try_edits")[1]).toMatchObject({ node: 3, edits: [OFF] }));
    expect(page.get(".surgery-body .rows[aria-label^=The]").hidden).toBe(true);
    await page.answer("try_edits", tried(3));
    expect(page.texts(".surgery-pair.came .piece")).toEqual(["·had"]);
    page.model.put("selection", 0);
    await vi.waitFor(() => expect(page.get("[data-testid=moved]").textContent).toContain("This is the first token"));
  });

  it("is refused in words, and asked again", async () => {
    await press(1, 2);
    await page.refuse("try_edits", "this model does not name its heads");
    expect(page.texts(".inside-surgery > .failure")[0]).toContain("does not name its heads");
    await page.click("[data-action=surgery-again]");
    expect(page.sent("try_edits")).toHaveLength(2);
  });
});

describe("steering", () => {
  it("takes texts on both sides, a line each, a layer and a strength", async () => {
    await page.click("[data-action=steer]");
    expect(page.texts(".surgery-steer .failure")[0]).toContain("Write a text on both sides");
    await page.write("[data-field=steer-positive]", "so glad\n\nso happy");
    await page.write("[data-field=steer-negative]", "so sad");
    await page.write("[data-field=steer-layer]", "2");
    await page.click("[data-action=steer]");
    expect(page.texts(".surgery-steer .failure")[0]).toContain("a whole number from 0 to 1");
    await page.write("[data-field=steer-layer]", "1");
    await page.write("[data-field=steer-strength]", "1.5");
    await page.click("[data-action=steer]");
    const steer = { kind: "steer", layer: 1, strength: 1.5, positive: ["so glad", "so happy"], negative: ["so sad"] };
    expect(page.sent("try_edits")).toMatchObject([{ edits: [steer] }]);
    expect(edits()[0]).toBe("behind layer 1: 1.5 × towards ‘so glad’, ‘so happy’, away from ‘so sad’");
    await page.click("[data-action=edit-remove]");
    expect(edits()).toEqual([]);
  });
});

it("leaves no heads to be pressed where the run is gone", async () => {
  expect(page.get(".surgery-body").hidden).toBe(false);
  page.model.rows(run([], [], { epoch: 2 }));
  await vi.waitFor(() => expect(page.get(".surgery-body").hidden).toBe(true));
});

describe("writing on", () => {
  const force = () => page.get("[data-testid=in-force]");

  it("puts them into force and goes on behind the newest token", async () => {
    await press(1, 2);
    await page.click("[data-action=write-on]");
    expect(page.sent("intervene")).toMatchObject([{ edits: [OFF] }]);
    expect(page.sent("resume")).toEqual([]);
    await page.answer("intervene");
    expect(page.sent("goto")).toEqual([]);
    expect(page.sent("resume")).toHaveLength(1);
  });

  it("goes on in place of the selected token", async () => {
    page.model.put("selection", 4);
    await press(1, 2);
    expect(page.texts(".surgery-write .note")).toEqual(["in place of token 4 ‘·a’"]);
    await page.click("[data-action=write-on]");
    await page.answer("intervene");
    expect(page.sent("goto")).toMatchObject([{ node: 3 }]);
    await page.answer("goto");
    expect(page.sent("resume")).toHaveLength(1);
  });

  it("says what is in force, here and in the status line, until it is left", async () => {
    expect(force().hidden).toBe(true);
    page.model.put("marks", { edits: [OFF] });
    await vi.waitFor(() => expect(force().hidden).toBe(false));
    expect(force().textContent).toContain("under 1 intervention: head 2 of layer 1 is off.");
    expect(edits()).toEqual(["head 2 of layer 1 is off"]);
    expect(page.get("[data-testid=under]").textContent).toBe(" · under 1 intervention");
    await press(0, 0);
    expect(force().textContent).toContain("The list below is another one");
    await page.click("[data-action=leave]");
    expect(page.sent("intervene")).toMatchObject([{ edits: [] }]);
    await page.answer("intervene");
    expect(page.sent("resume")).toEqual([]);
    page.model.put("marks", { edits: [] });
    await vi.waitFor(() => expect(force().hidden).toBe(true));
    expect(edits()).toHaveLength(2); // to be tried again
  });

  it("says of no intervention that it is in force when the kernel is gone", async () => {
    page.model.put("marks", { edits: [OFF] });
    await vi.waitFor(() => expect(force().hidden).toBe(false));
    page.model.emit("comm_live_update");
    await vi.waitFor(() => expect(force().hidden).toBe(true));
  });

  it("says in place why it cannot be", async () => {
    await press(1, 2);
    await page.click("[data-action=write-on]");
    await page.refuse("intervene", "something begun in Python has not ended");
    expect(page.texts(".surgery-write .failure")[0]).toContain("has not ended");
    expect(page.sent("resume")).toEqual([]);
  });

  it("marks in the text where it began", async () => {
    page.model.put("marks", { edits: [], altered: [{ node: 4, edits: "layer 1 head 2 off" }] });
    await vi.waitFor(() => expect(page.texts(".t.altered")).toEqual([" a"]));
    expect(page.get(".t.altered").title).toBe("Written under: layer 1 head 2 off");
  });
});

describe("which heads a token hangs on", () => {
  const said = () => page.get("[data-testid=causal]").textContent;

  it("colours the grid as it comes, and names the heads in the end", async () => {
    await page.click("[data-action=causal]");
    expect(page.sent("causal_map")).toMatchObject([{ node: -1, last: false }]);
    page.model.partial(last("causal_map"), map());
    expect(cell(0, 0).classList).toContain("s36");
    expect(cell(0, 2).classList).toContain("s18"); // the square root of a quarter
    expect(cell(1, 0).classList).toContain("s0");
    expect(page.all("[role=progressbar]").map((bar) => bar.getAttribute("aria-valuenow"))).toContain("50");
    expect(said()).toContain("3 of 6 heads tried. ‘·son’ hangs most on head 0 of layer 0");
    await page.answer("causal_map", map({ kl: [...map().kl.slice(0, 1), [0.5, 0.1, 0]], change: [[-0.2, 0, 0.1], [1, 0, 0]] })); // biome-ignore format: a row
    expect(said()).toBe(
      "‘·son’ hangs most on head 0 of layer 1 (without it: KL 0.500 nats, logprob +1.000), then head 1 of layer 1 and head 0 of layer 0.",
    );
    cell(1, 0).dispatchEvent(new Event("pointerover", { bubbles: true }));
    expect(page.get("[data-testid=spot]").textContent).toBe(
      "head 0 of layer 1: as it is; without it: KL 0.500 nats, logprob +1.000",
    );
  });

  it("ends early with what there is, and has a quick way", async () => {
    page.get<HTMLInputElement>("[data-field=causal-last]").click();
    await page.click("[data-action=causal]");
    expect(page.sent("causal_map")).toMatchObject([{ last: true }]);
    page.model.partial(last("causal_map"), map());
    await page.click("[data-action=causal-stop]");
    expect(page.sent("enough")).toMatchObject([{ request: last("causal_map") }]);
    await page.answer("causal_map", map());
    expect(said()).toContain("3 of 6 heads tried");
  });

  it("is of one token: at another one there is no map", async () => {
    await page.click("[data-action=causal]");
    await page.answer("causal_map", map());
    page.model.put("selection", 3);
    await vi.waitFor(() => expect(said()).toBe(""));
    expect(cell(0, 0).classList).toContain("s0");
  });
});

it("rests while the run goes on", async () => {
  await press(1, 2);
  page.model.status({ state: "generating" });
  await vi.waitFor(() => expect(page.texts(".inside-surgery > .note").join()).toContain("The run goes on"));
  for (const action of ["write-on", "causal", "steer"])
    expect(page.get<HTMLButtonElement>(`[data-action=${action}]`).disabled).toBe(true);
  await press(0, 0);
  expect(edits()).toHaveLength(1);
});

it("words and places of edits", () => {
  expect(editWords({ kind: "scale", layer: 2, head: null, part: "mlp", factor: -1 })).toBe("the MLP of layer 2 × -1");
  const spot = { layer: 1, head: 2, part: "attention" as const };
  expect(toggled([], spot, 0)).toEqual([OFF]);
  expect(toggled([OFF], spot, 3)).toEqual([]);
  expect(toggled([OFF], { ...spot, head: null }, 3)).toHaveLength(2);
});
