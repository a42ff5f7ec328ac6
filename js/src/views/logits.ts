/** The distribution behind one token, as a list one can click: the road not taken. */

import { h, setText, type View } from "../dom.js";
import type { Link } from "../link.js";
import type { Alternative, Distribution } from "../store.js";
import { lookingAhead } from "./logits/ahead.js";
import { tokenHead } from "./logits/head.js";
import { alternativeRow, type Row, restRow } from "./logits/row.js";
import { button } from "./parts/button.js";
import { nameOfId } from "./parts/words.js";

/** States in which a fork can be asked for. */
const FORKABLE = ["generating", "paused", "ready", "error"];
const BEFORE_FIRST = "This is the first token: there was nothing before it to predict it from.";
const EMPTY =
  "What the model thought of saying appears here, most likely first. Click a word it did not say, and it goes on from there.";

export function logits(link: Link): View {
  const { store } = link;
  const latest = button("latest", () => link.select(-1), {
    class: "quiet",
    "data-action": "latest",
    title: "Let the token go and watch the newest (Escape)",
  });
  const ahead = lookingAhead(link, rowsThatFit, drawGhosts);
  const head = tokenHead(link, [ahead.dice, ahead.toggle, latest]);
  const list = h("div", { class: "logits-list", role: "group", "aria-label": "Alternatives", "data-testid": "logits" });
  const rest = restRow();
  const note = h("p", { class: "logits-note" });
  const element = h(
    "section",
    { class: "logits", "aria-label": "Distribution" },
    head.element,
    ahead.complaint,
    list,
    note,
    ahead.python,
  );
  const rows: Row[] = [];
  const ends = new AbortController();
  let listed: Alternative[] = [];
  let shown = -1;
  let listening = false;

  list.addEventListener("click", (event) => {
    const chosen = (event.target as Element).closest<HTMLButtonElement>("button[data-token-id]");
    if (!chosen || chosen.getAttribute("aria-disabled") === "true") return;
    void link.order({ kind: "fork", node: shown, token_id: Number(chosen.dataset.tokenId) });
  });

  for (const event of ["pointerover", "focusin"])
    list.addEventListener(event, ({ target }) => {
      rows.find(({ button }) => button.contains(target as Node))?.describe();
    });

  list.addEventListener("keydown", (event) => {
    const at = rows.findIndex(({ element }) => element.contains(event.target as Node));
    if (at < 0) return;
    if (event.key === "ArrowRight") {
      if (!rows[at].ghost.enter()) return;
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const next = rows[at + (event.key === "ArrowDown" ? 1 : -1)]?.button;
      if (!next || next.hidden) return;
      next.focus();
    } else return;
    event.preventDefault();
  });

  /** The key works in the whole widget, where nobody writes. */
  function listen(): void {
    const root = element.closest<HTMLElement>(".inferno-widget");
    if (listening || !root) return;
    listening = true;
    const pressed = (event: KeyboardEvent): void => {
      const command = event.ctrlKey || event.metaKey || event.altKey;
      if (event.key !== "l" || command || event.defaultPrevented || ahead.toggle.hidden) return;
      if ((event.target as Element).closest("input, textarea, select, [contenteditable]")) return;
      ahead.toggle.click();
      event.preventDefault();
    };
    root.addEventListener("keydown", pressed, { signal: ends.signal });
  }

  /** Alternatives that can be seen without scrolling; all where the page has no layout. */
  function rowsThatFit(): number {
    const some = rows.filter(({ button }) => !button.hidden);
    const end = list.getBoundingClientRect().bottom;
    return some.filter(({ button }) => button.getBoundingClientRect().bottom <= end).length;
  }

  function makeRow(): void {
    const row: Row = alternativeRow((n) => void ahead.take(Number(row.button.dataset.tokenId), n));
    rows.push(row);
    rest.element.before(row.element);
  }

  function drawRows(node: number, streaming: boolean): void {
    const { alternatives, rest: mass } = most(store.distribution(node), link.look.top_k);
    listed = alternatives;
    while (rows.length < alternatives.length) makeRow();
    const scale = Math.max(mass, ...alternatives.map(({ probability }) => probability));
    const forkable = link.reachable && FORKABLE.includes(link.able);
    rows.forEach((row, i) => {
      const one = alternatives[i];
      const name = one && nameOfId(store, one.id);
      row.draw(one ? { ...one, name, share: one.probability / scale, forkable } : null, streaming);
    });
    rest.draw(mass, scale);
  }

  function drawGhosts(): void {
    ahead.draw(shown);
    element.classList.toggle("ahead", ahead.on);
    rows.forEach(({ ghost }, i) => {
      ghost.draw(listed[i] ? ahead.wayOf(listed[i].id) : []);
    });
  }

  list.append(rest.element);

  return {
    element,
    restful: true,
    draw(streaming) {
      listen();
      const chosen = link.selection;
      const node = chosen >= 0 ? chosen : store.at(store.length - 1);
      const predicted = node >= 0 && store.columns.rank[node] > 0;
      shown = node;
      latest.hidden = chosen < 0;
      list.hidden = !predicted;
      note.hidden = predicted;
      head.draw(node);
      if (predicted) drawRows(node, streaming);
      else {
        listed = [];
        setText(note, node >= 0 ? BEFORE_FIRST : EMPTY);
      }
      drawGhosts();
    },
    close() {
      ends.abort();
      ahead.close();
    },
  };
}

/** As many alternatives as a person wants to see, and the token that came; the others are part of the rest. */
function most({ alternatives, rest }: Distribution, top_k: number): Distribution {
  const isListed = ({ rank, chosen }: Alternative): boolean => rank <= top_k || chosen;
  const others = alternatives.filter((alternative) => !isListed(alternative));
  return {
    alternatives: alternatives.filter(isListed),
    rest: others.reduce((sum, { probability }) => sum + probability, rest),
  };
}
