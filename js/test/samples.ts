/** A good answer to every command, with the buffers that belong to it; and ways to spoil one. */
import type { ToKernel } from "../src/protocol.js";
import { IDLE, LIBRARY, LOOK, MARKS } from "../src/state.js";

const PART = {
  tokens: [{ id: 1, text: " king", probability: 0.5, reason: "it is rare" }],
  size: 3,
  rest: 0.5,
  error: 0,
};
const TOKEN = { id: 1, text: " king" };
const CARD = {
  name: "tiny",
  architecture: "llama",
  parameters: 9,
  quantisation: "F32",
  n_ctx_train: 512,
  n_vocab: 300,
};
const FINDING = { severity: "warning", field: "x", offset: 3, found: "1", expected: "2", advice: "none", text: "all" };
const PLACE = { name: "models", path: "/models" };
const EXPORTED = { name: "run.json", mime: "application/json", path: "" };
const THREE = [0.1, null, 0.3];
export const SETTINGS = {
  ...{ temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, typical_p: 1, top_n_sigma: -1, repeat_penalty: 1 },
  ...{ frequency_penalty: 0, presence_penalty: 0, penalty_last_n: 64, dry_multiplier: 0, dry_base: 1.75 },
  ...{ dry_allowed_length: 2, dry_penalty_last_n: -1, dry_sequence_breakers: ["\n"], xtc_probability: 0 },
  ...{ xtc_threshold: 0.1, mirostat_mode: 0, mirostat_tau: 5, mirostat_eta: 0.1, logit_bias: { "2": null, "5": 1 } },
  ...{ grammar: "", seed: null, max_tokens: 200, stop: ["."], on_full: "stop", keep: 1 },
};
const NODES = [1, 2, 3];

/** By kind: the answer's value, the bytes of its buffers, and a part of it. */
export const SAMPLES: Partial<Record<ToKernel["kind"], { value: unknown; sizes?: number[]; part?: unknown }>> = {
  text: { value: "once upon" },
  lookahead: {
    value: { node: 2, ways: [{ tokens: [{ ...TOKEN, probability: 0.4 }], logprob: -1, finish: "length" }], code: "x" },
    part: [{ ...TOKEN, probability: 0.4, index: 0 }],
  },
  explain: {
    value: {
      ...{ node: 2, source: "row", settings: SETTINGS, recorded: true, code: "x" },
      stages: [
        {
          ...{ name: "top_k", rule: "keeps few", parameters: { top_k: 5 }, numbers: { kept: 5, cut: null } },
          ...{ before: PART, after: PART, removed: PART, draw: null },
          changed: [{ ...TOKEN, before: 0.1, after: null, reason: "it came before" }],
        },
        {
          ...{ name: "draw", rule: "draws", parameters: {}, numbers: {}, before: PART, after: PART, removed: PART },
          changed: [],
          draw: { token: TOKEN, probability: 0.5, uniform: 0.3, bar: [{ ...TOKEN, from: 0, to: 0.5 }] },
        },
      ],
    },
  },
  what_if: {
    value: {
      ...{ parameter: "temperature", current: 0.8, length: 4 },
      changes: [{ value: 0.5, at: 3, text: " queen", unknown: null }],
    },
    part: 0.5,
  },
  resample: { value: { node: 2, done: 2, n: 2, answers: [{ answer: "yes", count: 2, example: "yes it is" }] } },
  commitment: {
    value: {
      ...{ positions: [1, 2], nodes: [1, 2], of: 2, n: 2, answers: ["yes", null], answer: "yes", decided: 1 },
      counts: [
        [1, 1],
        [2, 0],
      ],
    },
  },
  variants: { value: [TOKEN] },
  places: { value: { root: PLACE, demo: PLACE, recent: [PLACE], caches: [PLACE] } },
  browse: {
    value: {
      ...{ path: "/models", crumbs: [PLACE], folders: [PLACE] },
      files: [{ name: "a.gguf", path: "/models/a.gguf", kind: "gguf", bytes: 9, parts: 1 }],
    },
  },
  inspect: { value: { ...CARD, bytes: 9, n_layer: 2, chat: true, findings: [FINDING] } },
  estimate: {
    value: {
      ...{ n_ctx: 512, n_ctx_train: 512, weights: 9, kv: 9, compute: 9, total: 27, free: 99, fits: true },
      n_ctx_fit: 512,
    },
  },
  metadata: {
    value: {
      card: { ...CARD, file: "/models/a.gguf", bytes: 9, n_ctx: 512, n_layer: 2, n_embd: 8, n_head: 2 },
      ...{ findings: [FINDING], rows: [{ key: "general.name", type: "text", value: "tiny" }], template: null },
    },
  },
  vocabulary: { value: [TOKEN] },
  render: { value: { text: "<|user|>hello", tokens: [{ ...TOKEN, special: true }] } },
  save: { value: EXPORTED, sizes: [4] },
  export: { value: EXPORTED, sizes: [4] },
  verify: { value: { same: true, compared: 4, largest: 0.001, tolerance: 0.1, message: "the same" } },
  heads: {
    value: {
      ...{ node: 3, layer: 0, n_layer: 2, n_head: 3, length: 4, size: 4, code: "x" },
      statistics: { entropy: THREE, distance: THREE, first_token: THREE, previous_token: THREE, induction: THREE },
    },
    sizes: [48],
  },
  attention: { value: { node: 3, layer: 0, head: 0, over: "one", length: 4, code: "x" }, sizes: [16] },
  head_map: { value: { node: 3, layer: 0, head: 0, length: 4, code: "x" }, sizes: [16] },
  follow: { value: null, part: { node: 3, layer: 0, head: 0, over: "one", length: 4, weights: [0.1, 0.2, 0.3, 0.4] } },
  lens: {
    value: {
      ...{ layers: [0, 1], positions: NODES, nodes: NODES, k: 2, texts: { "1": " king" }, answer: [1, 1, 1] },
      ...{ decided: [0, 1, 1], code: "x" },
    },
    sizes: [48, 48, 144],
  },
  attribution: {
    value: { node: 3, token: TOKEN, attn_out: [1, 2], mlp: [1, 2], start: 0, added: 1, bias: 0, logit: 9, code: "x" },
  },
  causal_map: {
    value: {
      ...{ node: 3, token: TOKEN, layers: [0, 1], last: false },
      kl: [THREE, THREE],
      change: [THREE, THREE],
    },
  },
  try_edits: { value: { node: 3, tokens: [{ ...TOKEN, before: 0.5, after: 0.1 }], kl: 0.3, code: "x" } },
};

/** The traits of a widget that has all that there can be. */
export const TRAITS: Record<string, unknown> = {
  panels: ["status", "tools", "controls", "stream", "logits", "strip", "explore", "inside"],
  prompt: "once upon",
  settings: SETTINGS,
  selection: 2,
  status: {
    ...IDLE,
    state: "ready",
    model: CARD,
    size: { n_layer: 2, n_head: 4 },
    n_ctx: 512,
    used: 4,
    error: { type: "InfernoError", message: "no" },
  },
  look: { ...LOOK, presets: [{ name: "mine", builtin: false, settings: { temperature: 1 } }], note: "damaged" },
  library: {
    ...LIBRARY,
    models: [
      {
        ...{ id: 1, name: "tiny", file: "/models/a.gguf", current: true, n_ctx: 512, warnings: 1, rss: 9, weights: 9 },
        ...{ kv_reserved: 9, kv_used: 3, holders: [{ session: "one", tokens: 4 }] },
      },
    ],
    sessions: [
      { id: 1, name: "one", model: "tiny", tokens: 4, state: "ready", started: 1e9, current: true, live: true },
    ],
    tasks: [{ id: 1, kind: "load", name: "b.gguf", stage: "loading", progress: 0.5, error: null }],
    memory: { engines: 9, weights: 9, kv_used: 1, kv_reserved: 9, traces: 1, free: 99, warning: "little is left" },
    undo: "delete “one”",
  },
  marks: {
    ...MARKS,
    names: { mine: 3 },
    pruned: [4],
    diverged: [2],
    watches: [{ name: "kings", tokens: [TOKEN] }],
    edits: [
      { kind: "ablate", layer: 0, head: 0, part: "attention" },
      { kind: "scale", layer: 0, head: null, part: "mlp", factor: 2 },
      { kind: "steer", layer: 1, strength: 2, positive: ["good"], negative: ["bad"] },
    ],
    altered: [{ node: 3, edits: "layer 0 head 0 off" }],
  },
};

const LONG = "x".repeat(100_000);
/** What may come in place of anything. */
export const NASTY: unknown[] = [
  ...[undefined, null, true, false, 0, 1, -1, 2 ** 31, 2 ** 53, 1e308, 0.5, Number.NaN, Number.POSITIVE_INFINITY],
  ...["", "x", "\0", "\ud800", "__proto__", "<img src=x onerror=alert(1)>", LONG],
  ...[[], [null], [[]], [0], ["x"], {}, { x: 1 }, { length: 1e9 }, { __proto__: null }],
];

type Path = (string | number)[];

/** Every place in a value, the value itself first. */
export function places(value: unknown, at: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([name, inner]) => places(inner, [...at, name]))];
}

/** A copy of a value with another one at a place; `undefined` takes it away. */
export function spoilt(value: unknown, [name, ...rest]: Path, by: unknown): unknown {
  if (name === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>;
  copy[name] = spoilt(copy[name], rest, by);
  if (!rest.length && by === undefined) delete copy[name];
  return copy;
}

export const buffersOf = (sizes: readonly number[] = []): DataView[] =>
  sizes.map((size) => new DataView(new ArrayBuffer(size)));
