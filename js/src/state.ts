/** What the kernel tells of itself: the widget's traits, and what they are where nothing was told. */
import type { Named } from "./answers/text.js";
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
  /** Of the model, where one can be asked. */
  size: { n_layer: number; n_head: number } | null;
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
  size: null,
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
  tokens: Named[];
}

export const MARKS: Marks = { names: {}, pruned: [], diverged: [], watches: [], edits: [], altered: [] };
