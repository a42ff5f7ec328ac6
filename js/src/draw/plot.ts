/** The frame that every plot has: axes, names at the lines, and a place to read at, by pointer or by keyboard. */
import { h, setAttribute } from "../dom.js";
import { fitting, nearest, type Scale, type Tick } from "./axis.js";
import { inkOf, spread } from "./series.js";
import { svg } from "./svg.js";

export interface Axis {
  title: string;
  scale: Scale;
  /** What is written beside it, where it is so many pixels long. */
  ticks: (room: number) => readonly Tick[];
}

/** From values to pixels, within the axes. */
export interface Frame {
  width: number;
  height: number;
  x: (value: number) => number;
  y: (value: number) => number;
}

export interface Picture {
  x: Axis;
  y: Axis;
  /** How many places there are to read at, and where on the x axis each lies, in rising order. */
  stops: number;
  valueAt: (stop: number) => number;
  /** The place that is selected; -1: none. */
  marked: number;
  /** Names beside the right end of what they name, by its value. */
  names: readonly { text: string; at: number; slot: number }[];
  paint: (frame: Frame) => SVGElement[];
}

/** What stands at a place. */
export interface Reading {
  title: string;
  rows: readonly { name: string; value: string; slot: number; at?: number }[];
  note?: string;
}

export interface PlotOptions {
  /** Of the test, and what it shows to a screen reader. */
  name: string;
  label: string;
  height: number;
  read: (stop: number) => Reading;
  /** A click, or Enter, at a place. */
  choose: (stop: number) => void;
}

const MARGIN = { top: 24, bottom: 40, left: 52, right: 14 };
/** Share of the width that names may take, and pixels that they take at most; those of a sign, and of all around it. */
const NAMES = { share: 0.26, most: 150, sign: 7.5, around: 34, line: 16 };
const TICK_HEIGHT = 34;
/** Width where a page cannot be measured. */
const USUAL = 640;
/** Room that the words at a place take at most. */
const TIP = 300;
const MOVES: Record<string, number> = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
};

/** A reading in one sentence. */
export const spoken = ({ title, rows, note }: Reading): string =>
  [title, ...rows.map(({ name, value }) => `${name} ${value}`.trim()), ...(note ? [note] : [])].join(", ");

export function plot({ name, label, height, read, choose }: PlotOptions) {
  const base = svg("g");
  const over = svg("g");
  const drawing = svg("svg", { height, "aria-hidden": "true" }, base, over);
  const names = h("div", { class: "plot-names", "aria-hidden": "true" });
  const tip = h("div", { class: "plot-tip", "aria-hidden": "true", hidden: true });
  const element = h(
    "div",
    { class: "plot", role: "slider", tabindex: 0, "aria-valuemin": 0, "data-testid": name, "aria-label": label },
    drawing,
    names,
    tip,
  );
  let width = globalThis.ResizeObserver ? 0 : USUAL;
  let picture: Picture | null = null;
  let at = -1; // the place that is read, by pointer or by keyboard
  let keyed = false; // by keyboard: a page that scrolls below a pointer at rest does not change it

  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(([entry]) => {
      width = entry.contentRect.width;
      paint();
    });
  observer?.observe(element);

  /** Pixels that the names take. */
  const gutter = (): number => {
    const longest = Math.max(0, ...(picture?.names ?? []).map(({ text }) => [...text].length));
    return longest ? Math.min(NAMES.most, NAMES.share * width, NAMES.sign * longest + NAMES.around) : 0;
  };

  function frame({ x, y }: Picture): Frame {
    const inner = {
      width: Math.max(1, width - MARGIN.left - MARGIN.right - gutter()),
      height: height - MARGIN.top - MARGIN.bottom,
    };
    return { ...inner, x: (value) => x.scale(value) * inner.width, y: (value) => (1 - y.scale(value)) * inner.height };
  }

  function paint(): void {
    if (!picture || width <= 0) return;
    const inner = frame(picture);
    for (const group of [base, over]) setAttribute(group, "transform", `translate(${MARGIN.left} ${MARGIN.top})`);
    base.replaceChildren(...axes(picture, inner), ...picture.paint(inner));
    call(picture, inner);
    follow();
  }

  /** The names at the right end, moved apart where their lines are close. */
  function call({ names: called }: Picture, inner: Frame): void {
    const half = NAMES.line / 2;
    const places = spread(
      called.map((one) => inner.y(one.at)),
      NAMES.line,
      0,
      inner.height,
    );
    names.style.left = `${MARGIN.left + inner.width + 8}px`;
    names.replaceChildren(
      ...called.map(({ text, slot }, i) => {
        const name = h("span", { class: `plot-name ${inkOf(slot)}` }, text);
        name.style.top = `${MARGIN.top + places[i] - half}px`; // an attribute would be against a page's policy
        return name;
      }),
    );
  }

  /** Brings what follows the reader up to date. */
  function follow(): void {
    if (!picture) return;
    const { marked, stops } = picture;
    at = Math.min(at, stops - 1);
    const inner = frame(picture);
    const reading = at >= 0 ? read(at) : null;
    over.replaceChildren(
      ...(marked >= 0 ? [rule("plot-marked", inner.x(picture.valueAt(marked)), inner)] : []),
      ...(reading ? [rule("plot-cursor", inner.x(picture.valueAt(at)), inner), ...dots(reading, picture, inner)] : []),
    );
    tell(reading, picture);
    point(reading, inner);
  }

  function dots({ rows }: Reading, { valueAt }: Picture, inner: Frame): SVGElement[] {
    const placed = rows.filter((row) => row.at !== undefined && !Number.isNaN(row.at));
    return placed.map(({ at: value = 0, slot }) =>
      svg("circle", { class: `plot-dot ${inkOf(slot)}`, cx: inner.x(valueAt(at)), cy: inner.y(value), r: 3.5 }),
    );
  }

  /** What a screen reader says of it. */
  function tell(reading: Reading | null, { stops, marked }: Picture): void {
    const now = at >= 0 ? at : marked;
    setAttribute(element, "aria-valuemax", String(Math.max(0, stops - 1)));
    setAttribute(element, "aria-valuenow", String(Math.max(0, now)));
    const shown = reading ?? (marked >= 0 ? read(marked) : null);
    setAttribute(element, "aria-valuetext", shown ? spoken(shown) : "no place chosen");
  }

  /** The words beside the place that is read. */
  function point(reading: Reading | null, inner: Frame): void {
    tip.hidden = !reading;
    if (!reading || !picture) return;
    tip.replaceChildren(h("b", {}, reading.title));
    for (const { name: of, value, slot } of reading.rows)
      tip.append(h("i", { class: `plot-swatch ${inkOf(slot)}` }), h("span", {}, of), h("span", {}, value));
    if (reading.note) tip.append(h("span", { class: "note" }, reading.note));
    const x = MARGIN.left + inner.x(picture.valueAt(at));
    const left = x + TIP > width && x > width / 2;
    tip.style.left = left ? "auto" : `${x + 12}px`;
    tip.style.right = left ? `${width - x + 12}px` : "auto";
  }

  function stopAt(event: PointerEvent | MouseEvent): number {
    if (!picture) return -1;
    const { valueAt, stops } = picture;
    const inner = frame(picture);
    const x = event.clientX - drawing.getBoundingClientRect().left - MARGIN.left;
    return nearest(stops, (stop) => inner.x(valueAt(stop)), x);
  }

  const move = (to: number): void => {
    at = to;
    follow();
  };

  element.addEventListener("pointermove", (event) => {
    if (keyed && !event.movementX && !event.movementY) return;
    keyed = false;
    move(stopAt(event));
  });
  element.addEventListener("pointerleave", () => {
    if (!keyed) move(-1);
  });
  element.addEventListener("blur", () => {
    keyed = false;
    move(-1);
  });
  element.addEventListener("click", (event) => {
    const stop = stopAt(event);
    if (stop >= 0) choose(stop);
  });
  element.addEventListener("keydown", (event) => {
    if (!picture?.stops || event.ctrlKey || event.metaKey || event.altKey) return;
    keyed = true;
    const last = picture.stops - 1;
    const from = at >= 0 ? at : picture.marked;
    if (event.key === "Escape" && at >= 0) move(-1);
    else if (event.key === "Home" || event.key === "End") move(event.key === "Home" ? 0 : last);
    else if (MOVES[event.key]) move(from < 0 ? last : Math.max(0, Math.min(last, from + MOVES[event.key])));
    else if ((event.key === "Enter" || event.key === " ") && at >= 0) choose(at);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw(next: Picture): void {
      picture = next;
      paint();
    },
    /** Another sentence of what it shows. */
    name: (words: string): void => setAttribute(element, "aria-label", words),
    close: () => observer?.disconnect(),
  };
}

/** A line across the plot at a place. */
export const rule = (name: string, x: number, { height }: Frame): SVGElement =>
  svg("line", { class: name, x1: x, x2: x, y1: 0, y2: height });

/** The same with a word beside it. */
export function noted(frame: Frame, x: number, text: string): SVGElement[] {
  const left = x > frame.width / 2;
  const place = { x: x + (left ? -6 : 6), y: 14, "text-anchor": left ? "end" : "start" };
  return [rule("plot-noted", x, frame), svg("text", { class: "plot-word", ...place }, text)];
}

function axes({ x, y }: Picture, inner: Frame): SVGElement[] {
  const { width, height } = inner;
  const rows = y.ticks(Math.floor(height / TICK_HEIGHT)).map(({ value, text }) => {
    const at = inner.y(value);
    const line = svg("line", { class: "plot-grid", x1: 0, x2: width, y1: at, y2: at });
    return svg("g", {}, line, svg("text", { class: "plot-tick", x: -8, y: at + 4, "text-anchor": "end" }, text));
  });
  const columns = fitting(x.ticks(width), x.scale, width).map(({ value, text }) => {
    const at = inner.x(value);
    const notch = svg("line", { class: "plot-notch", x1: at, x2: at, y1: height, y2: height + 4 });
    return svg(
      "g",
      {},
      notch,
      svg("text", { class: "plot-tick", x: at, y: height + 17, "text-anchor": "middle" }, text),
    );
  });
  const floor = svg("line", { class: "plot-axis", x1: 0, x2: width, y1: height, y2: height });
  const titles = [
    svg("text", { class: "plot-title", x: -MARGIN.left + 10, y: -12 }, y.title),
    svg("text", { class: "plot-title", x: width, y: height + 34, "text-anchor": "end" }, x.title),
  ];
  return [...rows, ...columns, floor, ...titles];
}
