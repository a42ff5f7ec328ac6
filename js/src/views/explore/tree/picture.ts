/** The tree as a picture: it scrolls and zooms, is pointed at, clicked, and walked by keys. */
import { h, setAttribute, setText } from "../../../dom.js";
import { css, endOf, flame, STEPS, type Theme, tokenValue, valueText } from "../../../draw/colour.js";
import { whole } from "../../../draw/format.js";
import { type Frame, type Ink, paint, placeOf, type Scene } from "../../../draw/treepaint.js";
import type { Link } from "../../../link.js";
import { type Tree, treeOf } from "../../../tree.js";
import { textOf } from "../road.js";
import { preview } from "./preview.js";
import { extent, nodeNear, placeAt, positionAt, scenes, stepAcross, stepAlong, TALLEST } from "./scene.js";

/** Zooms: a step of the buttons, and how far it goes. */
const STEP = 1.5;
const FAR = 0.2;
const NEAR = 60;
/** Rows that a leap of Page Up and Page Down takes. */
const LEAP = 10;

export interface Picture {
  readonly element: HTMLElement;
  draw(hidden: boolean): void;
  zoom(by: number): void;
  /** Sets a lane off from the others; -1: none. */
  point(node: number): void;
  close(): void;
}

export interface Gestures {
  go: (node: number, exactly: boolean) => void;
  name: (node: number) => void;
  prune: (node: number) => void;
}

export const IN = STEP;
export const OUT = 1 / STEP;

export function picture(link: Link, gestures: Gestures): Picture {
  const { store } = link;
  const canvas = h("canvas", { "aria-hidden": "true" });
  const room = h("div", { class: "tree-room", "aria-hidden": "true" });
  const said = h("p", { class: "hidden", "aria-live": "polite" });
  const scroller = h(
    "div",
    {
      class: "tree-picture",
      role: "application",
      tabindex: 0,
      "aria-label": "Tree of branches",
      "aria-description":
        "Left and right go along the branch, up and down to other branches. Enter goes there, Shift+Enter to exactly " +
        "that token, N names the branch, Delete prunes it. All branches are listed below.",
      "data-testid": "tree",
    },
    canvas,
    room,
  );
  const views = scenes(link);
  const card = preview(link);
  const element = h("div", { class: "tree-view" }, scroller, said, card.element);

  let width = 0;
  let zoomed = 1;
  let cursor = -1;
  let followed = -1; // lane that was scrolled to
  let pointed = -1; // node under the pointer, or of the row of the list that it is on
  let showHidden = false;
  let scene: Scene | null = null;
  let painted = "";
  let ink: Ink | null = null;
  let inked = "";

  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(([entry]) => {
      width = entry.contentRect.width;
      draw(showHidden);
    });
  observer?.observe(scroller);

  // --- what is drawn ---

  function draw(hidden: boolean): void {
    showHidden = hidden;
    const tree = treeOf(store);
    if (cursor >= store.size) cursor = -1;
    const at = document.activeElement === scroller && cursor >= 0 ? cursor : pointed;
    scene = views.of(tree, { width, zoomed, hidden, cursor: at, ink });
    const { frame } = scene;
    setRoom(...extent(scene));
    follow(scene);
    scene.frame = { ...frame, x: scroller.scrollLeft, y: scroller.scrollTop, height: height() };
    if (width) show(scene);
  }

  /** Scrolls to the branch that is shown, where it is another one than before. */
  function follow({ tree, layout: drawn, frame: { high } }: Scene): void {
    const lane = store.length && width ? tree.laneOf[store.at(store.length - 1)] : -1;
    if (lane === followed) return;
    followed = lane;
    const top = (drawn.row[lane] ?? 0) * high;
    const end = scroller.scrollTop + scroller.clientHeight;
    if (top < scroller.scrollTop || top + high > end) scroller.scrollTop = top - scroller.clientHeight / 2;
  }

  const height = (): number => Math.min(TALLEST, Math.max(1, room.offsetHeight));

  function setRoom(wide: number, high: number): void {
    const [w, t] = [`${Math.ceil(zoomed > 1 ? wide : Math.min(wide, width))}px`, `${Math.ceil(high)}px`];
    if (room.style.width !== w) room.style.width = w;
    if (room.style.height !== t) room.style.height = t;
  }

  function takeInk(theme: Theme): Ink {
    const styles = getComputedStyle(scroller);
    const value = (name: string): string => styles.getPropertyValue(name).trim();
    return {
      steps: Array.from({ length: STEPS + 1 }, (_, step) => css(flame(step, theme, link.look.palette))),
      grey: value("--iw-grey"),
      ink: styles.color,
      muted: getComputedStyle(room).color,
      page: styles.backgroundColor,
      accent: value("--iw-accent"),
    };
  }

  function show(now: Scene): void {
    const theme: Theme = scroller.closest<HTMLElement>(".inferno-widget")?.dataset.theme === "dark" ? "dark" : "light";
    const { palette, metric } = link.look;
    const { frame } = now;
    const ratio = globalThis.devicePixelRatio || 1;
    const { marks } = link;
    const picture = JSON.stringify([
      ...[views.shape, theme, palette, metric, endOf(store, metric), frame, ratio],
      ...[store.head, store.length, now.selected, now.cursor, marks.diverged],
    ]);
    if (picture === painted) return; // the same picture is not painted twice
    const context = canvas.getContext("2d");
    if (!context) return;
    painted = picture;
    if (!ink || inked !== theme + palette) ink = takeInk(theme); // asking the page for colours costs
    inked = theme + palette;
    now.ink = ink;
    canvas.style.width = `${frame.width}px`;
    canvas.style.height = `${frame.height}px`;
    canvas.width = Math.round(frame.width * ratio);
    canvas.height = Math.round(frame.height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint(context, now);
  }

  const again = (): void => draw(showHidden);

  // --- the pointer ---

  /** The node at a place of the page; -1 where there is none. */
  function nodeAt(event: MouseEvent): number {
    if (!scene) return -1;
    const box = canvas.getBoundingClientRect();
    return nodeNear(scene, event.clientX - box.left, event.clientY - box.top);
  }

  scroller.addEventListener("pointermove", (event) => {
    const node = event.buttons ? -1 : nodeAt(event);
    point(node);
    if (node < 0) card.hide();
    else card.show(node, scene?.name(scene.tree.lane(node)), event.clientX, event.clientY);
  });
  scroller.addEventListener("pointerleave", () => {
    point(-1);
    card.hide();
  });
  scroller.addEventListener("click", (event) => {
    const node = nodeAt(event);
    if (node < 0) return;
    cursor = node;
    card.hide();
    gestures.go(node, event.shiftKey);
  });
  scroller.addEventListener("scroll", () => {
    card.hide();
    again();
  });
  scroller.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault(); // the page would zoom
      zoom(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX - canvas.getBoundingClientRect().left);
    },
    { passive: false },
  );

  function point(node: number): void {
    if (node === pointed) return;
    pointed = node;
    scroller.style.cursor = node < 0 ? "" : "pointer";
    again();
  }

  /** Nearer or farther; what is at `x` pixels stays there. */
  function zoom(by: number, x = width / 2): void {
    const before = scene?.frame.pitch ?? 1;
    const position = positionAt(scroller.scrollLeft + x, before);
    zoomed = Math.min(NEAR, Math.max(FAR, zoomed * by));
    if (Math.abs(zoomed - 1) < 0.05) zoomed = 1;
    again();
    scroller.scrollLeft = placeAt(position, scene?.frame.pitch ?? 1) - x;
    again();
  }

  // --- the keyboard ---

  const here = (): number => (cursor >= 0 ? cursor : link.selection >= 0 ? link.selection : store.head);

  const MOVES: Record<string, (scene: Scene, node: number) => number> = {
    ArrowLeft: (now, node) => stepAlong(now, node, -1),
    ArrowRight: (now, node) => stepAlong(now, node, 1),
    ArrowUp: (now, node) => stepAcross(now, node, -1),
    ArrowDown: (now, node) => stepAcross(now, node, 1),
    PageUp: (now, node) => stepAcross(now, node, -LEAP),
    PageDown: (now, node) => stepAcross(now, node, LEAP),
    Home: ({ tree }, node) => tree.lane(node).nodes[0],
    End: ({ tree }, node) => tree.endOf(node),
  };

  scroller.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !store.size || !scene) return;
    const node = here();
    if (MOVES[event.key]) moveTo(MOVES[event.key](scene, node));
    else if (event.key === "Enter") gestures.go(node, event.shiftKey);
    else if (event.key.toLowerCase() === "n") gestures.name(node);
    else if (event.key === "Delete") gestures.prune(node);
    else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? STEP : 1 / STEP);
    else if (event.key === "Escape" && cursor >= 0) moveTo(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  scroller.addEventListener("focus", again);
  scroller.addEventListener("blur", () => {
    card.hide();
    again();
  });

  function moveTo(node: number): void {
    cursor = node;
    again();
    const place = node < 0 || !scene ? undefined : placeOf(scene, node);
    if (!place || !scene) {
      card.hide();
      return;
    }
    reveal(place, scene.frame);
    setText(said, wordsOf(scene.tree, node));
    const box = canvas.getBoundingClientRect();
    const now = placeOf(scene, node);
    if (now) card.show(node, scene.name(scene.tree.lane(node)), box.left + now.x, box.top + now.y);
  }

  /** Scrolls a place of the picture into view. */
  function reveal({ x, y }: { x: number; y: number }, { high }: Frame): void {
    if (x < 0 || x > width) scroller.scrollLeft += x - width / 2;
    if (y < high / 2 || y > height() - high / 2) scroller.scrollTop += y - height() / 2;
    again();
  }

  function wordsOf(tree: Tree, node: number): string {
    const { metric } = link.look;
    const name = scene?.name(tree.lane(node)) ?? `branch ${tree.laneOf[node] + 1}`;
    const value = valueText(metric, tokenValue(store, node, metric));
    return `${name}, token ${whole(tree.position(node))}: ${textOf(link, [node])}, ${value}`;
  }

  return {
    element,
    draw(hidden) {
      const branches = treeOf(store).lanes.length;
      setAttribute(scroller, "aria-label", `Tree of ${whole(branches)} ${branches === 1 ? "branch" : "branches"}`);
      draw(hidden);
    },
    zoom,
    point,
    close() {
      observer?.disconnect();
      card.hide();
    },
  };
}
