/** Above the list: which token is looked at, and its numbers. */

import { h, setAttribute, setText } from "../../dom.js";
import { endOf, SCALES, stepOf, tokenValue } from "../../draw/colour.js";
import { percent, whole } from "../../draw/format.js";
import type { Link } from "../../link.js";
import { METRICS, type Metric } from "../../state.js";
import { label } from "../../text.js";
import { pieceOf } from "../parts/words.js";

/**
 * Numbers of the token that came, beside each metric: as many as fit into a line. Its rank and its probability stand
 * in its row of the list too.
 */
const BESIDE: Record<Metric, readonly Metric[]> = {
  probability: ["entropy", "rank"],
  surprisal: ["entropy"],
  entropy: ["rank", "probability"],
  rank: ["entropy", "probability"],
  time: ["entropy", "rank"],
};
const SHORT: Partial<Record<Metric, string>> = { probability: "p" };

/** `actions` stand at the right of the token's name. */
export function tokenHead(link: Link, actions: readonly HTMLElement[]) {
  const { store } = link;
  const position = h("b");
  const piece = h("code", { class: "fact-piece" });
  const part = h("span", { class: "fact", title: "A character made of several tokens" });
  const kept = h("b");
  const keptFact = fact("kept", kept, "");
  const which = h("div", { class: "facts" }, fact("token", position, "Position in the sequence, from 0"), piece, part);
  const measures = METRICS.map((metric) => measure(link, metric));
  const facts = h("div", { class: "facts" }, ...measures.map(({ element }) => element), keptFact);
  const element = h(
    "header",
    { class: "logits-head" },
    which,
    h("div", { class: "logits-actions" }, ...actions),
    facts,
  );

  /** Which token: its position, its own text, and the character that it is a part of. */
  function drawIdentity(node: number): void {
    const at = store.depth[node];
    setText(position, whole(at));
    setText(piece, pieceOf(store, node));
    const unit = store.unitOf[at];
    const [from, to] = store.onPath(node) ? store.unitSpan(unit) : [at, at + 1];
    part.hidden = to - from === 1;
    setText(part, part.hidden ? "" : `part ${at - from + 1} of ${to - from} of ${label(store.unitText(unit))}`);
  }

  function drawNumbers(node: number): void {
    const { kept: left, sampled_prob, rank } = store.columns;
    const first = rank[node] === 0;
    for (const { draw } of measures) draw(node, first);
    keptFact.hidden = first || left[node] <= 0;
    if (keptFact.hidden) return;
    const among = `among them the token that came had ${percent(sampled_prob[node])}`;
    setText(kept, whole(left[node]));
    setAttribute(keptFact, "title", `The sampler left ${whole(left[node])} candidates; ${among}`);
  }

  return {
    element,
    draw(node: number): void {
      element.hidden = node < 0;
      if (node < 0) return;
      drawIdentity(node);
      drawNumbers(node);
    },
  };
}

/** One number of the token; the one that the text is coloured by has its colour beside it. */
function measure(link: Link, metric: Metric) {
  const value = h("b");
  const swatch = h("i", { "aria-hidden": "true" });
  const { title, help, format } = SCALES[metric];
  const element = h("span", { class: "fact", title: help }, swatch, `${SHORT[metric] ?? title} `, value);
  return {
    element,
    draw(node: number, first: boolean): void {
      const chosen = link.look.metric === metric;
      element.hidden = first || !(chosen || BESIDE[link.look.metric].includes(metric));
      if (element.hidden) return;
      const number = tokenValue(link.store, node, metric);
      setText(value, format(number));
      element.classList.toggle("metric", chosen);
      swatch.hidden = !chosen;
      setAttribute(swatch, "class", `metric-swatch s${stepOf(metric, number, endOf(link.store, metric))}`);
    },
  };
}

function fact(name: string, value: HTMLElement, title: string): HTMLElement {
  return h("span", { class: "fact", title }, `${name} `, value);
}
