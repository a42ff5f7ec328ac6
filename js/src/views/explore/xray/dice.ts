/** The draw: candidates along the cumulative bar, and the uniform number as a needle. */

import type { XrayDraw } from "../../../answers/xray.js";
import { h, setAttribute, setShare, setText } from "../../../dom.js";
import { percent } from "../../../draw/format.js";
import { label } from "../../../text.js";

export function drawBar() {
  const track = h("div", { class: "dice-track", "aria-hidden": "true" });
  const [needle, number] = [h("span", { class: "dice-needle" }), h("span", { class: "dice-number" })];
  const scale = h(
    "div",
    { class: "dice-scale", "aria-hidden": "true" },
    h("span", {}, "0"),
    number,
    h("span", {}, "1"),
  );
  const words = h("span", { class: "hidden" });
  const element = h(
    "div",
    { class: "xray-dice", role: "cell" },
    h("div", { class: "dice-bar" }, track, needle),
    scale,
    words,
  );

  return {
    element,
    draw(draw: XrayDraw): void {
      const { bar, token, uniform } = draw;
      track.replaceChildren(...bar.map((one) => segment(one, one.id === token.id)));
      needle.hidden = number.hidden = uniform === null;
      setShare(needle, uniform ?? 0);
      setShare(number, uniform ?? 0);
      setText(number, (uniform ?? 0).toFixed(4));
      setText(words, wordsOf(draw));
      setAttribute(element, "title", uniform === null ? "One candidate is left: nothing is drawn" : null);
    },
  };
}

function segment({ text, from, to }: XrayDraw["bar"][number], chosen: boolean): HTMLElement {
  const name = label([text]);
  const title = `${name}: ${percent(to - from)}, from ${from.toFixed(4)} to ${to.toFixed(4)}`;
  const element = h("span", { class: chosen ? "segment chosen" : "segment", title }, name);
  setShare(element, to - from);
  return element;
}

/** The bar, for those who do not see it. */
function wordsOf({ bar, token, uniform, probability }: XrayDraw): string {
  const along = bar.map(({ text, from, to }) => `${label([text])} ${from.toFixed(4)} to ${to.toFixed(4)}`).join(", ");
  const thrown = uniform === null ? "Nothing is drawn" : `The number is ${uniform.toFixed(4)}`;
  return `Along the bar: ${along}. ${thrown}: ${label([token.text])}, which had ${percent(probability)}.`;
}
