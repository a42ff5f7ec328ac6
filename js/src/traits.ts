/** The widget's traits, each held against the shape that it should have. */
import { named } from "./answers/text.js";
import type { Failure, State } from "./protocol.js";
import {
  any,
  type Fields,
  fitted,
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
export const failure: Shape<Failure> = object({ type: text, message: text });
const state_: Shape<State> = text as Shape<State>; // a newer version may have more

/** A recorded run may know less of its model than a model does. */
export const CARD: Fields<state.ModelCard> = {
  name: maybe(text) as Shape<string>,
  architecture: maybe(text) as Shape<string>,
  parameters: maybe(number) as Shape<number>,
  quantisation: maybe(text) as Shape<string>,
  n_ctx_train: maybe(number) as Shape<number>,
  n_vocab: maybe(number) as Shape<number>,
};

const STATUS: Fields<state.Status> = {
  state: state_,
  model: maybe(object(CARD)),
  size: maybe(object({ n_layer: count, n_head: count })),
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

const LOOK: Fields<state.Look> = {
  metric: one(state.METRICS),
  palette: one(state.PALETTES),
  top_k: whole(1, 1_000),
  glyphs: flag,
  font_size: whole(1, 1_000),
  follow: flag,
  presets: list(object<state.Preset>({ name: text, builtin: flag, settings: table(any) })),
  note: text,
};

const LIBRARY: Fields<state.Library> = {
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

const MARKS: Fields<state.Marks> = {
  names: table(whole(-1)),
  pruned: list(count),
  diverged: list(count),
  watches: list(object<state.Watch>({ name: text, tokens: list(named) })),
  edits: list(edit),
  altered: list(object({ node: count, edits: text })),
};

const PANELS = list(text);

/** Every panel: those of a page that was told none. */
const ALL_PANELS = ["status", "tools", "controls", "stream", "logits", "strip", "explore", "inside"];

export class Traits {
  readonly #get: (name: string) => unknown;
  readonly #wrong: (fault: string) => void;
  /** Those that come as messages, because a notebook must not keep them. */
  readonly #told = new Map<string, unknown>();
  /** As they came, and what can be used of them. */
  readonly #fits = new Map<string, { raw: unknown; value: unknown }>();

  /** `get` reads one from the widget's model; `wrong` hears what is not as it should be. */
  constructor(get: (name: string) => unknown, wrong: (fault: string) => void) {
    this.#get = get;
    this.#wrong = wrong;
  }

  /** A message says what a trait is, until the model says something newer. */
  tell(name: string, value: unknown): void {
    this.#told.set(name, value);
  }

  synced(name: string): void {
    this.#told.delete(name);
  }

  get panels(): readonly string[] {
    const panels = this.#raw("panels");
    return PANELS(panels, "panels") ? ALL_PANELS : (panels as string[]);
  }

  get prompt(): string {
    const prompt = this.#raw("prompt");
    return typeof prompt === "string" ? prompt : "";
  }

  /** Node that is selected; -1: none is. */
  get selection(): number {
    const node = this.#raw("selection");
    return Number.isInteger(node) ? (node as number) : -1;
  }

  get settings(): Partial<state.Settings> {
    return this.#fit<Partial<state.Settings>>("settings", {}, SETTINGS);
  }

  get status(): state.Status {
    return this.#fit("status", state.IDLE, STATUS);
  }

  get look(): state.Look {
    return this.#fit("look", state.LOOK, LOOK);
  }

  get marks(): state.Marks {
    return this.#fit("marks", state.MARKS, MARKS);
  }

  get library(): state.Library {
    return this.#fit("library", state.LIBRARY, LIBRARY);
  }

  #raw(name: string): unknown {
    return this.#told.get(name) ?? this.#get(name);
  }

  /** What of a trait has its shape, and the defaults for the rest. */
  #fit<T extends object>(name: string, defaults: T, shapes: Fields<T>): T {
    const raw = this.#raw(name);
    const known = this.#fits.get(name);
    if (known && known.raw === raw) return known.value as T;
    const { value, fault } = fitted(raw, name, defaults, shapes);
    this.#fits.set(name, { raw, value });
    if (fault) this.#wrong(fault);
    return value;
  }
}
