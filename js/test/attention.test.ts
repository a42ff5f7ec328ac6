// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AttentionRow, Heads, Over } from "../src/answers/inside.js";
import { STEPS } from "../src/draw/colour.js";
import { overlaid } from "../src/overlay.js";
import { ordered, tellingOf } from "../src/views/inside/attention/heads.js";
import { colours, pixels, reach } from "../src/views/inside/attention/paint.js";
import { overlayOf, rowOf, strongest } from "../src/views/inside/attention/row.js";
import { frame, key, openPage, type Page, run, tick } from "./open.js";

const CARD = { name: "demo", architecture: "llama", parameters: 1, quantisation: "", n_ctx_train: 1, n_vocab: 4096 };
const STATUS = { state: "ready", n_ctx: 512, model: CARD };
const WEIGHTS = [0.8, 0.16, 0, 0.04];

/** Bytes at an odd place, as a message may have them. */
function view(bytes: Uint8Array): DataView {
  const all = new Uint8Array(bytes.length + 3);
  all.set(bytes, 3);
  return new DataView(all.buffer, 3);
}
const floats = (values: number[]): DataView => view(new Uint8Array(new Float32Array(values).buffer));

const value = (more: Partial<AttentionRow> = {}): AttentionRow => ({
  ...{ node: 3, layer: 0, head: 0, over: "mean", length: 4 },
  ...more,
});
const HEADS: Heads = {
  ...{ node: 3, layer: 0, n_layer: 3, n_head: 3, length: 4, size: 4, code: "" },
  statistics: {
    entropy: [1.2, 0.1, 0.6],
    distance: [2, 1, 0.5],
    first_token: [0.2, 0.1, 0.9],
    previous_token: [0.1, 0.85, 0],
    induction: [null, null, null],
  },
};
const MAPS = view(Uint8Array.from({ length: 48 }, (_, i) => i));

let page: Page;
let painted: { width: number; x: number; y: number }[] = [];

beforeEach(() => {
  painted = [];
  const context = {
    createImageData: (width: number, height: number) => ({ width, data: new Uint8ClampedArray(4 * width * height) }),
    putImageData: ({ width }: ImageData, x: number, y: number) => painted.push({ width, x, y }),
    measureText: (text: string) => ({ width: 7 * text.length }),
    ...Object.fromEntries(
      ["scale", "fillText", "save", "restore", "translate", "rotate"].map((name) => [name, () => {}]),
    ),
    ...Object.fromEntries(["clearRect", "fillRect"].map((name) => [name, () => {}])),
  };
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(context as never);
});
afterEach(() => {
  page?.close();
  vi.restoreAllMocks();
});

async function open(traits = {}): Promise<void> {
  page = openPage({ status: STATUS, ...traits }, "attention");
  page.model.rows(run(["Once", " a"], [" king", " had"]));
  await vi.waitFor(() => expect(page.all(".t")).toHaveLength(4));
  await frame();
}
async function told(weights = WEIGHTS, more: Partial<AttentionRow> = {}): Promise<void> {
  await page.answer("attention", value(more), [floats(weights)]);
  await frame();
  await frame();
}
async function choose(field: string, chosen: string): Promise<void> {
  const select = page.get<HTMLSelectElement>(`[data-field=${field}]`);
  select.value = chosen;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  await tick();
}
async function tick_(field: string): Promise<void> {
  page.get<HTMLInputElement>(`[data-field=${field}]`).click();
  await tick();
  await frame();
  await frame();
}
const stepsShown = (): number[] =>
  page.all(".t").map(({ className }) => Number(className.match(/(?:^| )s(\d+)/)?.[1] ?? 0));
const list = (): string[] => page.all(".attention-row").map((row) => row.innerText ?? row.textContent ?? "");
const legend = (): string => page.get("[data-testid=overlay-scale]").textContent;

describe("a row of weights", () => {
  it("is read from bytes that lie anywhere, or from a message", () => {
    expect(Array.from(rowOf(value(), [floats([0.5, 0.25])]).weights)).toEqual([0.5, 0.25]);
    expect(rowOf(value({ weights: [1] })).weights).toEqual([1]);
  });

  it("colours by the root of the weight, up to the largest that counts", () => {
    const row = rowOf(value({ weights: WEIGHTS }));
    expect([...overlayOf(row, true).steps]).toEqual([0, STEPS, 0, STEPS / 2]);
    expect(overlayOf(row, true).range).toEqual(["0%", "16.0%"]);
    expect([...overlayOf(row, false).steps]).toEqual([STEPS, 16, 0, 8]);
    expect(overlayOf(row, false)).toMatchObject({ about: 3, range: ["0%", "80.0%"] });
    expect([...overlayOf(rowOf(value({ weights: [0.5, 0.496, 0.004] })), true).steps]).toEqual([0, STEPS, 0]);
    expect([...overlayOf(rowOf(value({ weights: [1] })), true).steps]).toEqual([0]);
  });

  it("names the tokens that were read most, and what is left of it", () => {
    const row = rowOf(value({ weights: [0.5, 0.1, 0.15, 0.25] }));
    expect(strongest(row, true, 2)).toEqual({
      listed: [
        { position: 3, weight: 0.25 },
        { position: 2, weight: 0.15 },
      ],
      others: 0.1,
    });
    expect(strongest(row, false, 1)).toEqual({ listed: [{ position: 0, weight: 0.5 }], others: 0.5 });
  });

  it("makes a character of several tokens as strong as the strongest, and steps back behind the token it is about", () => {
    const overlay = overlayOf(rowOf(value({ weights: [0, 0.16, 0.04, 0.01] })), false);
    expect(overlaid(overlay, 1, 3, "prompt")).toBe(`s${STEPS}`);
    expect(overlaid(overlay, 0, 1, "prompt")).toBe("prompt");
    expect(overlaid(overlay, 2, 3, "forced")).toBe("forced s18");
    expect(overlaid(overlay, 3, 4, "generated")).toBe("generated s9 about");
    expect(overlaid(overlay, 4, 5, "generated")).toBe("generated later");
  });
});

describe("heads", () => {
  it("are told by what they are about", () => {
    expect([0, 1, 2].map((head) => tellingOf(HEADS, head, "number"))).toEqual([
      "2.0 back",
      "previous 85%",
      "first 90%",
    ]);
    expect(tellingOf(HEADS, 1, "entropy")).toBe("0.10 nats");
    expect(tellingOf(HEADS, 1, "induction")).toBe("no token twice");
  });

  it("are put in order: the most of it first, the most focused first, those without a number last", () => {
    expect(ordered(HEADS, "previous_token")).toEqual([1, 0, 2]);
    expect(ordered(HEADS, "entropy")).toEqual([1, 2, 0]);
    const statistics = { ...HEADS.statistics, induction: [null, 0.1, 0.7] };
    expect(ordered({ ...HEADS, statistics }, "induction")).toEqual([2, 1, 0]);
  });
});

describe("a picture of weights", () => {
  const table = Uint32Array.from({ length: 256 }, (_, i) => i + 1);
  it("has a cell for each pair, and nothing where the key comes later", () => {
    const map = Uint8Array.of(9, 7, 5, 3);
    expect([...pixels({ map, size: 2, first: 0 }, 4, table)]).toEqual([
      10, 10, 0, 0, 10, 10, 0, 0, 6, 6, 4, 4, 6, 6, 4, 4,
    ]);
  });

  it("that is smaller than its tokens keeps the largest of each pixel", () => {
    const map = new Uint8Array(16);
    map[2 * 4 + 1] = 200; // row 2, column 1
    expect([...pixels({ map, size: 4, first: 0 }, 2, table)]).toEqual([1, 0, 201, 1]);
  });

  it("without the first token leaves its column clear, and reaches to the largest of the others", () => {
    const part = { map: Uint8Array.of(255, 0, 250, 5), size: 2, first: 1 };
    expect([...pixels(part, 2, table)]).toEqual([0, 0, 0, 6]);
    expect([reach(part), reach({ ...part, first: 0 })]).toEqual([36, 255]);
    expect(reach({ ...part, map: Uint8Array.of(255, 0, 90, 99) })).toBe(99);
    const [whole, own] = [255, 5].map((most) => colours("light", "inferno", most));
    expect(own[5]).toBe(whole[255]);
    expect(own[200]).toBe(whole[255]);
  });

  it("takes 512 x 512 of 14 heads within what a click may take", () => {
    const map = new Uint8Array(512 * 512).fill(40);
    const began = performance.now();
    const part = { map, size: 512, first: 1 };
    for (let head = 0; head < 14; head++) pixels(part, 512, colours("dark", "inferno", reach(part)));
    expect(performance.now() - began).toBeLessThan(2_000); // ends a hang; it takes a fiftieth of that
  });
});

describe("the view", () => {
  it("asks for the row of the newest token and for the heads, and for nothing else", async () => {
    await open();
    expect(page.sent("attention")).toMatchObject([{ node: 3, layer: 0, head: 0, over: "mean" }]);
    expect(page.sent("heads")).toMatchObject([{ node: 3, layer: 0 }]);
    const asked = page.model.sent.map(({ kind }) => kind).filter((kind) => kind === "attention" || kind === "heads");
    expect(asked, "a short text is read once").toEqual(["heads", "attention"]);
    expect(page.sent("head_map")).toEqual([]);
    expect(page.sent("follow")).toEqual([]);
  });

  it("colours the text and lists what was read, without the first token, until it is closed", async () => {
    await open();
    const before = stepsShown();
    await told();
    expect(stepsShown()).toEqual([0, STEPS, 0, 18]);
    expect(page.all(".about").map((span) => span.textContent)).toEqual([" had"]);
    expect(list()).toEqual(["16.0%·a1", "4.0%·had3"]);
    expect(page.get("[data-testid=attention-first]").textContent).toContain("80.0%");
    expect(legend()).toContain("16.0%");
    await tick_("skip");
    expect(stepsShown()).toEqual([STEPS, 16, 0, 8]);
    expect(list()[0]).toBe("80.0%Once0");
    await tick_("colour");
    expect(stepsShown()).toEqual(before);
    expect(page.get("[data-testid=overlay-scale]").hidden).toBe(true);
    await tick_("colour");
    expect(stepsShown()[0]).toBe(STEPS);
    page.get("[data-tool=attention]").click();
    await frame();
    expect(stepsShown()).toEqual(before);
    expect(page.all(".about, .later")).toEqual([]);
  });

  it("shows the selected token's, asks for no other heads for it, and shows only the latest", async () => {
    await open();
    await page.answer("heads", HEADS, [MAPS]);
    await page.click("[data-node='1']");
    await page.click("[data-node='2']");
    await page.answer("attention", value(), [floats(WEIGHTS)]); // of the newest, which nobody looks at any more
    expect(page.all(".about")).toEqual([]);
    expect(page.sent("attention").map(({ node }) => node)).toEqual([3, 2]);
    await told([0.5, 0.4, 0.1], { node: 2, length: 3 });
    expect(stepsShown()).toEqual([0, STEPS, 18, 0]);
    expect(page.all(".later").map((span) => span.textContent)).toEqual([" had"]);
    expect(page.get("[data-testid=attention-of]").textContent).toContain("token 2 ‘·king’ read");
    expect(page.sent("heads")).toHaveLength(1);
    page.all(".attention-row")[0].click();
    expect(page.sent("select").at(-1)).toMatchObject({ node: 1 });
  });

  it("asks for other weights when they are chosen, and says what they are", async () => {
    await open();
    await told();
    await page.answer("heads", HEADS, [MAPS]);
    for (const over of ["max", "all_mean", "all_max", "rollout"] as Over[]) {
      await choose("over", over);
      await told(WEIGHTS, { over });
      expect(page.sent("attention").at(-1)).toMatchObject({ over });
    }
    expect(page.get("[data-testid=attention-help]").textContent).toContain("could have carried");
    expect(page.get<HTMLInputElement>("[data-field=live]").disabled).toBe(true);
    await choose("over", "one");
    await choose("head", "2");
    expect(page.sent("attention").at(-1)).toMatchObject({ over: "one" });
    const slider = page.get<HTMLInputElement>("[data-slider=attention-layer]");
    slider.value = "1000";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await tick();
    expect(page.sent("heads").at(-1)).toMatchObject({ layer: 2 });
  });

  it("says why it cannot be asked, and what went wrong", async () => {
    await open({ status: { ...STATUS, state: "closed" } });
    expect(page.sent("attention")).toEqual([]);
    expect(page.get("[data-testid=attention-note]").textContent).toContain("recording");
    page.model.status({ state: "ready" });
    await frame();
    await page.refuse("attention", "this model is recurrent: it has no attention");
    await page.refuse("heads", "this model is recurrent: it has no attention");
    expect(page.texts(".inside-attention .failure")).toEqual([
      "InfernoError this model is recurrent: it has no attention",
    ]);
    expect(page.get(".attention-body").hidden).toBe(true);
    await page.click("[data-action=attention-again]");
    expect(page.sent("attention")).toHaveLength(2);
    await told();
    expect(list()).toHaveLength(2);
  });

  it("lets another layer be chosen where the first has no attention", async () => {
    await open({ status: { ...STATUS, size: { n_layer: 3, n_head: 3 } } });
    await page.refuse("heads", "no attention weights in layer 0; layers that have: 1");
    const slider = page.get<HTMLInputElement>("[data-slider=attention-layer]");
    expect(slider.disabled).toBe(false);
    slider.value = "1000";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await tick();
    expect(page.sent("heads").at(-1)).toMatchObject({ layer: 2 });
  });

  it("leaves the colours of a token that the run has gone beyond", async () => {
    await open();
    await told();
    page.model.status({ state: "generating" });
    await vi.waitFor(() => expect(page.all(".about, .later")).toEqual([]));
  });
});

describe("the grid", () => {
  const names = () => page.texts(".attention-head b");
  const head = (i: number) => page.all(".attention-head")[i];

  async function maps(): Promise<void> {
    await open();
    await told();
    await page.answer("heads", HEADS, [MAPS]);
  }

  it("has a map and the most telling number of each head, in the order that was chosen", async () => {
    await maps();
    expect(names()).toEqual(["head 0", "head 1", "head 2"]);
    expect(page.texts(".attention-head span")).toEqual(["2.0 back", "previous 85%", "first 90%"]);
    expect(painted.filter(({ width }) => width === 4)).toHaveLength(3);
    await choose("heads-order", "entropy");
    expect(names()).toEqual(["head 1", "head 2", "head 0"]);
    expect(page.texts(".attention-head span")).toEqual(["0.10 nats", "0.60 nats", "1.20 nats"]);
  });

  it("is walked by arrows; Enter enlarges, Escape goes back to where it was", async () => {
    await maps();
    head(0).focus();
    key(head(0), "ArrowRight");
    expect(document.activeElement).toBe(head(1));
    key(head(1), "End");
    key(head(2), "ArrowRight");
    expect(document.activeElement).toBe(head(2));
    head(2).click(); // as Enter does
    await tick();
    expect(page.sent("head_map")).toMatchObject([{ node: 3, layer: 0, head: 2 }]);
    expect(page.sent("attention").at(-1)).toMatchObject({ over: "one", head: 2 });
    const map = page.get("[data-testid=head-map]");
    expect(document.activeElement).toBe(map);
    expect(map.getAttribute("aria-busy")).toBe("true");
    await page.answer("head_map", { node: 3, layer: 0, head: 2, length: 4, code: "" }, [
      view(Uint8Array.from({ length: 16 }, (_, i) => (i === 13 ? 255 : 0))),
    ]);
    expect(map.getAttribute("aria-busy")).toBe("false");
    key(map, "ArrowUp"); // the first key goes to the end
    key(map, "ArrowLeft");
    key(map, "ArrowLeft");
    expect(page.get(".attention-said").textContent).toBe("token 3 ‘·had’ read token 1 ‘·a’: 100.0%");
    key(map, "ArrowUp");
    expect(page.get(".attention-said").textContent).toBe("token 2 ‘·king’ read token 1 ‘·a’: 0%");
    key(map, "Enter");
    expect(page.sent("select").at(-1)).toMatchObject({ node: 2 });
    for (let i = 0; i < 3; i++) key(map, "ArrowUp");
    expect(page.get(".attention-said").textContent).toContain("comes later");
    key(map, "Escape");
    expect(page.get(".attention-large").hidden).toBe(true);
    expect(page.get("[data-tool=attention]").getAttribute("aria-selected")).toBe("true");
    expect(document.activeElement).toBe(head(2));
  });
});

describe("live", () => {
  const part = (node: number, weights: number[]) => value({ node, length: weights.length, weights });

  it("follows the newest token until it is switched off", async () => {
    await open();
    await told();
    await tick_("live");
    const [{ id }] = page.sent("follow") as unknown as { id: number }[];
    page.model.status({ state: "generating" });
    page.model.partial(id, part(1, [0.5, 0.5]));
    await vi.waitFor(() => expect(page.all(".about").map((span) => span.textContent)).toEqual([" a"]));
    page.model.partial(id, part(2, [0.5, 0.1, 0.4]));
    await vi.waitFor(() => expect(page.all(".about").map((span) => span.textContent)).toEqual([" king"]));
    expect(list()).toEqual(["40.0%·king2", "10.0%·a1"]);
    await choose("over", "max");
    expect(page.sent("enough")).toMatchObject([{ request: id }]);
    expect(page.sent("follow").at(-1)).toMatchObject({ over: "max" });
    await tick_("live");
    expect(page.sent("enough")).toHaveLength(2);
    expect(page.sent("follow")).toHaveLength(2);
  });

  it("ends with the tab, and says why it was refused", async () => {
    await open();
    page.model.status({ state: "generating" });
    await vi.waitFor(() => expect(page.get("[data-testid=attention-note]").textContent).toContain("The run goes on"));
    await tick_("live"); // also while the run goes on
    await page.refuse("follow", "no attention here");
    expect(page.texts(".inside-attention .failure")).toEqual(["InfernoError no attention here"]);
    expect(page.get<HTMLInputElement>("[data-field=live]").checked).toBe(false);
    await tick_("live");
    expect(page.sent("follow")).toHaveLength(2);
    page.get("[data-tool=attention]").click();
    expect(page.sent("enough")).toHaveLength(1);
  });
});
