/** What would follow an alternative, in italics beside it: a word is the way as far as there. */

import type { AheadToken } from "../../answers/roads.js";
import { h, setAttribute, setText } from "../../dom.js";
import { stepOf } from "../../draw/colour.js";
import { percent } from "../../draw/format.js";
import { runs } from "../../text.js";

export interface Ghost {
  readonly element: HTMLElement;
  /** The tokens of a way, the alternative first; none: nobody looks ahead. */
  draw(tokens: readonly AheadToken[]): void;
  /** Puts the focus on its first word; false where it has none. */
  enter(): boolean;
}

const GLYPHS = { text: "", space: " ", tab: "⇥", newline: "⏎", chip: "" };

/** As it is read: in one line, with spaces, and nothing unseen. */
export const ghostText = (text: string): string =>
  runs([text])
    .map(({ kind, text: run }) => (kind === "text" ? run : kind === "chip" ? `<${run}>` : GLYPHS[kind]))
    .join("");

export function ghost(take: (n: number) => void): Ghost {
  const element = h("div", { class: "ghost", role: "group", "aria-label": "What would follow", hidden: true });
  const words: HTMLElement[] = [];
  let drawn = "";

  const all = (): HTMLElement[] => words.filter(({ hidden }) => !hidden);
  const wordOf = (target: EventTarget | null): HTMLElement | null =>
    (target as Element).closest?.(".ghost-word") ?? null;

  /** Shows how far the way would be taken. */
  function reach(end: HTMLElement | null): void {
    const to = end ? words.indexOf(end) : -1;
    words.forEach((word, i) => {
      word.classList.toggle("reached", i <= to);
    });
  }

  element.addEventListener("click", ({ target }) => {
    const word = wordOf(target);
    if (word) take(Number(word.dataset.n));
  });
  for (const event of ["pointerover", "focusin"])
    element.addEventListener(event, ({ target }) => reach(wordOf(target)));
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, () => reach(null));
  element.addEventListener("keydown", (event) => {
    const now = all();
    const at = now.indexOf(event.target as HTMLElement);
    if (at < 0) return;
    if (event.key === "Enter" || event.key === " ") take(Number(now[at].dataset.n));
    else if (event.key === "ArrowRight") now[at + 1]?.focus();
    else if (event.key === "Home") now[0].focus();
    else if (event.key === "End") now.at(-1)?.focus();
    else if (event.key === "ArrowLeft" && at > 0) now[at - 1].focus();
    else if (event.key === "ArrowLeft" || event.key === "Escape")
      element.parentElement?.querySelector<HTMLElement>(".logits-row")?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw(tokens) {
      const now = JSON.stringify(tokens);
      if (now === drawn) return;
      drawn = now;
      const following = tokens.slice(1);
      element.hidden = !following.length;
      const whole = tokens.map(({ text }) => ghostText(text)).join("");
      setAttribute(element, "title", `${whole.trimStart()}\nClick a word to go as far as there`);
      while (words.length < following.length) {
        const word = h("span", { class: "ghost-word", role: "button", tabindex: -1, "data-n": words.length + 2 });
        words.push(word);
        element.append(word);
      }
      let road = ghostText(tokens[0]?.text ?? "");
      for (const [i, word] of words.entries()) {
        const { text = "", probability = 1 } = following[i] ?? {};
        const read = ghostText(text);
        road += read;
        word.hidden = !read;
        setText(word, read);
        if (!read) continue;
        setAttribute(word, "aria-label", `Go as far as “${road.trim()}”; the last token had ${percent(probability)}`);
        word.style.setProperty("--heat", heat(probability));
      }
    },
    enter() {
      const first = all()[0];
      first?.focus();
      return Boolean(first);
    },
  };
}

/** The colour of its surprise, as the text has it; none where it was expected. */
function heat(probability: number): string {
  const step = stepOf("surprisal", -Math.log(probability));
  return step ? `var(--s${step})` : "transparent";
}
