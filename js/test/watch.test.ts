// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Watch } from "../src/state.js";
import { meant, read } from "../src/views/explore/watch/wanted.js";
import { key, openPage, type Page, run } from "./open.js";

const KING: Watch = { name: "king", tokens: [{ id: 412, text: " king" }] };
const END: Watch = {
  name: "good end",
  tokens: [
    { id: 7, text: " happy" },
    { id: 8, text: " merry" },
  ],
};
const MARKS = { names: {}, pruned: [], diverged: [], watches: [KING, END] };
const CARD = { name: "demo", architecture: "llama", parameters: 1, quantisation: "", n_ctx_train: 1, n_vocab: 4096 };
const STATUS = { state: "ready", n_ctx: 512, model: CARD };
const VALUES = { king: [Number.NaN, 0.25, 0.00004, 0.5], "good end": [Number.NaN, 0.125, 0.03, Number.NaN] };

let page: Page;
afterEach(() => page?.close());

function open(marks = MARKS, traits = {}): Page {
  page = openPage({ status: STATUS, marks, ...traits }, "watch");
  return page;
}
async function story(marks = MARKS, traits = {}): Promise<void> {
  open(marks, traits);
  page.model.watchedRows(run(["Once", " a"], [" king", " had"]), VALUES);
  await vi.waitFor(() => expect(page.all(".plot-line")).toHaveLength(marks.watches.length));
}
const plotOf = () => page.get("[data-testid=watch-plot]");
const field = "[data-field=watch]";

describe("what is written", () => {
  it.each([
    ["king", { name: "king", words: ["king"], ids: [] }],
    [" king", { name: "king", words: [" king"], ids: [] }],
    ["#12", { name: "#12", words: [], ids: [12] }],
    ["good end: happy,  merry, #7", { name: "good end", words: ["happy", "merry"], ids: [7] }],
    [":", { name: ":", words: [":"], ids: [] }],
    ["1, 2", { name: "1, 2", words: ["1, 2"], ids: [] }],
    ["good:", { name: "good:", words: ["good:"], ids: [] }],
  ])("%j", (written, wanted) => expect(read(written)).toEqual(wanted));

  it("may be nothing", () => expect([read(""), read("  ")]).toEqual([null, null]));

  it("means the word with or without a space before it, or exactly what has one", () => {
    expect(["king", " king", "King", " KING"].map((found) => meant("king", found))).toEqual([true, true, false, false]);
    expect(["king", " king"].map((found) => meant(" king", found))).toEqual([false, true]);
  });
});

describe("a word", () => {
  const FOUND = [
    { id: 5, text: "king" },
    { id: 412, text: " king" },
    { id: 99, text: " King" },
  ];

  it("is offered in all ways in which it stands in the vocabulary, and watched in those that are ticked", async () => {
    await story();
    await page.write(field, "king");
    await vi.waitFor(() => expect(page.sent("variants")).toMatchObject([{ text: "king" }]));
    await page.answer("variants", FOUND);
    const boxes = page.all(".watch-way input") as HTMLInputElement[];
    expect(page.texts(".watch-way")).toEqual(["king", "·king", "·King"]);
    expect(boxes.map(({ checked }) => checked)).toEqual([true, true, false]);
    boxes[0].click();
    await page.click("[data-action=watch]");
    expect(page.sent("watch")).toMatchObject([{ name: "king", tokens: [" king"], variants: false }]);
    await page.answer("watch");
    expect([page.get<HTMLInputElement>(field).value, page.texts(".watch-way")]).toEqual(["", []]);
  });

  it("need not wait for the ways to be shown: Enter asks first", async () => {
    await story();
    await page.write(field, "good end: happy, merry");
    key(page.get(field), "Enter");
    await page.answer("variants", [{ id: 7, text: " happy" }]);
    await page.answer("variants", [{ id: 8, text: " merry" }]);
    expect(page.sent("variants").map(({ text }) => text)).toEqual(["happy", "merry"]);
    expect(page.sent("watch")).toMatchObject([{ name: "good end", tokens: [" happy", " merry"] }]);
  });

  it("that is no single token is explained, not sent", async () => {
    await story();
    await page.write(field, "happily, ever");
    key(page.get(field), "Enter");
    await page.answer("variants", []);
    expect(page.texts(".watch-add .note")[0]).toContain("give them a name");
    expect(page.sent("watch")).toEqual([]);
  });

  it("may be a token by its number, or the one that is selected", async () => {
    await story(MARKS, { selection: 2 });
    await page.write(field, "#77");
    await page.click("[data-action=watch]");
    expect(page.sent("watch").at(-1)).toMatchObject({ name: "#77", tokens: [77] });
    await page.answer("watch");
    expect(page.get("[data-action=watch-token]").textContent).toBe("Watch ‘·king’");
    await page.click("[data-action=watch-token]");
    expect(page.sent("watch").at(-1)).toMatchObject({ name: "·king", tokens: [2] });
  });

  it("takes a while on a long text: that is shown, can be ended, and may be refused", async () => {
    await story();
    await page.write(field, "#77");
    await page.click("[data-action=watch]");
    const { id } = page.sent("watch")[0];
    page.model.partial(id, 1);
    expect(page.all(".watch-add [role=progressbar]")[0].getAttribute("aria-valuenow")).toBe("33");
    await page.click("[data-action=watch-stop]");
    expect(page.sent("enough")).toMatchObject([{ request: id }]);
    await page.refuse("watch", "77 is not in the vocabulary");
    expect(page.texts(".watch-add .failure")[0]).toContain("not in the vocabulary");
    expect(page.get<HTMLInputElement>(field).value, "what was refused can be mended").toBe("#77");
  });
});

describe("the list", () => {
  it("has the values of the selected token, else of the newest, and lets go of a watch", async () => {
    await story();
    expect(page.texts(".watch-lines h3")).toEqual(["At the newest token"]);
    expect(page.texts(".watch-value")).toEqual(["50.0%", "–"]);
    page.model.put("selection", 2);
    await vi.waitFor(() => expect(page.texts(".watch-lines h3")).toEqual(["At token 2 ‘·king’"]));
    expect(page.texts(".watch-value")).toEqual(["4.0e-5", "3.0%"]);
    expect(page.texts(".watch-tokens")).toEqual(["·king", "·happy  ·merry"]);
    await page.click("[data-action=unwatch]");
    expect(page.sent("unwatch")).toMatchObject([{ name: "king" }]);
    const [, blue] = page.all(".watch-row .plot-swatch").map(({ className }) => className);
    page.model.put("marks", { ...MARKS, watches: [END] });
    await vi.waitFor(() => expect(page.all(".watch-row")).toHaveLength(1));
    expect(page.get(".watch-row .plot-swatch").className, "the other keeps its colour").toBe(blue);
  });
});

describe("the lines", () => {
  it("follow the path, live, and are broken where nothing is known", async () => {
    await story();
    const line = () => page.get("[data-watch='good end']").getAttribute("d") ?? "";
    expect(line().match(/[ML]/g)).toEqual(["M", "L"]);
    page.model.watchedRows(
      run(["Once", " a"], [" king", " had", " a", " son"]),
      Object.fromEntries(Object.entries(VALUES).map(([name, values]) => [name, [...values, 0.25, 0.25]])),
    );
    await vi.waitFor(() => expect(line().match(/[ML]/g)).toEqual(["M", "L", "M", "L"]));
    expect(page.texts(".plot-name")).toEqual(["king", "good end"]);
  });

  it("are read by keyboard, and Enter selects", async () => {
    await story();
    key(plotOf(), "Home");
    key(plotOf(), "ArrowRight");
    expect(plotOf().getAttribute("aria-valuetext")).toBe("token 1 ‘·a’, king 25.0%, good end 12.5%");
    key(plotOf(), "Enter");
    expect(page.sent("select").at(-1)).toMatchObject({ node: 1 });
    expect(plotOf().getAttribute("aria-label")).toContain("king, good end");
  });

  it("can be drawn by powers of ten", async () => {
    await story();
    expect(page.texts(".plot-tick")).toContain("0%");
    await page.click("[data-action=log]");
    expect(page.texts(".plot-tick")).toEqual(expect.arrayContaining(["0.01%", "100%"]));
    expect(page.get("[data-action=log]").getAttribute("aria-pressed")).toBe("true");
  });

  it("of a thousand tokens are no more than four corners a pixel", async () => {
    open();
    const pieces = Array.from({ length: 20_000 }, () => "a");
    const values = pieces.map((_, i) => (i ? (i % 97) / 97 : Number.NaN));
    page.model.watchedRows(run([], pieces), { king: values, "good end": values });
    await vi.waitFor(() => expect(page.all(".plot-line")).toHaveLength(2));
    const corners = page.get(".plot-line").getAttribute("d")?.match(/[ML]/g)?.length ?? 0;
    expect(corners).toBeGreaterThan(400);
    expect(corners).toBeLessThan(4 * 640);
  });
});

describe("where nothing can be asked, it says why", () => {
  const words = () => page.texts(".explore-watch > .note").join();

  it("before a run", () => {
    open({ ...MARKS, watches: [] });
    expect(words()).toContain("There is no run yet");
    expect(words()).toContain("Nothing is watched yet");
  });

  it("while it generates; what is watched stays to look at", async () => {
    await story(MARKS, { status: { ...STATUS, state: "generating" } });
    expect(words()).toContain("Pause it");
    expect(page.all(".plot-line")).toHaveLength(2);
    expect(page.get<HTMLButtonElement>("[data-action=unwatch]").disabled).toBe(true);
  });

  it("of a recorded run without its model", async () => {
    await story(MARKS, { status: { ...STATUS, state: "closed", model: null } });
    expect(words()).toContain("its model is not loaded");
  });
});
