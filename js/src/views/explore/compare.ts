/** Two branches side by side, from where they part. */

import { type Branch, branchesOf } from "../../branches.js";
import { type Comparison, compared } from "../../comparison.js";
import { h, setText, type View } from "../../dom.js";
import { whole } from "../../draw/format.js";
import type { Link } from "../../link.js";
import { treeOf } from "../../tree.js";
import { button } from "../parts/button.js";
import { failureBox } from "../parts/failure.js";
import { pythonLine } from "../parts/python.js";
import { picker } from "./compare/picker.js";
import { summary } from "./compare/summary.js";
import { body } from "./compare/tokens.js";
import { goTo, textOf } from "./road.js";

/** Positions listed at first. */
const LISTED = 100;
/** Tokens of the shared beginning that are shown: the last ones. */
const SHARED = 24;

export function compare(link: Link): View {
  const { store } = link;
  const [a, b] = [picker("A", "the branch shown now"), picker("B", "the branch left last")];
  const shared = h("p", { class: "compare-shared" });
  const facts = summary();
  const failure = failureBox();
  const python = pythonLine("compare-code");
  const rows = body(link, (node) => void visit(node));
  const more = button("", () => showAll(), { "data-action": "show-all" });
  const alone = h("p", { class: "note" }, "There is one branch only: click a word that was not said, then compare.");
  const choice = h("div", { class: "compare-choice" }, a.element, b.element);
  const picture = h(
    "div",
    { class: "compare-picture" },
    shared,
    facts.element,
    failure.element,
    rows.element,
    more,
    python.element,
  );
  const element = h("div", { class: "explore-compare" }, choice, alone, picture);
  let drawn = "";
  let all = false;

  async function visit(node: number): Promise<void> {
    failure.show(await goTo(link, node));
  }

  function showAll(): void {
    all = true;
    draw();
  }

  for (const one of [a, b])
    one.element.addEventListener("change", () => {
      all = false;
      draw();
    });

  /** What stands beside the branch that is shown, if nobody chooses: the one left last, else the newest. */
  function other(branches: readonly Branch[], shown: number): number {
    const { left } = store;
    const lane = left < 0 ? null : treeOf(store).lane(left);
    const end = branches.find((branch) => branch.lane === lane)?.node ?? left; // which may be farther by now
    if (end >= 0 && end !== shown) return end;
    return branches.filter(({ node }) => node !== shown).at(-1)?.node ?? -1;
  }

  function draw(): void {
    const { marks, look, selection } = link;
    const now = JSON.stringify([store.epoch, store.size, store.head, marks, look, selection, a.value, b.value, all]);
    if (now === drawn) return;
    drawn = now;
    const tree = treeOf(store);
    const branches = store.size ? branchesOf(tree, marks) : [];
    const shown = store.at(store.length - 1);
    const beside = other(branches, shown);
    alone.hidden = beside >= 0 && shown >= 0;
    choice.hidden = picture.hidden = !alone.hidden;
    if (!alone.hidden) return;
    const names = branches.map((branch) => ({ node: branch.node, name: nameOf(branch) }));
    a.draw(names, shown);
    b.draw(names, beside);
    const [left, right] = [a.node(shown), b.node(beside)];
    python.draw(`${link.recorded ? "trace" : "session.trace"}.compare(${left}, ${right})`);
    drawComparison(compared(store, tree, left, right));
  }

  const nameOf = ({ name, lane, start, length }: Branch): string =>
    name ??
    `${textOf(link, lane.nodes.slice(Math.max(0, start - lane.start), 10 + start - lane.start)).trim()} (${whole(length)})`;

  function drawComparison(found: Comparison): void {
    const first = Math.max(0, found.shared - SHARED);
    const begun = textOf(link, found.sides[0].path.slice(first, found.shared));
    shared.replaceChildren(
      h("span", { class: "note" }, `${whole(found.shared)} tokens shared: `),
      h("span", { class: "compare-text" }, `${first ? "…" : ""}${begun}`),
    );
    facts.draw(found);
    const listed = all ? found.rows : Math.min(LISTED, found.rows);
    rows.draw(found, listed);
    more.hidden = listed === found.rows;
    setText(more, `Show all ${whole(found.rows)} positions`);
  }

  return {
    element,
    restful: true,
    draw(streaming) {
      if (!streaming) draw();
    },
  };
}
