/** The text in the colours of a row, for as long as that is shown. */
import type { Link } from "../../../link.js";
import type { Overlay } from "../../../overlay.js";
import { overlayOf, type Row } from "./row.js";

export function tint(link: Link) {
  let own: Overlay | null = null;
  let shown: { row: Row; skip: boolean } | null = null;
  return {
    show(row: Row, skip: boolean): void {
      if (row === shown?.row && skip === shown.skip && link.overlay) return;
      shown = { row, skip };
      link.overlay = own = overlayOf(row, skip);
    },
    /** Gives the text back to the metric. The colours of another view of the same run are not its own. */
    clear(): void {
      if (own && link.overlay === own) link.overlay = null;
      own = shown = null;
    },
  };
}
