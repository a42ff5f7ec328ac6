/** Which tokens it read: by layer and head. */

import { h, setText, type View } from "../../dom.js";
import { themeOf } from "../../draw/theme.js";
import type { Link } from "../../link.js";
import type { AttentionRow, HeadMap, Heads } from "../../state.js";
import { button } from "../parts/button.js";
import { failureBox } from "../parts/failure.js";
import { pythonLine } from "../parts/python.js";
import { obstacle } from "../parts/words.js";
import { type Chosen, controls } from "./attention/controls.js";
import { headGrid, type Maps } from "./attention/grid.js";
import { following } from "./attention/live.js";
import { headMap, type Large } from "./attention/map.js";
import { readList } from "./attention/read.js";
import { bytesOf, overlayOf, type Row, rowOf } from "./attention/row.js";
import { fresh, type Told } from "./fresh.js";

/** Tokens of a text whose maps the kernel draws. */
const MAPPED = 1024;
const LIVE_HELD = "A token is selected: Escape in the text lets it go, and the newest is followed.";
const WAITING = "The model is being asked.";

export function attention(link: Link): View {
  const { store } = link;
  const chosen: Chosen = { layer: 0, head: 0, over: "mean", colour: true, skip: true, live: false };
  const rows = fresh<AttentionRow>(link, () => draw());
  const heads = fresh<Heads>(link, () => draw());
  const large = fresh<HeadMap>(link, () => draw());
  const live = following(link, () => {
    chosen.live = false;
    draw();
  });
  let model = ""; // whose layers are counted
  let enlarged = false;

  const panel = controls(chosen, () => {
    if (!chosen.live) live.end();
    draw();
  });
  const read = readList(link);
  const grid = headGrid(enlarge);
  const map = headMap(link, back);
  const note = h("p", { class: "note", role: "status", "data-testid": "attention-note" });
  const failure = failureBox();
  const maps = h("div", { class: "attention-maps" }, grid.element, map.element);
  const again = button("Ask again", askAgain, { "data-action": "attention-again" });
  const body = h("div", { class: "attention-body" }, read.element, maps);
  const python = pythonLine("attention-code");
  const element = h(
    "div",
    { class: "inside-attention" },
    panel.element,
    panel.help,
    note,
    failure.element,
    again,
    body,
    python.element,
  );

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
    for (const question of [rows, heads, large]) if (question.failure) question.forget();
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

  /** Asks for what is shown and not known; what is asked under interventions is something else. */
  function look(): void {
    const { layer, head, over } = chosen;
    const node = link.selection >= 0 ? link.selection : store.at(store.length - 1);
    // What a token could read is in the maps of the whole text too: another selection asks for no others.
    const tip = store.length <= MAPPED ? store.at(store.length - 1) : node;
    const under = JSON.stringify([store.epoch, model, link.marks.edits]);
    if (!live.on || link.selection >= 0)
      rows.look([under, node, layer, head, over].join(), { kind: "attention", node, layer, head, over });
    if (enlarged) large.look([under, tip, layer, head].join(), { kind: "head_map", node: tip, layer, head });
    if (!enlarged || !heads.told) heads.look([under, tip, layer].join(), { kind: "heads", node: tip, layer });
  }

  const shownRow = latest<AttentionRow, Row>((told) => rowOf(told.value, told.buffers));
  const shownMaps = latest<Heads, Maps>(({ value, buffers }) => ({ heads: value, bytes: bytesOf(buffers[0]) }));
  const shownLarge = latest<HeadMap, Large>(({ value, buffers }) => ({ map: value, bytes: bytesOf(buffers[0]) }));
  let liveRow: AttentionRow | null = null;
  let row: Row | null = null;

  /** The row that is shown: the newest token's while it is followed, else what was asked for. */
  function takeRow(): Row | null {
    if (live.row && link.selection < 0) {
      if (live.row !== liveRow && store.onPath(live.row.node)) {
        liveRow = live.row; // else its token is still on the way
        row = rowOf(live.row);
      }
      return row;
    }
    return rows.failure ? null : shownRow(rows.told);
  }

  /** The run has left the row behind that is shown: its colours would tell of the past. */
  let outrun: Row | null = null;
  const unread = (): boolean =>
    (link.status.state === "generating" || link.status.state === "prefill") && !live.row && link.selection < 0;

  let overlaid: { row: Row; skip: boolean } | null = null;

  /** Colours the text by a row; by the metric where there is none. */
  function colour(by: Row | null): void {
    if (!by) link.overlay = overlaid = null;
    else if (by !== overlaid?.row || chosen.skip !== overlaid.skip || !link.overlay) {
      overlaid = { row: by, skip: chosen.skip };
      link.overlay = overlayOf(by, chosen.skip);
    }
  }

  function noteWords(held: string): string {
    if (live.on) return link.selection >= 0 ? LIVE_HELD : "";
    if (held) return held;
    return rows.busy || heads.busy || (enlarged && large.busy) ? WAITING : "";
  }

  function draw(): void {
    takeModel();
    const held = obstacle(link);
    if (chosen.live && link.reachable) live.follow(chosen.layer, chosen.head, chosen.over);
    if (!held) look();
    const known = takeRow();
    const current = known && store.onPath(known.node) ? known : null;
    const theme = themeOf(document);
    const { palette } = link.look;
    const all = shownMaps(heads.told);
    if (unread()) outrun = current;
    colour(chosen.colour && current !== outrun ? current : null);
    panel.draw(all?.heads.n_layer ?? 0, all?.heads.n_head ?? 0, !held || live.on);
    setText(note, noteWords(held));
    drawFailure(held);
    read.element.hidden = !current;
    if (current) read.draw(current, chosen.skip);
    read.element.setAttribute("aria-busy", String(rows.busy && !live.on));
    drawMaps(all, theme, palette);
    body.hidden = !current && maps.hidden;
    python.draw((enlarged ? large.told?.value.code : (live.row ?? rows.told?.value)?.code) ?? "");
  }

  function drawFailure(held: string): void {
    const refused = held ? null : (rows.failure ?? heads.failure ?? (enlarged ? large.failure : null));
    failure.show(live.failure ?? refused);
    again.hidden = refused === null;
  }

  function drawMaps(all: Maps | null, theme: ReturnType<typeof themeOf>, palette: Link["look"]["palette"]): void {
    maps.hidden = !all || heads.failure !== null;
    grid.element.hidden = enlarged;
    map.element.hidden = !enlarged;
    if (!all || maps.hidden) return;
    const { layer, head, over } = chosen;
    if (!enlarged) grid.draw(all, over === "one" ? head : -1, theme, palette, chosen.skip);
    else
      map.draw(
        large.busy ? null : shownLarge(large.told),
        `Head ${head} of layer ${layer}`,
        theme,
        palette,
        chosen.skip,
      );
    grid.element.setAttribute("aria-busy", String(heads.busy));
  }

  return {
    element,
    draw,
    leave() {
      chosen.live = false;
      live.end();
      colour(null);
    },
    close: map.close,
  };
}

/** What an answer says, read once for each answer. */
function latest<T, R>(read: (told: Told<T>) => R): (told: Told<T> | null) => R | null {
  let last: Told<T> | null = null;
  let result: R | null = null;
  return (told) => {
    if (told !== last) result = told && read(told);
    last = told;
    return result;
  };
}
