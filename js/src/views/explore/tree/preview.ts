/** What stands around a token of any branch, beside the pointer. */
import { h, setText } from "../../../dom.js";
import { percent, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { treeOf } from "../../../tree.js";
import { textOf } from "../road.js";

/** Tokens shown before the token and behind it. */
const BEFORE = 16;
const BEHIND = 28;
/** Pixels between the token and the card, and between the card and the window. */
const GAP = 14;

export interface Preview {
  readonly element: HTMLElement;
  show(node: number, name: string | undefined, x: number, y: number): void;
  hide(): void;
}

export function preview(link: Link): Preview {
  // In the top layer nothing clips it; where there is none, it stays within the widget.
  const head = h("p", {});
  const [before, token, behind] = [h("span", { class: "note" }), h("mark"), h("span")];
  const text = h("p", { class: "tree-text" }, before, token, behind);
  const element = h("div", { class: "card tree-card", popover: "manual", "aria-hidden": "true" }, head, text);
  let opened = false;
  let told = -1;

  function fill(node: number, name: string | undefined): void {
    const { store } = link;
    const tree = treeOf(store);
    const lane = tree.lane(node);
    const path = tree.pathTo(node);
    const at = tree.position(node) - lane.start;
    const { logprob, rank } = store.columns;
    const chance = rank[node] ? `, ${percent(Math.exp(logprob[node]))}` : "";
    setText(head, `${name ? `${name}: ` : ""}token ${whole(tree.position(node))}${chance}`);
    const first = Math.max(0, path.length - 1 - BEFORE);
    setText(before, (first ? "…" : "") + textOf(link, path.slice(first, -1)));
    setText(token, textOf(link, [node]));
    const more = lane.nodes.length > at + 1 + BEHIND ? "…" : "";
    setText(behind, textOf(link, lane.nodes.slice(at + 1, at + 1 + BEHIND)) + more);
  }

  return {
    element,
    show(node, name, x, y) {
      if (told !== node) fill(node, name);
      told = node;
      if (!opened) element.showPopover?.();
      opened = true;
      element.classList.add("open");
      const { offsetWidth: width, offsetHeight: height } = element;
      const { clientWidth: wide, clientHeight: tall } = document.documentElement;
      const left = Math.max(GAP, Math.min(x - width / 2, wide - width - GAP));
      const top = y + GAP + height < tall ? y + GAP : y - GAP - height;
      element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    },
    hide() {
      if (!opened) return;
      opened = false;
      told = -1;
      element.classList.remove("open");
      element.hidePopover?.();
    },
  };
}
