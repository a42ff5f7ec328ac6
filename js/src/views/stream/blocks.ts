/** The text cut into blocks, and how high each of them is or will be. Knows no page. */
import type { Store } from "../../store.js";

/** Units in a block at least: it ends at the next line break, so that nobody sees where. */
export const SHORTEST = 50;
/** Units in a block at most. Text without line breaks is cut there, and the cut is moved to where a line ends. */
export const LONGEST = 480;
/** How far from the middle of such a block a space is looked for. */
const NEARBY = 60;
const NEWLINE = 0x0a;
const SPACE = 0x20;
/** First byte, in UTF-8, from which on most characters are wide, and lines may break between them. */
const WIDE = 0xe3;

export interface Block {
  /** Its first unit; it ends where the next one begins. */
  first: number;
  /** Whether it begins within a line of the text. */
  soft: boolean;
  /** Whether it ends where a line ends on the page. Of interest only before a soft block. */
  settled: boolean;
  /** In pixels, as measured; 0 where nobody has. */
  height: number;
  /** Columns of text, wide characters as two, and line breaks: to guess a height by. */
  columns: number;
  breaks: number;
  /** Where it is drawn. */
  element: HTMLElement | null;
}

/** What a guess is made of: columns of a line, and the height of a line in pixels. */
export interface Measure {
  perLine: number;
  line: number;
}

/** What a token brings into a block. */
interface Weight {
  columns: number;
  breaks: number;
  /** Whether it ends its line; whether a line may begin with it. */
  ends: boolean;
  breakable: boolean;
}

function weigh(bytes: Uint8Array): Weight {
  let [columns, breaks] = [0, 0];
  for (const byte of bytes) {
    if (byte === NEWLINE) breaks++;
    else if ((byte & 0xc0) !== 0x80) columns += byte >= WIDE ? 2 : 1;
  }
  return { columns, breaks, ends: bytes.at(-1) === NEWLINE, breakable: bytes[0] === SPACE || bytes[0] >= WIDE };
}

export class Blocks {
  readonly list: Block[] = [];
  /** Units that are in blocks. */
  end = 0;
  measure: Measure = { perLine: 70, line: 34 };
  readonly #store: Store;
  readonly #weights = new WeakMap<Uint8Array, Weight>();
  /** Height above each block, and of all; the first `#summed` are up to date. */
  #tops: number[] = [0];
  #summed = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Index of the block that holds a unit; 0 where there is none. */
  of(unit: number): number {
    return this.#last((block) => this.list[block].first <= unit);
  }

  /** Index of the block that lies at a height. */
  at(y: number): number {
    return this.#last((block) => this.top(block) <= y);
  }

  /** Units of a block: from, and behind the last. */
  span(index: number): [from: number, to: number] {
    return [this.list[index].first, index + 1 < this.list.length ? this.list[index + 1].first : this.end];
  }

  height(index: number): number {
    const { height, columns, breaks } = this.list[index];
    if (height) return height;
    const { perLine, line } = this.measure;
    // Each of the lines of text begins anew, and wastes half a line.
    const lines = breaks ? breaks * Math.max(1, columns / breaks / perLine + 0.5) : columns / perLine + 0.5;
    return Math.max(1, Math.round(lines)) * line;
  }

  /** Height of all that stands above a block. */
  top(index: number): number {
    for (; this.#summed < index; this.#summed++)
      this.#tops[this.#summed + 1] = this.#tops[this.#summed] + this.height(this.#summed);
    return this.#tops[index];
  }

  get total(): number {
    return this.top(this.list.length);
  }

  /** The height of a block has changed, or what it is guessed by. */
  touch(index: number): void {
    this.#summed = Math.min(this.#summed, index);
  }

  /** Forgets what was measured: the lines break elsewhere now. */
  forget(measure: Measure): void {
    this.measure = measure;
    for (const block of this.list) {
      block.height = 0;
      block.settled = false;
    }
    this.touch(0);
  }

  /** Takes units away from the end. Blocks without any left are handed back. */
  truncate(unit: number): Block[] {
    let left = this.list.length;
    while (left && this.list[left - 1].first >= unit) left--;
    const gone = this.list.splice(left);
    this.end = Math.min(this.end, unit);
    if (left) {
      this.list[left - 1].settled = false;
      this.#weigh(left - 1);
    }
    this.touch(Math.max(0, left - 1));
    return gone;
  }

  /** Puts the units that are new into blocks. */
  extend(): void {
    const { units } = this.#store;
    if (this.end < units && this.list.length) this.touch(this.list.length - 1);
    for (; this.end < units; this.end++) {
      const unit = this.end;
      const last = this.list.at(-1);
      const filled = last ? unit - last.first : 0;
      if (!last || (filled >= SHORTEST && this.#breaksAfter(unit - 1))) this.#begin(unit, false);
      else if (filled >= LONGEST) this.#halve(last);
      this.#count(this.list[this.list.length - 1], unit);
    }
  }

  /** Moves the beginning of a soft block. What was measured of both sides holds no longer. */
  move(index: number, first: number): void {
    this.list[index].first = first;
    this.list[index].settled = false;
    this.#weigh(index - 1);
    this.#weigh(index);
  }

  #begin(unit: number, soft: boolean): void {
    this.list.push({ first: unit, soft, settled: false, height: 0, columns: 0, breaks: 0, element: null });
  }

  /** Cuts the last block, at a space near its middle if there is one. */
  #halve(last: Block): void {
    const middle = last.first + (LONGEST >> 1);
    let cut = middle;
    while (cut < middle + NEARBY && !this.#breakable(cut)) cut++;
    if (cut === middle + NEARBY) cut = middle;
    this.#begin(cut, true);
    last.settled = false;
    this.#weigh(this.list.length - 2);
    this.#weigh(this.list.length - 1);
  }

  #weigh(index: number): void {
    const block = this.list[index];
    const [from, to] = this.span(index);
    Object.assign(block, { height: 0, columns: 0, breaks: 0 });
    for (let unit = from; unit < to; unit++) this.#count(block, unit);
    this.touch(index);
  }

  #count(block: Block, unit: number): void {
    const { unitStart, units, length } = this.#store;
    const end = unit + 1 < units ? unitStart[unit + 1] : length;
    block.height = 0;
    for (let at = unitStart[unit]; at < end; at++) {
      const { columns, breaks } = this.#weightAt(at);
      block.columns += columns;
      block.breaks += breaks;
    }
  }

  #breaksAfter(unit: number): boolean {
    const { unitStart, units, length } = this.#store;
    return this.#weightAt((unit + 1 < units ? unitStart[unit + 1] : length) - 1).ends;
  }

  #breakable(unit: number): boolean {
    return this.#weightAt(this.#store.unitStart[unit]).breakable;
  }

  #weightAt(position: number): Weight {
    const { columns, path } = this.#store;
    const bytes = this.#store.bytes(columns.token_id[path[position]]);
    const known = this.#weights.get(bytes);
    if (known) return known;
    const weight = weigh(bytes);
    this.#weights.set(bytes, weight);
    return weight;
  }

  /** The last block of which something holds that holds of all before it. */
  #last(holds: (index: number) => boolean): number {
    let low = 0;
    let high = this.list.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (holds(middle)) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
