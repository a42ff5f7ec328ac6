/** A trace as it is kept in a saved notebook or in a page of its own: the kernel's frames, each behind its length, deflated. */
import { decode, type Frame } from "./wire.js";

/** What a trace may take when it is inflated: that of a million tokens with all their alternatives. */
const MOST_BYTES = 256 << 20;

export async function unpack(snapshot: ArrayBufferView, most = MOST_BYTES): Promise<Frame[]> {
  const packed = new Uint8Array(snapshot.buffer as ArrayBuffer, snapshot.byteOffset, snapshot.byteLength);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = new DataView(await inflated(stream, most));
  const frames: Frame[] = [];
  for (let at = 0; at < data.byteLength; ) {
    const left = data.byteLength - at - 4;
    const size = left < 0 ? 0 : data.getUint32(at, true);
    if (left < size) throw new RangeError("it was cut short");
    frames.push(decode(new DataView(data.buffer, at + 4, size)));
    at += 4 + size;
  }
  return frames;
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
