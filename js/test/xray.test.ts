// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Xray, XrayPart, XrayStage } from "../src/answers/xray.js";
import type { Settings } from "../src/state.js";
import { cellOf, columnsOf, isQuiet, massOf, othersOf, scaleOf } from "../src/views/explore/xray/columns.js";
import { parameterWords, removedWords, sizes, sourceWords, verdict } from "../src/views/explore/xray/words.js";
import { newest } from "../src/views/parts/newest.js";
import { USUAL } from "../src/views/parts/sampling.js";
import { encode } from "./encode.js";
import { frame, openPage, type Page, tick } from "./open.js";

const NAMES = ["Once", " upon", " king", " dog", " cat", " bird"];
const text = (id: number) => NAMES[id] ?? ` t${id}`;
const part = (probabilities: Record<number, number>, more: Partial<XrayPart> = {}): XrayPart => {
  const tokens = Object.entries(probabilities)
    .map(([id, probability]) => ({ id: Number(id), text: text(Number(id)), probability }))
    .sort((a, b) => b.probability - a.probability);
  return { tokens, size: tokens.length, rest: 0, error: 0, ...more };
};
const stage = (name: string, before: XrayPart, after: XrayPart, more: Partial<XrayStage> = {}): XrayStage => ({
  ...{ name, rule: `what ${name} does`, parameters: { [name]: 1 }, numbers: {} },
  ...{ before, after, removed: part({}), changed: [], draw: null, ...more },
});

const RAW = part({ 2: 0.5, 3: 0.3, 4: 0.1 }, { size: 4096, rest: 0.1 });
const CUT = part({ 2: 0.625, 3: 0.375 });
const WARM = part({ 2: 0.8, 3: 0.2 });
const gone = (tokens: XrayPart, reason: string): XrayPart => ({
  ...tokens,
  tokens: tokens.tokens.map((token) => ({ ...token, reason })),
});
const drawn = (id: number, uniform: number | null, last: XrayPart): XrayStage => {
  let to = 0;
  const bar = last.tokens.map((token) => {
    const from = to;
    to += token.probability;
    return { id: token.id, text: token.text, from, to };
  });
  const probability = last.tokens.find((token) => token.id === id)?.probability ?? 1;
  const draw = { token: { id, text: text(id) }, probability, uniform, bar };
  return stage("draw", last, part({ [id]: 1 }), { draw });
};
const chain = (token = 2, uniform: number | null = 0.4, more: Partial<Xray> = {}): Xray => ({
  node: 2,
  source: "record",
  settings: { ...USUAL, seed: 7 },
  recorded: true,
  code: "session.explain(at=2)",
  stages: [
    stage("top_k", RAW, CUT, { removed: gone(part({ 4: 0.1 }, { size: 4094, rest: 0.1 }), "beyond the 2nd") }),
    stage("min_p", CUT, CUT),
    stage("temperature", CUT, WARM),
    drawn(token, uniform, WARM),
  ],
  ...more,
});

describe("the table", () => {
  it("has a column for the most likely, and for what came, what is drawn and what else was left", () => {
    const many = part(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i + 10, (20 - i) / 210])));
    const seen = (came: number, left: XrayStage) => {
      const xray = { ...chain(), stages: [stage("grammar", many, many), left] };
      return columnsOf(xray, { id: came, text: text(came) }).map(({ id }) => id);
    };
    const likely = drawn(12, 0.1, part({ 12: 0.6, 11: 0.4 }));
    expect(seen(12, likely)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
    expect(seen(28, likely)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 28]);
    const unlikely = drawn(5, 0.95, part({ 30: 0.4, 31: 0.3, 12: 0.1, 32: 0.1, 33: 0.05, 5: 0.05 }));
    expect(seen(28, unlikely)).toEqual([10, 11, 12, 13, 14, 15, 16, 28, 5, 30, 31, 32]);
  });

  it("knows of every candidate what became of it", () => {
    const { stages } = chain();
    const fate = (at: number, id: number) => cellOf(stages[at], id, stages.slice(0, at)).fate;
    expect([fate(0, 2), fate(0, 4), fate(2, 4), fate(0, 9), fate(2, 9)]).toEqual([
      "kept",
      "removed",
      "gone",
      "unlisted", // one of 4,096, of which the answer names three
      "gone", // the two that are left are named
    ]);
    expect(cellOf(stages[0], 4, [])).toMatchObject({ before: 0.1, after: 0, reason: "beyond the 2nd" });
    expect(cellOf(stages[2], 2, [])).toMatchObject({ before: 0.625, after: 0.8 });
  });

  it("adds up: what has no column is among the others, and what was removed had a mass", () => {
    const columns = [2, 3].map((id) => ({ id, text: text(id) }));
    expect(othersOf(RAW, columns)).toBeCloseTo(0.2);
    expect(othersOf(CUT, columns)).toBe(0);
    expect(massOf(chain().stages[0].removed)).toBeCloseTo(0.2);
    expect(scaleOf(chain().stages, columns)).toBe(0.8); // the certainty behind the draw is no bar
  });

  it("tells a stage that did nothing from one that moved something", () => {
    expect(chain().stages.map(isQuiet)).toEqual([false, true, false, false]);
  });
});

describe("the words", () => {
  const [cut, quiet, warm] = chain().stages;

  it("say how many were removed, and of a grammar what the model wanted", () => {
    expect([sizes(cut), sizes(warm)]).toEqual(["4,096 → 2 candidates", "2 candidates"]);
    const unknown = { ...CUT, size: null };
    expect(sizes({ ...cut, after: unknown })).toBe("at most 4,096 candidates");
    expect(sizes({ ...cut, before: unknown })).toBe("2 candidates left");
    expect(sizes({ ...cut, before: unknown, after: unknown })).toBe("number not known");
    expect([removedWords(cut), removedWords(quiet)]).toEqual(["removed 4,094, 20.0%", "removed nothing"]);
    expect(removedWords({ ...cut, name: "grammar" })).toBe("wanted, and not allowed to say: 4,094 tokens, 20.0%");
  });

  it("name the parameters and what was worked out", () => {
    const told = { parameters: { top_p: 0.9, breakers: ["\n"] }, numbers: { s_hat: 1.23456, sigma: null } };
    expect(parameterWords({ ...cut, ...told })).toEqual(["top_p=0.9", 'breakers=["\\n"]', "s hat 1.235", "sigma ∞"]);
    const bias = { parameters: { logit_bias: { 2: null, 7: 1.5 } }, numbers: {} };
    expect(parameterWords({ ...quiet, ...bias })).toEqual(["logit_bias={2: −∞, 7: 1.5}"]);
  });

  it("say which token it would be", () => {
    const came = { id: 2, text: " king", kind: "generated" as const };
    expect(verdict(chain(), null, came)).toBe("It was chosen with 80.0%");
    expect(verdict(chain(), null, { ...came, kind: "forced" })).toBe("These settings would take it too, with 80.0%");
    expect(verdict(chain(), chain(), came)).toBe("Still ‘·king’, with 80.0%");
    const cold = { ...chain(), stages: [drawn(2, 0.4, CUT)] };
    expect(verdict(chain(), cold, came)).toBe("Still ‘·king’: 80.0% → 62.5%");
    expect(verdict(chain(), chain(3), came)).toBe("Another token: ‘·dog’ instead of ‘·king’");
    expect(verdict(chain(3), null, { ...came, kind: "prompt" })).toContain("The prompt says ‘·king’");
    expect(verdict(chain(3), null, { ...came, kind: "forced" })).toContain("You chose ‘·king’");
    expect(verdict(chain(3), chain(3), { ...came, kind: "forced" })).toBe("Still ‘·dog’, with 20.0%");
  });

  it("say what the answer is made from, and how far it may be off", () => {
    expect(sourceWords(chain())).toContain("the model was not asked");
    expect(sourceWords(chain(2, 0.4, { source: "row" }))).toBe("From the whole row of logits");
    const near = stage("top_k", RAW, { ...CUT, error: 0.0123 });
    expect(sourceWords({ ...chain(), stages: [near] })).toContain("how far off");
    expect(parameterWords(near).at(-1)).toBe("each within 1.2 points");
    expect(removedWords({ ...cut, removed: { ...cut.removed, error: 0.01 } })).toBe("removed 4,094, about 20.0%");
  });
});

it("asks one thing at a time, and of those that wait the latest", async () => {
  const done: number[] = [];
  const waiting: (() => void)[] = [];
  const ask = newest(async (n: number) => {
    await new Promise<void>((settle) => waiting.push(settle));
    done.push(n);
  });
  const first = ask(1);
  void ask(2);
  void ask(3);
  expect(waiting).toHaveLength(1);
  waiting[0]();
  await vi.waitFor(() => expect(waiting).toHaveLength(2));
  waiting[1]();
  await first;
  expect(done).toEqual([1, 3]);
});

describe("the panel", () => {
  let page: Page;
  const asked = () => page.sent("explain");
  const settings = () => asked().map(({ settings: one }) => one);
  const slide = async (name: keyof Settings, place: number) => {
    const slider = page.get<HTMLInputElement>(`.explore-xray [data-slider=${name}]`);
    slider.value = String(place);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await tick();
  };
  const said = () => page.get("[data-testid=xray-verdict]").textContent;
  const row = (name: string) => page.get(`[data-stage="${name}"]`);
  const disabled = (action: string) => page.get<HTMLButtonElement>(`[data-action=xray-${action}]`).disabled;
  const rows = (n: number) =>
    NAMES.slice(0, n).map((_, i) => ({ parent: i - 1, token_id: i, kind: i < 2 ? 0 : 1, rank: i ? 1 : 0 }));
  const story = (n = 4, more = {}) =>
    encode({ k: 1, rows: rows(n), pieces: NAMES.map((name, i) => [i, name] as const), ...more });

  beforeEach(async () => {
    page = openPage({ settings: structuredClone(USUAL), selection: 2 });
    page.model.rows(story());
    await frame();
    page.get("[data-tool=xray]").click();
  });

  afterEach(() => page.close());

  it("asks for the token that is looked at, once", async () => {
    expect(asked()).toMatchObject([{ node: 2, settings: null }]);
    await page.answer("explain", chain());
    expect(asked()).toHaveLength(1);
    expect(page.get(".xray-title").textContent).toContain("token 2 ‘·king’");
    expect(page.texts("[data-testid=xray-code]")).toEqual(["session.explain(at=2)"]);
    page.model.put("selection", 3);
    await frame();
    expect(asked().at(-1)).toMatchObject({ node: 3, settings: null });
  });

  it("shows the stages in their order, with what they removed and why", async () => {
    await page.answer("explain", chain());
    const stages = page.all(".xray-stage").map(({ dataset }) => dataset.stage);
    expect(stages).toEqual(["the model", "top_k", "min_p", "temperature", "draw"]);
    expect(row("min_p").classList.contains("quiet-stage")).toBe(true);
    expect(row("min_p").querySelector<HTMLElement>(".xray-bars")?.hidden).toBe(true);
    expect(row("top_k").querySelector(".xray-list")?.textContent).toContain("·cat10.0%beyond the 2nd");
    expect(row("top_k").querySelector(".xray-list")?.textContent).toContain("and 4093 less likely ones");
    const cells = [...row("top_k").querySelectorAll("[role=cell] .hidden")].map(({ textContent }) => textContent);
    expect(cells.slice(0, 3)).toEqual(["50.0% → 62.5%", "30.0% → 37.5%", "10.0%, removed: beyond the 2nd"]);
    const heads = page.texts(".xray-names [role=columnheader]");
    expect(heads).toEqual(["stage", "·king", "·dog", "·cat", "others"]);
    expect(page.get(".xray-names .would").textContent).toBe("·king");
  });

  it("shows where the number fell, and says so", async () => {
    await page.answer("explain", chain(3, 0.9));
    const bar = [...row("draw").querySelectorAll<HTMLElement>(".segment")];
    expect(bar.map(({ textContent, className }) => [textContent, className])).toEqual([
      ["·king", "segment"],
      ["·dog", "segment chosen"],
    ]);
    expect(bar[0].style.getPropertyValue("--p")).toBe("0.8000");
    expect(row("draw").querySelector<HTMLElement>(".dice-needle")?.style.getPropertyValue("--p")).toBe("0.9000");
    expect(row("draw").querySelector(".xray-dice .hidden")?.textContent).toContain("The number is 0.9000: ·dog");
    page.model.put("selection", 3);
    await frame();
    await page.answer("explain", chain(2, null, { node: 3 }));
    expect(row("draw").querySelector<HTMLElement>(".dice-needle")?.hidden).toBe(true);
  });

  it("says what a grammar did not allow, and shows it at once", async () => {
    const removed = gone(part({ 4: 0.1 }, { size: 4094, rest: 0.1 }), "not allowed here");
    const xray = chain();
    await page.answer("explain", {
      ...xray,
      stages: [stage("grammar", RAW, CUT, { removed }), ...xray.stages.slice(1)],
    });
    const list = row("grammar").querySelector("details") as HTMLDetailsElement;
    expect(list.open).toBe(true);
    expect(list.querySelector("summary")?.textContent).toBe(
      "wanted, and not allowed to say: 4,094 tokens, 20.0%: ·cat",
    );
  });

  it("shows the logits that were moved", async () => {
    const changed = [
      { id: 2, text: " king", before: 3.5, after: 2.25, reason: "came twice" },
      { id: 3, text: " dog", before: 1, after: null, reason: "forbidden" },
    ];
    await page.answer("explain", {
      ...chain(),
      stages: [stage("penalties", RAW, RAW, { changed }), drawn(2, 0.1, RAW)],
    });
    const items = [...row("penalties").querySelectorAll("details:not([hidden]) li")].map(
      ({ textContent }) => textContent,
    );
    expect(items).toEqual(["·king3.50 → 2.25came twice", "·dog1.00 → −∞forbidden"]);
  });

  it("tries what a slider says, one question at a time, and says whether the token is another", async () => {
    await page.answer("explain", chain());
    expect(said()).toBe("It was chosen with 80.0%");
    expect(disabled("back")).toBe(true);
    await slide("temperature", 20);
    await slide("temperature", 30);
    await slide("temperature", 40);
    expect(settings()).toEqual([null, { temperature: 1 }]);
    await page.answer("explain", chain(3, 0.9));
    expect(said()).toBe("Another token: ‘·dog’ instead of ‘·king’");
    expect(settings()).toEqual([null, { temperature: 1 }, { temperature: 2 }]);
    await page.answer("explain", chain());
    expect(said()).toBe("Still ‘·king’, with 80.0%");
    expect(page.sent("set")).toEqual([]);
    expect(page.get(".explore-xray .tried").dataset.setting).toBe("temperature");
  });

  it("keeps what is tried at the next token, and goes back to what it was", async () => {
    await page.answer("explain", chain());
    await slide("temperature", 40);
    await page.answer("explain", chain(3, 0.9));
    page.model.put("selection", 3);
    await frame();
    expect(settings().at(-1)).toBe(null);
    await page.answer("explain", chain(3, 0.9, { node: 3 }));
    expect(asked().at(-1)).toMatchObject({ node: 3, settings: { temperature: 2 } });
    await page.answer("explain", chain(2, 0.1, { node: 3 }));
    expect(said()).toBe("Another token: ‘·king’ instead of ‘·dog’");
    page.get("[data-action=xray-back]").click();
    expect(said()).toBe("It was chosen with 20.0%");
    expect(page.get<HTMLInputElement>(".explore-xray [data-field=temperature]").value).toBe("0.8");
    expect(disabled("back")).toBe(true);
  });

  it("forgets a value that is put back to what it was", async () => {
    await page.answer("explain", chain());
    await slide("temperature", 40);
    await page.answer("explain", chain(3, 0.9));
    await slide("temperature", 16);
    expect(settings()).toHaveLength(2);
    expect(said()).toBe("It was chosen with 80.0%");
  });

  it("drops an answer that is about another token", async () => {
    page.model.put("selection", 3);
    await frame();
    await page.answer("explain", chain()); // of token 2; the question about token 3 waited for it
    expect(page.texts(".xray-stages")).toEqual([]);
    expect(asked().at(-1)).toMatchObject({ node: 3 });
    await page.answer("explain", chain(3, 0.9, { node: 3 }));
    expect(page.get(".xray-title").textContent).toContain("token 3 ‘·dog’");
  });

  it("sets what is tried in the Sampler, and the run's own settings with it, but not its dice", async () => {
    await page.answer("explain", chain(2, 0.4, { settings: { ...USUAL, seed: 7, top_p: 0.5 } }));
    await slide("temperature", 40);
    await page.answer("explain", chain());
    page.get("[data-action=xray-use]").click();
    await page.answer("set");
    await page.answer("set");
    expect(page.sent("set").map(({ name, value }) => [name, value])).toEqual([
      ["temperature", 2],
      ["top_p", 0.5],
    ]);
    expect(page.sent("same_dice")).toEqual([]);
  });

  it("throws the same dice only once the settings hold", async () => {
    await page.answer("explain", chain());
    await slide("temperature", 40);
    await page.answer("explain", chain());
    page.get("[data-action=xray-dice]").click();
    await page.refuse("set", "temperature: too hot");
    expect(page.sent("same_dice")).toEqual([]);
    expect(page.texts(".explore-xray .failure")).toEqual(["InfernoError temperature: too hot"]);
    page.get("[data-action=xray-dice]").click();
    await page.answer("set");
    expect(page.sent("same_dice")).toMatchObject([{ node: 2 }]);
  });

  it("says why there is none, and keeps what was known", async () => {
    await page.answer("explain", chain());
    await slide("top_k", 0);
    await page.refuse("explain", "the whole row is needed");
    expect(page.texts(".explore-xray .failure")).toEqual(["InfernoError the whole row is needed"]);
    expect(said()).toBe("It was chosen with 80.0%");
    page.get("[data-action=xray-back]").click();
    expect(page.texts(".explore-xray .failure")).toEqual([]);
  });

  it("waits for the end of a run, unless a token is selected, and has nothing of a first one", async () => {
    const notes = () => page.texts(".explore-xray > .note");
    page.model.put("selection", 0);
    await frame();
    expect(notes()[0]).toContain("first token");
    page.model.put("selection", -1);
    page.model.status({ state: "generating" });
    page.model.rows(story(5, { seq: 2 }));
    await vi.waitFor(() => expect(notes()[0]).toContain("The run goes on"));
    expect(asked()).toHaveLength(1);
    await page.answer("explain", chain());
    page.model.put("selection", 3);
    await vi.waitFor(() => expect(asked().at(-1)).toMatchObject({ node: 3 }));
    expect(disabled("use")).toBe(true);
  });

  it("names everything that can be moved or pressed", async () => {
    await page.answer("explain", chain());
    for (const element of page.all(".explore-xray input, .explore-xray button, .explore-xray summary"))
      expect(element.getAttribute("aria-label") || element.textContent, element.outerHTML).toBeTruthy();
  });
});
