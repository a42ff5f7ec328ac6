/** What the kernel is asked for attention: what is shown and not known, and nothing else. */

import type { AttentionRow, HeadMap, Heads } from "../../../answers/inside.js";
import type { Link } from "../../../link.js";
import type { Failure } from "../../../protocol.js";
import { fresh, type Told } from "../fresh.js";
import type { Chosen } from "./controls.js";
import type { Maps } from "./grid.js";
import type { Large } from "./map.js";
import { bytesOf, type Row, rowOf } from "./row.js";

/** Tokens of a text whose maps the kernel draws. */
const MAPPED = 1024;

/** What of it is shown. */
export interface Shown {
  row: boolean;
  /** One head whole, instead of all of them small. */
  enlarged: boolean;
}

export function asking(link: Link, chosen: Chosen, changed: () => void) {
  const { store } = link;
  const rows = fresh<AttentionRow>(link, changed);
  const heads = fresh<Heads>(link, changed);
  const large = fresh<HeadMap>(link, changed);
  const row = latest<AttentionRow, Row>(({ value, buffers }) => rowOf(value, buffers));
  const maps = latest<Heads, Maps>(({ value, buffers }) => ({ heads: value, bytes: bytesOf(buffers[0]) }));
  const map = latest<HeadMap, Large>(({ value, buffers }) => ({ map: value, bytes: bytesOf(buffers[0]) }));

  return {
    /** Asks, unless this was asked last. What is asked under interventions is something else. */
    look(model: string, shown: Shown): void {
      const { layer, head, over } = chosen;
      const newest = store.at(store.length - 1);
      const node = link.selection >= 0 ? link.selection : newest;
      // What a token could read is in the maps of the whole text too: another selection asks for no others.
      const tip = store.length <= MAPPED ? newest : node;
      const under = JSON.stringify([store.epoch, model, link.marks.edits]);
      // The maps first: a short text is read in all layers for them, and then a row costs one token more.
      if (!shown.enlarged || !heads.told) heads.look([under, tip, layer].join(), { kind: "heads", node: tip, layer });
      if (shown.enlarged) large.look([under, tip, layer, head].join(), { kind: "head_map", node: tip, layer, head });
      if (shown.row) rows.look([under, node, layer, head, over].join(), { kind: "attention", node, layer, head, over });
    },
    /** What was told last, of whatever it is; null where it was refused. */
    get row(): Row | null {
      return rows.failure ? null : row(rows.told);
    },
    get maps(): Maps | null {
      return heads.failure ? null : maps(heads.told);
    },
    /** The enlarged head; null while it is on its way. */
    get map(): Large | null {
      return large.busy || large.failure ? null : map(large.told);
    },
    /** Whether the row, and the maps, are of what is looked at now. */
    get busy() {
      return { row: rows.busy, maps: heads.busy, map: large.busy };
    },
    /** Lines of Python that do the same. */
    get code() {
      return { row: rows.told?.value.code ?? "", map: large.told?.value.code ?? "" };
    },
    failure: ({ enlarged }: Shown): Failure | null =>
      rows.failure ?? heads.failure ?? (enlarged ? large.failure : null),
    /** Lets what was refused be asked once more. */
    again(): void {
      for (const question of [rows, heads, large]) if (question.failure) question.forget();
    },
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
