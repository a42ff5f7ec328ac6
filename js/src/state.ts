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

// --- answers, by the kind of the command ---

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

/** inspect */
export interface Header extends ModelCard {
  bytes: number;
  n_layer: number;
  chat: boolean;
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
