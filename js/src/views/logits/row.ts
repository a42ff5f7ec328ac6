/** One alternative: its rank, piece, bar and share; and what would follow it, where somebody looks ahead. */

import { h, setAttribute, setShare, setText } from "../../dom.js";
import { percent, whole } from "../../draw/format.js";
import type { Alternative } from "../../store.js";
import { type Ghost, ghost } from "./ghost.js";

export interface Shown extends Alternative {
  name: string;
  /** Of its bar, 0 to 1. */
  share: number;
  /** Whether a click on it forks. */
  forkable: boolean;
}

export interface Row {
  /** The button, with the ghost text beside it. */
  readonly element: HTMLElement;
  readonly button: HTMLButtonElement;
  readonly ghost: Ghost;
  /** null: there is no such row now. While it streams, its own text has to do, until somebody points at it. */
  draw(shown: Shown | null, streaming: boolean): void;
  /** Writes what it says, beside its own text, to a pointer that rests on it and to a screen reader. */
  describe(): void;
}

/** `take`: the first n tokens of what would follow, the alternative being the first of them. */
export function alternativeRow(take: (n: number) => void): Row {
  const { rank, piece, bar, share, cells } = columns();
  const button = h("button", { class: "logits-row", type: "button" }, ...cells);
  const words = ghost(take);
  const element = h("div", { class: "logits-item" }, button, words.element);
  let shown: Shown | null = null;

  function describe(): void {
    if (shown) setAttribute(button, "title", `${shown.name}  token ${shown.id}: ${roleOf(shown)}`);
  }

  return {
    element,
    button,
    ghost: words,
    describe,
    draw(next, streaming) {
      shown = next;
      button.hidden = !next;
      if (!next) return;
      const { chosen, kept, forkable } = next;
      setAttribute(button, "data-token-id", String(next.id));
      setAttribute(button, "class", `logits-row${chosen ? " chosen" : ""}${kept ? "" : " cut"}`);
      setAttribute(button, "aria-current", chosen ? "true" : null);
      setAttribute(button, "aria-disabled", String(chosen || !forkable));
      if (!streaming) describe();
      else button.removeAttribute("title");
      setText(rank, whole(next.rank));
      setText(piece, next.name);
      setText(share, percent(next.probability));
      setShare(bar, next.share);
      setShare(words.element, next.share);
    },
  };
}

/** All that is not listed, as one honest bar. */
export function restRow() {
  const { piece, bar, share, cells } = columns();
  const title = "All other tokens of the vocabulary together, exactly";
  const element = h("div", { class: "logits-row rest", title }, ...cells);
  setText(piece, "everything else");
  return {
    element,
    draw(mass: number, scale: number): void {
      setText(share, percent(mass));
      setShare(bar, mass / scale);
    },
  };
}

function columns() {
  const cells = ["rank", "piece", "bar", "percent"].map((name) => h("span", { class: name }));
  const [rank, piece, bar, share] = cells;
  return { rank, piece, bar, share, cells };
}

/** What an alternative was, and what a click on it does where it does anything. */
function roleOf({ chosen, kept, forkable }: Shown): string {
  if (chosen) return "the token that came";
  if (!forkable) return kept ? "did not come" : "the sampler left it out";
  return kept ? "fork here with this token" : "the sampler left it out; fork here with it";
}
