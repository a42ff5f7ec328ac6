/** Switch heads off, make them louder, steer: what becomes of the text. */

import type { Heads, Tried } from "../../answers/inside.js";
import { h, setAttribute, setText, type View } from "../../dom.js";
import { nats } from "../../draw/format.js";
import type { Link } from "../../link.js";
import type { Edit } from "../../state.js";
import { button } from "../parts/button.js";
import { failureBox } from "../parts/failure.js";
import { pythonLine } from "../parts/python.js";
import { obstacle, selected, tokenWords } from "../parts/words.js";
import { fresh } from "./fresh.js";
import { pairedBars } from "./surgery/bars.js";
import { causal } from "./surgery/causal.js";
import { type Spot, same, toggled } from "./surgery/edits.js";
import { inForce } from "./surgery/force.js";
import { headGrid } from "./surgery/grid.js";
import { editList } from "./surgery/list.js";
import { pressing } from "./surgery/pressing.js";
import { steering } from "./surgery/steer.js";

const FIRST = "This is the first token: nothing predicted it. Select a later one to see what moves.";
const NOTHING =
  "Nothing is changed yet. Press a head: what the model would say here without it is tried at once, and recorded nowhere.";

export function surgery(link: Link): View {
  const { store } = link;
  const sizing = fresh<Heads>(link, draw);
  const trying = fresh<Tried>(link, draw);
  const note = h("p", { class: "note", role: "status" });
  const failure = failureBox();
  const again = button("Try again", retry, { "data-action": "surgery-again" });
  const force = inForce(link, () => edits);
  const press = pressing();
  const grid = headGrid((spot) => put(press.factor, spot));
  const hangs = causal(link, () => predicted(), draw);
  const list = editList((edit) => change(edits.filter((one) => one !== edit)));
  const clear = button("Take all away", () => change([]), { "data-action": "edits-clear" });
  const steer = steering((edit) => change([...edits, edit]));
  const where = h("h3");
  const moved = h("p", { class: "note", role: "status", "data-testid": "moved" });
  const bars = pairedBars(() => store.columns.token_id[node()]);
  const python = pythonLine("edits-code");
  const changes = h("div", { class: "surgery-changes" }, list.element, clear);
  const body = h(
    "div",
    { class: "surgery-body" },
    h("section", { "aria-label": "Heads" }, press.element, grid.element, hangs.element, hangs.said, steer.element),
    h("section", { "aria-label": "What moves" }, changes, force.actions, where, moved, bars.element, python.element),
  );
  const element = h("div", { class: "inside-surgery" }, note, force.element, failure.element, again, body);
  let edits: Edit[] = [];
  let held: readonly Edit[] = []; // in force, as last told

  /** The token that is looked at: the selected one, else the newest. */
  const node = (): number => store.at(selected(link) < 0 ? store.length - 1 : selected(link));
  const predicted = (): boolean => node() >= 0 && store.columns.rank[node()] > 0;

  function put(factor: number | null, spot: Spot): void {
    if (factor !== null) change(toggled(edits, spot, factor));
  }

  function change(next: Edit[]): void {
    edits = next;
    draw();
  }

  function retry(): void {
    sizing.forget();
    trying.forget();
    draw();
  }

  /** Takes over what is in force, where that has changed; what was left stays written down. */
  function follow(): void {
    const now = link.marks.edits;
    if (same(now, held)) return;
    held = now;
    if (now.length) edits = [...now];
  }

  function ask(): void {
    sizing.look(`${store.epoch}`, { kind: "heads", node: store.at(0), layer: 0 });
    if (!edits.length || !predicted()) return;
    trying.look(JSON.stringify([store.epoch, node(), edits]), { kind: "try_edits", node: node(), edits });
  }

  function draw(): void {
    follow();
    const hindered = obstacle(link);
    if (!hindered) ask();
    const size = sizing.told?.value ?? link.status.size; // the first layer may have no heads to count
    setText(note, hindered || (size || sizing.failure ? "" : "Counting the heads …"));
    note.hidden = !note.textContent;
    failure.show(hindered ? null : ((size ? null : sizing.failure) ?? (edits.length ? trying.failure : null)));
    again.hidden = failure.element.hidden;
    body.hidden = !size || !store.length;
    force.draw(edits, hindered === "");
    if (!size) return;
    const map = hangs.mapOf(node());
    grid.draw(size, edits, map, hindered === "");
    hangs.draw(map);
    steer.draw(size.n_layer, hindered === "");
    drawMoved();
  }

  function drawMoved(): void {
    list.draw(edits);
    clear.hidden = edits.length < 2;
    changes.hidden = !edits.length;
    where.hidden = node() < 0;
    setText(where, node() < 0 ? "" : `At ${tokenWords(store, node())}`);
    const told = edits.length && predicted() && trying.told?.value.node === node() ? trying.told.value : null;
    setText(moved, told ? movedWords(told) : predicted() ? (edits.length ? "" : NOTHING) : FIRST);
    bars.element.hidden = !told;
    setAttribute(bars.element, "aria-busy", String(trying.busy));
    python.draw(told?.code ?? "");
    if (told) bars.draw(told);
  }

  return { element, draw };
}

/** How far it moved, and whether the most likely token is another one. */
function movedWords({ tokens, kl }: Tried): string {
  const best = (of: "before" | "after") => tokens.reduce((a, b) => (b[of] > a[of] ? b : a));
  const other = tokens.length > 0 && best("before") !== best("after");
  return `Outline: as it is; filled: under the edits. KL ${nats(kl)} nats${other ? ", and another token is the most likely" : ""}.`;
}
