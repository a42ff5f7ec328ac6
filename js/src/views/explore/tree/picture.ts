/** The tree as a picture: it scrolls and zooms, is pointed at, clicked, and walked by keys. */
import { hiddenFrom, namesOf } from "../../../branches.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { css, endOf, flame, STEPS, stepOf, type Theme, tokenValue, valueText } from "../../../draw/colour.js";
import { whole } from "../../../draw/format.js";
import { type Layout, laneAt, layout } from "../../../draw/treelayout.js";
import { type Frame, type Ink, paint, placeOf, READABLE, type Scene, yOf } from "../../../draw/treepaint.js";
import type { Link } from "../../../link.js";
import { KINDS } from "../../../protocol.js";
import { type Lane, type Tree, treeOf } from "../../../tree.js";
import { textOf } from "../road.js";
import { preview } from "./preview.js";

/** Free at the left of the first token, and behind the longest lane, for the words there; in pixels. */
const LEFT = 12;
const RIGHT = 150;
/** Widest a position gets where all fits, and height of a row; the least of both. */
const WIDEST = 13;
const HIGHEST = 24;
const LOWEST = 4;
/** Highest that the picture gets, in pixels; it scrolls beyond. */
const TALLEST = 300;
/** Pixels of a letter in a name. */
const LETTER = 8;
/** Tokens with which a lane without a name is told. */
const HINT = 6;
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
  const card = preview(link);
  const element = h("div", { class: "tree-view" }, scroller, said, card.element);

  let width = 0;
  let zoomed = 1;
  let cursor = -1;
  let pointed = -1; // node under the pointer, or of the row of the list that it is on
  let showHidden = false;
  let scene: Scene | null = null;
  let placed: Layout | null = null;
  let placedFor = "";
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
    scene = sceneOf(tree);
    const { frame } = scene;
    setRoom(LEFT + scene.layout.length * frame.pitch + RIGHT, scene.layout.rows.length * frame.high);
    scene.frame = { ...frame, x: scroller.scrollLeft, y: scroller.scrollTop, height: height() };
    if (width) show(scene);
  }

  const height = (): number => Math.min(TALLEST, Math.max(1, room.offsetHeight));

  function setRoom(wide: number, high: number): void {
    const [w, t] = [`${Math.ceil(zoomed > 1 ? wide : Math.min(wide, width))}px`, `${Math.ceil(high)}px`];
    if (room.style.width !== w) room.style.width = w;
    if (room.style.height !== t) room.style.height = t;
  }

  function sceneOf(tree: Tree): Scene {
    const { marks, look } = link;
    const from = hiddenFrom(tree, marks.pruned);
    const names = namesOf(tree, marks.names);
    const seen = (lane: Lane): number => Math.max(0, Math.min(lane.nodes.length, from[lane.id] - lane.start));
    const drawn = showHidden ? (lane: Lane) => lane.nodes.length : seen;
    const end = endOf(store, look.metric);
    const { kind } = store.columns;
    const arranged = arrange(tree, drawn, names);
    const [pitch, high] = sizes(arranged);
    const reach = reachOf(tree);
    return {
      tree,
      layout: arranged,
      frame: { width, height: 0, x: 0, y: 0, pitch, high, left: LEFT },
      ink: ink ?? NO_INK,
      drawn,
      seen,
      current: (lane) => reach.get(lane.id) ?? 0,
      step: (node) =>
        KINDS[kind[node]] === "prompt" ? -1 : stepOf(look.metric, tokenValue(store, node, look.metric), end),
      name: (lane) => names.get(lane.id),
      hint: (lane) => (lane.parent < 0 ? "" : textOf(link, lane.nodes.slice(0, HINT))),
      diverged: new Set(marks.diverged),
      selected: link.selection,
      cursor: document.activeElement === scroller && cursor >= 0 ? cursor : pointed,
    };
  }

  /** Lays the lanes out, where anything of them or of their names is new. */
  function arrange(tree: Tree, drawn: (lane: Lane) => number, names: Map<number, string>): Layout {
    const { marks } = link;
    const now = JSON.stringify([store.epoch, store.size, width, zoomed, showHidden, marks.names, marks.pruned]);
    if (placed && now === placedFor) return placed;
    placedFor = now;
    const longest = tree.lanes.reduce((most, lane) => Math.max(most, lane.start + drawn(lane)), 1);
    const pitch = pitchOf(longest);
    const behind = (lane: Lane): number => Math.ceil(((names.get(lane.id)?.length ?? 0) * LETTER) / pitch);
    placed = layout(tree, { drawn, behind });
    return placed;
  }

  const pitchOf = (length: number): number =>
    Math.min(WIDEST, Math.max(1, width - LEFT - RIGHT) / Math.max(1, length)) * Math.max(1, zoomed);

  function sizes({ rows, length }: Layout): [pitch: number, high: number] {
    const fit = Math.max(READABLE + 3, Math.min(HIGHEST, TALLEST / Math.max(1, rows.length)));
    return [pitchOf(length), Math.max(LOWEST, Math.min(HIGHEST, fit * Math.min(2, zoomed)))];
  }

  /** How many nodes of each lane the path goes through that is shown. */
  function reachOf(tree: Tree): Map<number, number> {
    const reach = new Map<number, number>();
    let end = store.length - 1;
    let lane = end < 0 ? undefined : tree.lane(store.path[end]);
    while (lane) {
      reach.set(lane.id, end - lane.start + 1);
      end = lane.start - 1;
      lane = tree.lanes[lane.parent];
    }
    return reach;
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
      ...[placedFor, theme, palette, metric, endOf(store, metric), frame, ratio],
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
    const position = (scroller.scrollLeft + x - LEFT) / before;
    zoomed = Math.min(NEAR, Math.max(FAR, zoomed * by));
    if (Math.abs(zoomed - 1) < 0.05) zoomed = 1;
    again();
    scroller.scrollLeft = position * (scene?.frame.pitch ?? 1) + LEFT - x;
    again();
  }

  // --- the keyboard ---

  const here = (): number => (cursor >= 0 ? cursor : link.selection >= 0 ? link.selection : store.head);

  function stepAlong(by: number): number {
    const tree = treeOf(store);
    const node = here();
    const lane = tree.lane(node);
    const to = tree.position(node) + by;
    if (to < lane.start) return store.columns.parent[lane.nodes[0]];
    return (to < lane.start + (scene?.drawn(lane) ?? 0) ? tree.at(lane, to) : node) as number;
  }

  function stepAcross(by: number): number {
    if (!scene) return here();
    const { tree, layout: drawn } = scene;
    const node = here();
    const row = drawn.row[tree.laneOf[node]] + by;
    const lane = laneAt(drawn, Math.max(0, Math.min(drawn.rows.length - 1, row)), tree.position(node));
    return lane ? nodeOn(scene, lane, tree.position(node)) : node;
  }

  const MOVES: Record<string, () => number> = {
    ArrowLeft: () => stepAlong(-1),
    ArrowRight: () => stepAlong(1),
    ArrowUp: () => stepAcross(-1),
    ArrowDown: () => stepAcross(1),
    PageUp: () => stepAcross(-LEAP),
    PageDown: () => stepAcross(LEAP),
    Home: () => treeOf(store).lane(here()).nodes[0],
    End: () => treeOf(store).endOf(here()),
  };

  scroller.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !store.size || !scene) return;
    const node = here();
    if (MOVES[event.key]) moveTo(MOVES[event.key]());
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

const NO_INK: Ink = { steps: [], grey: "", ink: "", muted: "", page: "", accent: "" };

/** The node of a lane that is nearest to a position, among those that are drawn. */
function nodeOn({ drawn }: Scene, lane: Lane, position: number): number {
  return lane.nodes[Math.max(0, Math.min(drawn(lane) - 1, position - lane.start))];
}

/** The node at a place of the picture: words behind a lane belong to its last. */
export function nodeNear(scene: Scene, x: number, y: number): number {
  const { frame, layout: drawn } = scene;
  const row = Math.floor((y + frame.y) / frame.high);
  const position = Math.floor((x + frame.x - frame.left) / frame.pitch);
  const lane = row < 0 ? undefined : laneAt(drawn, row, position);
  if (!lane || Math.abs(yOf(frame, row) - y) > frame.high / 2) return -1;
  const off = lane.start - position;
  const behind = (position - lane.start - scene.drawn(lane)) * frame.pitch;
  if (off * frame.pitch > frame.left || behind > RIGHT) return -1;
  return nodeOn(scene, lane, position);
}
