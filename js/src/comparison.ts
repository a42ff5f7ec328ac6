/** Two ways through the tree, side by side from where they part. Pure. */
import type { Store } from "./store.js";
import type { Tree } from "./tree.js";

export interface Side {
  /** Nodes from the root to the end. */
  path: number[];
  /** Of all its tokens, nats, and of those behind the fork. */
  logprob: number;
  own: number;
  /** Tokens that had a prediction, in all and behind the fork: a mean is over these. */
  predicted: number;
  ownPredicted: number;
}

export interface Comparison {
  /** Tokens that both begin with. */
  shared: number;
  /** Positions behind the fork, of the longer one. */
  rows: number;
  sides: [Side, Side];
  /** Positions behind the fork at which both have the same token. */
  same: number;
}

/** Aligns the ways from the root to two nodes. */
export function compared(store: Store, tree: Tree, a: number, b: number): Comparison {
  const paths = [tree.pathTo(a), tree.pathTo(b)];
  const [one, other] = paths;
  let shared = 0;
  while (shared < Math.min(one.length, other.length) && one[shared] === other[shared]) shared++;
  const before = shared ? tree.logprobTo[one[shared - 1]] : 0;
  const { rank, token_id } = store.columns;
  const sides = paths.map((path): Side => {
    const logprob = tree.logprobTo[path[path.length - 1]];
    const counted = (from: number): number => path.slice(from).filter((node) => rank[node] > 0).length;
    return { path, logprob, own: logprob - before, predicted: counted(0), ownPredicted: counted(shared) };
  });
  const rows = Math.max(one.length, other.length) - shared;
  let same = 0;
  for (let at = shared; at < Math.min(one.length, other.length); at++)
    if (token_id[one[at]] === token_id[other[at]]) same++;
  return { shared, rows, sides: sides as [Side, Side], same };
}
