/** What comes out of many continuations from one point: how often which answer. */

import type { Resampled } from "../../../answers/roads.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { whole } from "../../../draw/format.js";
import type { Slots } from "../../../draw/series.js";
import type { Link } from "../../../link.js";
import { question } from "../../parts/question.js";
import { STALE, selected, tokenWords } from "../../parts/words.js";
import { answerBars, coloured } from "./answers.js";
import type { By } from "./by.js";
import { wholeField } from "./field.js";

/** `claim` is called when there are new answers: then each gets its colour. */
export function outcomes(link: Link, by: By, slots: Slots, claim: () => void) {
  const { store } = link;
  const n = wholeField("resample-n", "continuations", 32);
  const tokens = wholeField("resample-tokens", "tokens each, at most", 16);
  const where = h("p", { class: "note" });
  const said = h("p", { class: "said", role: "status", "data-testid": "resampled" });
  const bars = answerBars(slots);
  /** `behind`: the node that they go on from. */
  let told: { answer: Resampled; epoch: number; behind: number } | null = null;

  const asking = question<Resampled, Resampled>(
    link,
    {
      text: "Resample",
      title: "Let the model go on from there so many times, each with other dice; nothing of it is recorded",
      name: "resample",
      primary: true,
    },
    () => {
      const refused = [n.wrong, tokens.wrong, by.wrong].find(Boolean);
      if (refused) {
        asking.refuse(refused);
        return null;
      }
      const { epoch } = store;
      const behind = link.selection < 0 ? store.at(store.length - 1) : store.columns.parent[link.selection];
      const take = (answer: Resampled): void => {
        told = { answer, epoch, behind };
        claim();
        draw();
      };
      return {
        command: { kind: "resample", node: link.selection, n: n.value, max_tokens: tokens.value, by: by.value },
        told: (part) => {
          take(part);
          return part.done / part.n;
        },
        done: take,
      };
    },
  );
  const element = h(
    "section",
    { "aria-label": "What comes out" },
    h("h3", {}, "What else comes out?"),
    h("div", { class: "asked" }, n.element, tokens.element, asking.buttons),
    where,
    asking.below,
    said,
    bars.element,
  );

  const named = (): string[] => coloured(told?.answer.answers.map(({ answer }) => answer) ?? []);

  function draw(): void {
    asking.draw();
    const at = selected(link);
    const place = at < 0 ? "behind the newest token" : `in place of ${tokenWords(store, store.path[at])}`;
    setText(where, `They begin ${place}.${at < 0 ? " Select a token to begin there." : ""}`);
    where.hidden = !store.length;
    if (told && told.epoch !== store.epoch) told = null;
    bars.element.hidden = !told;
    setAttribute(said, "aria-busy", asking.busy ? "true" : null);
    setText(said, told ? summary(told.answer) + (store.onPath(told.behind) ? "" : `. ${STALE}`) : "");
    if (told) bars.draw(told.answer);
  }

  function summary({ node, done, n: all, answers }: Resampled): string {
    const kinds = `${whole(answers.length)} different ${answers.length === 1 ? "answer" : "answers"}`;
    const from = node >= 0 && node < store.size ? `, in place of ${tokenWords(store, node)}` : "";
    return `${whole(done)} of ${whole(all)} continuations${from}: ${kinds}`;
  }

  return { element, draw, named };
}
