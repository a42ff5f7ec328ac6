/** The shape that each message and each answer of the kernel has, held against it where it arrives. */

import * as files from "./answers/files.js";
import * as inside from "./answers/inside.js";
import { ahead, aheadPart, committed, resampled, whatIf } from "./answers/roads.js";
import { named, rendered, verified } from "./answers/text.js";
import { xray } from "./answers/xray.js";
import type { Failure, ToKernel, ToPage } from "./protocol.js";
import { any, flag, list, missing, number, object, one, type Shape, text } from "./shapes.js";
import { failure } from "./traits.js";

const TO_PAGE: Record<ToPage["kind"], Shape<unknown>> = {
  rows: object({ kind: one(["rows"]), watched: missing(list(text)) }),
  partial: object({ kind: one(["partial"]), id: number, value: any }),
  reply: object({ kind: one(["reply"]), id: number, ok: flag, error: missing(failure), value: missing(any) }),
  trait: object({ kind: one(["trait"]), name: text, value: any }),
  note: object({ kind: one(["note"]), error: failure }),
};

/** What is wrong with a message, "" where it is as it should be. */
export function faultOfMessage(content: unknown): string {
  const kind = (content as ToPage | null)?.kind;
  if (typeof kind !== "string" || !Object.hasOwn(TO_PAGE, kind))
    return `there is no message of kind ${typeof kind === "string" ? kind : typeof kind}`;
  return TO_PAGE[kind](content, kind);
}

interface Known {
  value: Shape<unknown>;
  /** Of the parts; the same as the whole where nothing is said. */
  parts?: Shape<unknown>;
  /** Bytes of the buffers that belong to a value. */
  sizes?: (value: never) => number[];
}

/** Answers that are looked at; of the others only whether it was done. */
export const ANSWERS: { [K in ToKernel["kind"]]?: Known } = {
  text: { value: text },
  lookahead: { value: ahead, parts: aheadPart },
  explain: { value: xray },
  what_if: { value: whatIf, parts: number },
  resample: { value: resampled },
  commitment: { value: committed },
  variants: { value: list(named) },
  places: { value: files.places },
  browse: { value: files.listing },
  inspect: { value: files.header },
  estimate: { value: files.estimate },
  metadata: { value: files.metadata },
  vocabulary: { value: list(named) },
  render: { value: rendered },
  save: { value: files.exported },
  export: { value: files.exported },
  verify: { value: verified },
  heads: { value: inside.heads, sizes: ({ n_head, size }: inside.Heads) => [n_head * size * size] },
  attention: { value: inside.attention, sizes: ({ length }: inside.AttentionRow) => [4 * length] },
  head_map: { value: inside.headMap, sizes: ({ length }: inside.HeadMap) => [length * length] },
  follow: { value: any, parts: inside.followed },
  lens: {
    value: inside.lens,
    sizes: ({ layers, positions, k }: inside.LensTable) => {
      const cells = 4 * layers.length * positions.length;
      return [cells * k, cells * k, cells * 6];
    },
  },
  attribution: { value: inside.attributed },
  causal_map: { value: inside.causal },
  try_edits: { value: inside.tried },
};

/** What is wrong with the answer to a command, "" where it is as it should be. */
export function faultOf(kind: ToKernel["kind"], value: unknown, buffers: readonly ArrayBufferView[]): string {
  const known = ANSWERS[kind];
  if (!known) return "";
  const fault = known.value(value, kind);
  if (fault || !known.sizes) return fault;
  const sizes = known.sizes(value as never);
  const came = buffers.map(({ byteLength }) => byteLength);
  return sizes.join() === came.join()
    ? ""
    : `${kind} must come with ${sizes.join(" and ")} bytes, not ${came.join(" and ") || "none"}`;
}

/** The same of a part of it. */
export const faultOfPart = (kind: ToKernel["kind"], part: unknown): string => {
  const known = ANSWERS[kind];
  return known ? (known.parts ?? known.value)(part, kind) : "";
};

/** The kernel and this page do not speak the same language; what could be understood is shown. */
export const notUnderstood = (fault: string): Failure => ({
  type: "WireError",
  message: `What the kernel said cannot be read, so it was passed over: ${fault}`,
});
