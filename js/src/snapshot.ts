/** A trace as it is kept in a saved notebook or in a page of its own: the kernel's frames, each behind its length, deflated. */
import { decodeWatched, type WatchedRows } from "./watched.js";
import { decode, type Frame } from "./wire.js";

/** What a trace may take when it is inflated: that of a million tokens with all their alternatives. */
const MOST_BYTES = 256 << 20;
/** In a length: what follows are watched values of the frame before. */
const WATCHED = 2 ** 31;
const LINE_BREAK = 10;

export async function unpack(snapshot: ArrayBufferView, most = MOST_BYTES): Promise<Frame[]> {
  const packed = new Uint8Array(snapshot.buffer as ArrayBuffer, snapshot.byteOffset, snapshot.byteLength);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = new DataView(await inflated(stream, most));
  const frames: Frame[] = [];
  for (let at = 0; at < data.byteLength; ) {
    const left = data.byteLength - at - 4;
    const length = left < 0 ? 0 : data.getUint32(at, true);
    const size = length % WATCHED;
    if (left < size) throw new RangeError("it was cut short");
    const part = new DataView(data.buffer, at + 4, size);
    if (length < WATCHED) frames.push(decode(part));
    else frames[frames.length - 1].watched = watchedOf(part, frames[frames.length - 1].rows);
    at += 4 + size;
  }
  return frames;
}

/** Names in JSON, a line break, and the values of each. */
function watchedOf(part: DataView, rows: number): WatchedRows {
  const bytes = new Uint8Array(part.buffer as ArrayBuffer, part.byteOffset, part.byteLength);
  const end = bytes.indexOf(LINE_BREAK);
  const names: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  if (!Array.isArray(names) || names.some((name) => typeof name !== "string"))
    throw new TypeError("what is watched has no names");
  const values = new DataView(part.buffer, part.byteOffset + end + 1, part.byteLength - end - 1);
  return decodeWatched(names as string[], rows, values);
}

/** All bytes of a stream; what promises to be without end is refused. */
async function inflated(stream: ReadableStream<Uint8Array>, most: number): Promise<ArrayBuffer> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    size += value.byteLength;
    parts.push(value as Uint8Array<ArrayBuffer>);
    if (size <= most) continue;
    void reader.cancel();
    throw new RangeError(`it would take more than ${most >> 20} MiB`);
  }
}
