/** From which token on the answer of a text was decided. */

import type { Committed } from "../../../answers/roads.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { plot } from "../../../draw/plot.js";
import type { Slots } from "../../../draw/series.js";
import type { Link } from "../../../link.js";
import { KINDS } from "../../../protocol.js";
import { question } from "../../parts/question.js";
import { STALE, selected, tokenWords } from "../../parts/words.js";
import { coloured } from "./answers.js";
import type { By } from "./by.js";
import { ownAnswers, picture, readingOf, verdict } from "./curve.js";
import { wholeField } from "./field.js";

const HEIGHT = 260;

export function decided(link: Link, by: By, slots: Slots, claim: () => void) {
  const { store } = link;
  const n = wholeField("commitment-n", "continuations of each", 16);
  const every = wholeField("every", "every so many tokens", 1);
  const where = h("p", { class: "note" });
  const said = h("p", { class: "said", role: "status", "data-testid": "decided" });
  let told: { curve: Committed; epoch: number } | null = null;

  const asking = question<Committed, Committed>(
    link,
    {
      text: "Resample from each token",
      title: "Resample the rest of the text from each of its tokens, and see from where on the answer stays",
      name: "commitment",
      primary: true,
    },
    () => {
      const refused = [n.wrong, every.wrong, by.wrong].find(Boolean);
      if (refused) {
        asking.refuse(refused);
        return null;
      }
      const { epoch } = store;
      const take = (curve: Committed): void => {
        told = { curve, epoch };
        claim();
        draw();
      };
      return {
        command: {
          kind: "commitment",
          node: selected(link) < 0 ? -1 : start(),
          n: n.value,
          every: every.value,
          by: by.value,
        },
        told: (part) => {
          take(part);
          return part.positions.length / Math.max(1, part.of);
        },
        done: take,
      };
    },
  );
  const curves = plot({
    name: "commitment-plot",
    label: "Share of each answer over the tokens of the text. Arrow keys read, Enter selects the token.",
    height: HEIGHT,
    read: (stop) => readingOf(store, (told as { curve: Committed }).curve, slots, stop),
    choose: (stop) => {
      if (told) link.select(told.curve.nodes[stop]);
    },
  });
  const element = h(
    "section",
    { class: "resample-when", "aria-label": "When was it decided" },
    h("h3", {}, "When was it decided?"),
    h("div", { class: "asked" }, n.element, every.element, asking.buttons),
    where,
    asking.below,
    said,
    curves.element,
  );

  const named = (): string[] => coloured(told ? ownAnswers(told.curve) : []);

  /** Where the answer's text begins: with the token that is selected, else behind the prompt. */
  function start(): number {
    const at = selected(link);
    if (at >= 0) return store.path[at];
    const { kind } = store.columns;
    let first = 0;
    while (first < store.length - 1 && KINDS[kind[store.path[first]]] === "prompt") first++;
    return store.at(first);
  }

  function draw(): void {
    asking.draw();
    where.hidden = !store.length;
    if (store.length) {
      const behind = selected(link) < 0 ? ", the first behind the prompt. Select a token to begin there." : ".";
      setText(where, `The answer's text begins with ${tokenWords(store, start())}${behind}`);
    }
    if (told && told.epoch !== store.epoch) told = null;
    setAttribute(said, "aria-busy", asking.busy ? "true" : null);
    curves.element.hidden = !told?.curve.positions.length;
    const gone = told !== null && !store.onPath(told.curve.nodes.at(-1) ?? store.head);
    setText(said, told ? verdict(store, told.curve) + (gone ? ` ${STALE}` : "") : "");
    if (told?.curve.positions.length) curves.draw(picture(store, told.curve, slots, selected(link)));
  }

  return { element, draw, named, close: curves.close };
}
