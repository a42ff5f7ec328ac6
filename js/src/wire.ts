/** Bytes -> rows. The layout is that of protocol.json; numbers are little-endian, as is every machine that runs a browser. */
import { COLUMNS, type Columns, HEADER, VERSION } from "./protocol.js";
import { decodeWatched, type WatchedRows } from "./watched.js";

/** One numbered message of the kernel: `rows` nodes from index `start` on, and the bytes of tokens not sent before. */
export interface Frame {
  seq: number;
  epoch: number;
  start: number;
  rows: number;
  /** Alternatives per row: `top_ids` and `top_logprobs` hold rows * k elements. */
  k: number;
  /** The tip of the path that is shown; -1 where there is none. */
  head: number;
  columns: Columns;
  pieces: Map<number, Uint8Array>;
  /** Those of them that are control tokens, and no part of the text. */
  control: Set<number>;
  /** Absent where nothing is watched. */
  watched?: WatchedRows;
}

/** Names of what is watched, and the values that came beside a frame: float32 [names, rows]. */
export type Beside = [names: readonly string[], values: DataView];

export const ARRAYS = {
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  uint8: Uint8Array,
} as const;

const HEADER_BYTES = 4 * HEADER.length;
const bytesOf = (wide: boolean): number =>
  COLUMNS.reduce((sum, [, dtype, width]) => sum + ((width === "k") === wide ? ARRAYS[dtype].BYTES_PER_ELEMENT : 0), 0);
const ROW_BYTES = bytesOf(false);
const ALTERNATIVE_BYTES = bytesOf(true);
/** `top_kept` has a bit for each. */
const MOST_ALTERNATIVES = 32;

export function decode(message: ArrayBuffer | ArrayBufferView, beside?: Beside): Frame {
  const view =
    message instanceof ArrayBuffer
      ? new DataView(message)
      : new DataView(message.buffer, message.byteOffset, message.byteLength);
  // A copy of one's own starts at an address that every typed array may have, and keeps no larger buffer alive.
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer;
  const data = new DataView(bytes);

  const size = (rows: number, k: number): number => HEADER_BYTES + rows * (ROW_BYTES + k * ALTERNATIVE_BYTES);
  if (bytes.byteLength < HEADER_BYTES) throw new RangeError(`a frame of ${bytes.byteLength} bytes was cut short`);
  const header: Record<string, number> = {};
  HEADER.forEach(([name, dtype], i) => {
    header[name] = dtype === "int32" ? data.getInt32(4 * i, true) : data.getUint32(4 * i, true);
  });
  if (header.version !== VERSION)
    throw new RangeError(`this page reads version ${VERSION} of the wire, the kernel sent version ${header.version}`);

  const { seq, epoch, start, rows, k, head } = header as unknown as Frame;
  if (k > MOST_ALTERNATIVES)
    throw new RangeError(`a frame has ${k} alternatives a row; ${MOST_ALTERNATIVES} is the most`);
  if (size(rows, k) > bytes.byteLength)
    throw new RangeError(`a frame of ${bytes.byteLength} bytes was cut short: ${rows} rows take ${size(rows, k)}`);

  let at = HEADER_BYTES;
  const columns: Record<string, ArrayBufferView> = {};
  for (const [name, dtype, width] of COLUMNS) {
    const n = rows * (width === "k" ? k : width);
    columns[name] = new ARRAYS[dtype](bytes, at, n);
    at += n * ARRAYS[dtype].BYTES_PER_ELEMENT;
  }

  const pieces = new Map<number, Uint8Array>();
  const control = new Set<number>();
  let left = header.pieces;
  for (; left && at + 6 <= bytes.byteLength; left--) {
    const n = data.getUint16(at + 4, true);
    const sent = data.getInt32(at, true);
    const id = sent < 0 ? -1 - sent : sent; // so a control token is told
    if (sent < 0) control.add(id);
    pieces.set(id, new Uint8Array(bytes.slice(at + 6, at + 6 + n))); // a view keeps the frame
    at += 6 + n;
  }
  if (left) throw new RangeError(`a frame of ${bytes.byteLength} bytes was cut short: ${left} pieces are missing`);
  if (at !== bytes.byteLength)
    throw new RangeError(`a frame of ${bytes.byteLength} bytes should have been ${at} bytes long`);
  const watched = beside && { watched: decodeWatched(beside[0], rows, beside[1]) };
  return { seq, epoch, start, rows, k, head, columns: columns as unknown as Columns, pieces, control, ...watched };
}
