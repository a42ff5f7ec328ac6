/** Keeps in the page what is near the part of the text that is seen, however long the text is. */

import { h } from "../../dom.js";
import type { Store } from "../../store.js";
import { Blocks } from "./blocks.js";
import { lastLineStart } from "./lines.js";

/** How near to its end, in pixels, the text counts as followed. */
export const NEAR = 24;
/** Further down than any text reaches, in pixels: any place behind the end is the end, and need not be asked for. */
const FAR = 1e8;
/** Height of the view where the page has not told, in pixels. */
const USUAL = 480;
/** Times the heights may turn out to be others than guessed, in one drawing. */
const PASSES = 6;
/** Width of a column of text, and height of a line, in sizes of the font, where nobody has measured. */
const COLUMN = 0.45;
const LINE = 1.95;

/** What stays in its place when heights above it change: a point of a block, in pixels or as a share of its height. */
interface Anchor {
  index: number;
  offset: number;
  share: boolean;
}

interface Still {
  unit: number;
  top: number;
}

export class Pane {
  readonly blocks: Blocks;
  /** Whether the end of the text stays in view. */
  following = true;
  /** Whether going to the end is following it. */
  follows = true;

  readonly #text: HTMLElement;
  readonly #make: (unit: number, hang: boolean) => HTMLElement;
  readonly #above = h("div", { class: "pad", role: "presentation" });
  readonly #below = h("div", { class: "pad", role: "presentation" });
  /** Blocks in the page: from, and behind the last. */
  #lo = 0;
  #hi = 0;
  #view = 0;
  #width = 0;
  #scroll = 0;
  /** What shall stand still where lines break anew. */
  #still: Still | null = null;
  /** Whether the end may be elsewhere than when it was last scrolled to. */
  #grown = false;

  /** `make` draws a unit; `hang`: it begins a line within a paragraph, so that its space belongs to the line above. */
  constructor(text: HTMLElement, store: Store, make: (unit: number, hang: boolean) => HTMLElement) {
    this.blocks = new Blocks(store);
    this.#text = text;
    this.#make = make;
    text.append(this.#above, this.#below);
  }

  get view(): number {
    return this.#view;
  }

  get scroll(): number {
    return this.#scroll;
  }

  /** Whether all of the text can be seen at once, as far as is known. */
  get fits(): boolean {
    return this.blocks.total <= (this.#view || USUAL);
  }

  get atEnd(): boolean {
    return this.blocks.total - this.#scroll - (this.#view || USUAL) < NEAR;
  }

  /** Units that are drawn: from, and behind the last. */
  get drawn(): [from: number, to: number] {
    if (this.#lo === this.#hi) return [0, 0];
    return [this.blocks.list[this.#lo].first, this.blocks.span(this.#hi - 1)[1]];
  }

  /** Units that can be seen, about: from, and behind the last. */
  get visible(): [from: number, to: number] {
    const { blocks } = this;
    if (!blocks.end) return [0, 0];
    const unitAt = (y: number): number => {
      const index = blocks.at(y);
      const [from, to] = blocks.span(index);
      return from + Math.max(0, Math.min(1, (y - blocks.top(index)) / blocks.height(index))) * (to - from);
    };
    const top = this.#target();
    return [Math.floor(unitAt(top)), Math.ceil(unitAt(top + (this.#view || USUAL)))];
  }

  spanOf(unit: number): HTMLElement | null {
    if (unit < 0 || unit >= this.blocks.end) return null;
    const { first, element } = this.blocks.list[this.blocks.of(unit)];
    return (element?.children[unit - first] as HTMLElement | undefined) ?? null;
  }

  /** Calls back with each unit that is drawn. */
  each(visit: (unit: number, span: HTMLElement) => void): void {
    for (let index = this.#lo; index < this.#hi; index++) {
      const { first, element } = this.blocks.list[index];
      const spans = element?.children ?? [];
      for (let i = 0; i < spans.length; i++) visit(first + i, spans[i] as HTMLElement);
    }
  }

  /** Brings the blocks up to date with a text that is the same up to the unit `dirty`. Asks the page for nothing. */
  update(dirty: number): void {
    const { blocks } = this;
    const before = blocks.end;
    if (dirty < before) this.#truncate(dirty);
    blocks.extend();
    this.#grown ||= blocks.end !== before || dirty < before;
    this.#plan();
  }

  /** The end may have moved, though no token came. */
  touch(): void {
    this.#grown = true;
  }

  /** Corrects guessed heights, with what is read staying where it is. */
  settle(): void {
    if (!this.#view) return;
    const anchor = this.#anchor();
    let corrected = false;
    this.#still = null;
    for (let pass = 0; pass < PASSES; pass++) {
      const measured = this.#measureBlocks();
      const aligned = this.#align(anchor);
      if (!measured && !aligned) break;
      corrected = true;
      this.#scroll = this.#placeOf(anchor);
      this.#plan();
    }
    if (this.#still && !this.following) this.#scrollTo(this.#text.scrollTop + this.#shift(this.#still));
    else if (this.following ? this.#grown : corrected) this.#scrollTo(this.following ? FAR : this.#scroll);
    this.#grown = false;
  }

  toEnd(): void {
    this.touch();
    this.#settleNow();
  }

  /** Puts a height of the text at the top of the view. */
  scrollTo(y: number): void {
    this.following = false;
    this.#scroll = Math.max(0, Math.min(y, this.blocks.total - this.#view));
    this.#plan();
    this.#text.scrollTop = this.#scroll;
    this.settle();
    this.following = this.follows && this.atEnd;
  }

  /** How far down a unit lies, about. */
  yOf(unit: number): number {
    const { blocks } = this;
    const index = blocks.of(unit);
    const [from, to] = blocks.span(index);
    return blocks.top(index) + (blocks.height(index) * (unit - from)) / Math.max(1, to - from);
  }

  /** Scrolls as far as needed for a unit to be seen with some text around it. */
  reveal(unit: number): void {
    const { blocks } = this;
    if (!this.#view || unit < 0 || unit >= blocks.end) return;
    const y = this.yOf(unit);
    const far = y < this.#scroll - this.#view || y > this.#scroll + 2 * this.#view;
    if (far || !this.spanOf(unit)) this.scrollTo(y - this.#view / 2);
    const span = this.spanOf(unit);
    if (!span) return;
    const [inner, outer] = [span.getBoundingClientRect(), this.#text.getBoundingClientRect()];
    const margin = 2 * NEAR;
    const off =
      inner.top < outer.top + margin
        ? inner.top - outer.top - margin
        : Math.max(0, inner.bottom - outer.bottom + margin);
    if (off) this.scrollTo(this.#scroll + off);
  }

  /** The reader has scrolled. Whether that was so: the page also says when it was done from here. */
  scrolled(): boolean {
    const y = this.#text.scrollTop;
    if (y === this.#scroll) return false;
    const up = y < this.#scroll;
    this.#scroll = y;
    if (this.#text.scrollHeight - y - this.#text.clientHeight < NEAR) this.following = this.follows;
    else if (up) this.following = false;
    this.#plan();
    this.settle();
    return true;
  }

  /** The view has another size, 0 where it is not in the page. */
  resize(width: number, height: number): void {
    const wrapped = width !== this.#width;
    this.#view = width && height;
    if (!this.#view) return;
    this.#width = width;
    this.touch();
    if (wrapped) this.reflow();
    else this.#settleNow();
  }

  /** Lines break elsewhere: another width, another font. */
  reflow(): void {
    const { blocks } = this;
    const { fontSize, lineHeight } = getComputedStyle(this.#text);
    const size = Number.parseFloat(fontSize) || 17;
    const { index, offset, share } = this.#anchor();
    const part = blocks.list.length && !share ? offset / blocks.height(index) : offset;
    blocks.forget({
      perLine: Math.max(8, (this.#width || 600) / (COLUMN * size)),
      line: Number.parseFloat(lineHeight) || LINE * size,
    });
    if (blocks.list.length) this.#scroll = blocks.top(index) + part * blocks.height(index);
    this.touch();
    this.#settleNow();
  }

  #settleNow(): void {
    this.#plan();
    this.settle();
  }

  #scrollTo(y: number): void {
    if (this.#text.scrollTop !== y) this.#text.scrollTop = y;
    this.#scroll = this.#text.scrollTop;
  }

  #target(): number {
    const last = Math.max(0, this.blocks.total - (this.#view || USUAL));
    return this.following ? last : Math.min(this.#scroll, last);
  }

  #placeOf({ index, offset, share }: Anchor): number {
    return this.blocks.top(index) + (share ? offset * this.blocks.height(index) : offset);
  }

  #anchor(): Anchor {
    const y = this.#target();
    const index = this.blocks.at(y);
    const offset = y - this.blocks.top(index);
    const unknown = this.blocks.list[index]?.height === 0;
    return { index, offset: unknown ? offset / this.blocks.height(index) : offset, share: unknown };
  }

  /** The unit in the middle of the view, and where it shall stand, as lines break anew around it. */
  #middle(scroll: number): Still | null {
    this.#scroll = scroll;
    const [from, to] = this.visible;
    const unit = (from + to) >> 1;
    const box = this.spanOf(unit)?.getBoundingClientRect();
    return box ? { unit, top: box.top - (scroll - this.#text.scrollTop) } : null;
  }

  /** How far down a unit has moved on the page. */
  #shift({ unit, top }: Still): number {
    const box = this.spanOf(unit)?.getBoundingClientRect();
    return box ? box.top - top : 0;
  }

  /** Draws the blocks that may soon be seen, and takes away those that are far. */
  #plan(): void {
    const { blocks } = this;
    const { length } = blocks.list;
    const view = this.#view || USUAL;
    const top = this.#target();
    const from = (y: number): number => Math.min(length, blocks.at(top + y * view));
    const to = (y: number): number => Math.min(length, blocks.at(top + (1 + y) * view) + 1);
    let [lo, hi] = [this.#lo, this.#hi];
    if (hi <= from(-0.5) || lo >= to(0.5)) [lo, hi] = [from(-1), to(1)];
    else {
      lo = from(-0.5) < lo ? from(-1) : Math.max(lo, from(-2.5));
      hi = to(0.5) > hi ? to(1) : Math.min(hi, to(2.5));
    }
    for (let index = this.#lo; index < this.#hi; index++) if (index < lo || index >= hi) this.#erase(index);
    [this.#lo, this.#hi] = [lo, hi];
    let next: Element = this.#below;
    for (let index = hi - 1; index >= lo; index--) next = this.#draw(index, next);
    this.#pad(this.#above, blocks.top(lo));
    this.#pad(this.#below, blocks.total - blocks.top(hi));
  }

  #truncate(unit: number): void {
    const { blocks } = this;
    for (const { element } of blocks.truncate(unit)) element?.remove();
    const last = blocks.list.at(-1);
    const have = last?.element?.childElementCount ?? 0;
    for (let i = unit - (last?.first ?? 0); i < have; i++) last?.element?.lastElementChild?.remove();
    this.#hi = Math.min(this.#hi, blocks.list.length);
    this.#lo = Math.min(this.#lo, this.#hi);
  }

  #pad(pad: HTMLElement, height: number): void {
    const value = `${Math.max(0, height)}px`;
    if (pad.style.height !== value) pad.style.height = value;
  }

  #erase(index: number): void {
    const block = this.blocks.list[index];
    block.element?.remove();
    block.element = null;
  }

  #draw(index: number, next: Element): HTMLElement {
    const block = this.blocks.list[index];
    const [from, to] = this.blocks.span(index);
    if (!block.element) {
      block.element = h("div", { class: "block", role: "presentation" });
      next.before(block.element);
    }
    const { element } = block;
    let have = element.childElementCount;
    for (; have > to - from; have--) element.lastElementChild?.remove();
    if (have === to - from) return element;
    const made = Array.from({ length: to - from - have }, (_, i) =>
      this.#make(from + have + i, block.soft && have + i === 0),
    );
    element.append(...made);
    return element;
  }

  /** Asks the page how high the drawn blocks are. Whether any differs from what was held. */
  #measureBlocks(): boolean {
    let changed = false;
    for (let index = this.#lo; index < this.#hi; index++) {
      const block = this.blocks.list[index];
      if (block.height || !block.element) continue;
      const guess = this.blocks.height(index);
      block.height = block.element.offsetHeight;
      if (block.height === guess) continue;
      this.blocks.touch(index);
      changed = true;
    }
    return changed;
  }

  /** Moves the ends of blocks within a paragraph to where lines end. Whether any was moved. */
  #align(anchor: Anchor): boolean {
    const { list } = this.blocks;
    let moved = false;
    for (let index = this.#lo; index < Math.min(this.#hi, list.length - 1); index++) {
      const [block, next] = [list[index], list[index + 1]];
      if (!next.soft || block.settled || !block.element) continue;
      block.settled = true;
      const start = lastLineStart(block.element);
      if (!start) continue;
      this.#still ??= this.#middle(this.#placeOf(anchor));
      if (anchor.index === index + 1) {
        const offset = anchor.share ? anchor.offset * this.blocks.height(anchor.index) : anchor.offset;
        Object.assign(anchor, { index, offset: offset + this.blocks.height(index), share: false });
      }
      this.blocks.move(index + 1, block.first + start);
      next.element?.replaceChildren();
      this.#draw(index, this.#below);
      if (next.element) this.#draw(index + 1, this.#below);
      moved = true;
    }
    return moved;
  }
}
