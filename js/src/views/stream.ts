/** The text, token by token, coloured by surprisal. */

import { h, setAttribute, setText, type View } from "../dom.js";
import { stepOf } from "../draw/colour.js";
import { percent } from "../draw/format.js";
import type { Link } from "../link.js";
import { KINDS, type State } from "../protocol.js";
import { label, type Run, runs } from "../text.js";

/** Units in a block at least: it ends at the next line break, so that nobody sees where. */
const BLOCK = 50;
/** Units in a block at most. */
const LONGEST = 1_600;
/** How near to its end, in pixels, the text counts as followed. */
const NEAR = 24;
/** Further down than any text reaches, in pixels. */
const FAR = 1e7;
/** How control tokens are usually written. */
const CONTROL = /^<(\/?s|\|.+\|)>$/;
/** Milliseconds between two announcements to a screen reader. */
const ANNOUNCE_MS = 3_000;

/** What an empty text says, where it is not an invitation. */
const HINTS: Partial<Record<State, string>> = {
  loading: "The model is being loaded.",
  prefill: "The model is reading the prompt.",
  generating: "The first token is on its way.",
  closed: "This widget is closed. Run the cell again for a new one.",
};

interface Block {
  first: number;
  element: HTMLElement;
}

const GLYPHS: Partial<Record<Run["kind"], string>> = { space: "g sp", tab: "g tab", newline: "g nl", chip: "chip" };

export function stream(link: Link): View {
  const { store } = link;
  const text = h("div", {
    class: "stream-text",
    role: "listbox",
    tabindex: 0,
    "aria-label": "Tokens. Arrow keys select one, Escape lets it go.",
    "data-testid": "stream",
  });
  const follow = h("button", { class: "follow", type: "button", hidden: true, "data-action": "follow" }, "↓ follow");
  const live = h("div", { class: "hidden", "aria-live": "polite" });
  const hint = h("p", {});
  const empty = h("div", { class: "stream-empty" }, h("p", {}, "Nothing has been said yet."), hint);
  const element = h("section", { class: "stream", "aria-label": "Text" }, text, empty, follow, live);

  const id = `inferno-${crypto.getRandomValues(new Uint32Array(1))[0]}`; // two views may be in one page
  const blocks: Block[] = [];
  let drawn = 0; // units in the page
  let dirty = 0; // first unit that differs from the page
  let grown = false; // so that the end may be elsewhere
  let following = true;
  let selected: HTMLElement | null = null;
  let selectedNode = -1;
  let announced = 0;
  let announcedAt = 0;

  const stop = store.onUnits((unit) => {
    dirty = Math.min(dirty, unit);
  });

  function blockOf(unit: number): number {
    let low = 0;
    let high = blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (blocks[middle].first <= unit) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  function spanOf(unit: number): HTMLElement | null {
    const block = blocks[blockOf(unit)];
    return (block?.element.children[unit - block.first] as HTMLElement | undefined) ?? null;
  }

  function truncate(unit: number): void {
    while (blocks.length && (blocks.at(-1) as Block).first >= unit) (blocks.pop() as Block).element.remove();
    const last = blocks.at(-1);
    while (last && last.first + last.element.children.length > unit) last.element.lastChild?.remove();
    drawn = unit;
  }

  function append(): void {
    let block = blocks.at(-1);
    let parts: HTMLElement[] = [];
    let fill = block ? block.element.children.length : 0;
    const flush = (): void => {
      block?.element.append(...parts);
      parts = [];
    };
    for (let unit = drawn; unit < store.units; unit++) {
      // A block ends its line, so it should do so where the text does.
      const broken =
        unit > 0 &&
        fill >= BLOCK &&
        store
          .unitText(unit - 1)
          .at(-1)
          ?.toString()
          .endsWith("\n");
      if (!block || broken || fill >= LONGEST) {
        flush();
        block = { first: unit, element: h("div", { class: "block", role: "presentation" }) };
        blocks.push(block);
        text.append(block.element);
        fill = 0;
      }
      parts.push(token(unit));
      fill++;
    }
    flush();
    drawn = store.units;
  }

  function token(unit: number): HTMLElement {
    const [from, to] = store.unitSpan(unit);
    const node = store.path[from];
    const { kind, logprob } = store.columns;
    const span = document.createElement("span");
    const name = KINDS[kind[node]];
    // A character of several tokens is as surprising as all of them together.
    let surprisal = 0;
    for (let at = from; at < to; at++) surprisal -= logprob[store.path[at]];
    span.className = name === "prompt" ? "t prompt" : `t ${name} s${stepOf("surprisal", surprisal)}`;
    span.dataset.token = "";
    span.dataset.node = String(node);
    span.setAttribute("role", "option");
    const pieces = runs(store.unitText(unit));
    const only = pieces.length === 1 && CONTROL.test(pieces[0].text);
    if (only) pieces[0].kind = "chip";
    if (!pieces.length) span.append(h("i", { class: "chip" }, `#${store.columns.token_id[node]}`));
    pieces.forEach((run, i) => {
      const glyph = GLYPHS[run.kind];
      // One space before a word is drawn by the token itself: most tokens need no further element.
      if (run.kind === "space" && i === 0 && pieces[1]?.kind === "text") {
        span.classList.add("lead");
        span.append(run.text);
      } else if (!glyph) span.append(run.text);
      else if (run.kind === "newline") span.append(h("i", { class: glyph }), "\n");
      else span.append(h("i", { class: glyph }, run.text));
    });
    return span;
  }

  function mark(): void {
    const node = link.selection;
    const span = node >= 0 && store.onPath(node) ? spanOf(store.unitOf[store.depth[node]]) : null;
    if (span !== selected || !selected?.isConnected) {
      selected?.classList.remove("selected");
      selected?.removeAttribute("id");
      selected?.removeAttribute("aria-selected");
      span?.classList.add("selected");
      span?.setAttribute("aria-selected", "true");
      if (span) span.id = id;
      setAttribute(text, "aria-activedescendant", span?.id ?? null);
      selected = span;
    }
    if (node !== selectedNode && span) reveal(span);
    selectedNode = node;
  }

  function reveal(span: HTMLElement): void {
    const [inner, outer] = [span.getBoundingClientRect(), text.getBoundingClientRect()];
    const margin = 2 * NEAR;
    if (inner.top < outer.top + margin) text.scrollTop += inner.top - outer.top - margin;
    else if (inner.bottom > outer.bottom - margin) text.scrollTop += inner.bottom - outer.bottom + margin;
    following = atEnd();
  }

  /** Any place behind the end is the end: where that is need not be asked for. */
  const toEnd = (): void => {
    text.scrollTop = FAR;
  };

  const atEnd = (): boolean => text.scrollHeight - text.scrollTop - text.clientHeight < NEAR;

  function announce(): void {
    const now = performance.now();
    if (announced > store.units) announced = 0;
    if (announced === store.units || now - announcedAt < ANNOUNCE_MS || link.status.state === "prefill") return;
    const said: string[] = [];
    for (let unit = Math.max(announced, store.units - 60); unit < store.units; unit++) {
      const [from] = store.unitSpan(unit);
      if (KINDS[store.columns.kind[store.path[from]]] === "prompt") continue;
      said.push(
        store
          .unitText(unit)
          .filter((part) => typeof part === "string")
          .join(""),
      );
    }
    live.textContent = said.join("");
    announced = store.units;
    announcedAt = now;
  }

  // --- what the reader does ---

  const nodeOf = (target: EventTarget | null): number => {
    const span = (target as Element | null)?.closest<HTMLElement>("[data-token]");
    return span ? Number(span.dataset.node) : -1;
  };

  text.addEventListener("click", (event) => {
    if (!getSelection()?.isCollapsed) return; // text was marked for copying
    const node = nodeOf(event.target);
    if (node >= 0) link.select(node);
  });

  text.addEventListener("mouseover", (event) => {
    const span = (event.target as Element).closest<HTMLElement>("[data-token]");
    if (!span || span.title) return;
    const node = Number(span.dataset.node);
    const { token_id, logprob, rank } = store.columns;
    const name = label(store.unitText(store.unitOf[store.depth[node]]));
    span.title = rank[node]
      ? `${name}  ${percent(Math.exp(logprob[node]))}, rank ${rank[node]}, token ${token_id[node]}`
      : `${name}  token ${token_id[node]}, the first: nothing predicted it`;
  });

  let top = 0;
  text.addEventListener("scroll", () => {
    if (atEnd()) following = true;
    else if (text.scrollTop < top) following = false;
    top = text.scrollTop;
    follow.hidden = following;
  });

  follow.addEventListener("click", () => {
    following = true;
    toEnd();
    follow.hidden = true;
    text.focus({ preventScroll: true });
  });

  // The size is 0 until the widget is in the page, and again where a notebook takes far cells out of it.
  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(() => {
      if (following) toEnd();
      if (selected) reveal(selected);
    });
  observer?.observe(text);

  /** Position one line up or down from the selected token, as near below or above it as there is. */
  function lineFrom(position: number, direction: 1 | -1): number {
    const box = (at: number): DOMRect | undefined => {
      const rects = spanOf(store.unitOf[at])?.getClientRects();
      return rects?.[rects.length - 1]; // the word, where the space before it was left on the line above
    };
    const here = box(position);
    if (!here) return position;
    const centre = (here.left + here.right) / 2;
    let best = position;
    let distance = Number.POSITIVE_INFINITY;
    let line: number | null = null;
    for (let at = position + direction; at >= 0 && at < store.length; at += direction) {
      const there = box(at);
      if (!there || Math.abs(there.top - here.top) < here.height / 2) continue;
      line ??= there.top;
      if (Math.abs(there.top - line) > here.height / 2) break;
      const off = Math.abs((there.left + there.right) / 2 - centre);
      if (off < distance) [best, distance] = [at, off];
    }
    return best;
  }

  const MOVES: Record<string, (position: number) => number> = {
    ArrowLeft: (position) => Math.max(0, position - 1),
    ArrowRight: (position) => Math.min(store.length - 1, position + 1),
    ArrowUp: (position) => lineFrom(position, -1),
    ArrowDown: (position) => lineFrom(position, 1),
    Home: () => 0,
    End: () => store.length - 1,
  };

  text.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !store.length) return;
    const node = link.selection;
    if (event.key === "Escape" && node >= 0) link.select(-1);
    else if (MOVES[event.key]) {
      const last = store.length - 1;
      // The first arrow takes the newest token; from there they move.
      const position = node < 0 ? (event.key === "Home" ? 0 : last) : MOVES[event.key](store.depth[node]);
      link.select(store.at(position));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw(streaming) {
      // Another branch, or another text: whoever asked for it wants to see it grow. (The last unit may just be unfinished.)
      if (dirty < drawn - 1) following = true;
      grown ||= !streaming || dirty < drawn || drawn < store.units;
      if (dirty < drawn) truncate(dirty);
      if (drawn < store.units) append();
      dirty = drawn;
      mark();
      empty.hidden = store.units > 0;
      setText(hint, HINTS[link.status.state] ?? "Write a prompt and press Run, or Step to go one token at a time.");
      follow.hidden = following;
      announce();
    },
    settle() {
      if (following && grown) toEnd();
      grown = false;
    },
    close() {
      stop();
      observer?.disconnect();
    },
  };
}
