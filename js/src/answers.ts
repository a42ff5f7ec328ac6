/** The shapes of what the kernel tells of itself and answers: those of state.ts, to be checked where they arrive. */
import type { Failure, State, ToKernel, ToPage } from "./protocol.js";
import {
  any,
  flag,
  list,
  maybe,
  missing,
  number,
  object,
  one,
  type Shape,
  table,
  text,
  where,
  whole,
} from "./shapes.js";
import * as state from "./state.js";

const count = whole();
const node = whole(-1);
const failure: Shape<Failure> = object({ type: text, message: text });
/** As many as there is a number for each of. */
const ofLength = <T>(items: readonly T[], n: number): boolean => items.length === n;

// --- messages ---

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

// --- traits ---

type Fields<T> = { [K in keyof T]-?: Shape<T[K]> };

const state_: Shape<State> = text as Shape<State>; // a newer version may have more
const card: Fields<state.ModelCard> = {
  // A recorded run may know less of its model than a model does.
  name: maybe(text) as Shape<string>,
  architecture: maybe(text) as Shape<string>,
  parameters: maybe(number) as Shape<number>,
  quantisation: maybe(text) as Shape<string>,
  n_ctx_train: maybe(number) as Shape<number>,
  n_vocab: maybe(number) as Shape<number>,
};

export const STATUS: Fields<state.Status> = {
  state: state_,
  model: maybe(object(card)),
  n_ctx: count,
  used: count,
  tokens_per_second: maybe(number),
  rss: number,
  progress: maybe(number),
  error: maybe(failure),
  finish: maybe(text) as Shape<state.Status["finish"]>,
  code: text,
  chat: flag,
  keep: count,
};

export const SETTINGS: Fields<state.Settings> = {
  temperature: number,
  top_k: number,
  top_p: number,
  min_p: number,
  typical_p: number,
  top_n_sigma: number,
  repeat_penalty: number,
  frequency_penalty: number,
  presence_penalty: number,
  penalty_last_n: number,
  dry_multiplier: number,
  dry_base: number,
  dry_allowed_length: number,
  dry_penalty_last_n: number,
  dry_sequence_breakers: list(text),
  xtc_probability: number,
  xtc_threshold: number,
  mirostat_mode: number,
  mirostat_tau: number,
  mirostat_eta: number,
  logit_bias: table(maybe(number)) as Shape<Record<string, number>>,
  grammar: text,
  seed: maybe(number),
  max_tokens: count,
  stop: list(text),
  on_full: one(["stop", "slide", "error"]),
  keep: count,
};

export const LOOK: Fields<state.Look> = {
  metric: one(state.METRICS),
  palette: one(state.PALETTES),
  top_k: whole(1, 1_000),
  glyphs: flag,
  font_size: whole(1, 1_000),
  follow: flag,
  presets: list(object<state.Preset>({ name: text, builtin: flag, settings: table(any) })),
  note: text,
};

export const LIBRARY: Fields<state.Library> = {
  models: list(
    object<state.LoadedModel>({
      id: count,
      name: text,
      file: text,
      current: flag,
      n_ctx: count,
      warnings: missing(count) as Shape<number>,
      rss: number,
      weights: number,
      kv_reserved: number,
      kv_used: number,
      holders: list(object({ session: text, tokens: number })),
    }),
  ),
  sessions: list(
    object<state.OpenSession>({
      id: count,
      name: text,
      model: text,
      tokens: number,
      state: state_,
      started: number,
      current: flag,
      live: flag,
    }),
  ),
  tasks: list(
    object<state.Task>({
      id: count,
      kind: one(["load", "download"]),
      name: text,
      stage: text,
      progress: maybe(number),
      error: maybe(failure),
    }),
  ),
  memory: maybe(
    object<state.Memory>({
      engines: number,
      weights: number,
      kv_used: number,
      kv_reserved: number,
      traces: number,
      free: number,
      warning: text,
    }),
  ),
  undo: maybe(text),
};

const named = object({ id: number, text });

const edit = where(
  object({ kind: text, layer: count }),
  (value) => Object.hasOwn(KINDS_OF_EDIT, value.kind) && KINDS_OF_EDIT[value.kind](value, "edit") === "",
  "it is no edit that is known here",
) as Shape<state.Edit>;
const headed = { layer: count, head: maybe(count), part: one(["attention", "mlp"]) };
const KINDS_OF_EDIT: Record<string, Shape<unknown>> = {
  ablate: object(headed),
  scale: object({ ...headed, factor: number }),
  steer: object({ layer: count, strength: number, positive: list(text), negative: list(text) }),
};

export const MARKS: Fields<state.Marks> = {
  names: table(node),
  pruned: list(count),
  diverged: list(count),
  watches: list(object<state.Watch>({ name: text, tokens: list(named) })),
  edits: list(edit),
  altered: list(object({ node: count, edits: text })),
};

export const PANELS = list(text);

// --- answers ---

const place = object<state.Place>({ name: text, path: text });
const finding = object<state.Finding>({
  severity: one(["error", "warning"]),
  field: text,
  offset: maybe(number),
  found: text,
  expected: text,
  advice: text,
  text,
});
const ahead = { id: number, text, probability: number };
const candidate = object<state.XrayPart["tokens"][number]>({ ...ahead, reason: missing(text) });
const part = object<state.XrayPart>({ tokens: list(candidate), size: maybe(number), rest: number, error: number });
const over = one<state.Over>(["one", "mean", "max", "all_mean", "all_max", "rollout"]);

const xray = object<state.Xray>({
  node,
  source: one(["row", "record"]),
  settings: object(SETTINGS),
  recorded: flag,
  stages: list(
    object<state.XrayStage>({
      name: text,
      rule: text,
      parameters: table(any),
      numbers: table(maybe(number)),
      before: part,
      after: part,
      removed: part,
      changed: list(object({ id: number, text, before: maybe(number), after: maybe(number), reason: text })),
      draw: maybe(
        object<state.XrayDraw>({
          token: named,
          probability: number,
          uniform: maybe(number),
          bar: list(object({ id: number, text, from: number, to: number })),
        }),
      ),
    }),
  ),
  code: text,
});

const resampled = object<state.Resampled>({
  node,
  done: count,
  n: count,
  answers: list(object({ answer: maybe(text), count, example: text })),
});

const committed = where(
  object<state.Committed>({
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
    ofLength(nodes, positions.length) &&
    ofLength(counts, positions.length) &&
    counts.every((row) => ofLength(row, answers.length)),
  "it needs a node and a row of counts for each position, and a count for each answer",
);

const heads = where(
  object<state.Heads>({
    node,
    layer: count,
    n_layer: whole(1, 10_000),
    n_head: whole(1, 10_000),
    length: count,
    size: count,
    statistics: object({
      entropy: list(maybe(number)),
      distance: list(maybe(number)),
      first_token: list(maybe(number)),
      previous_token: list(maybe(number)),
      induction: list(maybe(number)),
    }),
    code: text,
  }),
  ({ n_head, statistics }) => Object.values(statistics).every((values) => ofLength(values, n_head)),
  "it needs a number for each head",
);

const attention = object<state.AttentionRow>({
  node,
  layer: count,
  head: count,
  over,
  length: count,
  weights: missing(list(number)),
  code: missing(text),
});
const followed = where(
  attention,
  ({ length, weights }) => weights?.length === length,
  "it needs a weight for each token",
);

const lens = where(
  object<state.LensTable>({
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

const attributed = where(
  object<state.Attributed>({
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

const causal = where(
  object<state.Causal>({
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

/** Bytes of the buffers of an answer. */
type Sizes<T> = (value: T) => number[];

interface Known {
  value: Shape<unknown>;
  /** Of the parts; the same as the whole where nothing is said. */
  parts?: Shape<unknown>;
  sizes?: Sizes<never>;
}

const exported = object<state.Exported>({ name: text, mime: text, path: text });

/** Answers that are looked at; of the others only whether it was done. */
export const ANSWERS: { [K in ToKernel["kind"]]?: Known } = {
  text: { value: text },
  lookahead: {
    value: object<state.Ahead>({
      node,
      ways: list(object({ tokens: list(object<state.AheadToken>(ahead)), logprob: number, finish: text })),
      code: text,
    }),
    parts: list(object({ ...ahead, index: whole(0, 1_000) })),
  },
  explain: { value: xray },
  what_if: {
    value: object<state.WhatIf>({
      parameter: text,
      current: maybe(number),
      length: count,
      changes: list(
        object<state.WhatIfChange>({ value: number, at: maybe(count), text: maybe(text), unknown: maybe(count) }),
      ),
    }),
    parts: number,
  },
  resample: { value: resampled },
  commitment: { value: committed },
  variants: { value: list(named) },
  places: { value: object<state.Places>({ root: place, demo: place, recent: list(place), caches: list(place) }) },
  browse: {
    value: object<state.Listing>({
      path: text,
      crumbs: list(place),
      folders: list(place),
      files: list(
        object<state.FoundFile>({
          name: text,
          path: text,
          kind: one(["gguf", "inferno"]),
          bytes: number,
          parts: number,
        }),
      ),
    }),
  },
  inspect: {
    value: object<state.Header>({ ...card, bytes: number, n_layer: number, chat: flag, findings: list(finding) }),
  },
  estimate: {
    value: object<state.Estimate>({
      n_ctx: number,
      n_ctx_train: number,
      weights: number,
      kv: number,
      compute: number,
      total: number,
      free: number,
      fits: flag,
      n_ctx_fit: number,
    }),
  },
  metadata: {
    value: object<state.Metadata>({
      card: object({
        ...card,
        file: text,
        bytes: number,
        n_ctx: number,
        n_layer: number,
        n_embd: number,
        n_head: number,
      }),
      findings: list(finding),
      rows: list(object({ key: text, type: text, value: text })),
      template: maybe(text),
    }),
  },
  vocabulary: { value: list(named) },
  render: {
    value: object<state.Rendered>({ text, tokens: list(object({ id: number, text, special: flag })) }),
  },
  save: { value: exported },
  export: { value: exported },
  verify: {
    value: object<state.Verified>({ same: flag, compared: number, largest: number, tolerance: number, message: text }),
  },
  heads: { value: heads, sizes: ({ n_head, size }: state.Heads) => [n_head * size * size] },
  attention: { value: attention, sizes: ({ length }: state.AttentionRow) => [4 * length] },
  head_map: {
    value: object<state.HeadMap>({ node, layer: count, head: count, length: count, code: text }),
    sizes: ({ length }: state.HeadMap) => [length * length],
  },
  follow: { value: any, parts: followed },
  lens: {
    value: lens,
    sizes: ({ layers, positions, k }: state.LensTable) => {
      const cells = 4 * layers.length * positions.length;
      return [cells * k, cells * k, cells * 6];
    },
  },
  attribution: { value: attributed },
  causal_map: { value: causal },
  try_edits: {
    value: object<state.Tried>({
      node,
      tokens: list(object({ id: number, text, before: number, after: number })),
      kl: number,
      code: text,
    }),
  },
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
