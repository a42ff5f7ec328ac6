/** What each stage of the sampler did at the token. */

import type { Xray, XrayStage } from "../../answers/xray.js";
import { h, setAttribute, setText, type View } from "../../dom.js";
import type { Link } from "../../link.js";
import { KINDS } from "../../protocol.js";
import { failureBox } from "../parts/failure.js";
import { pythonLine } from "../parts/python.js";
import { obstacle, tokenWords } from "../parts/words.js";
import { columnHeads, type Line } from "./xray/bars.js";
import { type Cell, cellOf, columnsOf, othersOf, RAW, scaleOf } from "./xray/columns.js";
import { explaining } from "./xray/question.js";
import { sliders } from "./xray/sliders.js";
import { stageRow, type Table } from "./xray/stage.js";
import { sourceWords, verdict } from "./xray/words.js";

const FIRST = "This is the first token: nothing predicted it, and no sampler chose it.";

export function xray(link: Link): View {
  const { store } = link;
  const asking = explaining(link, draw);
  const token = h("b");
  const said = h("span", { class: "xray-verdict", role: "status", "data-testid": "xray-verdict" });
  const source = h("p", { class: "note" });
  const python = pythonLine("xray-code");
  const note = h("p", { class: "note" });
  const failure = failureBox();
  const heads = columnHeads();
  const stages = h("div", { class: "xray-stages", role: "table", "aria-label": "Stages of the sampler" });
  const rows = new Map<string, ReturnType<typeof stageRow>>();
  const panel = sliders(asking.holder, {
    back: () => asking.back(),
    use: () => void asking.use(),
    sameDice: () => void throwAgain(),
  });
  const main = h(
    "div",
    { class: "xray-main" },
    h("p", { class: "xray-title" }, token, " ", said),
    source,
    python.element,
    failure.element,
    stages,
  );
  const body = h("div", { class: "xray-body" }, panel.element, main);
  const element = h("div", { class: "explore-xray" }, note, body);

  async function throwAgain(): Promise<void> {
    const { node } = asking;
    if (await asking.use()) await link.order({ kind: "same_dice", node });
  }

  /** The row of a stage; the same one as before, so that its bars move and what is open stays open. */
  function rowOf(name: string) {
    const row = rows.get(name) ?? stageRow();
    rows.set(name, row);
    return row;
  }

  function drawStages(shown: Xray): void {
    const came = store.columns.token_id[shown.node];
    const last = shown.stages.at(-1);
    const columns = columnsOf(shown, { id: came, text: textOf(link, shown.node) });
    const table: Table = { columns, scale: scaleOf(shown.stages, columns), came, would: last?.draw?.token.id ?? -1 };
    heads.draw(columns, came, table.would);
    const chain = [rawStage(shown), ...shown.stages];
    const elements = chain.map((stage, i) => {
      const row = rowOf(stage.name);
      row.draw(stage, i, lineOf(stage, table, shown.stages.slice(0, Math.max(0, i - 1))), table);
      return row.element;
    });
    const wanted = [heads.element, ...elements];
    const same = wanted.length === stages.children.length && wanted.every((one, i) => one === stages.children[i]);
    if (!same) stages.replaceChildren(...wanted);
  }

  function draw(): void {
    const node = link.selection >= 0 ? link.selection : store.at(store.length - 1);
    const held = hindrance(link);
    const predicted = node >= 0 && store.columns.rank[node] > 0;
    if (!held && predicted) asking.look(node);
    setText(note, held || (predicted ? "" : FIRST));
    note.hidden = !note.textContent;
    const { xray: shown, base, tried } = asking;
    body.hidden = (!held && !predicted) || (!shown && !asking.failure);
    if (body.hidden) return;
    panel.draw(base?.settings ?? {}, Object.keys(asking.draft).length, obstacle(link) === "");
    failure.show(asking.failure);
    stages.hidden = !shown;
    setAttribute(main, "aria-busy", String(asking.waiting || held !== ""));
    setText(token, shown ? tokenWords(store, shown.node) : "");
    setText(source, shown ? sourceWords(shown) : "");
    python.draw(shown?.code ?? "");
    if (shown) drawStages(shown);
    if (!base) return;
    const { token_id, kind } = store.columns;
    const text = textOf(link, base.node);
    setText(said, verdict(base, tried, { id: token_id[base.node], text, kind: KINDS[kind[base.node]] }));
    said.classList.toggle(
      "another",
      tried?.stages.at(-1)?.draw?.token.id !== base.stages.at(-1)?.draw?.token.id && tried !== null,
    );
  }

  return { element, restful: true, draw };
}

/** What keeps a token from being looked through, in words. The record of one is there while others come, and without a model. */
function hindrance(link: Link): string {
  if (!link.reachable || !link.store.length) return obstacle(link);
  const streaming = link.status.state === "prefill" || link.status.state === "generating";
  return streaming && link.selection < 0 ? "The run goes on. Select a token to look into it, or wait for the end." : "";
}

/** What the model said before the sampler began, as if it were a stage. */
function rawStage({ stages: [{ before }] }: Xray): XrayStage {
  const nothing = { tokens: [], size: 0, rest: 0, error: 0 };
  return {
    name: RAW,
    rule: "what it would say, over the whole vocabulary",
    parameters: {},
    numbers: {},
    before,
    after: before,
    removed: nothing,
    changed: [],
    draw: null,
  };
}

function lineOf(stage: XrayStage, { columns }: Table, earlier: readonly XrayStage[]): Line {
  const [before, after] = [othersOf(stage.before, columns), othersOf(stage.after, columns)];
  const others: Cell = { fate: before > 0 || after > 0 ? "kept" : "gone", before, after, reason: "" };
  return { cells: columns.map(({ id }) => cellOf(stage, id, earlier)), others };
}

/** A token's own text; bytes of unfinished characters are left to its number. */
function textOf({ store }: Link, node: number): string {
  const parts = store.piece(store.columns.token_id[node]);
  return parts.every((part) => typeof part === "string") ? parts.join("") : "";
}
