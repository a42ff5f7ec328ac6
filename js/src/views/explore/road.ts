/** Going to a token of any branch: what a click on it does, wherever it is shown. */
import { hiddenFrom } from "../../branches.js";
import type { Link } from "../../link.js";
import type { Failure } from "../../protocol.js";
import { type Run, runs } from "../../text.js";
import { treeOf } from "../../tree.js";

/**
 * Looks at a token. Where it is not on the path that is shown, its branch is shown to the end first; `exactly`: the
 * path ends with the token then, so that generation goes on from there.
 */
export async function goTo(link: Link, node: number, exactly = false): Promise<Failure | null> {
  const { store } = link;
  const onPath = node >= 0 && store.path[store.depth[node]] === node && store.depth[node] < store.total;
  if (exactly || !onPath) {
    const failure = await link.goto(exactly ? node : endBehind(link, node));
    if (failure) return failure;
  }
  link.select(exactly ? -1 : node);
  return null;
}

/** The end of the branch through a node, as far as it is not hidden. */
function endBehind(link: Link, node: number): number {
  const tree = treeOf(link.store);
  const lane = tree.lane(node);
  const hidden = hiddenFrom(tree, link.marks.pruned)[lane.id];
  const end = Math.min(lane.start + lane.nodes.length, hidden) - 1;
  return tree.at(lane, Math.max(end, tree.position(node))) as number;
}

const GLYPHS: Partial<Record<Run["kind"], string>> = { newline: "⏎", tab: "⇥" };

/** Text of nodes that follow each other, on one line; spaces stay spaces, so that it reads as text. */
export function textOf(link: Link, nodes: readonly number[]): string {
  return runs(link.store.passage(nodes))
    .map(({ kind, text }) => GLYPHS[kind] ?? (kind === "chip" ? `<${text}>` : text))
    .join("");
}
