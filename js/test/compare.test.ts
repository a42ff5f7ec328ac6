// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compared } from "../src/comparison.js";
import { marked, piecesOf, planted, rowsOf, TREE } from "./branching.js";
import { encode } from "./encode.js";
import { frame, key, openPage, type Page } from "./open.js";

describe("a comparison", () => {
  it("is aligned at the fork, and sums what is behind it", () => {
    const { store, tree } = planted(TREE);
    const found = compared(store, tree, 5, 11);
    expect([found.shared, found.rows, found.same]).toEqual([2, 4, 0]);
    const [a, b] = found.sides;
    expect([a.path, b.path]).toEqual([
      [0, 1, 2, 3, 4, 5],
      [0, 1, 9, 11],
    ]);
    expect([a.logprob, a.own, a.predicted, a.ownPredicted]).toEqual([-15, -14, 5, 4]);
    expect([b.logprob, b.own, b.predicted, b.ownPredicted]).toEqual([-21, -20, 3, 2]);
  });

  it("of a path and what goes on from its end has a side without tokens", () => {
    const { store, tree } = planted(TREE);
    const found = compared(store, tree, 3, 5);
    expect([found.shared, found.rows, found.sides[0].own, found.sides[0].ownPredicted]).toEqual([4, 2, 0, 0]);
  });
});

describe("the view", () => {
  let page: Page;
  const cells = () =>
    page.all(".compare-tokens tbody tr").map((row) => [...row.children].map(({ textContent }) => textContent));
  const facts = () =>
    page.all(".compare-facts tbody tr").map((row) => [...row.children].slice(1).map(({ textContent }) => textContent));
  const options = (letter: string) =>
    [...page.get<HTMLSelectElement>(`[data-field=branch-${letter}]`).options].map(({ text }) => text);

  async function choose(letter: string, node: number): Promise<void> {
    const select = page.get<HTMLSelectElement>(`[data-field=branch-${letter}]`);
    select.value = String(node);
    select.dispatchEvent(new Event("change", { bubbles: true }));
    await frame();
  }

  beforeEach(async () => {
    page = openPage({ marks: marked({ names: { second: 6 } }) }, "compare");
    page.model.rows(encode({ rows: rowsOf(TREE), pieces: piecesOf(TREE), head: 8 }));
    page.model.rows(encode({ start: TREE.length, rows: [], head: 5, seq: 2 }));
    await frame();
  });
  afterEach(() => page.close());

  it("begins with the branch that is shown and the one that was left for it", () => {
    expect(options("A")[0]).toBe("the branch shown now: w2 w3 w4 w5 (6)");
    expect(options("B")[0]).toBe("the branch left last: second");
    expect(options("B").slice(1)).toEqual(["w2 w3 w4 w5 (6)", "second", "w10 (4)", "w11 (4)"]);
    expect(page.texts(".compare-shared")).toEqual(["2 tokens shared:  w0 w1"]);
    expect(cells()).toEqual([
      ["2", "·w2", "-2.00", "·w6", "-6.00"],
      ["3", "·w3", "-3.00", "·w7", "-7.00"],
      ["4", "·w4", "-4.00", "·w8", "-8.00"],
      ["5", "·w5", "-5.00", "ended", ""],
    ]);
  });

  it("adds up, and means over what was predicted", () => {
    expect(facts()).toEqual([
      ["4", "3", "+1"],
      ["-14.00", "-21.00", "+7.00"],
      ["-3.50", "-7.00", "+3.50"],
      ["-15.00", "-22.00", "+7.00"],
      ["-3.00", "-5.50", "+2.50"],
    ]);
    expect(page.all(".compare-facts .better").map(({ textContent }) => textContent)).toEqual(["-3.50", "-3.00"]);
  });

  it("is of the branches that are chosen", async () => {
    await choose("A", 10);
    await choose("B", 11);
    expect(page.texts(".compare-shared")).toEqual(["3 tokens shared:  w0 w1 w9"]);
    expect(cells()).toEqual([["3", "·w10", "-10.00", "·w11", "-11.00"]]);
  });

  it("has the line of Python that compares the same branches", async () => {
    expect(page.texts("[data-testid=compare-code]")).toEqual(["session.trace.compare(5, 8)"]);
    await choose("B", 10);
    expect(page.texts("[data-testid=compare-code]")).toEqual(["session.trace.compare(5, 10)"]);
  });

  it("colours tokens as the text does, and tells the same token in both", async () => {
    const rows = rowsOf(TREE);
    rows[6].token_id = 2; // as the trunk has there
    page.model.rows(encode({ epoch: 2, rows, pieces: piecesOf(TREE), head: 5 }));
    await frame();
    await choose("B", 8);
    expect(cells().map(([position]) => position)).toEqual(["2 =", "3", "4", "5"]);
    const step = (name: string) => page.get(name).className.match(/ s\d+/)?.[0];
    expect(step(".compare-tokens [data-node='4']")).toBe(step(".stream [data-node='4']"));
  });

  it("leads to the token that is clicked, of whichever branch", async () => {
    page.get(".compare-tokens [data-node='3']").click();
    expect([page.sent("goto"), page.sent("select").at(-1)?.node]).toEqual([[], 3]);
    page.get(".compare-tokens [data-node='7']").click();
    expect(page.sent("goto")).toMatchObject([{ node: 8 }]);
    await page.refuse("goto", "the model is gone");
    expect(page.texts(".explore-compare .failure")).toEqual(["InfernoError the model is gone"]);
  });

  it("is walked by arrows, within a branch", () => {
    page.get(".compare-tokens [data-node='6']").focus();
    key(document.activeElement as Element, "ArrowDown");
    expect((document.activeElement as HTMLElement).dataset.node).toBe("7");
  });

  it("shows a hundred positions, and all when asked", async () => {
    const parents = [-1, ...Array.from({ length: 150 }, (_, i) => i), 0];
    page.model.rows(encode({ epoch: 2, rows: rowsOf(parents), pieces: piecesOf(parents), head: 150 }));
    await frame();
    expect(cells()).toHaveLength(100);
    await page.click(".explore-compare [data-action=show-all]");
    expect(cells()).toHaveLength(150);
  });

  it("needs two branches", async () => {
    page.model.rows(encode({ epoch: 2, rows: rowsOf([-1, 0, 1]), pieces: piecesOf([-1, 0, 1]) }));
    await frame();
    expect(page.texts(".explore-compare > .note")[0]).toContain("one branch only");
    expect(page.get(".compare-choice").hidden).toBe(true);
  });
});
