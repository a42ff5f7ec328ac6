/** Every setting of the next tokens: names, defaults and help are those of Python's `Sampler` and `Controls`. */
import type { Settings } from "../../state.js";

/** The settings that are one number. */
export type NumberName = Exclude<
  keyof Settings,
  "logit_bias" | "grammar" | "dry_sequence_breakers" | "stop" | "on_full"
>;

export interface Field {
  name: NumberName;
  label: string;
  /** Its name among its like. */
  short?: string;
  usual: number | null;
  /** One line. */
  help: string;
  /** What an arrow key adds. */
  step: number;
  unit?: string;
  /** Where the slider may stand, from left to right. A number that is typed may be any other. */
  stops: readonly number[];
  /** What a value means where the number alone does not say it. */
  means?: (value: number) => string;
}

const even = (from: number, to: number, step: number): number[] =>
  Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => Number((from + i * step).toFixed(6)));

const off =
  (at: (value: number) => boolean, word = "off") =>
  (value: number): string =>
    at(value) ? word : "";

export const FIELDS: readonly Field[] = [
  {
    name: "repeat_penalty",
    label: "repeat penalty",
    short: "repeat",
    usual: 1,
    step: 0.05,
    help: "Divides the logits of recent tokens: above 1 they come again less often",
    stops: even(0.8, 2, 0.01),
    means: off((value) => value === 1),
  },
  {
    name: "frequency_penalty",
    label: "frequency penalty",
    short: "frequency",
    usual: 0,
    step: 0.1,
    help: "Taken from the logit for each time the token has come",
    stops: even(-2, 2, 0.05),
    means: off((value) => value === 0),
  },
  {
    name: "presence_penalty",
    label: "presence penalty",
    short: "presence",
    usual: 0,
    step: 0.1,
    help: "Taken from the logit once, if the token has come at all",
    stops: even(-2, 2, 0.05),
    means: off((value) => value === 0),
  },
  {
    name: "penalty_last_n",
    label: "penalised tokens",
    short: "last tokens",
    usual: 64,
    step: 8,
    unit: "tokens",
    help: "How far back the penalties look; 0 is not at all, -1 the whole text",
    stops: [0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, -1],
    means: (value) => (value === 0 ? "off" : value < 0 ? "all" : ""),
  },
  {
    name: "dry_multiplier",
    label: "DRY multiplier",
    short: "multiplier",
    usual: 0,
    step: 0.1,
    help: "Taken from the logit of a token that goes on with a repetition; 0 is off",
    stops: even(0, 5, 0.05),
    means: off((value) => value === 0),
  },
  {
    name: "dry_base",
    label: "DRY base",
    short: "base",
    usual: 1.75,
    step: 0.05,
    help: "DRY's penalty is multiplied by this for each token that the repetition is longer; below 1 is off",
    stops: even(1, 4, 0.05),
    means: off((value) => value < 1),
  },
  {
    name: "dry_allowed_length",
    label: "DRY allowed length",
    short: "allowed",
    usual: 2,
    step: 1,
    unit: "tokens",
    help: "Repetitions that are shorter than this cost nothing",
    stops: even(0, 20, 1),
  },
  {
    name: "dry_penalty_last_n",
    label: "DRY's tokens",
    short: "last tokens",
    usual: 64,
    step: 8,
    unit: "tokens",
    help: "How far back DRY looks for repetitions; 0 is not at all, -1 the whole text",
    stops: [0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, -1],
    means: (value) => (value === 0 ? "off" : value < 0 ? "all" : ""),
  },
  {
    name: "top_n_sigma",
    label: "top-n-sigma",
    usual: -1,
    step: 0.1,
    unit: "σ",
    help: "Keep logits within n standard deviations of the largest; 0 or less keeps all",
    stops: [-1, ...even(0.1, 5, 0.1)],
    means: off((value) => value <= 0),
  },
  {
    name: "top_k",
    label: "top-k",
    usual: 40,
    step: 1,
    unit: "tokens",
    help: "Keep the k most likely tokens; 0 keeps all",
    stops: [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000, 0],
    means: off((value) => value <= 0, "all"),
  },
  {
    name: "typical_p",
    label: "typical-p",
    usual: 1,
    step: 0.01,
    help: "Keep the tokens whose surprisal is nearest the entropy, up to this probability; 1 keeps all",
    stops: even(0.05, 1, 0.01),
    means: off((value) => value >= 1),
  },
  {
    name: "top_p",
    label: "top-p",
    usual: 0.95,
    step: 0.01,
    help: "Keep the most likely tokens that have this much probability together; 1 keeps all",
    stops: even(0, 1, 0.01),
    means: off((value) => value >= 1),
  },
  {
    name: "min_p",
    label: "min-p",
    usual: 0.05,
    step: 0.01,
    help: "Drop tokens less likely than this share of the most likely one; 0 drops none",
    stops: [0, 0.001, 0.002, 0.005, ...even(0.01, 0.2, 0.01), ...even(0.25, 1, 0.05)],
    means: off((value) => value === 0),
  },
  {
    name: "xtc_probability",
    label: "XTC probability",
    short: "XTC",
    usual: 0,
    step: 0.05,
    help: "How often all top choices but the least likely of them are excluded; 0 is never",
    stops: even(0, 1, 0.01),
    means: off((value) => value === 0),
  },
  {
    name: "xtc_threshold",
    label: "XTC threshold",
    short: "top choice",
    usual: 0.1,
    step: 0.01,
    help: "A token is one of XTC's top choices if it is at least this likely; above 0.5 is off",
    stops: even(0, 0.51, 0.01),
    means: off((value) => value > 0.5),
  },
  {
    name: "mirostat_mode",
    label: "mirostat",
    usual: 0,
    step: 1,
    help: "1 or 2 holds the surprisal near a target instead of cutting off the tail as above; 0 is off",
    stops: [0, 1, 2],
    means: (value) => (value === 0 ? "off" : `version ${value}`),
  },
  {
    name: "mirostat_tau",
    label: "mirostat tau",
    short: "target",
    usual: 5,
    step: 0.5,
    unit: "bits",
    help: "The surprisal that mirostat aims at: low is predictable text, high is surprising text",
    stops: even(0, 10, 0.1),
  },
  {
    name: "mirostat_eta",
    label: "mirostat eta",
    short: "learning rate",
    usual: 0.1,
    step: 0.05,
    help: "How quickly mirostat follows the text after a token that surprised more or less",
    stops: even(0, 1, 0.01),
  },
  {
    name: "temperature",
    label: "temperature",
    usual: 0.8,
    step: 0.05,
    help: "0 always takes the most likely token; higher is more adventurous",
    stops: even(0, 2, 0.05),
    means: off((value) => value === 0, "greedy"),
  },
  {
    name: "seed",
    label: "seed",
    usual: null,
    step: 1,
    help: "The same seed throws the same dice; empty: new dice for every run",
    stops: [],
  },
  {
    name: "max_tokens",
    label: "max tokens",
    usual: 128,
    step: 10,
    unit: "tokens",
    help: "How many tokens Run generates at most",
    stops: [1, 2, 5, 10, 20, 50, 100, 128, 150, 200, 256, 300, 400, 512, 750, 1000, 2000, 5000, 10_000, 20_000, 50_000],
  },
  {
    name: "keep",
    label: "keep",
    usual: 1,
    step: 8,
    unit: "tokens",
    help: "Tokens at the beginning that stay when the window slides; many models write badly without their first",
    stops: [0, 1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048],
  },
];

const BY_NAME = new Map(FIELDS.map((field) => [field.name, field]));

export const isNumber = (name: string): name is NumberName => BY_NAME.has(name as NumberName);

export const fieldOf = (name: NumberName): Field => BY_NAME.get(name) as Field;

/** What every setting is where nobody changed it. */
export const USUAL: Settings = {
  ...(Object.fromEntries(FIELDS.map(({ name, usual }) => [name, usual])) as Pick<Settings, NumberName>),
  dry_sequence_breakers: ["\n", ":", '"', "*"],
  logit_bias: {},
  grammar: "",
  stop: [],
  on_full: "stop",
};

/** Names in Python's order. */
export const SETTINGS = [
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "typical_p",
  "top_n_sigma",
  "repeat_penalty",
  "frequency_penalty",
  "presence_penalty",
  "penalty_last_n",
  "dry_multiplier",
  "dry_base",
  "dry_allowed_length",
  "dry_penalty_last_n",
  "dry_sequence_breakers",
  "xtc_probability",
  "xtc_threshold",
  "mirostat_mode",
  "mirostat_tau",
  "mirostat_eta",
  "logit_bias",
  "grammar",
  "seed",
  "max_tokens",
  "stop",
  "on_full",
  "keep",
] as const satisfies readonly (keyof Settings)[];

/** Those that are no part of a `Sampler`: they say how a run ends. */
const OF_A_RUN: readonly (keyof Settings)[] = ["max_tokens", "stop", "on_full", "keep"];
/** What chooses a token. */
export const SAMPLING = SETTINGS.filter((name) => !OF_A_RUN.includes(name));
/** Those that are no part of a preset: the dice belong to a run, token ids to a model, a grammar to what is written. */
const APART: readonly (keyof Settings)[] = ["seed", "logit_bias", "grammar", ...OF_A_RUN];

export const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Whether a setting differs from the default; one that the kernel has not named does not. */
export function isChanged(settings: Partial<Settings>, name: keyof Settings): boolean {
  const value = settings[name];
  return value !== undefined && !same(value, USUAL[name]);
}

/** The settings that differ from the defaults, in Python's order. */
export const changed = (settings: Partial<Settings>): (keyof Settings)[] =>
  SETTINGS.filter((name) => isChanged(settings, name));

/** Whether the sampler is what a preset makes of the defaults. */
export function isPreset(settings: Partial<Settings>, preset: Partial<Settings>): boolean {
  const wanted = { ...USUAL, ...preset };
  return SETTINGS.filter((name) => !APART.includes(name)).every(
    (name) => settings[name] === undefined || same(settings[name], wanted[name]),
  );
}
