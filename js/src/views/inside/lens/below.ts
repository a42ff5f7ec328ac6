/** Below the table: where the selected column's answer is decided, and who added to the logit of the token. */

import type { Attributed } from "../../../answers/inside.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { plot } from "../../../draw/plot.js";
import type { Link } from "../../../link.js";
import { choice } from "../../parts/choice.js";
import { failureBox } from "../../parts/failure.js";
import { fresh } from "../fresh.js";
import { picture, readingOf, type Scale, verdict } from "./line.js";
import { shareBars } from "./shares.js";
import type { Table } from "./table.js";

const HEIGHT = 240;
const NOTHING =
  "Nothing has come behind this token yet, so there is no logit to take apart. Select a token that has come.";
const SCALES: Record<Scale, { title: string; help: string }> = {
  probability: { title: "probability", help: "How likely the token would be" },
  rank: { title: "rank", help: "The token's place among all; ten times the rank is as far everywhere" },
};

/** `show`: a row of the table is to be looked at. */
export function below(link: Link, show: (row: number) => void) {
  const { store } = link;
  const adding = fresh<Attributed>(link, drawShares);
  const said = h("p", { class: "said", role: "status", "data-testid": "lens-said" });
  const scales = choice("lens-scale", "Scale", SCALES, drawLines);
  const shares = shareBars();
  const failure = failureBox();
  const note = h("p", { class: "note" });
  let of = -1;
  let at: { table: Table; column: number } | null = null;
  const lines = plot({
    name: "lens-plot",
    label: "The answer over the layers. Arrow keys read, Enter shows the layer in the table.",
    height: HEIGHT,
    read: (stop) => (at ? readingOf(store, at.table, at.column, scales.value, stop) : { title: "", rows: [] }),
    choose: show,
  });
  const title = h("div", { class: "line" }, h("h3", {}, "Where is it decided?"), scales.element);
  const added = h(
    "section",
    { class: "lens-added", "aria-label": "Attribution" },
    note,
    failure.element,
    shares.element,
  );
  const decided = h("section", { class: "lens-decided", "aria-label": "Decision" }, title, said, lines.element);

  function drawLines(): void {
    if (!at) return;
    setText(said, verdict(store, at.table, at.column));
    lines.draw(picture(store, at.table, at.column, scales.value));
  }

  function drawShares(): void {
    const { told, busy } = adding;
    failure.show(of < 0 ? null : adding.failure);
    setText(note, of < 0 ? NOTHING : "");
    note.hidden = of >= 0;
    shares.element.hidden = of < 0 || !told;
    setAttribute(shares.element, "aria-busy", String(busy));
    if (told && of >= 0) shares.draw(told.value);
  }

  return {
    element: h("div", { class: "lens-below" }, decided, added),
    /** `node`: the token whose logit is taken apart, -1: none has come; `state`: what its answer depends on. */
    draw(table: Table, column: number, node: number, state: string, able: boolean): void {
      at = { table, column };
      of = node;
      if (able && node >= 0) adding.look(`${state} ${node}`, { kind: "attribution", node });
      drawLines();
      drawShares();
    },
    forget: adding.forget,
    close: lines.close,
  };
}
