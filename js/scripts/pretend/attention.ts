/** Heads that are pretended: some rest on the first token, some look one back, some go on as last time. */

import type { AttentionRow, HeadMap, Heads, Over } from "../../src/answers/inside.js";
import type { ToKernel } from "../../src/protocol.js";
import type { Row } from "../../test/encode.js";
import type { FakeModel } from "../../test/fake.js";
import type { Outcome } from "../pretend.js";

export const LAYERS = 6;
const HEADS = 14;

interface Asked {
  layer: number;
  head: number;
  over: string;
}

/** Logit of head (layer, head) at a token, of a token that it could read. */
type Manner = (query: number, key: number, ids: readonly number[]) => number;

const MANNERS: Manner[] = [
  (_, key) => (key === 0 ? 5 : 0),
  (query, key) => (key === query - 1 ? 6 : key === 0 ? 2 : 0),
  (query, key, ids) => (key > 0 && ids[key - 1] === ids[query] ? 7 : key === 0 ? 4 : 0),
  (query, key) => -0.35 * (query - key),
  (query, key) => (key === query ? 4 : 0),
  (_, key, ids) => (ids[key] % 7 === 3 ? 3.5 : key === 0 ? 2 : 0),
  (query, key) => 2.5 * Math.sin((query - key) / 3),
];

/** Weights of a head, row: query. */
function weights(ids: readonly number[], layer: number, head: number): Float32Array[] {
  const manner = MANNERS[(head + 3 * layer) % MANNERS.length];
  const sink = ((head * 7 + layer * 5) % 5) / 1.6;
  return ids.map((_, query) => {
    const row = Float32Array.from({ length: query + 1 }, (__, key) => {
      const noise = Math.sin(key * 12.9898 + query * 78.233 + head) * 0.7;
      return Math.exp(manner(query, key, ids) + noise + (key ? 0 : sink));
    });
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((weight) => weight / sum);
  });
}

const mean = (values: number[]): number | null =>
  values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;

function statistics(ids: readonly number[], rows: Float32Array[]) {
  const later = rows.slice(1);
  const again = later.flatMap((row, i) => {
    const query = i + 1;
    const meant = [...row.keys()].filter((key) => key > 0 && ids[key - 1] === ids[query]);
    return meant.length ? [meant.reduce((sum, key) => sum + row[key], 0)] : [];
  });
  return {
    entropy: mean(rows.map((row) => -row.reduce((sum, w) => sum + (w > 0 ? w * Math.log(w) : 0), 0))),
    distance: mean(rows.map((row, query) => row.reduce((sum, w, key) => sum + w * (query - key), 0))),
    first_token: mean(later.map((row) => row[0])),
    previous_token: mean(later.map((row, i) => row[i])),
    induction: mean(again),
  };
}

const idsTo = (rows: readonly Row[], node: number): number[] => {
  const ids: number[] = [];
  for (let at = node; at >= 0; at = rows[at].parent) ids.unshift(rows[at].token_id);
  return ids;
};

/** A map with `size` rows and columns, of the largest in each cell. */
function small(rows: Float32Array[], size: number): Uint8Array {
  const map = new Uint8Array(size * size);
  const cell = (i: number): number => Math.floor((i * size) / rows.length);
  rows.forEach((row, query) => {
    row.forEach((weight, key) => {
      const at = cell(query) * size + cell(key);
      map[at] = Math.max(map[at], Math.round(255 * Math.sqrt(weight)));
    });
  });
  return map;
}

function heads(all: readonly Row[], node: number, layer: number): Outcome {
  const ids = idsTo(all, node);
  const size = Math.min(64, ids.length);
  const every = Array.from({ length: HEADS }, (_, head) => weights(ids, layer, head));
  const bytes = new Uint8Array(HEADS * size * size);
  for (const [head, rows] of every.entries()) bytes.set(small(rows, size), head * size * size);
  const found = every.map((rows) => statistics(ids, rows));
  const names = ["entropy", "distance", "first_token", "previous_token", "induction"] as const;
  const told = Object.fromEntries(names.map((name) => [name, found.map((one) => one[name])])) as Heads["statistics"];
  const code = `session.inspect(range(${ids.length}), "attention", layers=${layer}).attention`;
  const value: Heads = {
    node,
    layer,
    n_layer: LAYERS,
    n_head: HEADS,
    length: ids.length,
    size,
    statistics: told,
    code,
  };
  return { value, buffers: [new DataView(bytes.buffer)] };
}

function rowOver(ids: readonly number[], layer: number, head: number, over: Over): Float32Array {
  const layers = over === "one" || over === "mean" || over === "max" ? [layer] : [...Array(LAYERS).keys()];
  const chosen = over === "one" ? [head] : [...Array(HEADS).keys()];
  const rows = layers.flatMap((l) => chosen.map((one) => weights(ids, l, one).at(-1) as Float32Array));
  return Float32Array.from({ length: ids.length }, (_, key) => {
    const column = rows.map((row) => row[key]);
    return over.endsWith("max") ? Math.max(...column) : (mean(column) as number);
  });
}

function row(all: readonly Row[], { node, layer, head, over }: Asked & { node: number }): Outcome {
  const ids = idsTo(all, node);
  const read = rowOver(ids, layer, head, over as Over);
  const code = `session.inspect(${ids.length - 1}, "attention", layers=${layer}).attention`;
  const value: AttentionRow = { node, layer, head, over: over as Over, length: ids.length, code };
  return { value, buffers: [new DataView(read.buffer as ArrayBuffer)] };
}

function headMap(all: readonly Row[], { node, layer, head }: { node: number; layer: number; head: number }): Outcome {
  const ids = idsTo(all, node);
  const bytes = new Uint8Array(ids.length ** 2);
  weights(ids, layer, head).forEach((read, query) => {
    read.forEach((weight, key) => {
      bytes[query * ids.length + key] = Math.round(255 * Math.sqrt(weight));
    });
  });
  const code = `session.inspect(range(${ids.length}), "attention", layers=${layer}).attention[0, ${head}]`;
  const value: HeadMap = { node, layer, head, length: ids.length, code };
  return { value, buffers: [new DataView(bytes.buffer)] };
}

/** Sends the row of every token that comes, until that is enough. */
export function follow(model: FakeModel, all: readonly Row[], held: () => number, asked: Asked & { id: number }): void {
  let last = -1;
  const timer = setInterval(() => {
    const node = held() - 1;
    if (model.sent.some((one) => one.kind === "enough" && one.request === asked.id)) {
      clearInterval(timer);
      model.answer(asked.id, null);
    } else if (node > last) {
      last = node;
      const ids = idsTo(all, node);
      const { layer, head } = asked;
      const over = asked.over as Over;
      const weight = [...rowOver(ids, layer, head, over)];
      model.partial(asked.id, { node, layer, head, over, length: ids.length, weights: weight });
    }
  }, 100);
}

/** What the kernel would answer; undefined for what is not about attention. */
export function attended(message: ToKernel, rows: readonly Row[]): Outcome | undefined {
  if (message.kind === "heads") return heads(rows, message.node, message.layer);
  if (message.kind === "attention") return row(rows, message);
  if (message.kind === "head_map") return headMap(rows, message);
  return undefined;
}
