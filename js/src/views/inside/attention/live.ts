/** Rows that come by themselves while tokens are generated, as long as somebody wants them. */

import type { AttentionRow, Over } from "../../../answers/inside.js";
import type { Link } from "../../../link.js";
import type { Failure } from "../../../protocol.js";

/** `ended` is called when the kernel has ended it. */
export function following(link: Link, ended: () => void) {
  let running: AbortController | null = null;
  let place = "";
  let row: AttentionRow | null = null;
  let failure: Failure | null = null;

  function begin(layer: number, head: number, over: Over): void {
    const own = new AbortController();
    const asking = {
      signal: own.signal,
      told: (part: AttentionRow): void => {
        if (own === running) row = part; // drawn with the tokens that come
      },
    };
    running = own;
    void link.ask<unknown, AttentionRow>({ kind: "follow", layer, head, over }, asking).then((answer) => {
      if (own !== running) return;
      [running, place, row] = [null, "", null];
      failure = answer.ok ? null : answer.error;
      ended();
    });
  }

  function end(): void {
    const last = running;
    [running, place, row] = [null, "", null];
    last?.abort();
  }

  return {
    /** The newest row; null before it came. */
    get row() {
      return row;
    },
    /** Why it ended. */
    get failure() {
      return failure;
    },
    get on() {
      return running !== null;
    },
    follow(layer: number, head: number, over: Over): void {
      const next = [layer, head, over].join();
      if (next === place) return;
      end();
      [place, failure] = [next, null];
      begin(layer, head, over);
    },
    end,
  };
}
