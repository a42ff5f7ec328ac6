/** Pretended answers of what goes on inside: a lens that gets surer towards the end, heads that matter more or less. */
import type { Attributed, Causal, LensTable, Tried } from "../../src/answers/inside.js";
import type { Row } from "../../test/encode.js";
import type { Outcome } from "../pretend.js";

const LAYERS = 6;
const HEADS = 14;

/** A number in [0, 1) that depends on nothing but these. */
const noise = (...of: number[]): number => {
  const x = Math.sin(of.reduce((sum, one, i) => sum + one * (12.9898 + 7.233 * i), 1)) * 43758.5453;
  return x - Math.floor(x);
};
const view = (values: Float32Array | Int32Array): DataView => new DataView(values.buffer);

export function lens(rows: readonly Row[], node: number, n: number, k: number, name: (id: number) => string): Outcome {
  const nodes = Array.from({ length: Math.min(n, node + 1) }, (_, i) => node - Math.min(n, node + 1) + 1 + i);
  const [ids, logprobs] = [new Int32Array(LAYERS * nodes.length * k), new Float32Array(LAYERS * nodes.length * k)];
  const planes = new Float32Array(6 * LAYERS * nodes.length);
  const texts: Record<string, string> = {};
  const answer: number[] = [];
  const decided = nodes.map((at) => Math.min(LAYERS - 1, Math.floor(1 + noise(at, 3) * LAYERS)));
  nodes.forEach((at, column) => {
    const next = rows[at + 1] ?? rows[at];
    const tops = (next.top_ids ?? [next.token_id]).slice(0, k);
    while (tops.length < k) tops.push(tops.length);
    answer.push(tops[0]);
    for (let layer = 0; layer < LAYERS; layer++) {
      const place = layer * nodes.length + column;
      const sure = 0.12 + 0.75 * (layer / (LAYERS - 1)) * (0.5 + 0.5 * noise(at, 9));
      const order = [...tops];
      if (layer < decided[column]) order.push(...order.splice(0, 1 + Math.floor(noise(at, layer) * (k - 1))));
      order.forEach((id, i) => {
        ids[place * k + i] = id;
        texts[id] = name(id);
        logprobs[place * k + i] = Math.log(sure * (1 - sure) ** i);
      });
      const rank = order.indexOf(tops[0]) + 1;
      const came = order.indexOf(next.token_id) + 1 || 14;
      const of = (at: number): number => Math.log(sure * (1 - sure) ** (at - 1));
      [5 * (1 - sure), 6 * (1 - layer / (LAYERS - 1)) ** 2, rank, of(came), came, of(rank)].forEach((value, plane) => {
        planes[plane * LAYERS * nodes.length + place] = value;
      });
    }
  });
  const value: LensTable = {
    ...{ layers: Array.from({ length: LAYERS }, (_, i) => i), positions: nodes, nodes, k, texts, answer, decided },
    code: `session.inspect(range(${nodes[0]}, ${node + 1}), "lens", k=${k}).lens`,
  };
  return { value, buffers: [view(ids), view(logprobs), view(planes)] };
}

export function attribution(rows: readonly Row[], node: number, name: (id: number) => string): Outcome {
  const id = (rows[node] ?? rows[rows.length - 1]).token_id;
  const part = (kind: number) => Array.from({ length: LAYERS }, (_, i) => 5 * (noise(node, i, kind) - 0.35) * (i / 3));
  const [attn_out, mlp, start] = [part(1), part(2), -0.42];
  const logit = [...attn_out, ...mlp].reduce((sum, one) => sum + one, start);
  const value: Attributed = {
    node,
    token: { id, text: name(id) },
    attn_out,
    mlp,
    start,
    added: 0,
    bias: 0,
    logit,
    code: `session.attribution(${node})`,
  };
  return { value };
}

export function tried(rows: readonly Row[], node: number, edits: unknown[], name: (id: number) => string): Outcome {
  const { top_ids: ids = [], top_logprobs: logprobs = [] } = rows[node] ?? rows[rows.length - 1];
  const before = ids.slice(0, 12).map((_, i) => Math.exp(logprobs[i]));
  const moved = before.map((p, i) => p * Math.exp(edits.length * 2 * (noise(i, node, edits.length) - 0.5)));
  const total = moved.reduce((sum, p) => sum + p, 0) / before.reduce((sum, p) => sum + p, 0);
  const after = moved.map((p) => p / total);
  const tokens = ids.slice(0, 12).map((id, i) => ({ id, text: name(id), before: before[i], after: after[i] }));
  const kl = before.reduce((sum, p, i) => sum + p * Math.log(p / after[i]), 0);
  const value: Tried = { node, tokens, kl: Math.max(0, kl), code: "" };
  return { value };
}

export function causalMap(rows: readonly Row[], node: number, last: boolean, name: (id: number) => string): Outcome {
  const id = (rows[node] ?? rows[rows.length - 1]).token_id;
  const upTo = (done: number): Causal => {
    const table = (of: (layer: number, head: number) => number) =>
      Array.from({ length: LAYERS }, (_, layer) =>
        Array.from({ length: HEADS }, (_, head) => (layer * HEADS + head < done ? of(layer, head) : null)),
      );
    const kl = (layer: number, head: number): number => (last ? 0.5 : 1) * 1.4 * noise(layer, head, node, 7) ** 5;
    return {
      ...{ node, token: { id, text: name(id) }, layers: Array.from({ length: LAYERS }, (_, i) => i), last },
      kl: table(kl),
      change: table((layer, head) => kl(layer, head) * (noise(layer, head) < 0.7 ? -1.3 : 0.6)),
    };
  };
  const parts = Array.from({ length: LAYERS }, (_, i) => upTo(HEADS * (i + 1) - 2));
  return { value: upTo(LAYERS * HEADS), parts };
}
