/**
 * `npx vitest bench --run`: what the tree costs at 1,000 branches of 100 tokens each, all in view. The canvas is a
 * stand-in, so this is all but the filling of pixels.
 */
import { bench, describe } from "vitest";
import { type Branch, branchesOf } from "../src/branches.js";
import { layout } from "../src/draw/treelayout.js";
import { paint, type Scene } from "../src/draw/treepaint.js";
import { MARKS } from "../src/state.js";
import { Tree } from "../src/tree.js";
import { planted } from "./branching.js";

const BRANCHES = 1_000;
const TOKENS = 100;
const parents = Array.from({ length: TOKENS }, (_, i) => i - 1);
for (let branch = 1; branch < BRANCHES; branch++)
  for (let i = 0; i < TOKENS; i++) parents.push(i ? parents.length - 1 : (branch * 7) % (TOKENS - 1));

const { store, tree } = planted(parents);
const room = { drawn: ({ nodes }: Branch["lane"]) => nodes.length, behind: () => 0 };
const context = new Proxy({} as Record<string, unknown>, {
  get: (target, name: string) => (name === "measureText" ? () => ({ width: 40 }) : (target[name] ?? (() => {}))),
}) as unknown as CanvasRenderingContext2D;
globalThis.getComputedStyle ??= (() => ({ fontFamily: "serif" })) as unknown as typeof getComputedStyle;

const scene: Scene = {
  tree,
  layout: layout(tree, room),
  frame: { width: 960, height: 24 * BRANCHES, x: 0, y: 0, pitch: 4, high: 24, left: 12 },
  ink: { steps: Array(37).fill("red"), grey: "grey", ink: "ink", muted: "muted", page: "page", accent: "accent" },
  drawn: room.drawn,
  seen: room.drawn,
  current: ({ id }) => (id ? 0 : TOKENS),
  step: (node) => node % 37,
  name: () => undefined,
  hint: () => "how it begins",
  diverged: new Set(),
  selected: 3,
  cursor: -1,
};

describe(`${BRANCHES} branches of ${TOKENS} tokens`, () => {
  bench("read all rows", () => void new Tree(store).update());
  bench("list the branches", () => void branchesOf(tree, MARKS));
  bench("lay out", () => void layout(tree, room));
  bench("paint all of it", () => paint(context, scene));
  bench("paint what a view of 300 px shows", () =>
    paint(context, { ...scene, frame: { ...scene.frame, height: 300, y: 9_000 } }),
  );
});
