/** A question that takes the model a while: what asks it, how far it is, and what ends it early. */
import { h, setText } from "../../dom.js";
import type { Link } from "../../link.js";
import type { Command } from "../../requests.js";
import { progressBar } from "./bars.js";
import { button } from "./button.js";
import { failureBox } from "./failure.js";
import { reveal } from "./reveal.js";
import { obstacle } from "./words.js";

interface Asked<T, P> {
  command: Command;
  /** Hears of what there is so far, and says how much of all that is: 0 to 1, null where nobody knows. */
  told?: (part: P) => number | null;
  done: (value: T) => void;
}

export interface QuestionOptions {
  text: string;
  title: string;
  name: string;
  primary?: boolean;
  /** Whether there is something to ask. */
  able?: () => boolean;
  /** What keeps it from being asked; that of the model where nothing is said. */
  hindrance?: (link: Link) => string;
}

type Asking<T, P> = Asked<T, P> | null;

/** `ask` says what is asked when the button is pressed; null where what was written makes no question. */
export function question<T, P = never>(
  link: Link,
  { text, title, name, primary, able, hindrance = obstacle }: QuestionOptions,
  ask: () => Asking<T, P> | Promise<Asking<T, P>>,
) {
  const start = button(text, () => void act(), {
    "data-action": name,
    title,
    class: primary ? "small primary" : "small",
  });
  const stop = button("Stop", () => running?.abort(), {
    "data-action": `${name}-stop`,
    title: "Enough: keep what there is",
    hidden: true,
  });
  const bar = progressBar(text);
  const failure = failureBox();
  const below = h("div", { class: "question-below" }, bar.element, failure.element);
  bar.element.hidden = true;
  let running: AbortController | null = null;

  async function act(): Promise<void> {
    const asked = running || start.disabled ? null : await ask();
    if (!asked || running) return;
    running = new AbortController();
    failure.show(null);
    bar.draw(null);
    draw();
    if (below.parentElement) reveal(below.parentElement); // where the answer will grow
    const { command, told, done } = asked;
    const { signal } = running;
    const answer = await link.ask<T, P>(command, { signal, told: (part) => bar.draw(told?.(part) ?? null) });
    running = null;
    if (answer.ok) done(answer.value);
    // Whoever has stopped what has no half result knows why there is none.
    else if (!signal.aborted || answer.error.type !== "Cancelled") failure.show(answer.error);
    draw();
  }

  function draw(): void {
    start.disabled = running !== null || hindrance(link) !== "" || !(able?.() ?? true);
    stop.hidden = bar.element.hidden = running === null;
  }

  return {
    /** Beside the fields of the question, and below them. */
    buttons: h("span", { class: "line question" }, start, stop),
    below,
    ask: act,
    draw,
    get busy() {
      return running !== null;
    },
    refuse: (message: string, type = "Not asked"): void => failure.show({ type, message }),
    forgive: (): void => failure.show(null),
    rename: (words: string): void => setText(start, words),
  };
}
