/** What views that ask the model say in the same words. */
import type { Named } from "../../answers/text.js";
import { whole } from "../../draw/format.js";
import type { Link } from "../../link.js";
import type { Store } from "../../store.js";
import { label } from "../../text.js";

/** A text with everything visible, in quotation marks. */
export const quoted = (text: string): string => `‘${label([text])}’`;

/** A token by its text, everything visible; one without any by its number. */
export const nameOf = ({ id, text }: Named): string => label([text]) || `#${id}`;

/** The same of a token that the run has met. */
export const nameOfId = (store: Store, id: number): string => label(store.piece(id)) || `#${id}`;

/** The same of a node's token. */
export const pieceOf = (store: Store, node: number): string => nameOfId(store, store.columns.token_id[node]);

/** "token 23 ‘·dragon’" */
export const tokenWords = (store: Store, node: number): string =>
  `token ${whole(store.depth[node])} ‘${pieceOf(store, node)}’`;

/** Stands behind an answer about tokens that are not all on the path any more. */
export const STALE = "Another text is shown by now: ask again.";

/** Position of the token that is selected on the path; -1: none is. */
export function selected(link: Link): number {
  const node = link.selection;
  return node >= 0 && link.store.onPath(node) ? link.store.depth[node] : -1;
}

/** What keeps the kernel from being asked about the run, in words; "" where nothing does. */
export function unasked(link: Link): string {
  if (!link.reachable) return link.silence;
  if (link.able === "loading") return "The model is being loaded.";
  return link.store.length ? "" : "There is no run yet: press Run, and ask then.";
}

/** What keeps the model from being asked; "" where nothing does. */
export function obstacle(link: Link): string {
  const hindered = unasked(link);
  if (hindered) return hindered;
  if (link.able === "prefill" || link.able === "generating")
    return "The run goes on. Pause it, or wait for its end, to ask the model something else.";
  if (link.able === "closed" || link.able === "empty")
    return "This run is a recording, and its model is not loaded. Load it under Model to ask it something.";
  return "";
}
