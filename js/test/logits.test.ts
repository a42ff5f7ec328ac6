// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Settings } from "../src/state.js";
import { ghostText } from "../src/views/logits/ghost.js";
import { encode } from "./encode.js";
import { frame, key, openPage, type Page, tick } from "./open.js";

const PIECES = ["Once", " upon", " a", " time", " king", " dog"];

const rows = (n: number) =>
  Array.from({ length: n }, (_, i) => ({
    parent: i - 1,
    token_id: i,
    kind: i < 2 ? 0 : 1,
    ...(i > 0 && { logprob: -1, entropy: 1, rank: 1, kept: 3, tail: 0.1, top_kept: 7 }),
    ...(i > 0 && { top_ids: [i, 4, 5], top_logprobs: [-0.5, -1.5, -2] }),
  }));
const story = (n = 4, more = {}) =>
  encode({ k: 3, rows: rows(n), pieces: PIECES.map((piece, i) => [i, piece] as const), ...more });

const word = (text: string, probability = 0.5) => ({ id: 9, text, probability });
const CODE = "session.lookahead(k=3, depth=12, at=3)";
const WAYS = [
  { tokens: [{ id: 3, text: " time", probability: 0.6 }, word(" there"), word(" was")], logprob: -2, finish: "length" },
  {
    tokens: [{ id: 4, text: " king", probability: 0.2 }, word(" who", 0.99), word(""), word(" 🐉", 0.01)],
    logprob: -6,
    finish: "length",
  },
];

let page: Page;
const toggle = () => page.get("[data-action=ahead]");
const words = (id: number) => {
  const item = page.get(`[data-token-id="${id}"]`).closest(".logits-item") as HTMLElement;
  return [...item.querySelectorAll<HTMLElement>(".ghost-word:not([hidden])")];
};
const texts = (id: number) => words(id).map(({ textContent }) => textContent);
const rest = () => new Promise((done) => setTimeout(done, 300));

async function look(): Promise<void> {
  toggle().click();
  await rest();
}

beforeEach(async () => {
  page = openPage();
  page.model.rows(story());
  await frame();
});

afterEach(() => page.close());

describe("looking ahead", () => {
  it("asks once the token is rested on, and not before", async () => {
    toggle().click();
    await tick();
    expect(page.sent("lookahead")).toEqual([]);
    page.model.put("selection", 2);
    await rest();
    expect(page.sent("lookahead")).toMatchObject([{ node: 2, k: 3, depth: 12, sampled: false }]);
    expect(toggle().getAttribute("aria-pressed")).toBe("true");
    expect(toggle().hasAttribute("aria-busy")).toBe(true);
  });

  it("writes what comes beside its alternative, and then the whole", async () => {
    await look();
    const { id } = page.sent("lookahead")[0];
    page.model.partial(id, [
      { index: 0, ...WAYS[0].tokens[0] },
      { index: 1, ...WAYS[1].tokens[0] },
    ]);
    expect([texts(3), texts(4)]).toEqual([[], []]);
    page.model.partial(id, [{ index: 1, ...WAYS[1].tokens[1] }]);
    expect([texts(3), texts(4), texts(5)]).toEqual([[], [" who"], []]);
    await page.answer("lookahead", { node: 3, ways: WAYS, code: CODE });
    expect([texts(3), texts(4), texts(5)]).toEqual([[" there", " was"], [" who", " 🐉"], []]);
    expect(words(4)[0].closest<HTMLElement>(".ghost")?.title).toContain("king who 🐉");
    expect(toggle().hasAttribute("aria-busy")).toBe(false);
    expect(page.texts("[data-testid=ahead-code]")).toEqual([CODE]);
    toggle().click();
    expect(page.texts("[data-testid=ahead-code]")).toEqual([]);
  });

  it("goes on with the run's dice where it is told to, and again when a setting moves", async () => {
    const dice = () => page.get("[data-action=ahead-dice]");
    expect(dice().hidden).toBe(true);
    await look();
    expect(dice().hidden).toBe(false);
    dice().click();
    await rest();
    expect(dice().getAttribute("aria-pressed")).toBe("true");
    page.model.put("settings", { ...(page.model.get("settings") as Settings), temperature: 1.7 });
    await rest();
    expect(page.sent("lookahead").map(({ sampled }) => sampled)).toEqual([false, true, true]);
    dice().click();
    page.model.put("settings", { ...(page.model.get("settings") as Settings), temperature: 0.2 });
    await rest();
    expect(page.sent("lookahead").map(({ sampled }) => sampled)).toEqual([false, true, true, false]);
  });

  it("colours a word by its surprise, and what was expected not at all", async () => {
    await look();
    await page.answer("lookahead", { node: 3, ways: WAYS, code: CODE });
    const heat = (element: HTMLElement) => element.style.getPropertyValue("--heat");
    expect([heat(words(4)[0]), heat(words(4)[1])]).toEqual(["transparent", "var(--s18)"]);
  });

  it("takes the road as far as the word that is clicked, and forks where the row is", async () => {
    await look();
    await page.answer("lookahead", { node: 3, ways: WAYS, code: CODE });
    words(4)[1].click();
    await tick();
    expect(page.sent("take")).toMatchObject([{ index: 1, n: 4 }]);
    expect(page.sent("fork")).toEqual([]);
    page.get('[data-token-id="4"]').click();
    expect(page.sent("fork")).toMatchObject([{ node: 3, token_id: 4 }]);
  });

  it("ends what is still on its way before it takes a word of it", async () => {
    await look();
    const { id } = page.sent("lookahead")[0];
    page.model.partial(id, [
      { index: 0, ...WAYS[0].tokens[0] },
      { index: 0, ...WAYS[0].tokens[1] },
    ]);
    words(3)[0].click();
    expect(page.sent("enough")).toMatchObject([{ request: id }]);
    await tick();
    expect(page.sent("take")).toEqual([]);
    await page.answer("lookahead", { node: 3, ways: WAYS.slice(0, 1), code: CODE });
    expect(page.sent("take")).toMatchObject([{ index: 0, n: 2 }]);
  });

  it("is walked by keys: right into the words, left back to the row, Enter takes", async () => {
    await look();
    await page.answer("lookahead", { node: 3, ways: WAYS, code: CODE });
    const row = page.get('[data-token-id="3"]');
    row.focus();
    key(row, "ArrowRight");
    expect(document.activeElement).toBe(words(3)[0]);
    key(words(3)[0], "ArrowRight");
    expect(document.activeElement).toBe(words(3)[1]);
    expect(words(3).map(({ classList }) => classList.contains("reached"))).toEqual([true, true]);
    key(words(3)[1], "Home");
    key(words(3)[0], "ArrowLeft");
    expect(document.activeElement).toBe(row);
    expect(words(3).some(({ classList }) => classList.contains("reached"))).toBe(false);
    key(row, "ArrowRight");
    key(words(3)[0], "ArrowDown");
    expect(document.activeElement).toBe(page.get('[data-token-id="4"]'));
    key(row, "ArrowRight");
    key(words(3)[0], "Enter");
    await tick();
    expect(page.sent("take")).toMatchObject([{ index: 0, n: 2 }]);
  });

  it("goes away where another token is looked at, and is ended there", async () => {
    await look();
    const { id } = page.sent("lookahead")[0];
    page.model.partial(id, [
      { index: 0, ...WAYS[0].tokens[0] },
      { index: 0, ...WAYS[0].tokens[1] },
    ]);
    expect(texts(3)).toEqual([" there"]);
    page.model.put("selection", 2);
    await frame();
    expect(page.sent("enough")).toMatchObject([{ request: id }]);
    expect(page.all(".ghost:not([hidden])")).toEqual([]);
    page.model.partial(id, [{ index: 0, ...word(" late") }]);
    await page.answer("lookahead", { node: 3, ways: WAYS, code: CODE });
    expect(page.all(".ghost:not([hidden])")).toEqual([]);
  });

  it("goes away where the path becomes another one, and waits while tokens stream in", async () => {
    await look();
    await page.answer("lookahead", { node: 3, ways: WAYS, code: CODE });
    page.model.put("selection", 2);
    await rest();
    await page.answer("lookahead", {
      node: 2,
      ways: [{ ...WAYS[0], tokens: [{ ...WAYS[0].tokens[0], id: 2 }, word(" x")] }],
      code: CODE,
    });
    expect(texts(2)).toEqual([" x"]);
    page.model.status({ state: "generating" });
    page.model.rows(story(5, { start: 0, seq: 2 }));
    await vi.waitFor(() => expect(page.all(".ghost:not([hidden])")).toEqual([]));
    await rest();
    expect(page.sent("lookahead")).toHaveLength(2);
    page.model.status({ state: "ready" });
    await vi.waitFor(() => expect(page.sent("lookahead")).toHaveLength(3));
  });

  it("says in place why it cannot be, and asks again elsewhere", async () => {
    await look();
    await page.refuse("lookahead", "the context has no room for 8 ways");
    expect(page.texts(".ahead-error")).toEqual(["No look ahead: the context has no room for 8 ways"]);
    await rest();
    expect(page.sent("lookahead")).toHaveLength(1);
    page.model.put("selection", 2);
    await rest();
    expect(page.texts(".ahead-error")).toEqual([]);
    expect(page.sent("lookahead")).toHaveLength(2);
  });

  it("is begun and ended by the key l, but not where somebody writes", async () => {
    const pressed = () => toggle().getAttribute("aria-pressed");
    key(page.get("[data-testid=stream]"), "l");
    expect(pressed()).toBe("true");
    key(page.get("textarea"), "l");
    key(page.get("[data-testid=stream]"), "l", { ctrlKey: true });
    expect(pressed()).toBe("true");
    key(page.get(".logits-row"), "l");
    expect(pressed()).toBe("false");
    await rest();
    expect(page.sent("lookahead")).toEqual([]);
  });

  it("is not offered where the kernel is gone", async () => {
    expect(toggle().hidden).toBe(false);
    page.model.emit("comm_live_update");
    await frame();
    expect(toggle().hidden).toBe(true);
    key(page.get("[data-testid=stream]"), "l");
    expect(toggle().getAttribute("aria-pressed")).toBe("false");
  });

  it("is not asked of a first token, nor of a run without a model", async () => {
    page.model.put("selection", 0);
    await look();
    page.model.put("selection", -1);
    page.model.status({ state: "closed" });
    await rest();
    expect(page.sent("lookahead")).toEqual([]);
    expect(page.texts(".ahead-error").join()).toContain("its model is not loaded");
    page.model.put("selection", 0);
    page.model.status({ state: "ready" });
    await rest();
    expect(page.texts(".ahead-error")).toEqual([]);
  });

  it("ends with the widget", async () => {
    await look();
    page.close();
    expect(page.sent("enough")).toHaveLength(1);
    page = openPage();
  });
});

it("is read in one line", () => {
  expect(ghostText(" the\nend\t\u0007")).toBe(" the⏎end⇥<07>");
});
