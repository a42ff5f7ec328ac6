/** A trace as it is kept in a saved notebook or in a page of its own: the kernel's frames, each behind its length, deflated. */
import { decode, type Frame } from "./wire.js";

export async function unpack(snapshot: ArrayBufferView): Promise<Frame[]> {
  const packed = new Uint8Array(snapshot.buffer as ArrayBuffer, snapshot.byteOffset, snapshot.byteLength);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = new DataView(await new Response(stream).arrayBuffer());
  const frames: Frame[] = [];
  for (let at = 0; at < data.byteLength; ) {
    const size = data.getUint32(at, true);
    frames.push(decode(new DataView(data.buffer, at + 4, size))); // throws where the data was cut short
    at += 4 + size;
  }
  return frames;
}
