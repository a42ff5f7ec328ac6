/** Finds a text in the text, across tokens, and goes to a token by its number. */

import { h, setText } from "../../dom.js";
import { whole } from "../../draw/format.js";
import type { Link } from "../../link.js";
import { button } from "../parts/button.js";
import { pointIn } from "./marks.js";
import type { Pane } from "./pane.js";
import { type Hits, Transcript } from "./transcript.js";

/** Milliseconds between two searches while the text grows. */
const AGAIN_MS = 500;
const NONE: Hits = { starts: [], length: 0 };

/** Names of the highlights in the style sheet; all views of the page share them. */
const HIT = "inferno-hit";
const NOW = "inferno-hit-now";

function highlight(name: string): Highlight | null {
  if (!globalThis.CSS?.highlights) return null;
  const held = CSS.highlights.get(name) ?? new Highlight();
  CSS.highlights.set(name, held);
  return held;
}

/** The first of sorted numbers that is not below one. */
function notBelow(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export interface Find {
  readonly element: HTMLElement;
  /** Opens it, for the text that is looked for. */
  open(): void;
  /** Takes over what is new of the text, and marks the hits that are drawn. */
  draw(streaming: boolean): void;
  /** Positions of the tokens in which hits begin; the same array as long as they are the same. */
  readonly positions: readonly number[];
  close(): void;
}

/** What it tells the view: that it was left, that its hits changed, whether there are any to be seen. */
interface Reports {
  left: () => void;
  changed: () => void;
  finding: (found: boolean) => void;
}

export function find(link: Link, pane: Pane, { left, changed, finding }: Reports): Find {
  const { store } = link;
  const transcript = new Transcript(store);
  const query = h("input", {
    type: "search",
    placeholder: "find",
    "aria-label": "Find in the text",
    autocomplete: "off",
    spellcheck: "false",
    "data-field": "find",
  });
  const count = h("span", { class: "find-count", role: "status" });
  const tool = (action: string, sign: string, title: string, act: () => void): HTMLButtonElement =>
    button(sign, act, { class: "quiet", title, "aria-label": title, "data-action": action });
  const exact = tool("find-case", "Aa", "Tell capital letters from small ones", turnExact);
  const previous = tool("find-previous", "↑", "Previous hit (Shift+Enter)", () => step(-1));
  const next = tool("find-next", "↓", "Next hit (Enter)", () => step(1));
  const away = tool("find-close", "✕", "Close (Escape)", hide);
  const goto = h("input", {
    type: "text",
    inputmode: "numeric",
    placeholder: "token",
    "aria-label": "Go to token number",
    size: 7,
    "data-field": "goto",
  });
  const element = h(
    "div",
    { class: "find", role: "search", hidden: true, "data-testid": "find" },
    h("span", { class: "find-text" }, query, count, previous, next, exact),
    h("span", { class: "find-end" }, h("label", { class: "find-goto" }, "go to ", goto), away),
  );
  exact.setAttribute("aria-pressed", "false");

  const ranges: [string, Range][] = [];
  let hits = NONE;
  let positions: number[] = [];
  let now = -1;
  let searchedAt = 0;
  let searched = "";
  let marked = "";

  const asked = (): string => `${exact.getAttribute("aria-pressed")} ${query.value}`;

  function search(): void {
    transcript.update();
    searched = asked();
    searchedAt = performance.now();
    const place = now >= 0 ? hits.starts[now] : -1;
    hits = transcript.find(query.value, exact.getAttribute("aria-pressed") === "true");
    now = place < 0 ? -1 : hits.starts.indexOf(place);
    positions = hits.starts.map((start) => store.unitStart[transcript.unitAt(start)]);
    marked = "";
    say();
    changed();
  }

  function say(): void {
    const all = hits.starts.length;
    const place = now >= 0 ? `${whole(now + 1)} of ${whole(all)}` : `${whole(all)} ${all === 1 ? "hit" : "hits"}`;
    setText(count, query.value ? place : "");
    previous.disabled = !all;
    next.disabled = !all;
  }

  /** Takes a hit; with `select`, also its first token. */
  function take(index: number, select: boolean): void {
    const all = hits.starts.length;
    if (!all) return;
    now = (index + all) % all;
    const unit = transcript.unitAt(hits.starts[now]);
    if (select) link.select(store.path[store.unitStart[unit]]);
    pane.reveal(unit);
    marked = "";
    say();
    mark();
  }

  /** What is typed: the first hit from what is seen on. */
  function typed(): void {
    now = -1;
    search();
    take(notBelow(hits.starts, transcript.startOf(pane.visible[0])), false);
    mark();
  }

  function step(by: 1 | -1): void {
    if (searched !== asked()) search();
    const here = transcript.startOf(pane.visible[0]);
    take(now >= 0 ? now + by : notBelow(hits.starts, here) - (by < 0 ? 1 : 0), true);
  }

  function unmark(): void {
    for (const [name, range] of ranges) highlight(name)?.delete(range);
    ranges.length = 0;
  }

  /** Marks the hits within what is drawn. */
  function mark(): void {
    const [from, to] = pane.drawn;
    const state = [from, to, now, hits.starts.length, hits.length, transcript.text.length, element.hidden].join();
    if (state === marked) return;
    marked = state;
    unmark();
    finding(hits.starts.length > 0);
    if (element.hidden || !highlight(HIT)) return;
    const [begin, end] = [transcript.startOf(from), transcript.startOf(to)];
    for (let i = notBelow(hits.starts, begin - hits.length); i < hits.starts.length && hits.starts[i] < end; i++) {
      const range = rangeOf(hits.starts[i], hits.starts[i] + hits.length);
      if (!range) continue;
      const name = i === now ? NOW : HIT;
      highlight(name)?.add(range);
      ranges.push([name, range]);
    }
  }

  function rangeOf(start: number, end: number): Range | null {
    const [first, last] = [transcript.unitAt(start), transcript.unitAt(end - 1)];
    const [a, b] = [pane.spanOf(first), pane.spanOf(last)];
    if (!a || !b) return null;
    const range = document.createRange();
    range.setStart(...pointIn(a, start - transcript.startOf(first)));
    range.setEnd(...pointIn(b, end - transcript.startOf(last)));
    return range;
  }

  function turnExact(): void {
    exact.setAttribute("aria-pressed", String(exact.getAttribute("aria-pressed") !== "true"));
    typed();
  }

  function hide(): void {
    element.hidden = true;
    hits = NONE;
    positions = [];
    now = -1;
    mark();
    changed();
    left();
  }

  function open(): void {
    element.hidden = false;
    query.focus();
    query.select();
    search();
  }

  query.addEventListener("input", typed);
  goto.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const wanted = Number(goto.value.replace(/[\s,._]/g, ""));
    const known = goto.value.trim() !== "" && Number.isInteger(wanted) && store.length > 0;
    goto.setAttribute("aria-invalid", String(!known));
    if (!known) return;
    const position = Math.max(0, Math.min(store.length - 1, wanted));
    goto.value = String(position);
    link.select(store.at(position));
    pane.reveal(store.unitOf[position]);
  });
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === query) step(event.shiftKey ? -1 : 1);
    else if (event.key === "F3") step(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") hide();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    open,
    draw(streaming) {
      if (element.hidden) return;
      if (store.units !== transcript.units && !(streaming && performance.now() - searchedAt < AGAIN_MS)) search();
      mark();
    },
    get positions() {
      return positions;
    },
    close() {
      unmark();
      transcript.close();
    },
  };
}
