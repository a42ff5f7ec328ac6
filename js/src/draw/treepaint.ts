/** A tree of tokens on a canvas: lanes of cells by position, forks as curves, the path that is shown on top. */
import type { Lane, Tree } from "../tree.js";
import { STEPS } from "./metric.js";
import type { Layout } from "./treelayout.js";

export interface Ink {
  /** By the step of the metric's scale. */
  steps: readonly string[];
  grey: string;
  ink: string;
  muted: string;
  page: string;
  accent: string;
}

/** Where positions and rows lie, in pixels of the page. */
export interface Frame {
  width: number;
  height: number;
  /** How far the picture is scrolled. */
  x: number;
  y: number;
  /** Width of a position, height of a row, and what is left free at the left. */
  pitch: number;
  high: number;
  left: number;
}

export interface Scene {
  tree: Tree;
  layout: Layout;
  frame: Frame;
  ink: Ink;
  /** Nodes of a lane that are drawn, and those at its beginning that are not hidden. */
  drawn: (lane: Lane) => number;
  seen: (lane: Lane) => number;
  /** Nodes at the beginning of a lane through which the path goes that is shown. */
  current: (lane: Lane) => number;
  /** Step of a node on the metric's scale; -1 for the prompt's. */
  step: (node: number) => number;
  name: (lane: Lane) => string | undefined;
  /** How a lane without a name begins. */
  hint: (lane: Lane) => string;
  diverged: ReadonlySet<number>;
  /** Nodes that are marked: the one that is looked at, and the one that keys and pointer are at; -1: none. */
  selected: number;
  cursor: number;
}

/** Share of a row that a cell takes, beside the path that is shown and on it. */
const SLIM = 0.36;
const WIDE = 0.66;
/** By how much the path that is shown stands out around its cells, in pixels. */
const BAND = 1.5;
/** Free between a lane and the words behind it, and the least room for those, in pixels. */
const BEFORE = 7;
const SHORTEST = 30;
/** Rows beyond which forks step back behind the lanes. */
const CROWD = 16;
/** Least height of a row, in pixels, in which words can be read. */
export const READABLE = 11;
/** Colour of the prompt, behind those of the steps. */
const PROMPT = STEPS + 1;

export const xOf = ({ left, pitch, x }: Frame, position: number): number => left + position * pitch - x;
export const yOf = ({ high, y }: Frame, row: number): number => (row + 0.5) * high - y;

export function paint(context: CanvasRenderingContext2D, scene: Scene): void {
  const { width, height } = scene.frame;
  context.clearRect(0, 0, width, height);
  const lanes = lanesIn(scene);
  forks(context, scene);
  for (const lane of lanes) rail(context, scene, lane);
  way(context, scene);
  cells(context, scene, lanes);
  marks(context, scene);
  labels(context, scene, lanes);
}

/** Lanes of which something is in view. */
function lanesIn({ layout, frame, drawn }: Scene): Lane[] {
  const first = Math.max(0, Math.floor(frame.y / frame.high));
  const last = Math.ceil((frame.y + frame.height) / frame.high);
  return layout.rows
    .slice(first, last)
    .flat()
    .filter((lane) => xOf(frame, lane.start) < frame.width && xOf(frame, lane.start + drawn(lane)) > -frame.width);
}

/** From the token before a lane down to its first one. */
function fork(context: CanvasRenderingContext2D, { layout, frame }: Scene, lane: Lane): void {
  const from = xOf(frame, lane.start - 0.5);
  const [above, at] = [yOf(frame, layout.row[lane.parent]), yOf(frame, layout.row[lane.id])];
  const bend = Math.min(frame.high / 2, Math.max(4, frame.pitch / 2));
  context.moveTo(from, above);
  context.lineTo(from, at - bend);
  context.quadraticCurveTo(from, at, from + bend, at);
  context.lineTo(Math.max(from + bend, xOf(frame, lane.start)), at);
}

function forks(context: CanvasRenderingContext2D, scene: Scene): void {
  const { tree, layout, frame, ink, seen } = scene;
  for (const faint of [true, false]) {
    context.beginPath();
    for (const lane of tree.lanes) {
      if (lane.parent < 0 || layout.row[lane.id] < 0 || faint !== (seen(lane) === 0)) continue;
      const outside = yOf(frame, layout.row[lane.id]) < 0 || yOf(frame, layout.row[lane.parent]) > frame.height;
      if (!outside) fork(context, scene, lane);
    }
    context.setLineDash(faint ? [3, 3] : []);
    context.lineWidth = 1;
    context.strokeStyle = layout.rows.length > CROWD ? ink.grey : ink.muted;
    context.stroke();
  }
}

/** The line that a lane's cells hang on; dashed where it is hidden. */
function rail(context: CanvasRenderingContext2D, { layout, frame, ink, drawn, seen }: Scene, lane: Lane): void {
  const y = yOf(frame, layout.row[lane.id]);
  const [from, middle, to] = [0, seen(lane), drawn(lane)].map((count) => xOf(frame, lane.start + count));
  context.strokeStyle = ink.grey;
  context.lineWidth = 1;
  for (const [a, b, dash] of [
    [from, middle, []],
    [middle, to, [3, 3]],
  ] as const) {
    if (b <= a) continue;
    context.setLineDash([...dash]);
    context.beginPath();
    context.moveTo(a, y);
    context.lineTo(b, y);
    context.stroke();
  }
  context.setLineDash([]);
}

/** The path that is shown: a band through all its lanes, which frames the cells on it. */
function way(context: CanvasRenderingContext2D, scene: Scene): void {
  const { tree, layout, frame, ink, current } = scene;
  const high = Math.max(2, frame.high * WIDE) + 2 * BAND;
  context.fillStyle = ink.ink;
  context.beginPath();
  for (const lane of tree.lanes) {
    const count = layout.row[lane.id] < 0 ? 0 : current(lane);
    if (!count) continue;
    if (lane.parent >= 0) fork(context, scene, lane);
    const y = yOf(frame, layout.row[lane.id]);
    context.fillRect(xOf(frame, lane.start) - BAND, y - high / 2, count * frame.pitch + 2 * BAND, high);
  }
  context.lineWidth = 3;
  context.strokeStyle = ink.ink;
  context.stroke();
}

function cells(context: CanvasRenderingContext2D, scene: Scene, lanes: readonly Lane[]): void {
  const { ink } = scene;
  // Changing the colour costs more than a rectangle, so all of one colour are painted together.
  const bright: number[][] = Array.from({ length: PROMPT + 1 }, () => []);
  const faint: number[][] = Array.from({ length: PROMPT + 1 }, () => []);
  for (const lane of lanes) collect(scene, lane, bright, faint);
  for (const [boxes, alpha] of [
    [faint, 0.3],
    [bright, 1],
  ] as const) {
    context.globalAlpha = alpha;
    boxes.forEach((numbers, step) => {
      context.fillStyle = step === PROMPT ? ink.grey : ink.steps[step];
      for (let i = 0; i < numbers.length; i += 4)
        context.fillRect(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]);
    });
  }
  context.globalAlpha = 1;
}

/** The boxes of a lane's cells, four numbers each, by colour; of tokens that share a pixel the hottest counts. */
function collect(scene: Scene, lane: Lane, bright: number[][], faint: number[][]): void {
  const { layout, frame, drawn, seen, current, step } = scene;
  const y = yOf(frame, layout.row[lane.id]);
  const [count, bare, shown] = [drawn(lane), seen(lane), current(lane)];
  const per = Math.max(1, Math.ceil(1 / frame.pitch)); // tokens a cell
  const wide = per * frame.pitch;
  const gap = wide >= 4 ? 1 : 0;
  const first = Math.max(0, Math.floor((frame.x - frame.left) / frame.pitch) - lane.start);
  const last = Math.min(count, Math.ceil((frame.x - frame.left + frame.width) / frame.pitch) - lane.start);
  for (let from = first - (first % per); from < last; from += per) {
    let hottest = -1;
    for (let i = from; i < Math.min(count, from + per); i++) hottest = Math.max(hottest, step(lane.nodes[i]));
    const high = Math.max(2, frame.high * (from < shown ? WIDE : SLIM));
    const boxes = (from < bare ? bright : faint)[hottest < 0 ? PROMPT : hottest];
    boxes.push(xOf(frame, lane.start + from) + gap / 2, y - high / 2, Math.max(1, wide - gap), high);
  }
}

/** Rings where the same dice fell elsewhere, a frame around the token that is looked at, a point where the keys are. */
function marks(context: CanvasRenderingContext2D, scene: Scene): void {
  const { frame, ink, diverged, selected, cursor } = scene;
  context.lineWidth = 1.5;
  context.strokeStyle = ink.accent;
  context.fillStyle = ink.page;
  const small = Math.max(2, Math.min(4, frame.high / 4));
  for (const node of diverged) {
    const place = placeOf(scene, node);
    if (!place) continue;
    context.beginPath();
    context.arc(place.x - frame.pitch / 2, place.y, small, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
  context.strokeStyle = ink.ink;
  const chosen = placeOf(scene, selected);
  const tall = Math.max(8, frame.high * 0.9);
  const wide = Math.max(6, frame.pitch + 3);
  if (chosen) outline(context, chosen, wide, tall, ink);
  const at = placeOf(scene, cursor);
  if (!at) return;
  context.strokeStyle = ink.accent;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(at.x, at.y, Math.max(5, frame.high * 0.45), 0, 2 * Math.PI);
  context.stroke();
}

function outline(
  context: CanvasRenderingContext2D,
  { x, y }: { x: number; y: number },
  wide: number,
  tall: number,
  { ink, page }: Ink,
): void {
  for (const [colour, more] of [
    [page, 3],
    [ink, 0],
  ] as const) {
    context.strokeStyle = colour;
    context.lineWidth = 2 + more;
    context.strokeRect(x - wide / 2, y - tall / 2, wide, tall);
  }
}

/** The middle of a node's cell; undefined where it is not drawn. */
export function placeOf(scene: Scene, node: number): { x: number; y: number } | undefined {
  const { tree, layout, frame, drawn } = scene;
  if (node < 0 || node >= tree.laneOf.length) return undefined;
  const lane = tree.lane(node);
  const position = tree.position(node);
  if (layout.row[lane.id] < 0 || position >= lane.start + drawn(lane)) return undefined;
  return { x: xOf(frame, position + 0.5), y: yOf(frame, layout.row[lane.id]) };
}

/** Behind each lane its name, or how it begins where there is room for that. */
function labels(context: CanvasRenderingContext2D, scene: Scene, lanes: readonly Lane[]): void {
  const { layout, frame, ink, drawn, seen, name, hint, current } = scene;
  if (frame.high < READABLE) return;
  const family = getComputedStyle(context.canvas).fontFamily || "sans-serif";
  const fonts = [`12px ${family}`, `600 12px ${family}`];
  context.textBaseline = "middle";
  context.strokeStyle = ink.page;
  context.lineWidth = 4;
  let bold = -1;
  lanes.forEach((lane, i) => {
    const row = layout.row[lane.id];
    const x = xOf(frame, lane.start + drawn(lane)) + BEFORE;
    const next = lanes[i + 1] && layout.row[lanes[i + 1].id] === row ? xOf(frame, lanes[i + 1].start - 1) : frame.width;
    if (next - x < SHORTEST) return;
    const called = name(lane);
    if (bold !== Number(called !== undefined)) {
      bold = Number(called !== undefined);
      context.font = fonts[bold]; // which costs more than the words
    }
    context.globalAlpha = seen(lane) ? 1 : 0.55;
    context.fillStyle = called || current(lane) ? ink.ink : ink.muted;
    const words = fitted(context, called ?? hint(lane).trimStart(), next - x);
    const y = yOf(frame, row) + 0.5;
    context.strokeText(words, x, y); // so that a fork does not strike it through
    context.fillText(words, x, y);
  });
  context.globalAlpha = 1;
}

/** As much of a text as fits into so many pixels. */
function fitted(context: CanvasRenderingContext2D, text: string, room: number): string {
  const { width } = context.measureText(text);
  if (width <= room) return text;
  const signs = Array.from(text);
  return `${signs.slice(0, Math.max(1, Math.floor((signs.length * room) / width) - 1)).join("")}…`;
}
