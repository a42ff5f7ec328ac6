/** The probability of what is watched, by node. Pure: no model, no page, no clock. */

/** What came with a frame: for each name the values of the frame's rows, NaN where nobody knows. */
export type WatchedRows = ReadonlyMap<string, Float32Array>;

const NONE = new Float32Array(0);

/** float32 [names, rows] of the wire -> the rows of each name. */
export function decodeWatched(names: readonly string[], rows: number, message: DataView): WatchedRows {
  if (message.byteLength !== 4 * names.length * rows)
    throw new RangeError(
      `${names.length} watches of ${rows} rows are ${4 * names.length * rows} bytes, not ${message.byteLength}`,
    );
  // A copy starts at an address that every typed array may have.
  const { buffer, byteOffset, byteLength } = message;
  const values = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
  return new Map(names.map((name, i) => [name, values.subarray(i * rows, (i + 1) * rows)]));
}

export class Watched {
  readonly #columns = new Map<string, Float32Array>();

  /** Values by node, NaN where none is known; it may be shorter or longer than the trace. */
  of(name: string): Float32Array {
    return this.#columns.get(name) ?? NONE;
  }

  /** Takes the rows from node `start` on. Those that came before may come again: a watch of past steps. */
  take(start: number, rows: WatchedRows): void {
    for (const [name, values] of rows) {
      let column = this.of(name);
      const end = start + values.length;
      if (end > column.length) {
        const larger = new Float32Array(Math.max(end, 2 * column.length, 256)).fill(Number.NaN);
        larger.set(column);
        column = larger;
        this.#columns.set(name, column);
      }
      column.set(values, start);
    }
  }

  clear(): void {
    this.#columns.clear();
  }
}
