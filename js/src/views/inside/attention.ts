/** Which tokens it read: by layer and head. */

import type { AttentionRow } from "../../answers/inside.js";
import { h, setAttribute, setText, type View } from "../../dom.js";
import { themeOf } from "../../draw/theme.js";
import type { Link } from "../../link.js";
import { button } from "../parts/button.js";
import { failureBox } from "../parts/failure.js";
import { pythonLine } from "../parts/python.js";
import { obstacle } from "../parts/words.js";
import { asking } from "./attention/asking.js";
import { type Chosen, controls } from "./attention/controls.js";
import { headGrid } from "./attention/grid.js";
import { following } from "./attention/live.js";
import { headMap } from "./attention/map.js";
import { readList } from "./attention/read.js";
import { type Row, rowOf } from "./attention/row.js";
import { tint } from "./attention/tint.js";

const LIVE_HELD = "A token is selected: Escape in the text lets it go, and the newest is followed.";
const WAITING = "The model is being asked.";

export function attention(link: Link): View {
  const { store } = link;
  const chosen: Chosen = { layer: 0, head: 0, over: "mean", colour: true, skip: true, live: false };
  const asked = asking(link, chosen, () => draw());
  const live = following(link, () => {
    chosen.live = false;
    draw();
  });
  const text = tint(link);
  const panel = controls(chosen, () => {
    if (!chosen.live) live.end();
    draw();
  });
  const read = readList(link);
  const grid = headGrid(enlarge);
  const map = headMap(link, back);
  const note = h("p", { class: "note", role: "status", "data-testid": "attention-note" });
  const failure = failureBox();
  const again = button("Ask again", askAgain, { "data-action": "attention-again" });
  const maps = h("div", { class: "attention-maps" }, grid.element, map.element);
  const body = h("div", { class: "attention-body" }, read.element, maps);
  const python = pythonLine("attention-code");
  const above = [panel.element, panel.help, note, failure.element, again];
  const element = h("div", { class: "inside-attention" }, ...above, body, python.element);

  let model = ""; // whose layers are counted
  let enlarged = false;
  let liveRow: { told: AttentionRow; row: Row } | null = null;
  let outrun: Row | null = null; // the run has left it behind: its colours would tell of the past

  function enlarge(head: number): void {
    Object.assign(chosen, { over: "one", head });
    enlarged = true;
    draw();
    map.focus();
  }

  function back(): void {
    enlarged = false;
    draw();
    grid.focus(chosen.head);
  }

  function askAgain(): void {
    asked.again();
    draw();
  }

  /** Another model has other layers. */
  function takeModel(): void {
    const { model: card } = link.status;
    const name = card ? `${card.name} ${card.architecture} ${card.parameters}` : model;
    if (model && name !== model) {
      Object.assign(chosen, { layer: 0, head: 0 });
      enlarged = false;
    }
    model = name;
  }

  /** The row that is shown: the newest token's while it is followed, else what was asked for; null: none of this path. */
  function takeRow(): Row | null {
    const followed = live.row && link.selection < 0 ? live.row : null;
    if (followed && followed !== liveRow?.told && store.onPath(followed.node))
      liveRow = { told: followed, row: rowOf(followed) }; // else its token is still on the way
    const row = followed ? (liveRow?.row ?? null) : asked.row;
    return row && store.onPath(row.node) ? row : null;
  }

  const streaming = (): boolean => link.status.state === "generating" || link.status.state === "prefill";

  function tintText(row: Row | null): void {
    if (streaming() && !live.row && link.selection < 0) outrun = row;
    if (row && chosen.colour && row !== outrun) text.show(row, chosen.skip);
    else text.clear();
  }

  function noteWords(held: string): string {
    if (live.on) return link.selection >= 0 ? LIVE_HELD : "";
    const { busy } = asked;
    return held || (busy.row || busy.maps || (enlarged && busy.map) ? WAITING : "");
  }

  function draw(): void {
    takeModel();
    const held = obstacle(link);
    if (chosen.live && link.reachable) live.follow(chosen.layer, chosen.head, chosen.over);
    const shown = { row: !live.on || link.selection >= 0, enlarged };
    if (!held) asked.look(model, shown);
    const row = takeRow();
    tintText(row);
    const { n_layer = 0, n_head = 0 } = asked.maps?.heads ?? link.status.size ?? {}; // a layer may have no heads
    panel.draw(n_layer, n_head, !held || live.on, link.reachable && (!held || streaming()));
    setText(note, noteWords(held));
    const refused = held ? null : asked.failure(shown);
    failure.show(live.failure ?? refused);
    again.hidden = !refused;
    read.element.hidden = !row;
    if (row) read.draw(row, chosen.skip);
    setAttribute(read.element, "aria-busy", String(asked.busy.row && !live.on));
    drawMaps();
    body.hidden = !row && maps.hidden;
    python.draw(enlarged ? asked.code.map : asked.code.row);
  }

  function drawMaps(): void {
    const all = asked.maps;
    maps.hidden = !all;
    grid.element.hidden = enlarged;
    map.element.hidden = !enlarged;
    if (!all) return;
    const { layer, head, over, skip } = chosen;
    const look = { theme: themeOf(document), palette: link.look.palette, skip };
    if (enlarged) map.draw(asked.map, `Head ${head} of layer ${layer}`, look);
    else grid.draw(all, over === "one" ? head : -1, look);
    setAttribute(grid.element, "aria-busy", String(asked.busy.maps));
  }

  return {
    element,
    draw,
    leave() {
      chosen.live = false;
      live.end();
      text.clear();
    },
    close: map.close,
  };
}
