/** One row of attention: how much a token read of each token before it. Pure. */

import type { AttentionRow, Over } from "../../../answers/inside.js";
import { STEPS } from "../../../draw/colour.js";
import { percent } from "../../../draw/format.js";
import type { Overlay } from "../../../overlay.js";

export interface Row {
  /** The token that read. */
  node: number;
  layer: number;
  head: number;
  over: Over;
  /** By position on the path; 0 of tokens that the model no longer sees. */
  weights: ArrayLike<number>;
}

export interface Reading {
  position: number;
  weight: number;
}

/** Share of the largest weight below which a token has no colour, and is not listed. */
const FAINT = 0.01;

export const OVERS: Record<Over, { text: string; help: string }> = {
  one: { text: "one head", help: "The weights of a single head, as they are" },
  mean: {
    text: "mean of the layer’s heads",
    help: "Averaged over the heads of the layer: no head need look like that",
  },
  max: {
    text: "largest of the layer’s heads",
    help: "Of each token the weight in the head of the layer that read it most: they do not sum to 1",
  },
  all_mean: { text: "mean of all layers", help: "Averaged over all heads of all layers" },
  all_max: {
    text: "largest of all layers",
    help: "Of each token the weight in whichever head of the model read it most: they do not sum to 1",
  },
  rollout: {
    text: "rollout through all layers",
    help:
      "The heads’ mean, mixed half and half with the token itself, multiplied through the layers: " +
      "from where attention could have carried something here. No weights, an estimate",
  },
};

/** Where the row is from: "layer 3, head 5". */
export function sourceOf({ layer, head, over }: Pick<Row, "layer" | "head" | "over">): string {
  if (over === "one") return `layer ${layer}, head ${head}`;
  return over === "mean" || over === "max"
    ? `layer ${layer}, ${OVERS[over].text.replace("layer’s ", "")}`
    : OVERS[over].text;
}

/** Whether the weights sum to 1. */
export const isShare = (over: Over): boolean => over !== "max" && over !== "all_max";

/** A row as the kernel sent it: its weights in the message or behind it. */
export function rowOf({ node, layer, head, over, weights }: AttentionRow, [bytes]: readonly DataView[] = []): Row {
  return { node, layer, head, over, weights: weights ?? new Float32Array(bytesOf(bytes).buffer) };
}

/** A copy of one's own: it starts at an address that every typed array may have. */
export const bytesOf = (view: DataView): Uint8Array<ArrayBuffer> =>
  new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer);

/** The first position that counts. */
const begin = (skip: boolean): number => (skip ? 1 : 0);

export function largest({ weights }: Row, skip: boolean): number {
  let most = 0;
  for (let at = begin(skip); at < weights.length; at++) most = Math.max(most, weights[at]);
  return most;
}

/** The tokens that were read most, at most so many, and what all others got together. `skip`: without the first token. */
export function strongest(row: Row, skip: boolean, count: number): { listed: Reading[]; others: number } {
  const all = Array.from(row.weights, (weight, position) => ({ position, weight })).slice(begin(skip));
  const least = FAINT * largest(row, skip);
  const listed = all
    .sort((a, b) => b.weight - a.weight || b.position - a.position)
    .slice(0, count)
    .filter(({ weight }) => weight > 0 && weight >= least);
  return { listed, others: all.slice(listed.length).reduce((sum, { weight }) => sum + weight, 0) };
}

/** The colours behind the text: the root of each weight, up to the largest that counts. */
export function overlayOf(row: Row, skip: boolean): Overlay {
  const { weights } = row;
  const most = largest(row, skip);
  const steps = new Uint8Array(weights.length);
  for (let at = begin(skip); at < weights.length; at++) {
    const share = most > 0 ? weights[at] / most : 0;
    if (share >= FAINT) steps[at] = Math.round(STEPS * Math.sqrt(share));
  }
  return {
    title: "text: attention (√ scale)",
    help:
      `What the framed token read: ${sourceOf(row)}. The colour goes by the square root of the weight, so that little ` +
      `can be seen too; it ends at the row’s largest${skip ? ", without the first token" : ""}.`,
    range: ["0%", percent(most)],
    steps,
    about: weights.length - 1,
    words: (position) => ["attention", percent(weights[position])],
  };
}
