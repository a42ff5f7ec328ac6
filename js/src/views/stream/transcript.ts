/** The whole text as one string, for finding and copying; what is new is added to it. */
import type { Store } from "../../store.js";

/** Places where a search has hits: where each begins, in characters of the text. */
export interface Hits {
  starts: number[];
  length: number;
}

const NONE: Hits = { starts: [], length: 0 };

/** In small letters, each of them in the place of the large one. */
function small(text: string): string {
  const lower = text.toLowerCase();
  if (lower.length === text.length) return lower;
  return Array.from(text, (char) => {
    const one = char.toLowerCase();
    return one.length === char.length ? one : char;
  }).join("");
}

export class Transcript {
  text = "";
  readonly #store: Store;
  /** Where each unit begins in the text. */
  #starts = new Int32Array(256);
  /** Units that were read. */
  units = 0;
  #small: string | null = null;
  readonly #stop: () => void;

  constructor(store: Store) {
    this.#store = store;
    this.#stop = store.onUnits((unit) => this.#truncate(unit));
  }

  close(): void {
    this.#stop();
  }

  /** Reads the units that are new. */
  update(): void {
    const { units } = this.#store;
    if (units === this.units) return;
    if (this.#starts.length <= units) {
      const larger = new Int32Array(Math.max(2 * this.#starts.length, units + 1));
      larger.set(this.#starts);
      this.#starts = larger;
    }
    const fresh: string[] = [];
    let at = this.text.length;
    for (let unit = this.units; unit < units; unit++) {
      const text = this.#store.unitString(unit);
      this.#starts[unit] = at;
      at += text.length;
      fresh.push(text);
    }
    const added = fresh.join("");
    this.text += added;
    if (this.#small !== null) this.#small += small(added);
    this.units = units;
  }

  /** Where a unit begins; behind the last one, where the text ends. */
  startOf(unit: number): number {
    return unit < this.units ? this.#starts[unit] : this.text.length;
  }

  /** The unit that holds a character. */
  unitAt(place: number): number {
    let low = 0;
    let high = this.units - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle] <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  find(query: string, exact: boolean): Hits {
    if (!query) return NONE;
    const wanted = exact ? query : small(query);
    if (!exact) this.#small ??= small(this.text);
    const text = exact ? this.text : (this.#small as string);
    const starts: number[] = [];
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) starts.push(at);
    return { starts, length: wanted.length };
  }

  #truncate(unit: number): void {
    if (unit >= this.units) return;
    this.text = this.text.slice(0, this.#starts[unit]);
    this.#small = this.#small?.slice(0, this.text.length) ?? null;
    this.units = unit;
  }
}
