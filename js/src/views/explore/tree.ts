/** Every road that was taken, and the way back to each. */

import { type Branch, branchesOf } from "../../branches.js";
import { h, setText, type View } from "../../dom.js";
import { whole } from "../../draw/format.js";
import type { Link } from "../../link.js";
import type { Failure } from "../../protocol.js";
import type { Command } from "../../requests.js";
import { treeOf } from "../../tree.js";
import { button } from "../parts/button.js";
import { failureBox } from "../parts/failure.js";
import { goTo } from "./road.js";
import { branchList, type Listed } from "./tree/list.js";
import { IN, OUT, picture } from "./tree/picture.js";

export function tree(link: Link): View {
  const { store } = link;
  const summary = h("span", { class: "note tree-summary" });
  const hidden = h("input", { type: "checkbox", "data-field": "show-pruned" });
  const toggle = h("label", { class: "tree-toggle", hidden: true }, hidden, " show pruned");
  const zoomOut = button("−", () => canvas.zoom(OUT), { class: "quiet", title: "Farther away (−, Ctrl+wheel)" });
  const zoomIn = button("+", () => canvas.zoom(IN), { class: "quiet", title: "Nearer (+, Ctrl+wheel)" });
  zoomOut.setAttribute("aria-label", "Zoom out");
  zoomIn.setAttribute("aria-label", "Zoom in");
  const dice = h("span", { hidden: true }, h("i", { class: "key-diverged" }), "same dice, other token");
  const key = h("span", { class: "note tree-key" }, h("i", { class: "key-path" }), "shown now", dice);
  const head = h("div", { class: "line tree-head" }, summary, toggle, key, h("span", {}, zoomOut, zoomIn));
  const empty = h("p", { class: "note" }, "Here grows a tree: run a prompt, then click a word that was not said.");
  const failure = failureBox();
  const canvas = picture(link, {
    go: (node, exactly) => void tell(goTo(link, node, exactly)),
    name: (node) => withBranch(node, (branch) => list.edit(branch)),
    prune: (node) => withBranch(node, (branch) => void order({ kind: "prune", node: branch.node })),
  });
  const list = branchList(link, {
    go: (branch) => void tell(visit(branch)),
    name: (branch, name) => void order({ kind: "name_branch", node: nodeToName(branch), name }),
    prune: ({ node }) => void order({ kind: "prune", node }),
    restore: ({ node }) => void order({ kind: "restore", node }),
    point: (branch) => canvas.point(branch?.node ?? -1),
  });
  const element = h("div", { class: "explore-tree" }, head, canvas.element, failure.element, empty, list.element);
  let drawn = "";

  const order = (command: Command): Promise<void> => tell(link.command(command));

  async function tell(outcome: Promise<Failure | null>): Promise<void> {
    failure.show(await outcome);
  }

  /** Shows a branch to its end, and where it left the others. */
  async function visit({ node, start, lane }: Branch): Promise<Failure | null> {
    const failed = await link.goto(node);
    if (!failed) link.select(lane.nodes[start - lane.start] ?? -1);
    return failed;
  }

  /** A branch that has a name gets another where it got the first. */
  const nodeToName = ({ name, node }: Branch): number => (name === null ? node : link.marks.names[name]);

  function withBranch(node: number, act: (branch: Branch) => void): void {
    const lane = treeOf(store).lane(node);
    const found = branchesOf(treeOf(store), link.marks).find((branch) => branch.lane === lane);
    if (found && link.reachable && !link.recorded) act(found);
  }

  function drawList(): void {
    const { marks } = link;
    const now = JSON.stringify([store.epoch, store.size, store.head, marks, hidden.checked, link.reachable]);
    if (now === drawn) return;
    drawn = now;
    const branches = branchesOf(treeOf(store), marks, true);
    const gone = branches.filter((branch) => branch.hidden).length;
    const listed = branches
      .filter((branch) => hidden.checked || !branch.hidden)
      .map((branch): Listed => ({ ...branch, current: branch.node === store.head }));
    list.draw(listed);
    toggle.hidden = !gone;
    const count = branches.length - gone;
    const parts = [`${whole(count)} ${count === 1 ? "branch" : "branches"}`];
    if (gone) parts.push(`${whole(gone)} pruned`);
    setText(summary, parts.join(", "));
    dice.hidden = !marks.diverged.length;
  }

  hidden.addEventListener("change", () => draw(false));

  function draw(streaming: boolean): void {
    empty.hidden = store.size > 0;
    head.hidden = canvas.element.hidden = list.element.hidden = !store.size;
    if (!store.size) return;
    canvas.draw(hidden.checked);
    if (!streaming) drawList();
  }

  return { element, restful: true, draw, close: () => canvas.close() };
}
