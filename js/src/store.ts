/** Snapshot + deltas -> state. Pure: no model, no page, no clock. */
import { COLUMNS, type Columns, KINDS } from "./protocol.js";
import { type Decoded, decodeText, hex, isContinuation, LEAD, oneGrapheme, type Part } from "./text.js";
import { Watched } from "./watched.js";
import { ARRAYS, type Frame } from "./wire.js";

type Column = Columns[keyof Columns];

/**
 * What came of a frame. After a `gap` the kernel has to send again from `size` on; `late`: it was applied, but frames
 * before it did not come, which may have said more of nodes that are held.
 */
export type Outcome = "applied" | "stale" | "gap" | "late";

export interface Alternative {
  id: number;
  rank: number;
  probability: number;
  /** Whether the sampler's last stage left it; true for all where no sampler ran. */
  kept: boolean;
  chosen: boolean;
}

export interface Distribution {
  alternatives: Alternative[];
  /** Probability of all that is not listed. */
  rest: number;
}

const NO_BYTES = new Uint8Array(0);
/** Tokens that one grapheme joins at most: a pile of accents has no end. */
const LONGEST_GRAPHEME = 64;
/** Nodes for which room is made before they come, at most: what a frame says of its head may be wrong. */
const AHEAD = 100_000;
/** Last byte of the zero-width joiner. */
const JOINER_END = 0x8d;

/** `array` with room for `size` elements, doubled so that appending costs the same however long it is. */
function grown<T extends Column>(array: T, size: number): T {
  if (size <= array.length) return array;
  const larger = new (array.constructor as new (n: number) => T)(Math.max(size, 2 * array.length, 256));
  larger.set(array);
  return larger;
}

/** Number of a frame or a trace, at most: behind it nothing could follow. */
const LAST = 2 ** 30;

/** Refuses what the store could not rely on: a node comes behind its parent, and the head is one or none. */
function check({ seq, epoch, start, head, columns: { parent, kind } }: Frame): void {
  if (seq > LAST || epoch > LAST) throw new RangeError(`frame ${seq} of trace ${epoch}: nobody counts so far`);
  if (head < -1) throw new RangeError(`a frame's head is ${head}, which is no node`);
  for (let i = 0; i < parent.length; i++) {
    if (parent[i] < -1 || parent[i] >= start + i)
      throw new RangeError(`a frame says that node ${start + i} follows node ${parent[i]}, which is not before it`);
    if (kind[i] >= KINDS.length) throw new RangeError(`a frame has a token of kind ${kind[i]}, which is none`);
  }
}

export class Store {
  epoch = 0;
  seq = 0;
  /** Nodes held: they are numbered from 0 in the order they were recorded. */
  size = 0;
  k = 0;
  /** Tip of the path as the kernel says; it may lie ahead of `size` while a replay arrives. */
  head = -1;
  /** Tip of the path that was shown before the present one took another way; -1: none was. */
  left = -1;
  columns = emptyColumns();
  readonly watched = new Watched();
  readonly pieces = new Map<number, Uint8Array>();
  /** Tokens that are no part of the text, such as its beginning and the turns of a conversation. */
  readonly control = new Set<number>();
  /** Text of the tokens that are whole characters, null for the others: asked for again and again. */
  readonly #texts = new Map<number, string | null>();

  /** Position of each node in its sequence. */
  depth = new Int32Array(256);
  /** Node at each position, from the root to the head. */
  path = new Int32Array(256);
  /** Tokens from the root to the head. */
  total = 0;
  /** Tokens of them that are shown: all, or those up to the limit. */
  length = 0;
  /** Tokens shown at most: how far a player has come. */
  limit = Number.POSITIVE_INFINITY;

  /**
   * A unit is what is drawn as one: a token, or the tokens that share a character, as a reader sees it: the bytes of
   * a letter, a letter and its accents, a family of emoji.
   * First position of each unit, and unit of each position.
   */
  unitStart = new Int32Array(256);
  unitOf = new Int32Array(256);
  units = 0;

  /** How much of a path the units were made for: its length before it changes. */
  #united = 0;

  readonly #listeners = new Set<(unit: number) => void>();

  /** Calls back with the first unit that changed, each time the path does. Returns what ends that. */
  onUnits(listener: (unit: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether frames are still to come before the kernel's path can be drawn. */
  get incomplete(): boolean {
    return this.head >= this.size;
  }

  apply(frame: Frame): Outcome {
    check(frame);
    // A trace that was left does not come back, unless what took its place was a mistake: numbers of frames only rise.
    if (frame.epoch < this.epoch && frame.seq <= this.seq) return "stale";
    if (frame.epoch !== this.epoch) {
      if (frame.start > 0) return "gap";
      this.#reset(frame.epoch);
    } else if (frame.start > this.size) return "gap";
    const outcome = this.seq > 0 && frame.seq > this.seq + 1 && this.size > 0 ? "late" : "applied";
    for (const [id, bytes] of frame.pieces) {
      this.pieces.set(id, bytes);
      this.#texts.delete(id);
      if (frame.control.has(id)) this.control.add(id);
      else this.control.delete(id); // another model's number
    }
    this.#append(frame);
    if (frame.watched) this.watched.take(frame.start, frame.watched);
    if (frame.seq < this.seq) return "stale"; // its rows are as good as any, its head is not the latest
    this.seq = frame.seq;
    this.head = frame.head;
    if (!this.incomplete) this.#follow();
    return outcome;
  }

  /** Shows no more than the first tokens of the path, until another trace comes. */
  show(limit: number): void {
    this.limit = Math.max(0, limit);
    this.#cut(this.length);
  }

  /** Shows the path to another node, as far as this page goes: the kernel's next frame has the last word. */
  goto(node: number): void {
    this.head = node;
    this.limit = Number.POSITIVE_INFINITY;
    this.#follow();
  }

  /** Node at a position of the path, -1 where there is none. */
  at(position: number): number {
    return position >= 0 && position < this.length ? this.path[position] : -1;
  }

  onPath(node: number): boolean {
    return node >= 0 && node < this.size && this.at(this.depth[node]) === node;
  }

  bytes(id: number): Uint8Array {
    return this.pieces.get(id) ?? NO_BYTES;
  }

  /** One token by itself; bytes of unfinished characters as numbers. */
  piece(id: number): Part[] {
    return decodeText(this.bytes(id)).parts;
  }

  /** Positions of a unit: from, and behind the last. */
  unitSpan(unit: number): [from: number, to: number] {
    return [this.unitStart[unit], unit + 1 < this.units ? this.unitStart[unit + 1] : this.length];
  }

  unitText(unit: number): Part[] {
    const [from, to] = this.unitSpan(unit);
    return this.#text(from, to).parts;
  }

  /** The text of a unit that is one token of whole characters, as nearly all are; else null. */
  plainText(unit: number): string | null {
    const [from, to] = this.unitSpan(unit);
    return to === from + 1 ? this.#whole(this.columns.token_id[this.path[from]]) : null;
  }

  /** The text of a unit as it is searched: bytes that are no text as <F0>. */
  unitString(unit: number): string {
    return this.plainText(unit) ?? textOf(this.unitText(unit));
  }

  /** Whether a unit is a control token, which is no part of the text that is handed on. */
  isControl(unit: number): boolean {
    return this.control.has(this.columns.token_id[this.path[this.unitStart[unit]]]);
  }

  /** The text of a unit as it is copied. */
  unitCopy(unit: number): string {
    return this.isControl(unit) ? "" : this.unitString(unit);
  }

  /** The text of any nodes, one behind the other; bytes of unfinished characters as numbers. */
  passage(nodes: readonly number[]): Part[] {
    return decodeText(concat(nodes.map((node) => this.bytes(this.columns.token_id[node])))).parts;
  }

  distribution(node: number): Distribution {
    const { token_id, top_ids, top_logprobs, top_kept, kept, logprob, rank, tail } = this.columns;
    const alternatives: Alternative[] = [];
    const sampled = kept[node] > 0;
    let found = false;
    for (let i = 0; i < this.k; i++) {
      const id = top_ids[node * this.k + i];
      if (id < 0) break;
      const chosen = id === token_id[node];
      found ||= chosen;
      alternatives.push({
        id,
        rank: i + 1,
        probability: Math.exp(top_logprobs[node * this.k + i]),
        kept: !sampled || ((top_kept[node] >>> i) & 1) === 1,
        chosen,
      });
    }
    let rest = tail[node];
    if (!found && rank[node] > 0) {
      const probability = Math.exp(logprob[node]);
      alternatives.push({ id: token_id[node], rank: rank[node], probability, kept: true, chosen: true });
      rest = Math.max(0, rest - probability);
    }
    return { alternatives, rest };
  }

  #reset(epoch: number): void {
    this.epoch = epoch;
    this.seq = 0;
    this.watched.clear();
    this.size = 0;
    this.k = 0;
    this.head = -1;
    this.left = -1;
    this.total = 0;
    this.length = 0;
    this.limit = Number.POSITIVE_INFINITY;
    this.#unite(0);
  }

  /** Takes the rows that are new; those held already are the same. */
  #append(frame: Frame): void {
    const end = frame.start + frame.rows;
    if (end <= this.size) return;
    if (this.size === 0) this.k = frame.k;
    if (frame.k !== this.k) throw new RangeError(`a frame has ${frame.k} alternatives a row, its trace ${this.k}`);
    const skip = this.size - frame.start;
    // While a replay arrives its head says how much is to come: room for all of it is made once.
    const room = Math.max(end, Math.min(frame.head + 1, end + AHEAD));
    const columns = this.columns as unknown as Record<string, Column>;
    for (const [name, , width] of COLUMNS) {
      const n = width === "k" ? this.k : width;
      columns[name] = grown(columns[name], room * n);
      columns[name].set(frame.columns[name].subarray(skip * n), this.size * n);
    }
    this.depth = grown(this.depth, room);
    for (let node = this.size; node < end; node++) {
      const parent = this.columns.parent[node];
      this.depth[node] = parent < 0 ? 0 : this.depth[parent] + 1;
    }
    this.size = end;
  }

  /** Moves the path to the head. Only what differs from the path so far is walked. */
  #follow(): void {
    let node = this.head;
    const tip = this.total ? this.path[this.total - 1] : -1;
    const end = node < 0 ? 0 : this.depth[node] + 1;
    this.path = grown(this.path, end);
    let keep = end;
    while (node >= 0 && !(keep <= this.total && this.path[keep - 1] === node)) {
      this.path[--keep] = node;
      node = this.columns.parent[node];
    }
    if (keep === end && end === this.total) {
      this.#cut(end);
      return;
    }
    if (keep < this.total) this.left = tip;
    this.total = end;
    this.#cut(keep);
  }

  /** Shows of the path what the limit allows; `keep` of its tokens are those that it had. */
  #cut(keep: number): void {
    const before = this.length;
    this.length = Math.min(this.total, this.limit);
    const same = Math.min(keep, before);
    if (this.length !== before || same < before) this.#unite(same);
  }

  /** Joins the tokens from a position on into units. */
  #unite(position: number): void {
    let from = Math.min(position, this.length);
    let unit = from > 0 ? this.unitOf[from - 1] + 1 : 0;
    if (from > 0 && this.#undecided(unit - 1, from)) from = this.unitStart[--unit];
    let first = unit;
    this.unitStart = grown(this.unitStart, this.length + 1);
    this.unitOf = grown(this.unitOf, this.length);
    for (let at = from; at < this.length; unit++) {
      const start = at;
      do at++;
      while (at < this.length && this.#continues(start, at));
      if (unit > 0 && this.#joins(this.unitStart[unit - 1], start, at)) first = Math.min(first, --unit);
      else this.unitStart[unit] = start;
      this.unitOf.fill(unit, start, at);
    }
    this.units = unit;
    this.#united = this.length;
    for (const listener of this.#listeners) listener(first);
  }

  /** Whether a unit may change when the path does from `position` on: it reached behind there, or ends within a character. */
  #undecided(unit: number, position: number): boolean {
    const from = this.unitStart[unit];
    const to = unit + 1 < this.units ? this.unitStart[unit + 1] : this.#united;
    return to !== position || this.#text(from, position).open > 0;
  }

  /** Whether the token at `at` goes on with a character that the tokens from `from` on left unfinished. */
  #continues(from: number, at: number): boolean {
    const next = this.bytes(this.columns.token_id[this.path[at]]);
    if (!next.length || !isContinuation(next[0])) return false;
    const { open } = this.#text(from, at);
    if (!open) return false;
    const bytes = concat([this.#bytes(from, at).slice(-open), next]);
    const joined = decodeText(bytes);
    return typeof joined.parts[0] === "string" || joined.open === bytes.length;
  }

  /** Whether the tokens from `start` to `end` go on with the grapheme of the unit before them, which starts at `from`. */
  #joins(from: number, start: number, end: number): boolean {
    const before = this.#tokenAt(start - 1);
    const after = this.#tokenAt(start);
    // Nearly every token is told apart by one byte.
    if (!(after[0] >= LEAD) && before[before.length - 1] !== JOINER_END) return false;
    if (start - from >= LONGEST_GRAPHEME) return false;
    const next = this.#text(start, end).parts[0];
    const last = typeof next === "string" ? this.#text(from, start).parts.at(-1) : undefined;
    return typeof last === "string" && oneGrapheme(last, next as string);
  }

  #tokenAt(position: number): Uint8Array {
    return this.bytes(this.columns.token_id[this.path[position]]);
  }

  #whole(id: number): string | null {
    let text = this.#texts.get(id);
    if (text === undefined) {
      const { parts } = decodeText(this.bytes(id));
      text = parts.every((part) => typeof part === "string") ? parts.join("") : null;
      this.#texts.set(id, text);
    }
    return text;
  }

  #bytes(from: number, to: number): Uint8Array {
    const tokens = Array.from(this.path.subarray(from, to), (node) => this.bytes(this.columns.token_id[node]));
    return tokens.length === 1 ? tokens[0] : concat(tokens);
  }

  #text(from: number, to: number): Decoded {
    return decodeText(this.#bytes(from, to));
  }
}

const textOf = (parts: readonly Part[]): string =>
  parts.map((part) => (typeof part === "string" ? part : `<${hex(part)}>`)).join("");

function concat(arrays: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(arrays.flatMap((array) => [...array]));
}

const emptyColumns = (): Columns =>
  Object.fromEntries(COLUMNS.map(([name, dtype]) => [name, new ARRAYS[dtype](0)])) as unknown as Columns;
