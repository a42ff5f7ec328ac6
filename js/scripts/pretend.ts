/** A kernel that is pretended: a file system, models, sessions, and an answer for every command of the drawers. */

import type { Estimate, Finding, FoundFile, Header, Listing, Metadata, Place, Places } from "../src/answers/files.js";
import type { Rendered } from "../src/answers/text.js";
import type { Failure, ToKernel } from "../src/protocol.js";
import type { Library, Marks, OpenSession, Settings } from "../src/state.js";
import { decodeText, label } from "../src/text.js";
import type { Row } from "../test/encode.js";
import type { FakeModel } from "../test/fake.js";
import { ahead } from "./pretend/ahead.js";
import { committed, resampled, variants, watchOf, whatIf } from "./pretend/asked.js";
import { attribution, causalMap, lens, tried } from "./pretend/inside.js";
import { xray } from "./pretend/xray.js";

/** `parts` come before the value, one after the other. */
export type Outcome = { value?: unknown; error?: Failure; buffers?: DataView[]; parts?: unknown[] };

/** The run that is shown. */
export interface Run {
  rows: readonly Row[];
  /** The bytes of a token. */
  bytes: (id: number) => Uint8Array;
  /** Sends all rows again. */
  again: () => void;
}

const HOME = "/home/ada";
const LONG =
  "a-very-long-name-that-somebody-gave-to-a-fine-tuned-model-which-was-merged-twice-and-quantised-again-Q4_K_M.gguf";
const gguf = (path: string, bytes: number, parts = 1): FoundFile => ({
  name: path.split("/").at(-1) as string,
  path,
  kind: "gguf",
  bytes,
  parts,
});
const run = (path: string, bytes: number): FoundFile => ({ ...gguf(path, bytes), kind: "inferno" });

const FILES: FoundFile[] = [
  gguf(`${HOME}/models/Qwen2.5-0.5B-Instruct-Q8_0.gguf`, 531e6),
  gguf(`${HOME}/models/gemma-3-1b-it-Q4_K_M.gguf`, 806e6),
  gguf(`${HOME}/models/Llama-3.3-70B-Instruct-Q4_K_M-00001-of-00002.gguf`, 42.5e9, 2),
  gguf(`${HOME}/models/SmolLM2-135M-Q8_0.gguf`, 145e6),
  gguf(`${HOME}/models/broken-download.gguf`, 12e6),
  gguf(`${HOME}/models/${LONG}`, 4.9e9),
  gguf(`${HOME}/models/小さなモデル-日本語-Q8_0.gguf`, 210e6),
  ...Array.from({ length: 12 }, (_, i) => gguf(`${HOME}/models/checkpoint-${(i + 1) * 1000}-f16.gguf`, 62e6)),
  run(`${HOME}/models/the king and his daughters.inferno`, 212e3),
  run(`${HOME}/runs/first.inferno`, 96e3),
];

const card = (name: string, architecture: string, parameters: number, quantisation: string, n_ctx_train: number) => ({
  name,
  architecture,
  parameters,
  quantisation,
  n_ctx_train,
  n_vocab: 151936,
});

const DEMO = { ...card("demo", "llama", 3145728, "Q8_0", 512), n_vocab: 4096 };

const ODD: Finding = {
  severity: "warning",
  field: "tokenizer.ggml.eos_token_id",
  offset: 6_291_456,
  found: "262,144",
  expected: "the id of one of the 262,144 tokens",
  advice: "llama.cpp takes another in its place: texts may never end, or begin wrongly",
  text: "tokenizer.ggml.eos_token_id, byte 6,291,456: 262,144; expected the id of one of the 262,144 tokens; llama.cpp takes another in its place: texts may never end, or begin wrongly",
};

function headerOf(path: string): Header | Failure {
  const file = FILES.find((one) => one.path === path);
  const more = { bytes: file?.bytes ?? 3.6e6, n_layer: 24, chat: /nstruct|-it-/.test(path), findings: [] as Finding[] };
  if (path.includes("broken"))
    return {
      type: "ModelFileError",
      message: `${path}: tensor 'blk.17.ffn_up.weight' ends at byte 96,213,504, but the file has only 12,000,000: it was cut off. Download it again, or compare its size with that of the source.`,
    };
  if (path.includes("Qwen")) return { ...card("Qwen2.5 0.5B Instruct", "qwen2", 494e6, "Q8_0", 32768), ...more };
  if (path.includes("gemma")) {
    const findings = [ODD];
    return { ...card("Gemma 3 1b It", "gemma3", 1e9, "Q4_K_M", 32768), ...more, n_layer: 26, findings };
  }
  if (path.includes("70B"))
    return { ...card("Llama 3.3 70B", "llama", 70.6e9, "Q4_K_M", 131072), ...more, n_layer: 80 };
  if (path === "demo") return { ...DEMO, ...more, n_layer: 6 };
  return { ...card("A model", "llama", 135e6, "Q8_0", 8192), ...more, n_layer: 30 };
}

function estimateOf(path: string, n_ctx: number): Estimate {
  const { bytes: weights, n_ctx_train, n_layer } = headerOf(path) as Header;
  const free = 8.3e9;
  const [kv, compute] = [n_ctx * n_layer * 512, 60e6 + n_ctx * 1200];
  const total = weights + kv + compute;
  const fit = Math.floor((free - weights - 60e6) / (n_layer * 512 + 1200) / 256) * 256;
  const n_ctx_fit = Math.max(0, Math.min(fit, n_ctx_train));
  return { n_ctx, n_ctx_train, weights, kv, compute, total, free, fits: total <= free, n_ctx_fit };
}

const n_ctx_train = (path: string): number => (headerOf(path) as Header).n_ctx_train;

const PLACES: Places = {
  root: { name: "Home", path: "" },
  demo: { name: "demo.gguf", path: "demo" },
  recent: FILES.slice(0, 2).map(({ name, path }) => ({ name, path })),
  caches: [
    { name: "Hugging Face", path: `${HOME}/.cache/huggingface` },
    { name: "llama.cpp", path: `${HOME}/.cache/llama.cpp` },
  ],
};

function listing(asked: string, hidden: boolean): Listing | Failure {
  const path = asked || HOME;
  if (path.endsWith("locked"))
    return { type: "InfernoError", message: `${path} cannot be read: permission denied. Choose another folder.` };
  const names: Record<string, string[]> = {
    [HOME]: ["models", "runs", "locked", "leer", ...(hidden ? [".cache"] : [])],
  };
  const folders = (names[path] ?? []).map((name): Place => ({ name, path: `${path}/${name}` }));
  const below = path.slice(HOME.length).split("/").filter(Boolean);
  const crumbs = [
    { name: "Home", path: "" },
    ...below.map((name, i) => ({ name, path: [HOME, ...below.slice(0, i + 1)].join("/") })),
  ];
  const files = FILES.filter((file) => file.path.slice(0, file.path.lastIndexOf("/")) === path);
  return { path, crumbs, folders, files };
}

const TEMPLATE = `{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}`;

const metadata = (chat: boolean): Metadata => ({
  card: { ...DEMO, file: `${HOME}/.venv/lib/demo.gguf`, bytes: 3.6e6, n_ctx: 512, n_layer: 6, n_embd: 192, n_head: 6 },
  rows: [
    { key: "general.architecture", type: "str", value: "llama" },
    { key: "general.name", type: "str", value: "demo" },
    { key: "general.license", type: "str", value: "apache-2.0" },
    { key: "llama.attention.head_count", type: "u32", value: "6" },
    { key: "llama.attention.layer_norm_rms_epsilon", type: "f32", value: "1e-05" },
    { key: "llama.block_count", type: "u32", value: "6" },
    { key: "llama.context_length", type: "u32", value: "512" },
    { key: "llama.embedding_length", type: "u32", value: "192" },
    { key: "tokenizer.ggml.model", type: "str", value: "gpt2" },
    { key: "tokenizer.ggml.tokens", type: "arr[str, 4096]", value: `4,096 of "!", "\\"", "#", ${"'$', ".repeat(60)}…` },
    ...(chat ? [{ key: "tokenizer.chat_template", type: "str", value: TEMPLATE }] : []),
  ],
  findings: [],
  template: chat ? TEMPLATE : null,
});

function rendering(messages: { role: string; content: string }[]): Rendered | Failure {
  if (messages[0]?.role === "assistant")
    return { type: "InfernoError", message: "the chat template refused these messages: the first is not a user's" };
  const tokens: Rendered["tokens"] = [];
  const add = (text: string, special = false): number => tokens.push({ id: tokens.length, text, special });
  for (const { role, content } of messages) {
    add("<|im_start|>", true);
    add(`${role}\n`);
    for (const word of content.split(/(?= )/)) add(word);
    add("<|im_end|>", true);
    add("\n");
  }
  add("<|im_start|>", true);
  add("assistant\n");
  return { text: tokens.map(({ text }) => text).join(""), tokens };
}

const now = Date.now() / 1000;
const session = (id: number, name: string, more: Partial<OpenSession> = {}): OpenSession => ({
  id,
  name,
  model: "demo",
  tokens: 162,
  state: "ready",
  started: now - 600 * id,
  current: false,
  live: true,
  ...more,
});

const task = { id: 1, kind: "load" as const, name: "gemma-3-1b-it-Q4_K_M.gguf", stage: "reading the weights" };

/** `library` as the address asks for it: empty, loading, failed, many; else what is usual. */
export function library(scene: string): Library {
  const demo = {
    id: 1,
    name: "demo",
    file: `${HOME}/.venv/lib/demo.gguf`,
    current: true,
    n_ctx: 512,
    rss: 41e6,
    weights: 3.6e6,
    kv_reserved: 2.4e6,
    kv_used: 0.9e6,
    warnings: 0,
    holders: [
      { session: "story", tokens: 162 },
      { session: "story, the daughters", tokens: 96 },
    ],
  };
  const qwen = {
    ...demo,
    id: 2,
    name: "Qwen2.5 0.5B Instruct",
    current: false,
    n_ctx: 4096,
    rss: 0.72e9,
    weights: 531e6,
  };
  const memory = {
    engines: 41e6,
    weights: 3.6e6,
    kv_used: 0.9e6,
    kv_reserved: 2.4e6,
    traces: 1.2e6,
    free: 8.3e9,
    warning: "",
  };
  const usual: Library = {
    models: [demo],
    sessions: [
      session(1, "story", { current: true }),
      session(2, "story, the daughters", { state: "paused", tokens: 96 }),
    ],
    tasks: [],
    memory,
    undo: null,
  };
  if (scene === "empty") return { models: [], sessions: [], tasks: [], memory: null, undo: null };
  if (scene === "loading") return { ...usual, tasks: [{ ...task, progress: 0.43, error: null }] };
  if (scene === "failed")
    return { ...usual, tasks: [{ ...task, progress: null, error: headerOf("broken") as Failure }] };
  if (scene !== "many") return usual;
  return {
    models: [demo, { ...qwen, kv_reserved: 50e6, kv_used: 12e6, holders: [{ session: "a chat", tokens: 812 }] }],
    sessions: [
      ...usual.sessions,
      session(3, "a chat", { model: "Qwen2.5 0.5B Instruct", tokens: 812, state: "generating" }),
      session(70, "昔々あるところに、お爺さんとお婆さんがいました", { live: false, state: "closed" }),
      session(900, LONG, { model: LONG, tokens: 100000, state: "error" }),
    ],
    tasks: [{ ...task, kind: "download", name: "owner/repo-GGUF", stage: "downloading", progress: null, error: null }],
    memory: {
      ...memory,
      engines: 0.76e9,
      weights: 535e6,
      kv_used: 13e6,
      kv_reserved: 52e6,
      free: 0.4e9,
      warning: "Only 400 MB of memory are free. Unload a model, or load it with a shorter context.",
    },
    undo: "delete “story 2”",
  };
}

/** What the kernel would answer; undefined for a command that the preview itself knows. */
export function outcome(message: ToKernel, model: FakeModel, run: Run): Outcome | undefined {
  const name = (id: number): string => label(decodeText(run.bytes(id)).parts).replaceAll("·", " ");
  const told = (value: object): Outcome =>
    "message" in value && "type" in value ? { error: value as Failure } : { value };
  switch (message.kind) {
    case "lookahead":
      return ahead(run.rows[message.node], message.node, message.k, message.depth, name);
    case "explain": {
      const own = model.get("settings") as Partial<Settings>;
      return { value: xray(run.rows[message.node], message.node, message.settings as Settings | null, own, name) };
    }
    case "lens":
      return lens(run.rows, message.node, message.n, message.k, name);
    case "attribution":
      return attribution(run.rows, message.node, name);
    case "try_edits":
      return tried(run.rows, message.node, message.edits, name);
    case "causal_map":
      return causalMap(run.rows, message.node, message.last, name);
    case "intervene":
      model.put("marks", { ...(model.get("marks") as Marks), edits: message.edits });
      return {};
    case "variants":
      return { value: variants(message.text) };
    case "watch": {
      const marks = model.get("marks") as Marks;
      const others = marks.watches.filter((watch) => watch.name !== message.name);
      model.put("marks", { ...marks, watches: [...others, watchOf(message.name, message.tokens)] });
      run.again();
      return {};
    }
    case "unwatch": {
      const marks = model.get("marks") as Marks;
      model.put("marks", { ...marks, watches: marks.watches.filter((watch) => watch.name !== message.name) });
      return {};
    }
    case "what_if": {
      const current = Number((model.get("settings") as Record<string, unknown>)[message.parameter] ?? 0);
      return {
        value: whatIf(message.parameter, message.values as number[], current, run.rows.length, message.rows),
      };
    }
    case "resample":
      return resampled(message.node, message.n);
    case "commitment": {
      const nodes = run.rows.map((_, node) => node).slice(message.node, message.node + 30);
      return committed(message.node, nodes, message.n, message.every);
    }
    case "places":
      return { value: PLACES };
    case "browse":
      return told(listing(message.path, message.hidden));
    case "inspect":
      return told(headerOf(message.path));
    case "estimate":
      return { value: estimateOf(message.path, message.n_ctx || Math.min(4096, n_ctx_train(message.path))) };
    case "metadata":
      return { value: metadata(Boolean((model.get("status") as { chat?: boolean }).chat)) };
    case "render":
      return told(rendering(message.messages as { role: string; content: string }[]));
    case "download":
      return {
        error: { type: "MissingExtra", message: "huggingface_hub is not installed: pip install 'inferno-widget[hub]'" },
      };
    case "save":
    case "export":
      return exported(message.path);
    case "verify":
      return { value: { same: true, compared: 162, largest: 0.00031, tolerance: 0.1, message: "" } };
    default:
      return undefined;
  }
}

function exported(path: string): Outcome {
  const value = { name: "story.html", mime: "text/html", path };
  return { value, buffers: path ? [] : [new DataView(new TextEncoder().encode("<p>a story").buffer)] };
}
