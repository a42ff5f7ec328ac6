/** One stage of the sampler: its rule, the bars before and after, what it removed and what it moved, and why. */

import type { XrayDraw, XrayStage } from "../../../answers/xray.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { percent } from "../../../draw/format.js";
import { label } from "../../../text.js";
import { barRow, type Line } from "./bars.js";
import { type Column, isQuiet } from "./columns.js";
import { drawBar } from "./dice.js";
import { parameterWords, removedWords, sizes, titleOf } from "./words.js";

/** What all stages are drawn with. */
export interface Table {
  columns: readonly Column[];
  scale: number;
  /** The token that came, and the one that these settings take. */
  came: number;
  would: number;
}

export function stageRow() {
  const order = h("span", { class: "order", title: "Place in the chain" });
  const [name, rule, count] = [h("b"), h("span", { class: "xray-rule" }), h("span", { class: "xray-count" })];
  const head = h("div", { class: "xray-head", role: "rowheader" }, order, name, rule, count);
  const bars = barRow();
  const facts = h("span", { class: "xray-facts" });
  const removed = disclosure();
  const moved = disclosure();
  const below = h("div", { class: "xray-below", role: "cell" }, facts, removed.element, moved.element);
  const element = h("div", { class: "xray-stage", role: "row" }, head, bars.element, below);
  let dice: ReturnType<typeof drawBar> | null = null;

  function throwDice(draw: XrayDraw): void {
    dice ??= drawBar();
    if (!dice.element.isConnected) below.before(dice.element);
    dice.draw(draw);
  }

  return {
    element,
    draw(stage: XrayStage, place: number, line: Line, table: Table): void {
      const quiet = isQuiet(stage);
      element.classList.toggle("quiet-stage", quiet);
      setAttribute(element, "data-stage", stage.name);
      order.hidden = place === 0;
      setText(order, String(place));
      setText(name, titleOf(stage));
      setText(rule, stage.rule);
      setAttribute(rule, "title", stage.rule);
      setText(count, stage.draw ? "" : quiet ? removedWords(stage) : sizes(stage));
      bars.element.hidden = quiet || stage.draw !== null;
      if (!bars.element.hidden) bars.draw(line, table.columns, table.scale, table.came, table.would);
      if (stage.draw) throwDice(stage.draw);
      const plain = stage.removed.tokens.length || stage.removed.size === 0 ? [] : [removedWords(stage)];
      setText(facts, quiet ? "" : [...parameterWords(stage), ...plain].join(" · "));
      setAttribute(facts, "title", facts.textContent || null);
      removed.draw(stage.name === "grammar", removedSummary(stage), removedRows(stage));
      moved.draw(false, movedSummary(stage), movedRows(stage));
    },
  };
}

/** A line that opens to a list. It stays as a person left it. */
function disclosure() {
  const summary = h("summary");
  const list = h("ul", { class: "xray-list", tabindex: 0 });
  const element = h("details", { class: "xray-more" }, summary, list);
  let touched = false;
  let drawn = "";
  summary.addEventListener("click", () => {
    touched = true;
  });
  return {
    element,
    /** `open`: unless somebody closed it. */
    draw(open: boolean, line: string, rows: readonly string[][]): void {
      element.hidden = !rows.length;
      const now = JSON.stringify([line, rows]);
      if (now === drawn) return;
      drawn = now;
      if (!touched) element.open = open;
      setText(summary, line);
      list.replaceChildren(
        ...rows.map(([piece, numbers, reason]) =>
          h("li", {}, h("code", {}, piece), h("span", { class: "numbers" }, numbers), h("span", {}, reason)),
        ),
      );
    },
  };
}

/** In a line: what was done, and to which. */
function summaryOf(words: string, tokens: readonly { text: string }[]): string {
  return `${words}: ${tokens.map(({ text }) => label([text])).join("  ")}`;
}

const removedSummary = (stage: XrayStage): string => summaryOf(removedWords(stage), stage.removed.tokens);

function removedRows({ removed }: XrayStage): string[][] {
  const rows = removed.tokens.map(({ text, probability, reason = "" }) => [
    label([text]),
    percent(probability),
    reason,
  ]);
  const others = removed.size === null ? 0 : removed.size - rows.length;
  if (rows.length && others > 0) rows.push(["", percent(removed.rest), `and ${others} less likely ones`]);
  return rows;
}

function movedSummary({ changed }: XrayStage): string {
  return summaryOf(`moved ${changed.length} ${changed.length === 1 ? "logit" : "logits"}`, changed);
}

function movedRows({ changed }: XrayStage): string[][] {
  return changed.map(({ text, before, after, reason }) => [
    label([text]),
    `${logit(before)} → ${logit(after)}`,
    reason,
  ]);
}

const logit = (value: number | null): string => (value === null ? "−∞" : value.toFixed(2).replace("-", "−"));
