/** What a lens tells, by row (layer) and column (token that was read). */

import type { LensTable } from "../../../answers/inside.js";
import { SCALES } from "../../../draw/metric.js";
import { nameOf } from "../../parts/words.js";

export interface Candidate {
  id: number;
  name: string;
  probability: number;
}

/** Order of the planes in the last buffer. */
const PLANES = ["entropy", "kl", "rank", "cameLogprob", "cameRank", "logprob"] as const;
type Plane = (typeof PLANES)[number];

export class Table {
  readonly rows: number;
  readonly columns: number;
  readonly #ids: Int32Array;
  readonly #logprobs: Float32Array;
  readonly #planes: Float32Array;

  constructor(
    readonly lens: LensTable,
    [ids, logprobs, planes]: readonly DataView[],
  ) {
    this.rows = lens.layers.length;
    this.columns = lens.nodes.length;
    this.#ids = new Int32Array(aligned(ids));
    this.#logprobs = new Float32Array(aligned(logprobs));
    this.#planes = new Float32Array(aligned(planes));
  }

  name(id: number): string {
    return nameOf({ id, text: this.lens.texts[id] ?? "" });
  }

  /** The most likely tokens of a cell, in their order. */
  top(row: number, column: number): Candidate[] {
    const { k } = this.lens;
    const from = k * (row * this.columns + column);
    return Array.from({ length: k }, (_, i) => {
      const id = this.#ids[from + i];
      return { id, name: this.name(id), probability: Math.exp(this.#logprobs[from + i]) };
    });
  }

  value(plane: Plane, row: number, column: number): number {
    return this.#planes[(PLANES.indexOf(plane) * this.rows + row) * this.columns + column];
  }

  /** Row from which on the final answer of a column stays the most likely. */
  decided(column: number): number {
    return this.lens.layers.indexOf(this.lens.decided[column]);
  }

  answer(column: number): string {
    return this.name(this.lens.answer[column]);
  }
}

const aligned = ({ buffer, byteOffset, byteLength }: DataView): ArrayBuffer =>
  buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;

export interface Measure {
  title: string;
  help: string;
  of: (table: Table, row: number, column: number) => number;
  /** Share of the scale, 0 (calm, no colour) to 1 and beyond. */
  share: (value: number) => number;
  format: (value: number) => string;
  /** The two ends, as a legend has them. */
  range: readonly [calm: string, hot: string];
}

const usual = (name: "probability" | "entropy" | "rank") => {
  const { share, format, range, end } = SCALES[name];
  return { share: (value: number) => share(value, end), format, range: range(end) };
};
const KL_END = 9;

/** What the cells can be coloured by: calm where the model was sure, hot where it was not, as everywhere. */
export const MEASURES = {
  probability: {
    ...usual("probability"),
    title: "probability",
    help: "Probability of the token that the cell names",
    of: (table, row, column) => table.top(row, column)[0].probability,
  },
  entropy: {
    ...usual("entropy"),
    title: "entropy",
    help: "How undecided it would be there, over the whole vocabulary",
    of: (table, row, column) => table.value("entropy", row, column),
  },
  kl: {
    title: "KL",
    help: "KL divergence of that distribution from the final one: what is lost by stopping there",
    of: (table, row, column) => table.value("kl", row, column),
    share: (value) => value / KL_END,
    format: (value) => `${Math.max(0, value).toFixed(2)} nats`,
    range: ["0", `${KL_END} nats`],
  },
  rank: {
    ...usual("rank"),
    title: "rank of the answer",
    help: "Place of the final answer among all tokens; 1 is the most likely",
    of: (table, row, column) => table.value("rank", row, column),
  },
} satisfies Record<string, Measure>;

export type MeasureName = keyof typeof MEASURES;
