/** The whole run as bars of the chosen metric: point to read one, click or drag to look at its token. */

import { h, setAttribute, setText, type View } from "../dom.js";
import { css, endOf, flame, SCALES, STEPS, stepOf, type Theme, tokenValue, valueText } from "../draw/colour.js";
import { whole } from "../draw/format.js";
import type { Link } from "../link.js";
import { KINDS } from "../protocol.js";
import type { Metric, Palette } from "../state.js";
import { pieceOf } from "./parts/words.js";

const HEIGHT = 64;
/** Height of a bar at the quiet end of the scale, and what the hottest leaves free at the top. */
const LEAST = 3;
const TOP = 6;
/** Widest a bar gets, and the gap it keeps to the next where there is room for one. */
const WIDEST = 8;
/** Room that a growing run is given beyond its length, so that most of its tokens only add a bar. */
const ROOM = 1.15;
/** So that the first token of a pixel lies in it, whatever a division leaves. */
const ROUNDING = 1e-6;
/** Widest that the words about a bar get, in pixels. */
const TIP = 320;

interface Colours {
  grey: string;
  steps: string[];
}

export function strip(link: Link, theme: () => Theme): View {
  const { store } = link;
  const canvas = h("canvas", { "aria-hidden": "true" });
  const marker = h("i", { class: "strip-mark", hidden: true });
  const tip = h("span", { class: "strip-tip", "aria-hidden": "true", hidden: true });
  const picture = h("div", { class: "strip-picture" }, canvas, marker, tip);
  const element = h(
    "div",
    { class: "strip", role: "slider", tabindex: 0, "aria-valuemin": 0, "data-testid": "strip" },
    picture,
  );
  let width = 0;
  let room = 0; // tokens that the width is divided among
  let drawn = ""; // what the picture shows, but for its tokens
  let painted = 0; // tokens in the picture
  let newest = -1; // node of the last of them
  let colours: Colours | null = null;
  let coloured = ""; // what the colours are for
  let metric: Metric = link.look.metric;
  let end = 0; // of the metric's scale

  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(([entry]) => {
      width = entry.contentRect.width;
      draw(false);
    });
  observer?.observe(picture);

  /** Pixels per token. */
  const pitch = (): number => Math.min(WIDEST, width / Math.max(1, room));

  const valueAt = (position: number): number => tokenValue(store, store.path[position], metric);
  const shareAt = (position: number): number => SCALES[metric].share(valueAt(position), end);

  function words(position: number): string {
    const node = store.path[position];
    return `token ${whole(position)}  ${valueText(metric, valueAt(position))}  ${pieceOf(store, node)}`;
  }

  function takeColours(palette: Palette): Colours {
    const steps = Array.from({ length: STEPS + 1 }, (_, step) => css(flame(step, theme(), palette)));
    return { grey: getComputedStyle(element).getPropertyValue("--iw-grey"), steps };
  }

  function draw(streaming: boolean): void {
    const { palette } = link.look;
    metric = link.look.metric;
    end = endOf(store, metric);
    tell();
    if (!width) return;
    // At rest the bars fill the width; while they come there is room for more.
    if (store.length > room || !streaming) room = Math.ceil(store.length * (streaming ? ROOM : 1));
    mark();
    // The same picture is not painted twice, and one that only grew is added to; a path is told by its tip.
    const now = [width, theme(), palette, metric, end, store.epoch, pitch(), devicePixelRatio].join();
    const grown = now === drawn && painted <= store.length && store.at(painted - 1) === newest;
    if (grown && painted === store.length) return;
    const context = canvas.getContext("2d");
    if (!context) return;
    // Asking the page for colours has it compute its styles, so they are kept.
    if (!colours || coloured !== theme() + palette) colours = takeColours(palette);
    coloured = theme() + palette;
    if (!grown) clear(context);
    paint(context, colours, grown ? painted : 0);
    [drawn, painted, newest] = [now, store.length, store.at(store.length - 1)];
  }

  function clear(context: CanvasRenderingContext2D): void {
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale); // clears it
    canvas.height = Math.round(HEIGHT * scale);
    context.scale(scale, scale);
  }

  /** Place of a token's bar: in whole pixels where several tokens share one. */
  const placeOf = (position: number): number => {
    const x = position * pitch();
    return pitch() < 1 ? Math.floor(x + ROUNDING) : x;
  };

  /** First token of the bar at a place of the picture. */
  const beginAt = (x: number): number =>
    pitch() < 1 ? Math.ceil(Math.floor(x) / pitch() - ROUNDING) : Math.floor(x / pitch());

  /** The hottest token of the bar that `from` begins, and where the next one begins. */
  function hottest(from: number): [position: number, next: number] {
    if (pitch() >= 1) return [from, from + 1];
    const to = Math.min(store.length, Math.max(from + 1, beginAt(placeOf(from) + 1)));
    let best = from;
    let share = shareAt(from);
    for (let at = from + 1; at < to; at++) {
      const other = shareAt(at);
      if (!(other <= share)) [best, share] = [at, other];
    }
    return [best, to];
  }

  /** Paints the bars from a token on; of a pixel that it shares, the whole bar. */
  function paint(context: CanvasRenderingContext2D, { grey, steps }: Colours, first: number): void {
    const { kind } = store.columns;
    const wide = pitch();
    const gap = wide >= 4 ? 1.5 : wide >= 2 ? 0.5 : 0;
    const bar = Math.max(1, wide) - gap;
    for (let from = wide < 1 ? beginAt(placeOf(first)) : first; from < store.length; ) {
      const [position, next] = hottest(from);
      const prompt = KINDS[kind[store.path[position]]] === "prompt";
      const share = Math.max(0, Math.min(1, shareAt(position) || 0));
      const high = LEAST + share * (HEIGHT - LEAST - TOP);
      context.fillStyle = prompt ? grey : steps[stepOf(metric, valueAt(position), end)];
      context.fillRect(placeOf(from), HEIGHT - high, bar, high);
      from = next;
    }
  }

  const chosen = (): number => {
    const node = link.selection;
    return node >= 0 && store.onPath(node) ? store.depth[node] : -1;
  };

  /** What a screen reader says of it. */
  function tell(): void {
    const at = chosen();
    const last = Math.max(0, store.length - 1);
    const title = SCALES[metric].title;
    setAttribute(
      element,
      "aria-label",
      `${title[0].toUpperCase()}${title.slice(1)} over the whole run. Arrow keys select a token.`,
    );
    setAttribute(element, "aria-valuemax", String(last));
    setAttribute(element, "aria-valuenow", String(at < 0 ? last : at));
    setAttribute(element, "aria-valuetext", at < 0 ? "newest token" : words(at));
  }

  /** The frame around the selected bar: no part of the picture, so that moving it paints no bar. */
  function mark(): void {
    const at = chosen();
    marker.hidden = at < 0;
    if (at < 0) return;
    const wide = pitch();
    const box = Math.max(Math.min(wide, WIDEST) + 3, 5);
    const left = Math.max(0, Math.min(width - box, (at + 0.5) * wide - box / 2 - (wide >= 4 ? 0.75 : 0)));
    marker.style.width = `${box.toFixed(1)}px`;
    marker.style.transform = `translateX(${left.toFixed(1)}px)`;
  }

  /** Position of the bar at a place of the picture: of those that share a pixel, the one that is seen. */
  function positionAt(x: number): number {
    return hottest(Math.min(store.length - 1, Math.max(0, beginAt(x))))[0];
  }

  function point(event: PointerEvent): void {
    const x = event.clientX - canvas.getBoundingClientRect().left;
    tip.hidden = !store.length;
    if (!store.length) return;
    const position = positionAt(x);
    setText(tip, words(position));
    const right = x + TIP > width && x > width / 2;
    tip.style.left = right ? "auto" : `${Math.max(0, x + 10).toFixed(0)}px`;
    tip.style.right = right ? `${Math.max(0, width - x + 10).toFixed(0)}px` : "auto";
    if (!element.hasPointerCapture?.(event.pointerId)) return;
    const node = store.at(position);
    if (node !== link.selection) link.select(node);
  }

  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture?.(event.pointerId);
    point(event);
  });
  element.addEventListener("pointermove", point);
  element.addEventListener("pointerleave", () => {
    tip.hidden = true;
  });

  const MOVES: Record<string, number> = {
    ArrowLeft: -1,
    ArrowDown: -1,
    ArrowRight: 1,
    ArrowUp: 1,
    PageUp: 10,
    PageDown: -10,
  };
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = store.length - 1;
    const at = link.selection >= 0 ? store.depth[link.selection] : last;
    if (event.key === "Escape") link.select(-1);
    else if (event.key === "Home" || event.key === "End") link.select(store.at(event.key === "Home" ? 0 : last));
    else if (MOVES[event.key]) link.select(store.at(Math.min(last, Math.max(0, at + MOVES[event.key]))));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return { element, restful: true, draw, close: () => observer?.disconnect() };
}
