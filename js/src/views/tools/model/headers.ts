/** What files say of themselves, asked for once and a few at a time. */

import type { Header } from "../../../answers/files.js";
import { count } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import type { Failure } from "../../../protocol.js";
import type { ModelCard } from "../../../state.js";

/** Headers read at once, the last asked for first: a disk does not get faster by being asked more. */
const AT_ONCE = 3;

export type Known = Header | Failure;
type File = { path: string; bytes: number };

export interface Headers {
  known(file: File): Known | undefined;
  ask(file: File): Promise<Known>;
}

export function headers(link: Link): Headers {
  const found = new Map<string, Known>();
  const asked = new Map<string, Promise<Known>>();
  const waiting: (() => void)[] = [];
  let busy = 0;
  const key = ({ path, bytes }: File): string => `${bytes} ${path}`; // a file that has grown is another one

  async function read(file: File): Promise<Known> {
    if (busy >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
    busy++;
    const answer = await link.ask<Header>({ kind: "inspect", path: file.path });
    busy--;
    waiting.pop()?.();
    const known = answer.ok ? answer.value : answer.error;
    found.set(key(file), known);
    return known;
  }

  return {
    known: (file) => found.get(key(file)),
    ask(file) {
      const name = key(file);
      const answer = asked.get(name) ?? read(file);
      asked.set(name, answer);
      return answer;
    },
  };
}

export const failed = (known: Known): known is Failure => "message" in known;

/** Architecture, size and quantisation in one line. */
export const cardFacts = ({ architecture, parameters, quantisation }: ModelCard): string =>
  [architecture, parameters ? count(parameters) : "", quantisation].filter(Boolean).join(" · ");

export const headerFacts = (known: Known): string => (failed(known) ? "not usable" : cardFacts(known));
