/** What the kernel tells of itself: the shapes of the widget's traits and of its answers. */
import type { Failure, State } from "./protocol.js";

/** Trait `settings`: how the next tokens are chosen. Names are those of Python's `Sampler`. */
export interface Settings {
  temperature: number;
  top_k: number;
  top_p: number;
  min_p: number;
  typical_p: number;
  top_n_sigma: number;
  repeat_penalty: number;
  frequency_penalty: number;
  presence_penalty: number;
  penalty_last_n: number;
  dry_multiplier: number;
  dry_base: number;
  dry_allowed_length: number;
  dry_penalty_last_n: number;
  /** Strings that a repetition may not reach across. */
  dry_sequence_breakers: string[];
  xtc_probability: number;
  xtc_threshold: number;
  /** 0 is off. */
  mirostat_mode: number;
  /** Bits. */
  mirostat_tau: number;
  mirostat_eta: number;
  /** Token id, as text -> what is added to its logit. */
  logit_bias: Record<string, number>;
  /** GBNF, or a JSON schema in braces; "" is off. */
  grammar: string;
  seed: number | null;
  max_tokens: number;
  /** Strings that end a run. */
  stop: string[];
  /** What happens when the context is full. */
  on_full: "stop" | "slide" | "error";
  /** Tokens at the beginning that a slide keeps. */
  keep: number;
}

export interface ModelCard {
  name: string;
  architecture: string;
  parameters: number;
  quantisation: string;
  n_ctx_train: number;
  n_vocab: number;
}

/** Trait `status`: what happens now, to the session on display. */
export interface Status {
  state: State;
  model: ModelCard | null;
  n_ctx: number;
  used: number;
  tokens_per_second: number | null;
  rss: number;
  progress: number | null;
  error: Failure | null;
  finish: "length" | "eog" | "stop" | "context" | "cancelled" | null;
  code: string;
  /** Whether the model has a chat template. */
  chat: boolean;
  /** Tokens at the beginning that a slide kept; where tokens were left out says the column `left_out`. */
  keep: number;
}

export const IDLE: Status = {
  state: "empty",
  model: null,
  n_ctx: 0,
  used: 0,
  tokens_per_second: null,
  rss: 0,
  progress: null,
  error: null,
  finish: null,
  code: "",
  chat: false,
  keep: 0,
};

export const METRICS = ["probability", "surprisal", "entropy", "rank", "time"] as const;
export type Metric = (typeof METRICS)[number];
export const PALETTES = ["inferno", "viridis", "cividis", "contrast"] as const;
export type Palette = (typeof PALETTES)[number];

/** Trait `look`: what a person likes to see; kept in the settings file. */
export interface Look {
  metric: Metric;
  palette: Palette;
  /** Alternatives listed at most. */
  top_k: number;
  /** Whether spaces, tabs and line breaks are drawn. */
  glyphs: boolean;
  /** Of the text, in pixels. */
  font_size: number;
  /** Whether the text scrolls with what is generated. */
  follow: boolean;
  presets: Preset[];
  /** What is wrong with the settings file, in words; "" where nothing is. */
  note: string;
}

export interface Preset {
  name: string;
  /** Whether it came with the package, and cannot be dropped. */
  builtin: boolean;
  /** Sampler parameters that differ from the defaults. */
  settings: Partial<Settings>;
}

export const LOOK: Look = {
  metric: "surprisal",
  palette: "inferno",
  top_k: 20,
  glyphs: true,
  font_size: 17,
  follow: true,
  presets: [],
  note: "",
};

/** Trait `library`: everything that is open, and what it costs. Sizes are bytes. */
export interface Library {
  models: LoadedModel[];
  sessions: OpenSession[];
  tasks: Task[];
  memory: Memory | null;
  /** What `undo` would take back, in words. */
  undo: string | null;
}

export interface LoadedModel {
  id: number;
  name: string;
  file: string;
  current: boolean;
  n_ctx: number;
  /** How much is odd about its file. */
  warnings: number;
  /** Resident memory of its process. */
  rss: number;
  /** Its file. */
  weights: number;
  kv_reserved: number;
  kv_used: number;
  /** Tokens in the pool, by session. */
  holders: { session: string; tokens: number }[];
}

export interface OpenSession {
  id: number;
  name: string;
  model: string;
  tokens: number;
  state: State;
  /** When it began, in seconds since 1970. */
  started: number;
  current: boolean;
  /** Whether it can go on: its model is loaded. */
  live: boolean;
}

export interface Task {
  id: number;
  kind: "load" | "download";
  name: string;
  stage: string;
  /** 0 to 1; null where nobody knows. */
  progress: number | null;
  /** Why it failed; it stays in the list until it is cancelled. */
  error: Failure | null;
}

export interface Memory {
  engines: number;
  weights: number;
  kv_used: number;
  kv_reserved: number;
  traces: number;
  free: number;
  /** What to do before it hurts; "" where all is well. */
  warning: string;
}

export const LIBRARY: Library = { models: [], sessions: [], tasks: [], memory: null, undo: null };

/** Trait `marks`: what a person noted on the tree. Nodes are those of the trace. */
export interface Marks {
  /** Branches that have a name -> a node on each; the name goes on with the eldest branch from there. */
  names: Record<string, number>;
  /** Hidden, with all that follows them. */
  pruned: number[];
  /** Where a replay with the same dice first took another token. */
  diverged: number[];
  watches: Watch[];
  /** Interventions that are in force. */
  edits: Edit[];
  /** First nodes of what was made under interventions, and those in words. */
  altered: { node: number; edits: string }[];
}

/** A change of the inside of the model. Layers and heads count from 0; `head` null: the whole part. */
export type Edit =
  | { kind: "ablate"; layer: number; head: number | null; part: "attention" | "mlp" }
  | { kind: "scale"; layer: number; head: number | null; part: "attention" | "mlp"; factor: number }
  | { kind: "steer"; layer: number; strength: number; positive: string[]; negative: string[] };

/** What is watched: one or several tokens, whose probability is added up. Its values come with the rows. */
export interface Watch {
  name: string;
  tokens: { id: number; text: string }[];
}

export const MARKS: Marks = { names: {}, pruned: [], diverged: [], watches: [], edits: [], altered: [] };

// --- answers, by the kind of the command ---

/** text: that of the current path, as `edit` takes it back. */
export type Text = string;

/** A token of a way that was not taken. */
export interface AheadToken {
  id: number;
  /** What it adds to the text; a character made of several tokens comes with its last. */
  text: string;
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

/** explain: what every stage of the sampler did at a token. */
export interface Xray {
  node: number;
  /** Whether the whole row of logits was there, or the stored candidates sufficed. */
  source: "row" | "record";
  /** The settings that it was explained with. */
  settings: Settings;
  /** Whether those are the ones that the token was chosen with. */
  recorded: boolean;
  stages: XrayStage[];
  /** The line of Python that does the same. */
  code: string;
}

export interface XrayStage {
  /** The last is "draw". */
  name: string;
  /** What it does, in words. */
  rule: string;
  parameters: Record<string, unknown>;
  /** What it worked out; null stands for infinity. */
  numbers: Record<string, number | null>;
  before: XrayPart;
  after: XrayPart;
  removed: XrayPart;
  /** Logits that it moved, the most likely tokens first; null stands for minus infinity. */
  changed: { id: number; text: string; before: number | null; after: number | null; reason: string }[];
  draw: XrayDraw | null;
}

export interface XrayPart {
  /** The most likely first; `reason` says why a token was removed. */
  tokens: { id: number; text: string; probability: number; reason?: string }[];
  /** How many there are; null where a record cannot say. */
  size: number | null;
  /** Probability of those that are not listed. */
  rest: number;
  /** By how much a probability may be wrong at most. */
  error: number;
}

export interface XrayDraw {
  token: { id: number; text: string };
  probability: number;
  /** In [0, 1); null where a single candidate was left and nothing was drawn. */
  uniform: number | null;
  /** Candidates along the cumulative bar, up to the token's at least. */
  bar: { id: number; text: string; from: number; to: number }[];
}

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

/** variants: the ways in which a text stands in the vocabulary as one token. */
export type Variants = { id: number; text: string }[];

export interface Place {
  name: string;
  path: string;
}

/** places */
export interface Places {
  root: Place;
  demo: Place;
  recent: Place[];
  /** Folders of other programs' downloads, where they exist. */
  caches: Place[];
}

/** browse */
export interface Listing {
  path: string;
  crumbs: Place[];
  folders: Place[];
  files: FoundFile[];
}

export interface FoundFile {
  name: string;
  path: string;
  kind: "gguf" | "inferno";
  bytes: number;
  /** Files it is split into. */
  parts: number;
}

/** What is odd about a model's file. All of it may be the file's own words. */
export interface Finding {
  severity: "error" | "warning";
  field: string;
  offset: number | null;
  found: string;
  expected: string;
  advice: string;
  /** All of it in one line. */
  text: string;
}

/** inspect */
export interface Header extends ModelCard {
  bytes: number;
  n_layer: number;
  chat: boolean;
  findings: Finding[];
}

/** estimate. Sizes are bytes. */
export interface Estimate {
  n_ctx: number;
  n_ctx_train: number;
  weights: number;
  kv: number;
  compute: number;
  total: number;
  free: number;
  fits: boolean;
  /** The longest context that fits, at most the trained one; 0 where none does. */
  n_ctx_fit: number;
}

/** metadata */
export interface Metadata {
  card: ModelCard & { file: string; bytes: number; n_ctx: number; n_layer: number; n_embd: number; n_head: number };
  findings: Finding[];
  rows: { key: string; type: string; value: string }[];
  template: string | null;
}

/** vocabulary */
export type FoundTokens = { id: number; text: string }[];

/** render */
export interface Rendered {
  text: string;
  tokens: { id: number; text: string; special: boolean }[];
}

/** export and save: with an empty path the bytes come as the answer's buffer, for the page to download. */
export interface Exported {
  name: string;
  mime: string;
  /** Where it was written; "" where it was not. */
  path: string;
}

/** verify */
export interface Verified {
  same: boolean;
  compared: number;
  largest: number;
  tolerance: number;
  message: string;
}

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

/** One head of one layer; the mean or the largest over heads (of the layer) or over all; or rollout over all layers. */
export type Over = "one" | "mean" | "max" | "all_mean" | "all_max" | "rollout";

/** head_map: one map whole. Buffer: uint8 [length, length], the square root of the weight times 255. */
export interface HeadMap {
  node: number;
  layer: number;
  head: number;
  length: number;
  code: string;
}

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

/**
 * attribution: logits that each part added to the token `token`'s, the last norm linearised. Here and below `node` is the
 * token that is predicted, as in explain; -1 is the newest, and the first of a text has no prediction.
 */
export interface Attributed {
  node: number;
  token: { id: number; text: string };
  attn_out: number[];
  mlp: number[];
  start: number;
  added: number;
  bias: number;
  logit: number;
  code: string;
}

/** causal_map, and its partial answers: what the prediction of a token loses without each head. null: not tried yet. */
export interface Causal {
  node: number;
  token: { id: number; text: string };
  layers: number[];
  /** KL(with || without), nats [layer][head]. */
  kl: (number | null)[][];
  /** Change of the token's logprob, nats. */
  change: (number | null)[][];
  last: boolean;
}

/** try_edits: the distribution at a token by the untouched model and under these edits alone; nothing is recorded. */
export interface Tried {
  node: number;
  /** The most likely of both. */
  tokens: { id: number; text: string; before: number; after: number }[];
  /** KL(before || after), nats. */
  kl: number;
  code: string;
}
