/** One head, enlarged: every token that read, and every token that was read. */

import type { HeadMap } from "../../../answers/inside.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { steps } from "../../../draw/axis.js";
import { percent, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { button } from "../../parts/button.js";
import { pieceOf, tokenWords } from "../../parts/words.js";
import { colours, type MapLook, pixels, put, reach } from "./paint.js";

/** What the kernel sent: a map, and its bytes, the roots of the weights. */
export interface Large {
  map: HeadMap;
  bytes: Uint8Array;
}

/** Widest that the picture gets, and what the names of tokens and the numbers of positions take of it; in pixels. */
const WIDEST = 540;
const NAMES = 92;
const NUMBERS = { left: 40, top: 22 };
/** Least size of a cell, in pixels, beside which a token can be named. */
const READABLE = 13;
/** Pixels between two numbers on an axis. */
const APART = 56;
/** Width where a page cannot be measured. */
const USUAL = 480;
const HINT = "Point at a place to read it, click to select the token that read there.";

export function headMap(link: Link, back: () => void) {
  const { store } = link;
  const title = h("h3");
  const scale = h("span", { class: "note" });
  const canvas = h("canvas", { "aria-hidden": "true" });
  const cross = h("i", { class: "attention-cross", hidden: true });
  const chosen = h("i", { class: "attention-query", hidden: true });
  const picture = h(
    "div",
    { class: "attention-map", role: "application", tabindex: 0, "data-testid": "head-map" },
    canvas,
    chosen,
    cross,
  );
  const said = h("p", { class: "note attention-said", "aria-live": "polite" }, HINT);
  const close = button("← all heads", back, {
    "data-action": "all-heads",
    title: "Back to all heads of the layer (Escape)",
  });
  const element = h(
    "section",
    { class: "attention-large" },
    h("div", { class: "line" }, close, title, scale),
    picture,
    said,
  );

  let width = globalThis.ResizeObserver ? 0 : USUAL;
  let large: Large | null = null;
  let look: MapLook = { theme: "light", palette: "inferno", skip: false };
  let painted: Large | null = null;
  let dressed = "";
  let at: { query: number; key: number } | null = null; // what is read

  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(([entry]) => {
      width = entry.contentRect.width;
      paint();
      place();
    });
  observer?.observe(element);

  const count = (): number => large?.map.length ?? 0;
  const side = (): number => Math.max(0, Math.min(width, WIDEST) - left());
  /** Names where the tokens have room beside their cells, numbers where not. */
  const named = (): boolean => (Math.min(width, WIDEST) - NAMES) / Math.max(1, count()) >= READABLE;
  const left = (): number => (named() ? NAMES : NUMBERS.left);
  const top = (): number => (named() ? NAMES : NUMBERS.top);

  function paint(): void {
    const now = [width, look.theme, look.palette, look.skip, devicePixelRatio].join();
    if (!large || side() <= 0 || (large === painted && now === dressed)) return;
    [painted, dressed] = [large, now];
    const ratio = devicePixelRatio || 1;
    const inner = Math.round(side() * ratio);
    const [x, y] = [left(), top()].map((edge) => Math.round(edge * ratio));
    canvas.width = inner + x;
    canvas.height = inner + y;
    canvas.style.width = `${canvas.width / ratio}px`;
    canvas.style.height = `${canvas.height / ratio}px`;
    const part = { map: large.bytes, size: count(), first: look.skip ? 1 : 0 };
    const most = reach(part);
    setText(scale, `colours up to ${percent((most / 255) ** 2)}`);
    put(canvas, pixels(part, inner, colours(look.theme, look.palette, most)), inner, x, y);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    axes(context);
  }

  function axes(context: CanvasRenderingContext2D): void {
    const style = getComputedStyle(element);
    context.fillStyle = style.color;
    context.font = `${named() ? 12 : 11.5}px ${style.fontFamily}`;
    context.textBaseline = "middle";
    const cell = side() / count();
    const labels = named()
      ? Array.from({ length: count() }, (_, i) => [i, clipped(context, pieceOf(store, store.at(i)))] as const)
      : steps(0, count() - 1, side() / APART, true).map((i) => [i, whole(i)] as const);
    for (const [i, text] of labels) {
      const middle = (i + 0.5) * cell;
      context.textAlign = "right";
      context.fillText(text, left() - 6, top() + middle);
      context.save();
      context.translate(left() + middle, top() - 6);
      if (named()) context.rotate(-Math.PI / 2);
      context.textAlign = named() ? "left" : "center";
      context.fillText(text, 0, named() ? 0 : -6);
      context.restore();
    }
  }

  /** As much of a token as has room beside the map. */
  function clipped(context: CanvasRenderingContext2D, text: string): string {
    const signs = Array.from(text);
    let shown = text;
    while (signs.length && context.measureText(shown).width > NAMES - 12) {
      signs.pop();
      shown = `${signs.join("")}…`;
    }
    return shown;
  }

  /** Puts a frame around cells of the map: from, and how many, in both directions. */
  function frame(mark: HTMLElement, key: number, keys: number, query: number): void {
    const cell = side() / count();
    mark.style.left = `${left() + key * cell}px`;
    mark.style.top = `${top() + query * cell}px`;
    mark.style.width = `${Math.max(3, keys * cell)}px`;
    mark.style.height = `${Math.max(3, cell)}px`;
  }

  /** Marks the row of the selected token, and the place that is read. */
  function place(): void {
    const node = link.selection;
    const query = store.onPath(node) ? store.depth[node] : count();
    chosen.hidden = query >= count();
    if (!chosen.hidden) frame(chosen, 0, query + 1, query);
    cross.hidden = !at;
    if (at) frame(cross, at.key, 1, at.query);
    setText(said, at && large ? wordsAt(large, at.query, at.key) : HINT);
  }

  function wordsAt({ bytes, map }: Large, query: number, key: number): string {
    const [reader, read] = [query, key].map((i) => tokenWords(store, store.at(i)));
    if (key > query) return `${reader} could not read ${read}: it comes later`;
    return `${reader} read ${read}: ${percent((bytes[query * map.length + key] / 255) ** 2)}`;
  }

  function pointed(event: PointerEvent | MouseEvent): { query: number; key: number } | null {
    const box = canvas.getBoundingClientRect();
    const cell = side() / count();
    const key = Math.floor((event.clientX - box.left - left()) / cell);
    const query = Math.floor((event.clientY - box.top - top()) / cell);
    const inside = (i: number): boolean => i >= 0 && i < count();
    return inside(key) && inside(query) ? { query, key } : null;
  }

  function select(place: { query: number } | null): void {
    if (place) link.select(store.at(place.query));
  }

  picture.addEventListener("pointermove", (event) => {
    at = pointed(event);
    place();
  });
  picture.addEventListener("pointerleave", () => {
    at = null;
    place();
  });
  picture.addEventListener("click", (event) => select(pointed(event)));
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step && count()) {
      const clamp = (i: number): number => Math.max(0, Math.min(count() - 1, i));
      const from = at ?? { query: count() - 1, key: count() - 1 };
      at = at ? { query: clamp(from.query + step[0]), key: clamp(from.key + step[1]) } : from;
      place();
    } else if (event.key === "Enter") select(at);
    else return;
    event.preventDefault();
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault(); // the tab stays open
    back();
  });

  return {
    element,
    /** `next` null: it is on its way. */
    draw(next: Large | null, name: string, wanted: MapLook): void {
      if (next !== large) at = null;
      [large, look] = [next, wanted];
      setText(title, name);
      const words = next ? `${whole(next.map.length)} tokens` : "on its way";
      setAttribute(picture, "aria-label", `${name}, ${words}. Arrow keys read, Enter selects the token that read.`);
      setAttribute(picture, "aria-busy", String(!next));
      paint();
      place();
    },
    focus: (): void => picture.focus(),
    close: (): void => observer?.disconnect(),
  };
}
