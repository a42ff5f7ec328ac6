/** What is asked for an X-ray: the token as it was chosen, and what other settings would make of it. */

import type { Xray } from "../../../answers/xray.js";
import type { Link } from "../../../link.js";
import { type Failure, KINDS } from "../../../protocol.js";
import type { Settings } from "../../../state.js";
import { newest } from "../../parts/newest.js";
import { SAMPLING, same } from "../../parts/sampling.js";
import type { Holder } from "../../parts/setting.js";

interface Asked {
  node: number;
  place: string;
  /** Those that are to be others; null: none are. */
  settings: Partial<Settings> | null;
}

/** `changed` is called when something else is known. */
export function explaining(link: Link, changed: () => void) {
  const { store } = link;
  let node = -1;
  let place = ""; // what `base` is asked for
  let base: Xray | null = null;
  let tried: Xray | null = null;
  let last: Xray | null = null; // what was shown before
  let failure: Failure | null = null;
  let waiting = false;
  let draft: Partial<Settings> = {};

  const ask = newest<Asked>(async (asked) => {
    const { node: of, settings } = asked;
    const answer = await link.ask<Xray>({ kind: "explain", node: of, settings });
    if (asked.place !== place) return;
    waiting = false;
    failure = answer.ok ? null : answer.error;
    if (answer.ok && settings === null) {
      base = answer.value;
      prune();
      if (Object.keys(draft).length) again();
    } else if (answer.ok && Object.keys(draft).length) tried = answer.value;
    changed();
  });

  function again(): void {
    if (!base) return;
    waiting = true;
    void ask({ node, place, settings: draft });
  }

  /** What is as it was is not tried. */
  function prune(): void {
    const was = base?.settings;
    if (!was) return; // it has not been answered yet, and prunes when it is
    draft = Object.fromEntries(
      Object.entries(draft).filter(([name, value]) => !same(was[name as keyof Settings], value)),
    );
    if (!Object.keys(draft).length) tried = null;
  }

  /** What the token was, or would be, chosen with. A prompt's tokens were chosen by nobody: there the settings of now hold. */
  function placeOf(of: number): string {
    const chosen = KINDS[store.columns.kind[of]] === "generated";
    return JSON.stringify([store.epoch, of, chosen ? null : link.settings]);
  }

  const holder: Holder = {
    get settings() {
      return { ...base?.settings, ...draft };
    },
    get reachable() {
      return link.reachable && base !== null;
    },
    async command({ name, value }) {
      draft = { ...draft, [name]: value };
      prune();
      if (Object.keys(draft).length) again();
      else failure = null;
      changed();
      return null;
    },
  };

  return {
    holder,
    get node(): number {
      return node;
    },
    get base(): Xray | null {
      return base;
    },
    /** With the settings that are tried; null where none are, or nobody knows yet. */
    get tried(): Xray | null {
      return tried;
    },
    /** What is shown: what is known last, while something else is waited for. */
    get xray(): Xray | null {
      return tried ?? base ?? last;
    },
    get failure(): Failure | null {
      return failure;
    },
    /** Whether what is shown is that of another token, or of other settings than are tried. */
    get waiting(): boolean {
      return waiting;
    },
    get draft(): Partial<Settings> {
      return draft;
    },
    look(of: number): void {
      const next = placeOf(of);
      if (next === place) return;
      [node, place] = [of, next];
      last = tried ?? base ?? last;
      base = tried = failure = null;
      waiting = true;
      void ask({ node, place, settings: null });
    },
    back(): void {
      draft = {};
      tried = failure = null;
      waiting = base === null;
      changed();
    },
    /** Sets what is shown in the Sampler; says what was refused. The dice are the run's own, unless others were tried. */
    async use(): Promise<boolean> {
      const wanted: Partial<Settings> = { ...base?.settings, ...draft };
      const names = SAMPLING.filter((name) => wanted[name] !== undefined && (name !== "seed" || "seed" in draft));
      for (const name of names.filter((one) => !same(link.settings[one], wanted[one]))) {
        failure = await link.command({ kind: "set", name, value: wanted[name] });
        if (failure) break;
      }
      changed();
      return failure === null;
    },
  };
}
