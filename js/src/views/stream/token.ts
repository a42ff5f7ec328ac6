/** One unit of the text as an element: its colour is a class, so that palette and theme touch no token. */

import { namesOf } from "../../branches.js";
import { h, setAttribute } from "../../dom.js";
import { endOf, stepOf, unitValue } from "../../draw/colour.js";
import type { Link } from "../../link.js";
import { type Overlay, overlaid } from "../../overlay.js";
import { KINDS } from "../../protocol.js";
import type { Metric } from "../../state.js";
import { type Run, runs } from "../../text.js";
import { treeOf } from "../../tree.js";

/** How control tokens are usually written; some files call them words like others. */
const CONTROL = /^<(\/?s|\|.+\|)>$/;
/** What is said of a token that is nothing but these. */
const NAMES: Partial<Record<Run["kind"], string>> = { space: "space", tab: "tab", newline: "line break" };
const DIVERGED = "With the same dice, another token came here";
const GLYPHS: Partial<Record<Run["kind"], string>> = { space: "g sp", tab: "g tab", newline: "g nl", chip: "chip" };

export class Painter {
  readonly #link: Link;
  readonly #blank: HTMLElement;
  /** What the classes depend on: the metric and its scale, and the tokens that the model no longer sees. */
  #metric: Metric = "surprisal";
  #end = 0;
  #unseen: readonly [from: number, to: number] = [0, 0];
  #overlay: Overlay | null = null;
  /**
   * What is noted at tokens: where dice fell elsewhere, where what was written under interventions begins, and where the
   * branch that is shown begins, by its name.
   */
  #diverged: ReadonlySet<number> = new Set();
  #altered: ReadonlyMap<number, string> = new Map();
  #named = { node: -1, name: "" };
  #notes = "";

  constructor(link: Link) {
    this.#link = link;
    this.#blank = h("span", { role: "option", "data-token": true });
    this.refresh();
  }

  /** Takes over what the classes depend on. Whether any of it has changed. */
  refresh(): boolean {
    const { store, status, overlay } = this.#link;
    const { metric } = this.#link.look;
    const end = endOf(store, metric);
    const tip = store.at(store.length - 1);
    const left = tip < 0 ? 0 : store.columns.left_out[tip];
    const unseen = [status.keep, status.keep + left] as const;
    const gone = left > 0 || this.#unseen[1] > this.#unseen[0];
    const same = metric === this.#metric && end === this.#end && !(gone && unseen.join() !== this.#unseen.join());
    const covered = overlay !== this.#overlay;
    [this.#metric, this.#end, this.#unseen, this.#overlay] = [metric, end, unseen, overlay];
    return this.#takeNotes() || covered || !same;
  }

  #takeNotes(): boolean {
    const { store, marks } = this.#link;
    this.#named = this.#nameOf(store.at(store.length - 1));
    const notes = JSON.stringify([marks.diverged, marks.altered, this.#named]);
    if (notes === this.#notes) return false;
    this.#notes = notes;
    this.#diverged = new Set(marks.diverged);
    this.#altered = new Map(marks.altered.map(({ node, edits }) => [node, `Written under: ${edits}`]));
    return true;
  }

  /** The name of the branch that a path ends on, and its first token. */
  #nameOf(tip: number): { node: number; name: string } {
    const { store, marks } = this.#link;
    if (tip < 0 || !Object.keys(marks.names).length) return { node: -1, name: "" };
    const tree = treeOf(store);
    const lane = tree.lane(tip);
    return { node: lane.nodes[0], name: namesOf(tree, marks.names).get(lane.id) ?? "" };
  }

  /** Writes at a drawn unit what is noted at its tokens. */
  #note(unit: number, span: HTMLElement): void {
    const { store } = this.#link;
    const nodes = store.path.subarray(...store.unitSpan(unit));
    const diverged = nodes.some((node) => this.#diverged.has(node));
    const altered = nodes.reduce((said, node) => said || (this.#altered.get(node) ?? ""), "");
    span.classList.toggle("diverged", diverged);
    span.classList.toggle("altered", altered !== "");
    setAttribute(span, "title", [diverged && DIVERGED, altered].filter(Boolean).join("\n") || null);
    setAttribute(span, "data-branch", (nodes.includes(this.#named.node) && this.#named.name) || null);
  }

  get #noted(): boolean {
    return this.#diverged.size > 0 || this.#altered.size > 0 || this.#named.name !== "";
  }

  /** What a unit's classes say: who chose it, how it scores, and whether the model still sees it. */
  classOf(unit: number): string {
    const { store } = this.#link;
    const [from, to] = store.unitSpan(unit);
    const name = KINDS[store.columns.kind[store.path[from]]];
    const looks = this.#overlay ? overlaid(this.#overlay, from, to, name) : name + this.#stepOf(unit, name);
    const joint = to - from > 1 ? " joint" : "";
    const [gone, back] = this.#unseen;
    return `t ${looks}${joint}${from >= gone && from < back ? " unseen" : ""}`;
  }

  #stepOf(unit: number, kind: string): string {
    const value = kind === "prompt" ? null : unitValue(this.#link.store, unit, this.#metric);
    return value === null ? "" : ` s${stepOf(this.#metric, value, this.#end)}`;
  }

  /** Gives a drawn unit the classes of the day. */
  repaint(unit: number, span: HTMLElement): void {
    const name = this.classOf(unit) + (span.classList.contains("lead") ? " lead" : "");
    const selected = span.classList.contains("selected") ? " selected" : "";
    if (span.className !== name + selected) span.className = name + selected;
    this.#note(unit, span);
  }

  /** `hang`: the unit begins a line within a paragraph, so that its space belongs to the end of the line above. */
  draw(unit: number, hang: boolean): HTMLElement {
    const span = this.#draw(unit, hang);
    if (this.#noted) this.#note(unit, span);
    return span;
  }

  #draw(unit: number, hang: boolean): HTMLElement {
    const { store } = this.#link;
    const node = store.path[store.unitStart[unit]];
    const span = this.#blank.cloneNode() as HTMLElement;
    const text = store.plainText(unit);
    const name = this.classOf(unit);
    span.setAttribute("data-node", String(node));
    // Most tokens are a word and a space before it, which the token itself draws.
    if (text !== null && !hang && /^ ?[!-~]+$/.test(text) && !this.#special(unit, text)) {
      span.className = text.startsWith(" ") ? `${name} lead` : name;
      span.append(text);
      return span;
    }
    span.className = name;
    this.#write(span, unit, hang);
    return span;
  }

  #special(unit: number, text: string): boolean {
    return this.#link.store.isControl(unit) || CONTROL.test(text);
  }

  #write(span: HTMLElement, unit: number, hang: boolean): void {
    const { store } = this.#link;
    const pieces = runs(store.unitText(unit));
    if (pieces.length === 1 && this.#special(unit, pieces[0].text)) pieces[0].kind = "chip";
    if (!pieces.length)
      span.append(h("i", { class: "chip" }, `#${store.columns.token_id[store.path[store.unitStart[unit]]]}`));
    const names = pieces.map(({ kind }) => NAMES[kind]);
    if (names.length && !names.includes(undefined)) span.setAttribute("aria-label", names.join(", "));
    pieces.forEach((run, i) => {
      const glyph = GLYPHS[run.kind];
      if (run.kind === "space" && i === 0 && hang) span.append(h("i", { class: "hang" }, run.text));
      else if (run.kind === "space" && i === 0 && pieces[1]?.kind === "text") {
        span.classList.add("lead");
        span.append(run.text);
      } else if (!glyph) span.append(run.text);
      else if (run.kind === "newline") span.append(h("i", { class: glyph }), "\n");
      else span.append(h("i", { class: glyph }, run.text));
    });
  }
}
