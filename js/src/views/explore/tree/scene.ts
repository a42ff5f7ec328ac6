/** What the tree's picture shows: where its lanes lie and how they look; and what lies at, or beside, a place of it. */
import { hiddenFrom, namesOf } from "../../../branches.js";
import { endOf, stepOf, tokenValue } from "../../../draw/colour.js";
import { type Layout, laneAt, layout } from "../../../draw/treelayout.js";
import { type Ink, READABLE, type Scene, yOf } from "../../../draw/treepaint.js";
import type { Link } from "../../../link.js";
import { KINDS } from "../../../protocol.js";
import type { Lane, Tree } from "../../../tree.js";
import { textOf } from "../road.js";

/** Free at the left of the first token, and behind the longest lane, for the words there; in pixels. */
const LEFT = 12;
const RIGHT = 150;
/** Widest a position gets where all fits, and height of a row; the least of both. */
const WIDEST = 13;
const HIGHEST = 24;
const LOWEST = 4;
/** Highest that the picture gets, in pixels; it scrolls beyond. */
export const TALLEST = 300;
/** Pixels of a letter in a name. */
const LETTER = 8;
/** Tokens with which a lane without a name is told. */
const HINT = 6;

const NO_INK: Ink = { steps: [], grey: "", ink: "", muted: "", page: "", accent: "" };

/** How the tree is looked at. */
export interface Sight {
  /** Of the picture, in pixels. */
  width: number;
  /** 1: all of it fits. */
  zoomed: number;
  /** Whether what is hidden is shown. */
  hidden: boolean;
  /** Node that is pointed at; -1: none. */
  cursor: number;
  ink: Ink | null;
}

/** Makes scenes of a link's tree; it is laid out anew only where that is of another shape. */
export function scenes(link: Link) {
  const { store } = link;
  let placed: Layout | null = null;
  let placedFor = "";

  /** Lays the lanes out, where anything of them or of their names is new. */
  function arrange(tree: Tree, sight: Sight, drawn: (lane: Lane) => number, names: Map<number, string>): Layout {
    const { marks } = link;
    const { width, zoomed, hidden } = sight;
    const now = JSON.stringify([store.epoch, store.size, width, zoomed, hidden, marks.names, marks.pruned]);
    if (placed && now === placedFor) return placed;
    placedFor = now;
    const longest = tree.lanes.reduce((most, lane) => Math.max(most, lane.start + drawn(lane)), 1);
    const pitch = pitchOf(longest, sight);
    const behind = (lane: Lane): number => Math.ceil(((names.get(lane.id)?.length ?? 0) * LETTER) / pitch);
    placed = layout(tree, { drawn, behind });
    return placed;
  }

  /** How many nodes of each lane the path goes through that is shown. */
  function reachOf(tree: Tree): Map<number, number> {
    const reach = new Map<number, number>();
    let end = store.length - 1;
    let lane = end < 0 ? undefined : tree.lane(store.path[end]);
    while (lane) {
      reach.set(lane.id, end - lane.start + 1);
      end = lane.start - 1;
      lane = tree.lanes[lane.parent];
    }
    return reach;
  }

  return {
    /** What the last layout was made for. */
    get shape(): string {
      return placedFor;
    },
    of(tree: Tree, sight: Sight): Scene {
      const { marks, look, selection } = link;
      const from = hiddenFrom(tree, marks.pruned);
      const names = namesOf(tree, marks.names);
      const seen = (lane: Lane): number => Math.max(0, Math.min(lane.nodes.length, from[lane.id] - lane.start));
      const drawn = sight.hidden ? (lane: Lane) => lane.nodes.length : seen;
      const end = endOf(store, look.metric);
      const { kind } = store.columns;
      const arranged = arrange(tree, sight, drawn, names);
      const [pitch, high] = sizes(arranged, sight);
      const reach = reachOf(tree);
      return {
        tree,
        layout: arranged,
        frame: { width: sight.width, height: 0, x: 0, y: 0, pitch, high, left: LEFT },
        ink: sight.ink ?? NO_INK,
        drawn,
        seen,
        current: (lane) => reach.get(lane.id) ?? 0,
        step: (node) =>
          KINDS[kind[node]] === "prompt" ? -1 : stepOf(look.metric, tokenValue(store, node, look.metric), end),
        name: (lane) => names.get(lane.id),
        hint: (lane) => (lane.parent < 0 ? "" : textOf(link, lane.nodes.slice(0, HINT))),
        diverged: new Set(marks.diverged),
        selected: selection,
        cursor: sight.cursor,
      };
    },
  };
}

const pitchOf = (length: number, { width, zoomed }: Sight): number =>
  Math.min(WIDEST, Math.max(1, width - LEFT - RIGHT) / Math.max(1, length)) * Math.max(1, zoomed);

function sizes({ rows, length }: Layout, sight: Sight): [pitch: number, high: number] {
  const fit = Math.max(READABLE + 3, Math.min(HIGHEST, TALLEST / Math.max(1, rows.length)));
  return [pitchOf(length, sight), Math.max(LOWEST, Math.min(HIGHEST, fit * Math.min(2, sight.zoomed)))];
}

/** Pixels that all of a scene takes. */
export const extent = ({ layout: { length, rows }, frame }: Scene): [width: number, height: number] => [
  LEFT + length * frame.pitch + RIGHT,
  rows.length * frame.high,
];

/** The position at a place of the whole picture, in pixels from its left; and back. */
export const positionAt = (x: number, pitch: number): number => (x - LEFT) / pitch;
export const placeAt = (position: number, pitch: number): number => position * pitch + LEFT;

/** The node of a lane that is nearest to a position, among those that are drawn. */
function nodeOn({ drawn }: Scene, lane: Lane, position: number): number {
  return lane.nodes[Math.max(0, Math.min(drawn(lane) - 1, position - lane.start))];
}

/** The node at a place of the picture: words behind a lane belong to its last. */
export function nodeNear(scene: Scene, x: number, y: number): number {
  const { frame, layout: drawn } = scene;
  const row = Math.floor((y + frame.y) / frame.high);
  const position = Math.floor(positionAt(x + frame.x, frame.pitch));
  const lane = row < 0 ? undefined : laneAt(drawn, row, position);
  if (!lane || Math.abs(yOf(frame, row) - y) > frame.high / 2) return -1;
  const off = lane.start - position;
  const behind = (position - lane.start - scene.drawn(lane)) * frame.pitch;
  if (off * frame.pitch > LEFT || behind > RIGHT) return -1;
  return nodeOn(scene, lane, position);
}

/** The node so many positions along the lane of another; before its first, the one that it left, -1 at a root. */
export function stepAlong({ tree, drawn }: Scene, node: number, by: number): number {
  const lane = tree.lane(node);
  const to = tree.position(node) + by;
  if (to < lane.start) return lane.parent < 0 ? -1 : (tree.at(tree.lanes[lane.parent], lane.start - 1) as number);
  return to < lane.start + drawn(lane) ? (tree.at(lane, to) as number) : node;
}

/** The node so many rows above or below another. */
export function stepAcross(scene: Scene, node: number, by: number): number {
  const { tree, layout: drawn } = scene;
  const row = drawn.row[tree.laneOf[node]] + by;
  const lane = laneAt(drawn, Math.max(0, Math.min(drawn.rows.length - 1, row)), tree.position(node));
  return lane ? nodeOn(scene, lane, tree.position(node)) : node;
}
