/** Looking ahead: asks what would follow the alternatives at the token that is looked at, once it is rested on. */

import type { Ahead, AheadPart, AheadToken } from "../../answers/roads.js";
import { h, setAttribute, setText } from "../../dom.js";
import type { Link } from "../../link.js";
import type { Failure } from "../../protocol.js";
import { button } from "../parts/button.js";
import { later } from "../parts/later.js";
import { pythonLine } from "../parts/python.js";
import { obstacle } from "../parts/words.js";

const REST_MS = 250;
/** Alternatives that are gone after, and tokens after each. */
const WAYS = 8;
const DEPTH = 12;
/** States in which the model has time for it. */
const IDLE: readonly string[] = ["ready", "paused", "error"];

/** Those in which it cannot have time for anything. */
const GONE: readonly string[] = ["closed", "empty"];

/** What is asked for, and what has come of it. */
interface Look {
  node: number;
  /** What it holds for: another token, path or session, and it is of no more use. */
  place: string;
  ends: AbortController;
  /** Tokens of each way, the alternative first. */
  ways: AheadToken[][];
  over: Promise<void>;
}

/**
 * `fits`: how many alternatives there is room for; `changed` is called when more is known, or nothing any more.
 */
export function lookingAhead(link: Link, fits: () => number, changed: () => void) {
  const toggle = button("look ahead", () => turn(), {
    class: "quiet",
    "aria-pressed": "false",
    "aria-keyshortcuts": "l",
    "data-action": "ahead",
    title: "What would follow each alternative, in italics beside it; a click on a word goes as far as there (l)",
  });
  const dice = button("with dice", () => throwDice(), {
    class: "quiet",
    "aria-pressed": "false",
    "data-action": "ahead-dice",
    title: "Go on with the run's dice and the present settings, not with the most likely token each time",
  });
  const complaint = h("p", { class: "ahead-error", role: "status", hidden: true });
  const python = pythonLine("ahead-code");
  const rested = later(ask, REST_MS);
  let on = false;
  let sampled = false;
  let look: Look | null = null;
  let wanted = ""; // the place that was asked for, or is rested on
  python.draw("");

  function say(failure: Failure | null): void {
    complaint.hidden = !failure;
    setText(complaint, failure ? `No look ahead: ${failure.message}` : "");
  }

  function forget(): void {
    rested.cancel();
    look?.ends.abort();
    look = null;
    wanted = "";
    say(null);
    python.draw("");
    setAttribute(toggle, "aria-busy", null);
  }

  function ask(node: number, place: string): void {
    const ends = new AbortController();
    const mine: Look = { node, place, ends, ways: [], over: Promise.resolve() };
    look = mine;
    setAttribute(toggle, "aria-busy", "true");
    const told = (part: AheadPart): void => {
      for (const { index, ...token } of part) {
        mine.ways[index] ??= [];
        mine.ways[index].push(token);
      }
      if (look === mine) changed();
    };
    const k = Math.max(1, Math.min(WAYS, fits()));
    const command = { kind: "lookahead", node, k, depth: DEPTH, sampled } as const;
    mine.over = link.ask<Ahead, AheadPart>(command, { told, signal: ends.signal }).then((answer) => {
      if (look !== mine) return;
      setAttribute(toggle, "aria-busy", null);
      if (answer.ok) {
        mine.ways = answer.value.ways.map(({ tokens }) => tokens);
        python.draw(answer.value.code);
      } else say(answer.error);
      changed();
    });
  }

  /** Where the look ahead would be taken; "" where there can be none. */
  function placeOf(node: number): string {
    if (!on || !link.reachable || !IDLE.includes(link.able)) return "";
    if (node < 0 || !(link.store.columns.rank[node] > 0)) return "";
    const settings = sampled ? JSON.stringify(link.settings) : ""; // which decide what comes
    return [link.store.epoch, link.store.head, node, settings].join();
  }

  function turn(): void {
    on = !on;
    setAttribute(toggle, "aria-pressed", String(on));
    if (!on) forget();
    changed();
  }

  function throwDice(): void {
    sampled = !sampled;
    setAttribute(dice, "aria-pressed", String(sampled));
    changed();
  }

  return {
    toggle,
    dice,
    complaint,
    python: python.element,
    get on(): boolean {
      return on;
    },
    /** Tokens of the way that begins with an alternative, as far as they are known. */
    wayOf(id: number): readonly AheadToken[] {
      return look?.ways.find((way) => way?.[0]?.id === id) ?? [];
    },
    /** Looks at a node, once it is rested on; what is known of another place is forgotten. */
    draw(node: number): void {
      toggle.hidden = link.recorded || !link.reachable;
      dice.hidden = toggle.hidden || !on;
      const place = placeOf(node);
      if (place !== wanted) {
        forget();
        wanted = place;
        if (place) rested(node, place);
      }
      const gone = on && GONE.includes(link.able);
      if (!place) say(gone ? { type: "No model", message: obstacle(link) } : null);
    },
    /** Goes the first `n` tokens of the way that begins with an alternative. */
    async take(id: number, n: number): Promise<void> {
      const taken = look;
      const index = taken?.ways.findIndex((way) => way?.[0]?.id === id) ?? -1;
      if (!taken || index < 0) return;
      taken.ends.abort(); // what is shown is enough
      await taken.over;
      if (look === taken) await link.order({ kind: "take", index, n });
    },
    close: forget,
  };
}
