/** Answers about what else could have come: each with the shape it is held against. */
import { list, maybe, number, object, text, where, whole } from "../shapes.js";
import type { Named } from "./text.js";

const count = whole();
const node = whole(-1);

/** A token of a way that was not taken; a character made of several tokens comes with its last. */
export interface AheadToken extends Named {
  probability: number;
}

/** Partial answers of lookahead: tokens as they come, each at the end of its way. */
export type AheadPart = (AheadToken & { index: number })[];

/** lookahead: the alternatives at a token, the most likely first, each with what would follow. */
export interface Ahead {
  /** The token whose place they take. */
  node: number;
  ways: { tokens: AheadToken[]; logprob: number; finish: string }[];
  /** The line of Python that does the same. */
  code: string;
}

const token = { id: number, text, probability: number };

export const aheadPart = list(object<AheadPart[number]>({ ...token, index: whole(0, 1_000) }));

export const ahead = object<Ahead>({
  node,
  ways: list(object({ tokens: list(object<AheadToken>(token)), logprob: number, finish: text })),
  code: text,
});

/**
 * what_if: at which token a run would first have changed, a value of the parameter at a time. Partial answers are the
 * fraction of the rows that were fetched.
 */
export interface WhatIf {
  parameter: string;
  /** The value that the run had; null where it had several. */
  current: number | null;
  length: number;
  changes: WhatIfChange[];
}

export interface WhatIfChange {
  value: number;
  /** Position of the first difference that is proved, and what would come there; null where there is none. */
  at: number | null;
  text: string | null;
  /** The first position before it of which the stored candidates prove nothing; null where there is none. */
  unknown: number | null;
}

export const whatIf = object<WhatIf>({
  parameter: text,
  current: maybe(number),
  length: count,
  changes: list(object<WhatIfChange>({ value: number, at: maybe(count), text: maybe(text), unknown: maybe(count) })),
});

/** resample, and its partial answers */
export interface Resampled {
  /** The token in whose place they begin. */
  node: number;
  /** Continuations whose answer is known, and how many there will be. */
  done: number;
  n: number;
  /** The most frequent first; null for texts that have no answer. */
  answers: { answer: string | null; count: number; example: string }[];
}

export const resampled = object<Resampled>({
  node,
  done: count,
  n: count,
  answers: list(object({ answer: maybe(text), count, example: text })),
});

/** commitment, and its partial answers: the rows of the positions that are done */
export interface Committed {
  positions: number[];
  /** Nodes at those positions, which were left open. */
  nodes: number[];
  /** How many positions there will be. */
  of: number;
  n: number;
  answers: (string | null)[];
  /** For each position, how often each answer came. */
  counts: number[][];
  /** Of the text itself. */
  answer: string | null;
  /** The first position from which on the text's own answer always has at least nine tenths. */
  decided: number | null;
}

export const committed = where(
  object<Committed>({
    positions: list(count),
    nodes: list(count),
    of: count,
    n: count,
    answers: list(maybe(text)),
    counts: list(list(count)),
    answer: maybe(text),
    decided: maybe(count),
  }),
  ({ positions, nodes, answers, counts }) =>
    nodes.length === positions.length &&
    counts.length === positions.length &&
    counts.every((row) => row.length === answers.length),
  "it needs a node and a row of counts for each position, and a count for each answer",
);
