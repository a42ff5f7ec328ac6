/** The keyboard in the text: arrows move the selection, Backspace goes back, E edits, Ctrl+F finds, Ctrl+A marks all. */

import type { Link } from "../../link.js";
import type { Card } from "./card.js";
import { lastBox } from "./lines.js";
import type { Pane } from "./pane.js";

interface Reader {
  link: Link;
  pane: Pane;
  facts: Card;
  find: () => void;
  markAll: () => void;
  back: () => void;
  edit: () => void;
}

export interface Keys {
  /** For keys pressed in the text itself. */
  pressed: (event: KeyboardEvent) => void;
  /** For keys pressed anywhere in the panel. */
  opened: (event: KeyboardEvent) => void;
  /** Whether the selection was moved by a key since this was asked. */
  moved: () => boolean;
}

export function keys({ link, pane, facts, find, markAll, back, edit }: Reader): Keys {
  const { store } = link;
  let byKey = false;

  /** Position one line up or down from the selected token, as near below or above it as there is. */
  function lineFrom(position: number, direction: 1 | -1): number {
    const box = (at: number): DOMRect | undefined => lastBox(pane.spanOf(store.unitOf[at]));
    pane.reveal(store.unitOf[position]); // so that the lines around it are drawn
    const here = box(position);
    if (!here) return position;
    const centre = (here.left + here.right) / 2;
    let best = position;
    let distance = Number.POSITIVE_INFINITY;
    let line: number | null = null;
    for (let at = position + direction; at >= 0 && at < store.length; at += direction) {
      const there = box(at);
      if (!there) break; // not drawn: the text ends here for now
      if (Math.abs(there.top - here.top) < here.height / 2) continue;
      line ??= there.top;
      if (Math.abs(there.top - line) > here.height / 2) break;
      const off = Math.abs((there.left + there.right) / 2 - centre);
      if (off < distance) [best, distance] = [at, off];
    }
    return best;
  }

  const MOVES: Record<string, (position: number) => number> = {
    ArrowLeft: (position) => Math.max(0, position - 1),
    ArrowRight: (position) => Math.min(store.length - 1, position + 1),
    ArrowUp: (position) => lineFrom(position, -1),
    ArrowDown: (position) => lineFrom(position, 1),
    Home: () => 0,
    End: () => store.length - 1,
  };

  const ACTS: Record<string, () => void> = { Backspace: back, e: edit, E: edit };

  /** Whether the key meant something here. */
  function acts(key: string): boolean {
    const node = link.selection;
    if (key === "Escape") {
      const pointed = facts.hide();
      if (!pointed && node >= 0) link.select(-1);
      return pointed || node >= 0;
    }
    if (ACTS[key]) {
      ACTS[key]();
      return true;
    }
    if (!MOVES[key]) return false;
    const last = store.length - 1;
    // The first arrow takes the newest token; from there they move.
    const position = node < 0 ? (key === "Home" ? 0 : last) : MOVES[key](store.depth[node]);
    byKey = true;
    link.select(store.at(position));
    return true;
  }

  function taken(event: KeyboardEvent): void {
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    pressed(event) {
      if (!store.length || event.altKey) return;
      const command = event.ctrlKey || event.metaKey;
      if (command && event.key.toLowerCase() === "a") markAll();
      else if (command || !acts(event.key)) return;
      taken(event);
    },
    opened(event) {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "f" || event.altKey || !store.length) return;
      find();
      taken(event);
    },
    moved() {
      const moved = byKey;
      byKey = false;
      return moved;
    },
  };
}
