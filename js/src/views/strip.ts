/** The whole run as bars of surprisal: click or drag to look at any token. */

import { h, setAttribute, type View } from "../dom.js";
import { css, flame, SCALES, STEPS, stepOf, type Theme } from "../draw/colour.js";
import type { Link } from "../link.js";

const HEIGHT = 64;
const FULL = SCALES.surprisal.end;
/** Widest a bar gets, and the gap it keeps to the next where there is room for one. */
const WIDEST = 8;
/** Room that a growing run is given beyond its length, so that most of its tokens only add a bar. */
const ROOM = 1.15;

interface Palette {
  grey: string;
  ink: string;
  steps: string[];
}

export function strip(link: Link, theme: () => Theme): View {
  const { store } = link;
  const canvas = h("canvas", { "aria-hidden": "true" });
  const element = h(
    "div",
    {
      class: "strip",
      role: "slider",
      tabindex: 0,
      "aria-label": "Surprisal over the whole run. Arrow keys select a token.",
      "aria-valuemin": 0,
      "data-testid": "strip",
    },
    canvas,
  );
  let width = 0;
  let room = 0; // tokens that the width is divided among
  let drawn = ""; // what the picture shows, but for its tokens
  let painted = 0; // tokens in the picture
  let tip = -1; // node of the last of them
  let palette: Palette | null = null;

  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(([entry]) => {
      width = entry.contentRect.width;
      draw(false);
    });
  observer?.observe(element);

  /** Pixels per token. */
  const pitch = (): number => Math.min(WIDEST, width / Math.max(1, room));

  const surprisalAt = (position: number): number => -store.columns.logprob[store.path[position]];

  function colours(): Palette {
    const styles = getComputedStyle(element);
    const steps = Array.from({ length: STEPS + 1 }, (_, step) => css(flame(step, theme())));
    const [grey, ink] = ["--iw-grey", "--iw-ink"].map((name) => styles.getPropertyValue(name));
    return { grey, ink, steps };
  }

  function draw(streaming: boolean): void {
    const node = link.selection;
    const chosen = node >= 0 && store.onPath(node) ? store.depth[node] : -1;
    const last = Math.max(0, store.length - 1);
    setAttribute(element, "aria-valuemax", String(last));
    setAttribute(element, "aria-valuenow", String(chosen < 0 ? last : chosen));
    setAttribute(element, "aria-valuetext", chosen < 0 ? "newest token" : `token ${chosen}`);
    if (!width) return;
    // At rest the bars fill the width; while they come there is room for more.
    if (store.length > room || !streaming) room = Math.ceil(store.length * (streaming ? ROOM : 1));
    // The same picture is not painted twice, and one that only grew is added to; a path is told by its tip.
    const picture = [width, theme(), store.epoch, pitch(), chosen, devicePixelRatio].join();
    const grown = picture === drawn && painted <= store.length && store.at(painted - 1) === tip;
    if (grown && painted === store.length) return;
    const context = canvas.getContext("2d");
    if (!context) return;
    // Asking the page for colours has it compute its styles, so while it streams they are kept.
    if (!streaming || !palette) palette = colours();
    if (!grown) {
      const scale = devicePixelRatio || 1;
      canvas.width = Math.round(width * scale); // clears it
      canvas.height = Math.round(HEIGHT * scale);
      context.scale(scale, scale);
    }
    paint(context, palette, grown ? painted : 0, chosen);
    [drawn, painted, tip] = [picture, store.length, store.at(store.length - 1)];
  }

  /** Paints the bars from a token on. */
  function paint(
    context: CanvasRenderingContext2D,
    { grey, ink, steps }: Palette,
    first: number,
    chosen: number,
  ): void {
    const wide = pitch();
    const gap = wide >= 4 ? 1.5 : wide >= 2 ? 0.5 : 0;
    const bar = Math.max(1, wide);
    // With more tokens than pixels the most surprising one of a pixel stands for it.
    for (let from = first; from < store.length; ) {
      const x = from * wide;
      let tallest = from;
      let next = from + 1;
      while (next < store.length && next * wide < Math.floor(x) + 1 && wide < 1) {
        if (!(surprisalAt(next) <= surprisalAt(tallest))) tallest = next;
        next++;
      }
      const surprisal = surprisalAt(tallest);
      const high = 3 + (Math.min(FULL, surprisal || 0) / FULL) * (HEIGHT - 9);
      context.fillStyle = store.columns.kind[store.path[tallest]] === 0 ? grey : steps[stepOf("surprisal", surprisal)];
      context.fillRect(x, HEIGHT - high, bar - gap, high);
      from = next;
    }
    if (chosen < 0) return;
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    const box = Math.max(bar + 3, 5);
    context.strokeRect(Math.max(0.75, (chosen + 0.5) * wide - box / 2 - gap / 2), 0.75, box, HEIGHT - 1.5);
  }

  function selectAt(event: PointerEvent): void {
    if (!store.length) return;
    const position = Math.floor((event.clientX - canvas.getBoundingClientRect().left) / pitch());
    const node = store.at(Math.min(store.length - 1, Math.max(0, position)));
    if (node !== link.selection) link.select(node);
  }

  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    selectAt(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) selectAt(event);
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
