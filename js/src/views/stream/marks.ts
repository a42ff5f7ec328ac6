/** What a reader has marked with the mouse, remembered in the text's own terms: the page holds only a part of it. */

import type { Store } from "../../store.js";
import type { Pane } from "./pane.js";

/** A place in the text: characters into a unit. */
interface Place {
  unit: number;
  offset: number;
}

interface Range {
  from: Place;
  to: Place;
}

const before = (a: Place, b: Place): boolean => a.unit < b.unit || (a.unit === b.unit && a.offset <= b.offset);

export class Marks {
  readonly #text: HTMLElement;
  readonly #store: Store;
  readonly #pane: Pane;
  #anchor: Place | null = null;
  #focus: Place | null = null;
  /** Whether an end of it is held here only: its token is not drawn. */
  #lost = false;
  #drawn = "";
  #dragging = false;

  constructor(text: HTMLElement, store: Store, pane: Pane) {
    this.#text = text;
    this.#store = store;
    this.#pane = pane;
    document.addEventListener("selectionchange", this.#changed);
    document.addEventListener("pointerup", this.#released);
    text.addEventListener("pointerdown", this.#pressed);
    text.addEventListener("copy", this.#copied);
  }

  close(): void {
    document.removeEventListener("selectionchange", this.#changed);
    document.removeEventListener("pointerup", this.#released);
  }

  /** What is marked, from its first place to its last; null where nothing is. */
  get range(): Range | null {
    const [a, b] = [this.#anchor, this.#focus];
    if (!a || !b) return null;
    return before(a, b) ? { from: a, to: b } : { from: b, to: a };
  }

  /** Units that are marked, whole or in part; all where nothing is. */
  get units(): [from: number, to: number] {
    const { range } = this;
    if (!range) return [0, this.#store.units];
    return [range.from.unit, Math.min(this.#store.units, range.to.unit + (range.to.offset ? 1 : 0))];
  }

  /** The text that is marked; all of it where nothing is. */
  get text(): string {
    const [first, last] = this.units;
    const parts: string[] = [];
    for (let unit = first; unit < last; unit++) parts.push(this.#store.unitCopy(unit));
    const { range } = this;
    if (range && range.to.unit < last && parts.length)
      parts.push((parts.pop() as string).slice(0, range.to.offset || undefined));
    if (range && parts.length) parts[0] = parts[0].slice(range.from.offset);
    return parts.join("");
  }

  all(): void {
    this.#anchor = { unit: 0, offset: 0 };
    this.#focus = { unit: this.#store.units, offset: 0 };
    this.#lost = true;
    this.#drawn = "";
    this.restore();
  }

  /** Marks anew in the page what was marked in a part of the text that has come back. */
  restore(): void {
    const drawn = this.#pane.drawn.join();
    if (!this.#lost || this.#dragging || drawn === this.#drawn || !this.#anchor || !this.#focus) return;
    this.#drawn = drawn;
    this.#selection()?.setBaseAndExtent(...this.#pointOf(this.#anchor), ...this.#pointOf(this.#focus));
  }

  #selection(): Selection | null {
    const root = this.#text.getRootNode() as Document;
    return root.getSelection?.() ?? document.getSelection();
  }

  readonly #pressed = (): void => {
    this.#dragging = true;
  };

  readonly #released = (): void => {
    this.#dragging = false;
  };

  readonly #changed = (): void => {
    const selection = this.#selection();
    const ours = (node: Node | null | undefined): boolean => this.#text.contains(node ?? null);
    if (!selection || !ours(selection.anchorNode) || !ours(selection.focusNode)) {
      this.#anchor = null;
      this.#focus = null;
      return;
    }
    const anchor = this.#placeOf(selection.anchorNode, selection.anchorOffset);
    const focus = this.#placeOf(selection.focusNode, selection.focusOffset);
    this.#lost = !anchor || !focus;
    if (selection.isCollapsed && anchor) {
      this.#anchor = null;
      this.#focus = null;
      return;
    }
    // An end whose token was taken out of the page stays where it was.
    this.#anchor = anchor ?? this.#anchor ?? this.#edge(selection.anchorNode, selection.anchorOffset);
    this.#focus = focus ?? this.#focus ?? this.#edge(selection.focusNode, selection.focusOffset);
  };

  readonly #copied = (event: ClipboardEvent): void => {
    if (!this.range || !event.clipboardData) return;
    event.clipboardData.setData("text/plain", this.text);
    event.preventDefault();
  };

  /** A point within a token as a place; null where it lies in none. */
  #placeOf(node: Node | null, offset: number): Place | null {
    const inside = node instanceof Element ? node : node?.parentElement;
    const span = inside?.closest<HTMLElement>("[data-token]");
    if (!span || !node) return null;
    const unit = this.#store.unitOf[this.#store.depth[Number(span.dataset.node)]];
    const text = this.#store.unitString(unit);
    const range = document.createRange();
    range.setStart(span, 0);
    range.setEnd(node, offset);
    const passed = range.toString().length;
    // Where the token is drawn as something else than its text, it is marked as a whole.
    return { unit, offset: span.textContent === text ? passed : passed ? text.length : 0 };
  }

  /** A point between tokens as a place: the beginning of what follows it. */
  #edge(node: Node | null, offset: number): Place {
    const child = node?.childNodes[offset];
    const next = child instanceof Element ? (child.matches("[data-token]") ? child : child.firstElementChild) : null;
    if (next instanceof HTMLElement && next.dataset.node)
      return { unit: this.#store.unitOf[this.#store.depth[Number(next.dataset.node)]], offset: 0 };
    const [from, to] = this.#pane.drawn;
    return { unit: node === this.#text && offset === 0 ? from : to, offset: 0 };
  }

  /** Where a place is in the page, or at which end of what is there it lies. */
  #pointOf({ unit, offset }: Place): [Node, number] {
    const span = this.#pane.spanOf(unit);
    if (!span) return [this.#text, unit < this.#pane.drawn[0] ? 0 : this.#text.childNodes.length];
    return pointIn(span, offset);
  }
}

/** The text node of a token that holds a character of it, and where in the node that is. */
export function pointIn(span: HTMLElement, offset: number): [Node, number] {
  const walker = document.createTreeWalker(span, NodeFilter.SHOW_TEXT);
  let left = offset;
  for (let node = walker.nextNode() as Text | null; node; node = walker.nextNode() as Text | null) {
    if (left <= node.length) return [node, left];
    left -= node.length;
  }
  return [span, span.childNodes.length];
}
