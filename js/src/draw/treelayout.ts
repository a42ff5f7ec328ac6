/** Where the lanes of a tree lie: each in a row, several in one where they do not meet. Pure. */
import type { Lane, Tree } from "../tree.js";

export interface Layout {
  /** Row of each lane; -1 where it is not drawn. */
  row: Int32Array;
  /** Lanes in each row, from left to right. */
  rows: Lane[][];
  /** Positions of the longest lane. */
  length: number;
}

export interface Room {
  /** How many nodes of a lane are drawn, from its first on; 0: nothing of it, and nothing that left it. */
  drawn: (lane: Lane) => number;
  /** Positions that are kept free behind a lane: for its name. */
  behind: (lane: Lane) => number;
}

/** Positions between two lanes in a row at least. */
const GAP = 2;

/**
 * Gives each lane the first row below its parent's in which it meets no other. Of the lanes that left one lane, later
 * ones come first: so their forks do not cross each other.
 */
export function layout(tree: Tree, { drawn, behind }: Room): Layout {
  const row = new Int32Array(tree.lanes.length).fill(-1);
  const rows: Lane[][] = [];
  /** What each row is taken by: from and to of each lane, in no order. */
  const taken: number[][] = [];
  let length = 0;

  const free = (spans: readonly number[], from: number, to: number): boolean => {
    for (let i = 0; i < spans.length; i += 2) if (spans[i] < to && from < spans[i + 1]) return false;
    return true;
  };

  function place(lane: Lane): void {
    const end = lane.start + drawn(lane);
    const [from, to] = [lane.start - 1, end + GAP + behind(lane)];
    let at = lane.parent < 0 ? 0 : row[lane.parent] + 1;
    while (at < taken.length && !free(taken[at], from, to)) at++;
    if (at === taken.length) {
      taken.push([]);
      rows.push([]);
    }
    taken[at].push(from, to);
    rows[at].push(lane);
    row[lane.id] = at;
    length = Math.max(length, end);
  }

  const visible = (lane: Lane): boolean => drawn(lane) > 0;
  // Depth first, by hand: a chain of a thousand forks is too deep for calls.
  const waiting = tree.lanes.filter((lane) => lane.parent < 0 && visible(lane)).reverse();
  for (let lane = waiting.pop(); lane; lane = waiting.pop()) {
    place(lane);
    const left = lane.children.map((id) => tree.lanes[id]).filter(visible);
    left.sort((a, b) => a.start - b.start || b.id - a.id); // the last is taken first
    waiting.push(...left);
  }
  for (const lanes of rows) lanes.sort((a, b) => a.start - b.start);
  return { row, rows, length };
}

/** The lane of a row that a position lies on, or the one nearest to it. */
export function laneAt({ rows }: Layout, row: number, position: number): Lane | undefined {
  let best: Lane | undefined;
  let distance = Number.POSITIVE_INFINITY;
  for (const lane of rows[row] ?? []) {
    const off = Math.max(lane.start - position, position - (lane.start + lane.nodes.length - 1), 0);
    if (off < distance) [best, distance] = [lane, off];
  }
  return best;
}
