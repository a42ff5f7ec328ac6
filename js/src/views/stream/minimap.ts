/** The whole run in a slim picture beside the text: how the current metric went, and which part is seen. */

import { h, setAttribute } from "../../dom.js";
import { css, endOf, flame, STEPS, stepOf, type Theme, tokenValue } from "../../draw/colour.js";
import { whole } from "../../draw/format.js";
import type { Link } from "../../link.js";
import type { Overlay } from "../../overlay.js";
import type { Palette } from "../../state.js";
import type { Pane } from "./pane.js";
import { Profile } from "./profile.js";

const WIDTH = 22;
/** Of the picture, in pixels: where hits are marked. */
const MARGIN = 4;
/** Least height of the window, in pixels. */
const LEAST = 10;

export interface Minimap {
  readonly element: HTMLElement;
  /** The path is the same up to a unit. */
  changed(unit: number): void;
  /** Brings the picture up to date. */
  draw(hits: readonly number[]): void;
  /** Brings the window up to date with what is seen. */
  scrolled(): void;
  close(): void;
}

export function minimap(link: Link, pane: Pane): Minimap {
  const { store } = link;
  const canvas = h("canvas", { "aria-hidden": "true" });
  const frame = h("div", { class: "minimap-window", "aria-hidden": "true" });
  const element = h(
    "div",
    {
      class: "minimap",
      role: "slider",
      tabindex: 0,
      hidden: true,
      "aria-orientation": "vertical",
      "aria-label": "Part of the text that is seen. Arrow keys scroll.",
      "aria-valuemin": 0,
      "data-testid": "minimap",
    },
    canvas,
    frame,
  );
  const profile = new Profile();
  let height = 0;
  let keep = 0; // positions of the profile that still hold
  let scale = ""; // metric and end that the profile was made for
  let covered: Overlay | null = null; // and what it was made of instead
  let painted = "";

  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(([entry]) => {
      height = entry.contentRect.height;
      paint([]);
      scrolled();
    });
  observer?.observe(element);

  function update(): boolean {
    const { overlay } = link;
    const { metric } = link.look;
    const end = endOf(store, metric);
    const scaled = `${metric} ${end}`;
    if (scaled !== scale || overlay !== covered) keep = 0;
    [scale, covered] = [scaled, overlay];
    const stepAt = (position: number): number =>
      overlay ? (overlay.steps[position] ?? 0) : stepOf(metric, tokenValue(store, store.path[position], metric), end);
    const changed = profile.update(store.length, keep, stepAt);
    keep = store.length;
    return changed;
  }

  function paint(hits: readonly number[]): void {
    const root = element.closest<HTMLElement>(".inferno-widget");
    const theme: Theme = root?.dataset.theme === "dark" ? "dark" : "light";
    const { palette } = link.look;
    const picture = [height, theme, palette, devicePixelRatio, hits.length, hits[0], hits.at(-1)].join();
    const changed = update();
    const context = height > 0 && (changed || picture !== painted) && canvas.getContext("2d");
    if (!context) return;
    painted = picture;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(WIDTH * ratio); // clears it
    canvas.height = Math.round(height * ratio);
    context.scale(ratio, ratio);
    bars(context, theme, palette);
    if (hits.length) marks(context, hits);
  }

  /** Each stretch is as wide as it is high on the scale; the highest of the run is as wide as the picture. */
  function bars(context: CanvasRenderingContext2D, theme: Theme, palette: Palette): void {
    const count = profile.stretches;
    const row = (height * profile.span) / Math.max(1, profile.length);
    const means = Array.from({ length: count }, (_, i) => profile.mean(i));
    const most = Math.max(1, ...means);
    means.forEach((mean, i) => {
      context.fillStyle = css(flame(Math.min(STEPS, Math.max(1, Math.round(mean))), theme, palette));
      context.fillRect(0, i * row, 1 + (mean / most) * (WIDTH - MARGIN - 1), Math.max(1, row - (row > 4 ? 1 : 0)));
    });
  }

  function marks(context: CanvasRenderingContext2D, hits: readonly number[]): void {
    context.fillStyle = getComputedStyle(element).getPropertyValue("--iw-accent") || "#b5370d";
    let last = -1;
    for (const position of hits) {
      const y = Math.floor((position / store.length) * height);
      if (y === last) continue;
      context.fillRect(WIDTH - MARGIN, y, MARGIN, 2);
      last = y;
    }
  }

  /** Positions that are seen: from, and behind the last. */
  function seen(): [from: number, to: number] {
    const [from, to] = pane.visible;
    return [store.unitStart[from] ?? 0, to < store.units ? store.unitStart[to] : store.length];
  }

  function scrolled(): void {
    const hidden = pane.fits || !store.length;
    if (element.hidden !== hidden) element.hidden = hidden;
    if (hidden || !height) return;
    const [from, to] = seen();
    const share = (to - from) / store.length;
    const tall = Math.max(LEAST, share * height);
    const top = Math.min(height - tall, (from / store.length) * height);
    frame.style.transform = `translateY(${top.toFixed(1)}px)`;
    frame.style.height = `${tall.toFixed(1)}px`;
    setAttribute(element, "aria-valuemax", String(store.length - 1));
    setAttribute(element, "aria-valuenow", String(from));
    setAttribute(element, "aria-valuetext", `tokens ${whole(from)} to ${whole(to - 1)} of ${whole(store.length)}`);
  }

  /** Puts a token at the top of what is seen. */
  function goto(position: number): void {
    const unit = store.unitOf[Math.max(0, Math.min(store.length - 1, Math.round(position)))];
    pane.scrollTo(pane.yOf(unit));
  }

  let grip = 0; // where in the window it was taken hold of, in tokens
  const positionAt = (event: PointerEvent): number =>
    ((event.clientY - canvas.getBoundingClientRect().top) / height) * store.length;
  element.addEventListener("pointerdown", (event) => {
    if (!store.length || !height) return;
    element.setPointerCapture(event.pointerId);
    const [from, to] = seen();
    const position = positionAt(event);
    const inside = position >= from && position <= to;
    grip = inside ? position - from : (to - from) / 2;
    if (!inside) goto(position - grip);
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) goto(positionAt(event) - grip);
  });

  const MOVES: Record<string, () => number> = {
    ArrowUp: () => pane.scroll - pane.view / 8,
    ArrowLeft: () => pane.scroll - pane.view / 8,
    ArrowDown: () => pane.scroll + pane.view / 8,
    ArrowRight: () => pane.scroll + pane.view / 8,
    PageUp: () => pane.scroll - pane.view * 0.9,
    PageDown: () => pane.scroll + pane.view * 0.9,
    Home: () => 0,
    End: () => Number.POSITIVE_INFINITY,
  };
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !MOVES[event.key]) return;
    pane.scrollTo(MOVES[event.key]());
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    changed(unit) {
      keep = Math.min(keep, unit < store.units ? store.unitStart[unit] : store.length);
    },
    draw(hits) {
      if (!pane.fits) paint(hits);
      scrolled();
    },
    scrolled,
    close: () => observer?.disconnect(),
  };
}
