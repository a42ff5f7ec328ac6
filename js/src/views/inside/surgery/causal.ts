/** Which heads a token hangs on: each is switched off in turn, and the grid takes the colours of what that did. */

import type { Causal } from "../../../answers/inside.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { question } from "../../parts/question.js";
import { quoted } from "../../parts/words.js";
import { stepLegend } from "../legend.js";
import { causalWords, mostOf } from "./grid.js";

/** Heads that are named. */
const NAMED = 3;

export function causal(link: Link, able: () => boolean, changed: () => void) {
  const quick = h("input", { type: "checkbox", "data-field": "causal-last" });
  const said = h("p", { class: "said", role: "status", "data-testid": "causal" });
  const legend = stepLegend();
  let told: { map: Causal; epoch: number } | null = null;
  const asking = question<Causal, Causal>(
    link,
    {
      text: "Which heads does this token hang on?",
      title: "Switch off each head in turn, and see how far the distribution at this token moves; nothing is recorded",
      name: "causal",
      able,
    },
    () => {
      const { epoch } = link.store;
      const take = (map: Causal): void => {
        told = { map, epoch };
        changed();
      };
      return {
        command: { kind: "causal_map", node: link.selection, last: quick.checked },
        told: (map) => {
          take(map);
          return tried(map) / Math.max(1, map.kl.flat().length);
        },
        done: take,
      };
    },
  );
  const label = h(
    "label",
    { title: "The text before it is read once; what a head did there stays at work. Quicker, and not the same." },
    quick,
    "quick: off only while the last token is read",
  );
  return {
    element: h("div", { class: "surgery-causal" }, h("div", { class: "asked" }, asking.buttons, label), asking.below),
    said: h("div", { class: "line" }, legend.element, said),
    /** The map of a node; null where there is none of it. */
    mapOf(node: number): Causal | null {
      return told && told.epoch === link.store.epoch && told.map.node === node ? told.map : null;
    },
    draw(map: Causal | null): void {
      asking.draw();
      setText(said, map ? summary(map) : "");
      setAttribute(said, "aria-busy", asking.busy ? "true" : null);
      legend.element.hidden = !map;
      if (map) legend.draw(["KL 0", `${mostOf(map).toFixed(2)} nats`]);
    },
  };
}

const tried = ({ kl }: Causal): number => kl.flat().filter((value) => value !== null).length;

/** The heads that it hangs on most, in one sentence. */
export function summary(map: Causal): string {
  const all = map.kl.flatMap((row, i) => row.map((kl, head) => ({ kl: kl ?? -1, head, layer: map.layers[i] })));
  const [done, of] = [tried(map), all.length];
  const best = all.filter(({ kl }) => kl > 0).sort((a, b) => b.kl - a.kl);
  const names = best.slice(0, NAMED).map(({ layer, head }) => `head ${head} of layer ${layer}`);
  if (!names.length) return `${whole(done)} of ${whole(of)} heads tried: none of them matters.`;
  const spot = { layer: best[0].layer, head: best[0].head, part: "attention" as const };
  const first = `${names[0]} (${causalWords(map, spot)})`;
  const others = names.length > 1 ? `, then ${names.slice(1).join(" and ")}` : "";
  const count = done < of ? `${whole(done)} of ${whole(of)} heads tried. ` : "";
  return `${count}${quoted(map.token.text)} hangs most on ${first}${others}.`;
}
