/**
 * The widget with a pretended kernel, to look at while it is being made. The address says what to show:
 * ?theme=dark&state=generating&select=12&text=mixed&n=150&panels=stream,logits&kernel=none&error=1
 * and for the drawers ?tool=model&library=many (or empty, loading, failed)&chat=1&use=1, ?tool=xray, ?ahead=1,
 * ?tool=watch&watch=king,good end
 */
import { LIMITS } from "../src/protocol.js";
import type { Marks } from "../src/state.js";
import widget from "../src/widget.js";
import { encode, type Row } from "../test/encode.js";
import { FakeModel } from "../test/fake.js";
import { watchedAt, watchOf } from "./pretend/asked.js";
import { attended, follow } from "./pretend/attention.js";
import { library, outcome } from "./pretend.js";
import { branch, travelled } from "./roads.js";

const STORY =
  " sons; and when they had finished their title, they were so angry that they were so glad, for all the three" +
  " brothers could not bear their hearts; and they went away so fast that they could not come down and do so, and" +
  " went away with all the court and servants who had left the palace. They had no help to go, but, and they found" +
  " they had already gone, so they said to him: \"The king's son has been a prince to the royal presence of my" +
  " father, and he has taken all his treasures to his father and mother, and he would have been a king's son. But" +
  ' as he went through the wood he met an old woman, who said, "Whither away so early?"\n\n"I am going into the' +
  ' world," answered he, "to seek the water of life."\n';
const MIXED =
  " sons  (with two spaces)\tand a tab,\nthen 你好，世界。 這是一個故事 and 🐉 and 👩‍👩‍👧 and a naïve café;" +
  " then\u200b nothing\u0007 seen, donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" +
  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\n" +
  "مرحبا بالعالم and שלום — “quotes”…\n    def f(x):\n        return x\n";

const wanted = new URLSearchParams(location.search);
const utf8 = new TextEncoder();
let seed = Number(wanted.get("seed") ?? 5);
const random = (): number => {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed / 2 ** 32;
};

const ids = new Map<string, number>();
const pieces: [number, Uint8Array][] = [];
function idOf(bytes: Uint8Array): number {
  const name = bytes.join();
  let id = ids.get(name);
  if (id === undefined) {
    id = ids.size;
    ids.set(name, id);
    pieces.push([id, bytes]);
  }
  return id;
}

const split = (text: string): Uint8Array[] =>
  (text.match(/ ?[A-Za-z]{1,7}|\s?[^A-Za-z\s]|\n|\s/gu) ?? []).flatMap((part) => {
    const bytes = utf8.encode(part);
    return bytes.length < 4 ? [bytes] : /[A-Za-z]/.test(part) ? [bytes] : [...bytes].map((byte) => Uint8Array.of(byte));
  });

const OTHERS =
  " sons; daughters; brothers; children; daughter; sisters; son; eldest; great; beautiful; friends; little; wives;\n; fair; \t; 好; golden; princes; young; was; the; and; a".split(
    ";",
  );

function row(parent: number, bytes: Uint8Array, kind: number): Row {
  const token_id = idOf(bytes);
  const blank = { parent, token_id, kind };
  if (parent < 0) return blank;
  const sure = random();
  const surprisal = sure < 0.4 ? random() * 0.3 : -Math.log(random()) * 1.7;
  const p = Math.exp(-surprisal);
  const shares = [p];
  let left = 1 - p;
  for (let i = 0; i < 40; i++) {
    const share = left * (0.25 + 0.4 * random());
    shares.push(share);
    left -= share;
  }
  const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  const names = OTHERS.map((other) => idOf(utf8.encode(other))).filter((id) => id !== token_id);
  const top = order.slice(0, 20);
  return {
    ...blank,
    logprob: Math.log(p),
    rank: order.indexOf(0) + 1,
    entropy: -shares.reduce((sum, share) => sum + share * Math.log(share), 0),
    sampled_prob: Math.min(1, p * 1.05),
    kept: kind === 0 ? 0 : 8,
    draw: random(),
    ms: 8,
    tail: 1 - top.reduce((sum, i) => sum + shares[i], 0),
    top_ids: top.map((i) => (i === 0 ? token_id : names[i % names.length])),
    top_logprobs: top.map((i) => Math.log(shares[i])),
    top_kept: 0xff,
  };
}

function trace(): Row[] {
  const prompt = split("Once upon a time there was a king who had three");
  const n = Number(wanted.get("n") ?? 150);
  const words = split(wanted.get("text") === "mixed" ? MIXED + STORY : STORY);
  const rows = prompt.map((bytes, i) => row(i - 1, bytes, 0));
  for (let i = 0; i < n; i++) rows.push(row(rows.length - 1, words[i % words.length], i === 12 ? 2 : 1));
  if (wanted.has("cut")) rows.push(row(rows.length - 1, Uint8Array.of(0xf0), 1));
  return rows;
}

if (wanted.has("theme")) document.body.dataset.jpThemeLight = String(wanted.get("theme") !== "dark");

const state = wanted.get("state") ?? "generating";
const empty = state === "empty" || state === "loading";
const rows = empty ? [] : trace();
let head = rows.length - 1;
const words = split(STORY);
const marks = branch(rows, empty ? 0 : Number(wanted.get("branches") ?? 0), random, (parent) => {
  rows.push(row(parent, words[Math.floor(random() * words.length)], 1));
  return rows.length - 1;
});
const model = new FakeModel({
  prompt: wanted.get("prompt") ?? "Once upon a time there was a king who had three",
  settings: {
    temperature: 0.75,
    top_k: 40,
    top_p: 0.95,
    min_p: 0.05,
    seed: 12,
    max_tokens: 150,
    grammar: wanted.get("grammar") ?? "",
  },
  selection: Number(wanted.get("select") ?? -1),
  marks: {
    ...marks,
    watches: (wanted.get("watch")?.split(",") ?? []).map((name) => watchOf(name, [` ${name}`, name])),
  },
  library: library(wanted.get("library") ?? (empty ? "empty" : "usual")),
  ...(wanted.has("panels") && { panels: wanted.get("panels")?.split(",") }),
  status: {
    state,
    model:
      state === "loading" || wanted.get("library") === "empty"
        ? null
        : {
            name: "demo",
            architecture: "llama",
            parameters: 3145728,
            quantisation: "Q8_0",
            n_ctx_train: 512,
            n_vocab: 4096,
          },
    n_ctx: state === "loading" ? 0 : 512,
    used: rows.length,
    tokens_per_second: empty ? null : 1240,
    rss: 41e6,
    progress: state === "loading" ? 0.43 : state === "prefill" ? 0.7 : null,
    error: wanted.has("error")
      ? {
          type: "EngineDiedError",
          message:
            "the engine's process ended during generate: killed by signal 9 (out of memory?). What was recorded is kept; go on to start a new one.",
        }
      : null,
    finish: state === "ready" ? "length" : null,
    chat: wanted.has("chat"),
    code: empty ? "" : 'session.fork(at=12, token=" daughters")',
  },
});

/** Between two parts of an answer. */
const PART_MS = 60;
const nothing = new Uint8Array(0);
const run = { rows, bytes: (id: number) => pieces[id]?.[1] ?? nothing, again: sendAgain };

let held = 0;
let seq = 0;
/** Sends the next rows, as the kernel would. */
function sendRows(to: number): void {
  const sent = rows.slice(held, to);
  const frame = encode({
    ...{ seq: ++seq, epoch: 1, start: held, rows: sent, k: 20, pieces: held ? [] : pieces },
    head: Math.min(head, to - 1),
  });
  const names = ((model.get("marks") as Marks | undefined)?.watches ?? []).map(({ name }) => name);
  if (names.length)
    model.watchedRows(frame, Object.fromEntries(names.map((name) => [name, watchedAt(name, sent, held)])));
  else model.rows(frame);
  held = to;
}

function sendAgain(): void {
  const to = held;
  held = 0;
  sendRows(to);
}

function show(node: number): void {
  head = node;
  setTimeout(() => sendRows(held), 1000 / LIMITS.frames_per_second);
}

const elsewhere = { parent: (node: number) => rows[node].parent, text: wanted.get("prompt") ?? STORY, show };

model.onSend = (message) => {
  if (!("id" in message) || wanted.get("kernel") === "none") return;
  const { id } = message;
  setTimeout(() => {
    if (message.kind === "follow") return follow(model, rows, () => held, message);
    const known =
      attended(message, rows) ?? outcome(message, model, run) ?? travelled(message, model, { head, ...elsewhere });
    const parts = known?.parts ?? [];
    for (const [i, part] of parts.entries()) setTimeout(() => model.partial(id, part), PART_MS * i);
    if (known?.error) model.reply(id, known.error);
    else if (known) setTimeout(() => model.answer(id, known.value, known.buffers), PART_MS * parts.length);
    else if (message.kind === "set" && Number(message.value) < 0)
      model.reply(id, { type: "ValueError", message: `${message.name} = ${message.value}: must not be negative` });
    else {
      if (message.kind === "set")
        model.put("settings", { ...(model.get("settings") as object), [message.name]: message.value });
      if (message.kind === "fork" || message.kind === "run") model.status({ state: "generating" });
      if (message.kind === "pause") model.status({ state: "paused" });
      if (message.kind === "resume") model.status({ state: "generating" });
      if (message.kind === "stop") model.status({ state: "ready", finish: "cancelled" });
      model.reply(id);
    }
  }, 20);
};

const { initialize, render } = widget();
initialize({ model });
render({ el: document.querySelector("#host") as HTMLElement });
if (rows.length) {
  const live = wanted.has("live");
  sendRows(live ? Math.min(20, rows.length) : rows.length);
  if (live)
    setInterval(() => {
      if (held >= rows.length) return;
      sendRows(Math.min(rows.length, held + Number(wanted.get("live") || 3)));
      if (held % 10 === 0) model.status({ used: held });
    }, 1000 / LIMITS.frames_per_second);
}
if (wanted.has("use")) document.querySelector<HTMLElement>("[data-action=pool]")?.click();
document.querySelector<HTMLElement>(`[data-tool="${wanted.get("tool")}"]`)?.click();
if (wanted.has("ahead")) document.querySelector<HTMLElement>("[data-action=ahead]")?.click();
if (wanted.get("kernel") === "gone") model.emit("comm_live_update");
Object.assign(globalThis, { model });
