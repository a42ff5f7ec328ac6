/** Answers about the inside of the model: each with the shape it is held against. */
import { flag, list, maybe, missing, number, object, one, table, text, where, whole } from "../shapes.js";
import { type Named, named } from "./text.js";

const count = whole();
const node = whole(-1);
/** Whether there is one for each. */
const ofLength = (items: readonly unknown[], n: number): boolean => items.length === n;

/**
 * heads: small maps of all heads of a layer. Buffer: uint8 [head, size, size], of each cell the square root of the largest
 * weight, times 255; row: query, column: key.
 */
export interface Heads {
  node: number;
  layer: number;
  n_layer: number;
  n_head: number;
  /** Tokens that were read. */
  length: number;
  /** Rows and columns of a small map: the length, at most 64. */
  size: number;
  /** A number a head each: what it looks at. NaN crosses as null. */
  statistics: Record<"entropy" | "distance" | "first_token" | "previous_token" | "induction", (number | null)[]>;
  /** The line of Python that does the same, here and below. */
  code: string;
}

const statistic = list(maybe(number));

export const heads = where(
  object<Heads>({
    node,
    layer: count,
    n_layer: whole(1, 10_000),
    n_head: whole(1, 10_000),
    length: count,
    size: count,
    statistics: object({
      entropy: statistic,
      distance: statistic,
      first_token: statistic,
      previous_token: statistic,
      induction: statistic,
    }),
    code: text,
  }),
  ({ n_head, statistics }) => Object.values(statistics).every((values) => ofLength(values, n_head)),
  "it needs a number for each head",
);

/** One head of one layer; the mean or the largest over heads (of the layer) or over all; or rollout over all layers. */
export type Over = "one" | "mean" | "max" | "all_mean" | "all_max" | "rollout";

/**
 * attention, and the parts of follow: one row. What the model looked at when it read the token `node`, to predict the one
 * behind it. Buffer (attention): float32 [length]. In parts the weights are `weights`.
 */
export interface AttentionRow {
  node: number;
  layer: number;
  head: number;
  over: Over;
  length: number;
  weights?: number[];
  code?: string;
}

export const attention = object<AttentionRow>({
  node,
  layer: count,
  head: count,
  over: one<Over>(["one", "mean", "max", "all_mean", "all_max", "rollout"]),
  length: count,
  weights: missing(list(number)),
  code: missing(text),
});

export const followed = where(
  attention,
  ({ length, weights }) => weights?.length === length,
  "it needs a weight for each token",
);

/** head_map: one map whole. Buffer: uint8 [length, length], the square root of the weight times 255. */
export interface HeadMap {
  node: number;
  layer: number;
  head: number;
  length: number;
  code: string;
}

export const headMap = object<HeadMap>({ node, layer: count, head: count, length: count, code: text });

/**
 * lens: what the model would say behind each layer, for the last n tokens read up to `node`. Buffers: int32 [layer,
 * position, k] ids; float32 [layer, position, k] logprobs; float32 [6, layer, position]: entropy, KL to the end in
 * nats, rank of the final answer, logprob of the token that came (NaN where none has), rank of that (0 where none),
 * logprob of the final answer.
 */
export interface LensTable {
  layers: number[];
  positions: number[];
  nodes: number[];
  k: number;
  /** Texts of the ids that occur. */
  texts: Record<string, string>;
  /** The final answer of each position. */
  answer: number[];
  /** The first layer from which on it stays the most likely. */
  decided: number[];
  code: string;
}

export const lens = where(
  object<LensTable>({
    layers: list(count),
    positions: list(count),
    nodes: list(count),
    k: whole(1, 1_000),
    texts: table(text),
    answer: list(number),
    decided: list(number),
    code: text,
  }),
  ({ positions, nodes, answer, decided }) => [nodes, answer, decided].every((each) => ofLength(each, positions.length)),
  "it needs a node, an answer and a layer for each position",
);

/**
 * attribution: logits that each part added to the token `token`'s, the last norm linearised. Here and below `node` is the
 * token that is predicted, as in explain; -1 is the newest, and the first of a text has no prediction.
 */
export interface Attributed {
  node: number;
  token: Named;
  attn_out: number[];
  mlp: number[];
  start: number;
  added: number;
  bias: number;
  logit: number;
  code: string;
}

export const attributed = where(
  object<Attributed>({
    node,
    token: named,
    attn_out: list(number),
    mlp: list(number),
    start: number,
    added: number,
    bias: number,
    logit: number,
    code: text,
  }),
  ({ attn_out, mlp }) => ofLength(mlp, attn_out.length),
  "it needs as many numbers of MLPs as of attention",
);

/** causal_map, and its partial answers: what the prediction of a token loses without each head. null: not tried yet. */
export interface Causal {
  node: number;
  token: Named;
  layers: number[];
  /** KL(with || without), nats [layer][head]. */
  kl: (number | null)[][];
  /** Change of the token's logprob, nats. */
  change: (number | null)[][];
  last: boolean;
}

export const causal = where(
  object<Causal>({
    node,
    token: named,
    layers: list(count),
    kl: list(list(maybe(number))),
    change: list(list(maybe(number))),
    last: flag,
  }),
  ({ layers, kl, change }) =>
    [kl, change].every((rows) => ofLength(rows, layers.length) && rows.every((row) => ofLength(row, kl[0].length))),
  "it needs a number for each head of each layer",
);

/** try_edits: the distribution at a token by the untouched model and under these edits alone; nothing is recorded. */
export interface Tried {
  node: number;
  /** The most likely of both. */
  tokens: (Named & { before: number; after: number })[];
  /** KL(before || after), nats. */
  kl: number;
  code: string;
}

export const tried = object<Tried>({
  node,
  tokens: list(object({ id: number, text, before: number, after: number })),
  kl: number,
  code: text,
});
