/** What came out of many continuations: a bar for each answer. */

import type { Resampled } from "../../../answers/roads.js";
import { h, setAttribute, setShare, setText } from "../../../dom.js";
import { percent, whole } from "../../../draw/format.js";
import { inkOf, OTHERS, type Slots } from "../../../draw/series.js";
import { label } from "../../../text.js";
import { keyedList, type Row } from "../../parts/list.js";

type Answer = Resampled["answers"][number];

/** Bars that are shown; the others are counted. */
const MOST = 12;

/** The name of an answer; null is that of texts without one. */
export const nameOf = (answer: string | null): string => (answer === null ? "no answer" : label([answer]) || "∅");
/** Answers that may have a colour; texts without one are grey, and so are those that there are no colours for. */
export const coloured = (answers: readonly (string | null)[]): string[] =>
  answers.filter((answer): answer is string => answer !== null);

export const slotOf = (slots: Slots, answer: string | null): number => (answer === null ? OTHERS : slots.of(answer));

/** Tells "no answer" from an answer of these words. */
const keyOf = (answer: string | null): string => (answer === null ? "none" : `=${answer}`);

export function answerBars(slots: Slots) {
  const list = keyedList<Answer>("Answers", ({ answer }) => keyOf(answer), row);
  const others = h("p", { class: "note" });
  const example = h("p", { class: "resample-example", role: "status" });
  const element = h("div", { class: "resample-answers" }, list.element, others, example);
  let done = 0;
  let shown = ""; // key of the answer whose example is read

  function row(first: Answer): Row<Answer> {
    const name = h("span", { class: "resample-name" });
    const bar = h("span", { class: "bar" });
    const count = h("span", { class: "resample-count" });
    const share = h("span", { class: "percent" });
    const element = h("li", { class: "resample-row", "data-row": true, tabindex: -1 }, name, bar, count, share);
    const key = keyOf(first.answer);
    const show = (): void => {
      shown = key;
      setText(example, `for example: ${element.dataset.example}`);
    };
    for (const event of ["pointerenter", "focus"]) element.addEventListener(event, show);
    return {
      element,
      draw({ answer, count: times, example: text }) {
        const part = done ? times / done : 0;
        setAttribute(element, "class", `resample-row ${inkOf(slotOf(slots, answer))}${answer === null ? " none" : ""}`);
        setText(name, nameOf(answer));
        setText(count, whole(times));
        setText(share, percent(part));
        setShare(bar, part);
        element.dataset.example = label([text]);
        setAttribute(
          element,
          "title",
          `${nameOf(answer)}: ${whole(times)} of ${whole(done)}, for example ${label([text])}`,
        );
        if (shown === key) show();
      },
    };
  }

  return {
    element,
    draw({ answers, done: made }: Resampled): void {
      done = made;
      list.draw(answers.slice(0, MOST));
      const rest = answers.slice(MOST);
      const times = rest.reduce((sum, { count }) => sum + count, 0);
      setText(others, rest.length ? `and ${whole(rest.length)} other answers, ${whole(times)} times in all` : "");
      if (!answers.some(({ answer }) => keyOf(answer) === shown)) setText(example, "");
    },
  };
}
