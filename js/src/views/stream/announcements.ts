/** What a screen reader is told of a text that grows: the newest of it, now and then. */
import { h } from "../../dom.js";
import type { Link } from "../../link.js";
import { KINDS } from "../../protocol.js";

/** Milliseconds between two announcements. */
const EVERY_MS = 3_000;
/** Units that one holds at most. */
const MOST = 60;

export function announcements(link: Link) {
  const { store } = link;
  const element = h("div", { class: "hidden", "aria-live": "polite" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let told = 0; // units
  let toldAt = 0;

  /** The text of a unit, without bytes that are none; "" of what was not generated. */
  function textOf(unit: number): string {
    const prompt = KINDS[store.columns.kind[store.path[store.unitStart[unit]]]] === "prompt";
    if (prompt || store.isControl(unit)) return "";
    const parts = store.unitText(unit);
    return parts.filter((part) => typeof part === "string").join("");
  }

  function draw(): void {
    const now = performance.now();
    if (told > store.units) told = 0;
    if (told === store.units || link.status.state === "prefill") return;
    const wait = toldAt + EVERY_MS - now;
    if (wait > 0) {
      timer ??= setTimeout(() => {
        timer = undefined;
        draw(); // a run that ended meanwhile draws nothing more
      }, wait);
      return;
    }
    const from = Math.max(told, store.units - MOST);
    element.textContent = Array.from({ length: store.units - from }, (_, i) => textOf(from + i)).join("");
    [told, toldAt] = [store.units, now];
  }

  return { element, draw, close: () => clearTimeout(timer) };
}
