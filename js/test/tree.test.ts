// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { branchesOf, hiddenFrom, namesOf } from "../src/branches.js";
import { laneAt, layout } from "../src/draw/treelayout.js";
import { type Ink, paint, type Scene } from "../src/draw/treepaint.js";
import { MARKS } from "../src/state.js";
import { Store } from "../src/store.js";
import { type Lane, Tree } from "../src/tree.js";
import { nodeNear } from "../src/views/explore/tree/scene.js";
import { grow, marked, piecesOf, planted, rowsOf, TREE } from "./branching.js";
import { encode } from "./encode.js";
import { frame, key, openPage, type Page, tick } from "./open.js";

const lanes = (tree: Tree) => tree.lanes.map(({ parent, start, nodes }) => [parent, start, nodes]);
const ends = (tree: Tree, marks = MARKS, all = false) => branchesOf(tree, marks, all).map(({ node }) => node);

describe("lanes", () => {
  it("go on with the first token that followed, and begin where a later one does", () => {
    const { tree } = planted(TREE);
    expect(lanes(tree)).toEqual([
      [-1, 0, [0, 1, 2, 3, 4, 5]],
      [0, 2, [6, 7, 8]],
      [0, 2, [9, 10]],
      [2, 3, [11]],
    ]);
    expect(tree.lanes[0].children).toEqual([1, 2]);
    expect(Array.from(TREE, (_, node) => tree.laneOf[node])).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3]);
  });

  it("grow as rows come, with what came before as it was", () => {
    const { store, tree } = planted(TREE);
    const before = tree.lanes[2];
    grow(store, [10, 5, 12]);
    tree.update();
    expect(tree.lanes[2]).toBe(before);
    expect(before.nodes).toEqual([9, 10, 12, 14]);
    expect(tree.lanes[0].nodes.at(-1)).toBe(13);
    expect(tree.lanes).toHaveLength(4);
  });

  it("know their ways and how likely those are", () => {
    const { tree } = planted(TREE);
    expect(tree.pathTo(11)).toEqual([0, 1, 9, 11]);
    expect(tree.pathTo(3)).toEqual([0, 1, 2, 3]);
    expect(tree.logprobTo[11]).toBe(-1 - 9 - 11);
    expect(tree.endOf(7)).toBe(8);
  });

  it("start over with another trace", () => {
    const { store, tree } = planted(TREE);
    grow(store, [-1, 0], { epoch: 2 });
    expect(lanes(tree.update())).toEqual([[-1, 0, [0, 1]]]);
  });

  it("are followed for as long as they grow at a cost that does not", () => {
    const store = new Store();
    const tree = new Tree(store);
    const began = performance.now();
    for (let i = 0; i < 100; i++) {
      grow(
        store,
        Array.from({ length: 100 }, (_, at) => (at % 10 ? 100 * i + at - 1 : Math.max(-1, 10 * i - 1))),
      );
      tree.update();
    }
    expect(tree.laneOf).toHaveLength(10_000);
    expect(performance.now() - began).toBeLessThan(5_000); // ends a hang; it takes a hundredth of that
  });
});

describe("branches", () => {
  it("are the ways to all ends, each from where it left the others", () => {
    const { tree } = planted(TREE);
    const told = branchesOf(tree, MARKS).map(({ node, start, length, logprob }) => [node, start, length, logprob]);
    expect(told).toEqual([
      [5, 2, 6, -15],
      [8, 2, 5, -22],
      [10, 3, 4, -20],
      [11, 3, 4, -21],
    ]);
  });

  it("that left a lane earlier do not move where its own begins", () => {
    const { tree } = planted([-1, 0, 1, 2, 3, 2, 0]); // forks at 3 and, made later, at 1
    expect(branchesOf(tree, MARKS).map(({ node, start }) => [node, start])).toEqual([
      [4, 3],
      [5, 3],
      [6, 1],
    ]);
  });

  it("that are hidden are missing, and the others begin where they are alone", () => {
    const { tree } = planted(TREE);
    expect(ends(tree, marked({ pruned: [9] }))).toEqual([5, 8]);
    const alone = branchesOf(tree, marked({ pruned: [9, 6] }));
    expect(alone.map(({ node, start }) => [node, start])).toEqual([[5, 0]]);
    const inner = branchesOf(tree, marked({ pruned: [10] }));
    expect(inner.map(({ node, start }) => [node, start])).toEqual([
      [5, 2],
      [8, 2],
      [11, 2],
    ]);
  });

  it("end where all that follows is hidden", () => {
    const { tree } = planted(TREE);
    expect(ends(tree, marked({ pruned: [10, 11] }))).toEqual([5, 8, 9]);
    expect(branchesOf(tree, marked({ pruned: [9] }), true).map(({ node, hidden }) => [node, hidden])).toEqual([
      [5, false],
      [8, false],
      [10, true],
      [11, true],
    ]);
    expect(hiddenFrom(tree, [9])).toEqual([Infinity, Infinity, 2, 3]);
  });

  it("are called by the name that was given farthest along; a later fork has none", () => {
    const { tree } = planted(TREE);
    expect([...namesOf(tree, { a: 2, b: 4, c: 9, "on its way": 99 })]).toEqual([
      [0, "b"],
      [2, "c"],
    ]);
    expect(branchesOf(tree, marked({ names: { c: 9 } })).map(({ name }) => name)).toEqual([null, null, "c", null]);
  });
});

const whole = { drawn: (lane: Lane) => lane.nodes.length, behind: () => 0 };

describe("the layout", () => {
  it("puts later forks nearer, and lanes that do not meet into one row", () => {
    // a trunk of 40, a fork at 2 of three tokens, one at 30 of five, one at 4 of forty
    const parents = Array.from({ length: 40 }, (_, i) => i - 1);
    const chain = (from: number, count: number) => {
      for (let i = 0; i < count; i++) parents.push(i ? parents.length - 1 : from);
    };
    chain(2, 3);
    chain(30, 5);
    chain(4, 40);
    const { tree } = planted(parents);
    const placed = layout(tree, whole);
    expect([...placed.row]).toEqual([0, 1, 1, 2]);
    expect(placed.rows.map((row) => row.map(({ id }) => id))).toEqual([[0], [1, 2], [3]]);
    expect(placed.length).toBe(45);
    expect([...layout(tree, { ...whole, behind: (lane) => (lane.id === 1 ? 30 : 0) }).row]).toEqual([0, 3, 1, 2]);
  });

  it("leaves out what is not drawn, and all that left it", () => {
    const { tree } = planted(TREE);
    const placed = layout(tree, {
      ...whole,
      drawn: (lane) => (lane.id === 2 || lane.id === 3 ? 0 : lane.nodes.length),
    });
    expect([...placed.row]).toEqual([0, 1, -1, -1]);
  });

  it("finds the lane at a place, or the nearest", () => {
    const { tree } = planted(TREE);
    const placed = layout(tree, whole);
    const row = placed.row[1];
    expect(laneAt(placed, row, 3)?.id).toBe(1);
    expect(laneAt(placed, row, 20)?.id).toBe(1);
    expect(laneAt(placed, 99, 3)).toBeUndefined();
  });

  it("has a row for each of a thousand chained forks", () => {
    const parents = [-1, 0];
    for (let first = 0, i = 0; i < 1_000; i++) {
      parents.push(first);
      first = parents.length - 1;
      parents.push(first); // the token that its lane goes on with
    }
    expect(layout(planted(parents).tree, whole).rows).toHaveLength(1_001);
  });
});

const INK: Ink = {
  ...{ steps: Array.from({ length: 37 }, (_, i) => `s${i}`), grey: "grey", ink: "ink", muted: "muted" },
  ...{ page: "page", accent: "accent" },
};

function sceneOf(more: Partial<Scene> = {}): Scene {
  const { tree } = planted(TREE);
  return {
    tree,
    layout: layout(tree, whole),
    frame: { width: 300, height: 100, x: 0, y: 0, pitch: 10, high: 20, left: 12 },
    ink: INK,
    drawn: whole.drawn,
    seen: whole.drawn,
    current: ({ id }) => (id === 0 ? 6 : 0),
    step: (node) => (node === 0 ? -1 : node),
    name: ({ id }) => (id === 1 ? "the name" : undefined),
    hint: ({ id }) => `hint ${id}`,
    diverged: new Set([6]),
    selected: 3,
    cursor: -1,
    ...more,
  };
}

/** A canvas that notes what is painted. */
function recorder() {
  const boxes: [colour: string, x: number, y: number, width: number][] = [];
  const words: string[] = [];
  const arcs: number[] = [];
  const state: Record<string, unknown> = { canvas: document.createElement("canvas") };
  const context = new Proxy(state, {
    get(target, name: string) {
      if (name === "fillRect")
        return (x: number, y: number, width: number) => boxes.push([String(target.fillStyle), x, y, width]);
      if (name === "fillText") return (text: string) => words.push(text);
      if (name === "arc") return (x: number) => arcs.push(x);
      if (name === "measureText") return (text: string) => ({ width: 6 * text.length });
      return name in target ? target[name] : () => {};
    },
    set(target, name: string, value) {
      target[name] = value;
      return true;
    },
  }) as unknown as CanvasRenderingContext2D;
  return { context, boxes, words, arcs };
}

describe("the picture", () => {
  it("paints each token at its position in the colour of its step, the prompt grey", () => {
    const { context, boxes } = recorder();
    paint(context, sceneOf());
    const cells = boxes.filter(([colour]) => colour !== "ink");
    expect(cells).toHaveLength(TREE.length);
    expect(cells.find(([colour]) => colour === "grey")?.[1]).toBe(12.5);
    expect(cells.find(([colour]) => colour === "s3")?.[1]).toBe(12.5 + 30);
    expect(cells.find(([colour]) => colour === "s11")?.slice(1)).toEqual([12.5 + 30, expect.any(Number), 9]);
  });

  it("frames the path that is shown, names branches and says how the others begin", () => {
    const { context, boxes, words, arcs } = recorder();
    paint(context, sceneOf());
    expect(boxes.filter(([colour]) => colour === "ink").map(([, x, , width]) => [x, width])).toEqual([[10.5, 63]]);
    expect([...words].sort()).toEqual(["hint 0", "hint 2", "hint 3", "the name"]);
    expect(arcs, "a ring before the token that the same dice gave").toEqual([12 + 20]);
  });

  it("paints the hottest of the tokens that share a pixel", () => {
    const { context, boxes } = recorder();
    const scene = sceneOf();
    paint(context, { ...scene, frame: { ...scene.frame, pitch: 0.25 } });
    expect(boxes.filter(([colour, x]) => colour === "s3" && x === 12)).toHaveLength(1);
    expect(boxes.some(([colour]) => colour === "s2")).toBe(false);
  });

  it("paints only what is in view", () => {
    const { context, boxes } = recorder();
    const scene = sceneOf();
    paint(context, { ...scene, frame: { ...scene.frame, height: 20, y: 20 } });
    const rows = new Set(boxes.filter(([colour]) => colour !== "ink").map(([, , y]) => Math.floor(y / 20)));
    expect(rows.has(0)).toBe(true);
    expect(boxes.length).toBeLessThan(TREE.length);
  });

  it("is pointed at by its cells and the words behind them, and by nothing else", () => {
    const scene = sceneOf();
    const { row } = scene.layout;
    const at = (lane: number, position: number) => nodeNear(scene, 12 + 10 * position + 5, 20 * row[lane] + 10);
    expect(at(0, 3)).toBe(3);
    expect(at(1, 3)).toBe(7);
    expect(at(3, 3)).toBe(11);
    expect(at(1, 9), "its name").toBe(8);
    expect(nodeNear(scene, 290, 20 * row[1] + 10)).toBe(-1);
    expect(nodeNear(scene, 17, 20 * row[1] + 10)).toBe(-1);
    expect(nodeNear(scene, 17, 400)).toBe(-1);
  });
});

describe("the view", () => {
  let page: Page;
  const texts = () => page.texts(".branch-text");
  const buttons = (action: string) => page.all(`.branch [data-action=${action}]:not([hidden])`);
  const tree = () => page.get(".tree-picture");
  const nodes = (kind: "goto" | "prune" | "restore" | "select") => page.sent(kind).map(({ node }) => node);

  beforeEach(async () => {
    page = openPage({ marks: marked({ names: { second: 6 }, pruned: [11] }) }, "tree");
    page.model.rows(encode({ rows: rowsOf(TREE), pieces: piecesOf(TREE), head: 5 }));
    await frame();
  });
  afterEach(() => page.close());

  /** The kernel agrees, and shows the path to a node. */
  async function agree(kind: "goto" | "prune" | "name_branch", head?: number): Promise<void> {
    await page.answer(kind);
    if (head !== undefined) page.model.rows(encode({ start: TREE.length, rows: [], head, seq: 2 }));
    await frame();
  }

  it("lists the branches to be seen, with their names, and says which is shown", () => {
    expect(page.texts(".tree-summary")).toEqual(["3 branches, 1 pruned"]);
    expect(texts()).toEqual([" w2 w3 w4 w5", " w6 w7 w8", " w9 w10"]);
    expect(page.texts(".branch-name")).toEqual(["second"]);
    expect(page.texts(".branch-length")).toEqual(["6 tokens", "5 tokens", "4 tokens"]);
    expect(page.texts(".branch-logprob")[1]).toBe("-22.00 nats");
    expect(page.all(".branch").map((row) => row.getAttribute("aria-current"))).toEqual(["true", null, null]);
  });

  it("goes to the end of a branch, and looks at where it left the others", async () => {
    buttons("go")[1].click();
    expect(nodes("goto")).toEqual([8]);
    await agree("goto", 8);
    expect(nodes("select").at(-1)).toBe(6);
    expect(page.get(".branch[aria-current]").textContent).toContain("second");
  });

  it("says in place why it does not go there", async () => {
    buttons("go")[1].click();
    await page.refuse("goto", "the session is closed");
    expect(page.texts(".explore-tree .failure")).toEqual(["InfernoError the session is closed"]);
    expect(nodes("select")).toEqual([]);
  });

  it("names in place: Enter keeps, Escape does not; a name moves no further", async () => {
    buttons("name")[1].click();
    const entry = page.all(".branch-entry")[1] as HTMLInputElement;
    expect(entry.value).toBe("second");
    entry.value = "the other";
    key(entry, "Enter");
    expect(page.sent("name_branch")).toMatchObject([{ node: 6, name: "the other" }]);
    buttons("name")[0].click();
    (page.all(".branch-entry")[0] as HTMLInputElement).value = "no";
    key(page.all(".branch-entry")[0], "Escape");
    expect(page.sent("name_branch")).toHaveLength(1);
    expect(document.activeElement).toBe(buttons("name")[0]);
  });

  it("takes a name away where nothing is written, and does not where there was none", () => {
    for (const at of [0, 1]) {
      buttons("name")[at].click();
      const entry = page.all(".branch-entry")[at] as HTMLInputElement;
      entry.value = " ";
      key(entry, "Enter");
    }
    expect(page.sent("name_branch")).toMatchObject([{ node: 6, name: "" }]);
  });

  it("prunes what is not shown, and shows the pruned faintly with a way back", async () => {
    expect((buttons("prune")[0] as HTMLButtonElement).disabled).toBe(true);
    buttons("prune")[2].click();
    expect(nodes("prune")).toEqual([10]);
    await page.click("[data-field=show-pruned]");
    expect(texts()).toEqual([" w2 w3 w4 w5", " w6 w7 w8", " w9 w10", " w11"]);
    expect(page.all(".hidden-branch")).toHaveLength(1);
    buttons("restore")[0].click();
    expect(nodes("restore")).toEqual([11]);
  });

  it("is walked by keys: along, across, there, exactly there", async () => {
    tree().focus();
    key(tree(), "ArrowLeft");
    key(tree(), "ArrowLeft");
    key(tree(), "Enter");
    await tick();
    expect([nodes("goto"), nodes("select").at(-1)]).toEqual([[], 3]); // it is on the path that is shown
    key(tree(), "ArrowDown");
    key(tree(), "Home");
    key(tree(), "Enter", { shiftKey: true });
    expect(nodes("goto")).toEqual([6]);
    await agree("goto", 6);
    expect(nodes("select").at(-1), "the newest is looked at").toBe(-1);
    key(tree(), "ArrowLeft");
    key(tree(), "Enter", { shiftKey: true });
    expect(nodes("goto")).toEqual([6, 1]);
  });

  it("names and prunes by keys what the cursor is on", () => {
    tree().focus();
    key(tree(), "ArrowDown");
    key(tree(), "Delete");
    expect(nodes("prune")).toEqual([8]);
    key(tree(), "n");
    expect(page.all(".branch-entry").map(({ hidden }) => hidden)).toEqual([true, false, true]);
  });

  it("says what the cursor is on", () => {
    tree().focus();
    key(tree(), "ArrowDown");
    expect(page.get(".tree-view [aria-live]").textContent).toBe("second, token 4:  w8, surprisal 8.00 nats");
    expect(page.get(".tree-card").textContent).toContain("second: token 4, 0.03%");
  });

  it("lists few of many, those with a name among them, until all are asked for", async () => {
    const parents = [-1, ...Array.from({ length: 60 }, () => 0)];
    page.model.put("marks", marked({ names: { early: 3 } }));
    page.model.rows(encode({ epoch: 2, rows: rowsOf(parents), pieces: piecesOf(parents), head: 1 }));
    await frame();
    expect(texts()).toHaveLength(24);
    expect(texts()[0]).toBe(" w1");
    expect(page.texts(".branch-name")).toEqual(["early"]);
    expect(page.texts("[data-action=show-all]")).toEqual(["Show all 60"]);
    await page.click("[data-action=show-all]");
    expect(texts()).toHaveLength(60);
  });

  it("lets one look, and nothing else, where the kernel is gone", async () => {
    page.model.emit("comm_live_update");
    await frame();
    expect(buttons("name")).toEqual([]);
    buttons("go")[1].click();
    await tick();
    await frame();
    expect(page.sent("goto")).toEqual([]);
    expect(page.all("[data-token]").map(({ textContent }) => textContent)).toEqual([" w0", " w1", " w6", " w7", " w8"]);
  });

  it("waits for something to be drawn", async () => {
    page.model.rows(encode({ epoch: 3, head: -1 }));
    await frame();
    expect(page.texts(".explore-tree > .note")[0]).toContain("Here grows a tree");
    expect(page.get(".tree-view").hidden).toBe(true);
  });
});
