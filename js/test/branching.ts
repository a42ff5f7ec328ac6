/** Trees for tests: a store whose nodes are given by their parents, and its marks. */
import { MARKS, type Marks } from "../src/state.js";
import { Store } from "../src/store.js";
import { Tree } from "../src/tree.js";
import { decode } from "../src/wire.js";
import { encode, type Row } from "./encode.js";

/** Rows of nodes by their parents; node i is the token i, and the logprob of all but roots is -i. */
export const rowsOf = (parents: readonly number[]): Row[] =>
  parents.map((parent, i) => ({
    ...{ parent, token_id: i, kind: parent < 0 ? 0 : 1 },
    ...(parent >= 0 && { logprob: -i, rank: 1, entropy: 1 }),
  }));

export const piecesOf = (parents: readonly number[]) => parents.map((_, i) => [i, ` w${i}`] as const);

export function grow(store: Store, parents: readonly number[], more: { head?: number; epoch?: number } = {}): void {
  const start = more.epoch ? 0 : store.size;
  const rows = rowsOf([...Array.from({ length: start }, () => -1), ...parents]).slice(start);
  const pieces = rows.map(({ token_id }) => [token_id, ` w${token_id}`] as const);
  store.apply(decode(encode({ start, rows, pieces, epoch: store.epoch || 1, ...more })));
}

export function planted(parents: readonly number[], head?: number): { store: Store; tree: Tree } {
  const store = new Store();
  grow(store, parents, head === undefined ? {} : { head });
  return { store, tree: new Tree(store).update() };
}

export const marked = (marks: Partial<Marks>): Marks => ({ ...MARKS, ...marks });

/** A trunk of six; two branches behind its third token, one of which forks again.
 *
 *   0 1 2 3 4 5
 *       6 7 8
 *       9 10
 *         11
 */
export const TREE = [-1, 0, 1, 2, 3, 4, 1, 6, 7, 1, 9, 9];
