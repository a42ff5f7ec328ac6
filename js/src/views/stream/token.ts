/** One unit of the text as an element: its colour is a class, so that palette and theme touch no token. */

import { h } from "../../dom.js";
import { endOf, stepOf, unitValue } from "../../draw/colour.js";
import type { Link } from "../../link.js";
import { KINDS } from "../../protocol.js";
import type { Metric } from "../../state.js";
import { type Run, runs } from "../../text.js";

/** How control tokens are usually written. */
const CONTROL = /^<(\/?s|\|.+\|)>$/;
/** What is said of a token that is nothing but these. */
const NAMES: Partial<Record<Run["kind"], string>> = { space: "space", tab: "tab", newline: "line break" };
const GLYPHS: Partial<Record<Run["kind"], string>> = { space: "g sp", tab: "g tab", newline: "g nl", chip: "chip" };

export class Painter {
  readonly #link: Link;
  readonly #blank: HTMLElement;
  /** What the classes depend on: the metric and its scale, and the tokens that the model no longer sees. */
  #metric: Metric = "surprisal";
  #end = 0;
  #unseen: readonly [from: number, to: number] = [0, 0];

  constructor(link: Link) {
    this.#link = link;
    this.#blank = h("span", { role: "option", "data-token": true });
    this.refresh();
  }

  /** Takes over what the classes depend on. Whether any of it has changed. */
  refresh(): boolean {
    const { store, status } = this.#link;
    const { metric } = this.#link.look;
    const end = endOf(store, metric);
    const tip = store.at(store.length - 1);
    const left = tip < 0 ? 0 : store.columns.left_out[tip];
    const unseen = [status.keep, status.keep + left] as const;
    const gone = left > 0 || this.#unseen[1] > this.#unseen[0];
    const same = metric === this.#metric && end === this.#end && !(gone && unseen.join() !== this.#unseen.join());
    [this.#metric, this.#end, this.#unseen] = [metric, end, unseen];
    return !same;
  }

  /** What a unit's classes say: who chose it, how it scores, and whether the model still sees it. */
  classOf(unit: number): string {
    const { store } = this.#link;
    const [from, to] = store.unitSpan(unit);
    const name = KINDS[store.columns.kind[store.path[from]]];
    const step = name === "prompt" ? "" : ` s${stepOf(this.#metric, unitValue(store, unit, this.#metric), this.#end)}`;
    const joint = to - from > 1 ? " joint" : "";
    const [gone, back] = this.#unseen;
    return `t ${name}${step}${joint}${from >= gone && from < back ? " unseen" : ""}`;
  }

  /** Gives a drawn unit the classes of the day. */
  repaint(unit: number, span: HTMLElement): void {
    const name = this.classOf(unit) + (span.classList.contains("lead") ? " lead" : "");
    const selected = span.classList.contains("selected") ? " selected" : "";
    if (span.className !== name + selected) span.className = name + selected;
  }

  /** `hang`: the unit begins a line within a paragraph, so that its space belongs to the end of the line above. */
  draw(unit: number, hang: boolean): HTMLElement {
    const { store } = this.#link;
    const node = store.path[store.unitStart[unit]];
    const span = this.#blank.cloneNode() as HTMLElement;
    const text = store.plainText(unit);
    const name = this.classOf(unit);
    span.setAttribute("data-node", String(node));
    // Most tokens are a word and a space before it, which the token itself draws.
    if (text !== null && !hang && /^ ?[!-~]+$/.test(text) && !CONTROL.test(text)) {
      span.className = text.startsWith(" ") ? `${name} lead` : name;
      span.append(text);
      return span;
    }
    span.className = name;
    this.#write(span, unit, hang);
    return span;
  }

  #write(span: HTMLElement, unit: number, hang: boolean): void {
    const { store } = this.#link;
    const pieces = runs(store.unitText(unit));
    const only = pieces.length === 1 && CONTROL.test(pieces[0].text);
    if (only) pieces[0].kind = "chip";
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
