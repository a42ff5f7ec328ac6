/** Rows -> bytes: what the kernel does, written once more for tests and the preview. */
import { COLUMNS, HEADER, VERSION } from "../src/protocol.js";
import { ARRAYS } from "../src/wire.js";

export interface Row {
  parent: number;
  token_id: number;
  kind?: number;
  logprob?: number;
  entropy?: number;
  rank?: number;
  sampled_prob?: number;
  kept?: number;
  draw?: number;
  ms?: number;
  tail?: number;
  left_out?: number;
  top_ids?: number[];
  top_logprobs?: number[];
  top_kept?: number;
}

export interface Message {
  version?: number;
  seq?: number;
  epoch?: number;
  start?: number;
  k?: number;
  head?: number;
  rows?: Row[];
  pieces?: Iterable<readonly [number, Uint8Array | string]>;
  /** Ids of pieces that are control tokens. */
  control?: readonly number[];
}

const BLANK: Required<Omit<Row, "parent" | "token_id">> = {
  kind: 1,
  logprob: Number.NaN,
  entropy: Number.NaN,
  rank: 0,
  sampled_prob: Number.NaN,
  kept: 0,
  draw: Number.NaN,
  ms: 0,
  tail: Number.NaN,
  left_out: 0,
  top_ids: [],
  top_logprobs: [],
  top_kept: 0,
};

export function encode(message: Message): DataView {
  const { rows = [], k = 0, start = 0 } = message;
  const pieces = [...(message.pieces ?? [])].map(
    ([id, piece]) => [id, typeof piece === "string" ? new TextEncoder().encode(piece) : piece] as const,
  );
  const header: Record<string, number> = {
    version: message.version ?? VERSION,
    seq: message.seq ?? 1,
    epoch: message.epoch ?? 1,
    start,
    rows: rows.length,
    k,
    head: message.head ?? start + rows.length - 1,
    pieces: pieces.length,
  };
  const chunks: Uint8Array[] = [];
  const push = (dtype: keyof typeof ARRAYS, values: number[]): void => {
    chunks.push(new Uint8Array(new ARRAYS[dtype](values).buffer));
  };
  for (const [name, dtype] of HEADER) push(dtype, [header[name]]);
  for (const [name, dtype, width] of COLUMNS) {
    const values = rows.flatMap((row) => {
      const value = { ...BLANK, ...row }[name];
      if (width !== "k") return value as number;
      const fill = name === "top_ids" ? -1 : Number.NaN;
      return Array.from({ length: k }, (_, i) => (value as number[])[i] ?? fill);
    });
    push(dtype, values);
  }
  for (const [id, bytes] of pieces) {
    push("int32", [message.control?.includes(id) ? -1 - id : id]);
    chunks.push(new Uint8Array([bytes.length & 255, bytes.length >> 8]), bytes);
  }
  // The frame does not start where its buffer does: a reader has to honour byteOffset.
  const offset = 3;
  const size = chunks.reduce((sum, { length }) => sum + length, 0);
  const buffer = new Uint8Array(offset + size + 5);
  let at = offset;
  for (const chunk of chunks) {
    buffer.set(chunk, at);
    at += chunk.length;
  }
  return new DataView(buffer.buffer, offset, size);
}
