/** What a person noted on the tree: which branches are named or hidden, and where each left the others. Pure. */
import type { Marks } from "./state.js";
import type { Lane, Tree } from "./tree.js";

/** A way from the root to an end, as `session.branches` has it. */
export interface Branch {
  lane: Lane;
  /** Its last node. */
  node: number;
  name: string | null;
  /** Position of its first token that no other branch to be seen goes through. */
  start: number;
  /** Tokens from the root on. */
  length: number;
  /** Of the whole way, nats. */
  logprob: number;
  hidden: boolean;
}

/** Where on each lane the hidden part begins, as a position; Infinity where all is to be seen. */
export function hiddenFrom(tree: Tree, pruned: readonly number[]): number[] {
  const from = tree.lanes.map(() => Number.POSITIVE_INFINITY);
  for (const node of pruned) {
    if (!(node in tree.laneOf)) continue; // its row is on the way
    const lane = tree.lane(node);
    from[lane.id] = Math.min(from[lane.id], tree.position(node));
  }
  // A lane is numbered after the one it left.
  for (const { id, parent, start } of tree.lanes) if (parent >= 0 && from[parent] < start) from[id] = start;
  return from;
}

/** The names of lanes: of several on one lane, the one that was given farthest along. */
export function namesOf(tree: Tree, names: Marks["names"]): Map<number, string> {
  const found = new Map<number, { name: string; at: number }>();
  for (const [name, node] of Object.entries(names)) {
    if (!(node in tree.laneOf)) continue;
    const [lane, at] = [tree.laneOf[node], tree.position(node)];
    const other = found.get(lane);
    if (!other || at > other.at) found.set(lane, { name, at });
  }
  return new Map(Array.from(found, ([lane, { name }]) => [lane, name]));
}

/** The branches in the order they began; those that are hidden as well where `all`. */
export function branchesOf(tree: Tree, marks: Marks, all = false): Branch[] {
  const hidden = hiddenFrom(tree, marks.pruned);
  const names = namesOf(tree, marks.names);
  const branches: Branch[] = [];
  for (const lane of tree.lanes) {
    const pruned = hidden[lane.id] < lane.start + lane.nodes.length;
    const seen = seenLength(lane, hidden);
    const ends = seen > 0 && !lane.children.some((child) => isSeen(tree, child, hidden, lane.start + seen));
    const tell = (length: number, gone: boolean): void => {
      const node = lane.nodes[length - 1];
      branches.push({
        lane,
        node,
        name: names.get(lane.id) ?? null,
        start: ownStart(tree, lane, gone ? null : hidden, lane.start + length),
        length: lane.start + length,
        logprob: tree.logprobTo[node],
        hidden: gone,
      });
    };
    if (ends) tell(seen, false);
    if (all && pruned) tell(lane.nodes.length, true);
  }
  return branches;
}

/** Nodes at the beginning of a lane that are to be seen. */
const seenLength = ({ id, start, nodes }: Lane, hidden: readonly number[]): number =>
  Math.max(0, Math.min(nodes.length, hidden[id] - start));

/** Whether a lane is to be seen and left its parent right behind the end of what is seen of that. */
const isSeen = (tree: Tree, id: number, hidden: readonly number[], start: number): boolean =>
  tree.lanes[id].start === start && hidden[id] > start;

/** Where the way along a lane up to `end` left the others; of all that there are where `hidden` is null. */
function ownStart(tree: Tree, lane: Lane, hidden: readonly number[] | null, end: number): number {
  const seen = (id: number, at: number): boolean => !hidden || hidden[id] > at;
  let below = end; // position behind the last of this lane that the way goes through
  for (let at: Lane | undefined = lane, came = -1; at; ) {
    // The lane's own next node is another way too, where ours turned off.
    if (came >= 0 && tree.at(at, below) !== undefined && seen(at.id, below)) return below;
    let start = -1;
    for (const id of at.children) {
      const other = tree.lanes[id].start;
      if (id !== came && other <= below && other > start && other < end && seen(id, other)) start = other;
    }
    if (start >= 0) return start;
    if (at.parent < 0) return at.start;
    [came, below] = [at.id, at.start];
    at = tree.lanes[at.parent];
  }
  return 0;
}
