/** The tree of all tokens as lanes, kept up to date as rows come. Pure: knows no page and no kernel. */
import type { Store } from "./store.js";

/**
 * A way through the tree that goes on with the first token that ever followed: it begins at the root or where it left
 * another lane, and ends where nothing follows. There are as many lanes as ends, and a branch keeps its lane as it grows.
 */
export interface Lane {
  /** Its place in `Tree.lanes`: lanes are numbered in the order they began. */
  id: number;
  /** The lane that it left; -1 at a root. */
  parent: number;
  /** Position of its first node. */
  start: number;
  nodes: number[];
  /** Lanes that left it, in the order they began. */
  children: number[];
}

export class Tree {
  lanes: Lane[] = [];
  /** Lane of each node. */
  laneOf: number[] = [];
  /** Log-probability of all tokens from the root to each node, nats; where there was no prediction, none is counted. */
  logprobTo: number[] = [];
  readonly #store: Store;
  #epoch = -1;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Takes in the rows that are new. */
  update(): this {
    const { epoch, size, columns } = this.#store;
    if (epoch !== this.#epoch || size < this.laneOf.length) this.#reset(epoch);
    const { parent, logprob } = columns;
    for (let node = this.laneOf.length; node < size; node++) {
      this.#place(node, parent[node]);
      const before = parent[node] < 0 ? 0 : this.logprobTo[parent[node]];
      this.logprobTo.push(before + (logprob[node] || 0));
    }
    return this;
  }

  lane(node: number): Lane {
    return this.lanes[this.laneOf[node]];
  }

  position(node: number): number {
    return this.#store.depth[node];
  }

  /** The node of a lane at a position; undefined where it does not reach. */
  at(lane: Lane, position: number): number | undefined {
    return lane.nodes[position - lane.start];
  }

  /** The last node of the lane that goes through a node. */
  endOf(node: number): number {
    return this.lane(node).nodes.at(-1) as number;
  }

  /** Nodes from the root to a node. */
  pathTo(node: number): number[] {
    const { depth } = this.#store;
    const path: number[] = [];
    let end = depth[node];
    for (let lane: Lane | undefined = this.lane(node); lane; lane = this.lanes[lane.parent]) {
      for (let at = lane.start; at <= end; at++) path[at] = lane.nodes[at - lane.start];
      end = lane.start - 1;
    }
    return path;
  }

  #reset(epoch: number): void {
    this.#epoch = epoch;
    this.lanes = [];
    this.laneOf = [];
    this.logprobTo = [];
  }

  #place(node: number, parent: number): void {
    const before = parent < 0 ? undefined : this.lane(parent);
    if (before?.nodes.at(-1) === parent) {
      before.nodes.push(node);
      this.laneOf.push(before.id);
      return;
    }
    const lane = { id: this.lanes.length, parent: before?.id ?? -1, start: this.#store.depth[node], nodes: [node] };
    this.lanes.push({ ...lane, children: [] });
    before?.children.push(lane.id);
    this.laneOf.push(lane.id);
  }
}

const TREES = new WeakMap<Store, Tree>();

/** The tree of a store, up to date: the views of one page share it. */
export function treeOf(store: Store): Tree {
  let tree = TREES.get(store);
  if (!tree) {
    tree = new Tree(store);
    TREES.set(store, tree);
  }
  return tree.update();
}
