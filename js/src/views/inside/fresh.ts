/** Asks by itself when what is looked at has changed: one question at a time, and of those that wait only the newest. */
import type { Link } from "../../link.js";
import type { Failure } from "../../protocol.js";
import type { Command } from "../../requests.js";
import { newest } from "../parts/newest.js";

interface Asked {
  key: string;
  command: Command;
}

/** What came of a question; `key` says which. */
export interface Told<T> {
  key: string;
  value: T;
  buffers: readonly DataView[];
}

export function fresh<T>(link: Link, changed: () => void) {
  let asked = "";
  let busy = false;
  let told: Told<T> | null = null;
  let failure: Failure | null = null;

  const ask = newest(async ({ key, command }: Asked): Promise<void> => {
    const answer = await link.ask<T>(command);
    if (key !== asked) return; // nobody looks there any more
    busy = false;
    failure = answer.ok ? null : answer.error;
    if (answer.ok) told = { key, value: answer.value, buffers: answer.buffers };
    changed();
  });

  return {
    /** Asks, unless this was asked last. */
    look(key: string, command: Command): void {
      if (key === asked) return;
      asked = key;
      busy = true;
      void ask({ key, command });
    },
    /** Lets the same be asked once more. */
    forget(): void {
      asked = "";
      failure = null;
    },
    get busy() {
      return busy;
    },
    /** The last answer, of whatever it is. */
    get told() {
      return told;
    },
    get failure() {
      return failure;
    },
  };
}
