/**
 * What `make bench-ui` measures: our widget and a plain page with one span a token, with the same made-up run. The
 * address says which and how long: ?who=ours&n=100000, and &breaks=0 for text without line breaks. `bench()` does it all and gives the figures, in milliseconds.
 */
import { LOOK } from "../src/state.js";
import widget from "../src/widget.js";
import { encode, type Row } from "../test/encode.js";
import { FakeModel } from "../test/fake.js";

interface Token {
  text: string;
  surprisal: number;
  entropy: number;
}

/** What is measured: a page that shows tokens. */
interface Subject {
  /** From the bytes of the wire to data in memory. */
  read(): void;
  /** From the data in memory to the page. */
  show(): void;
  append(from: number, to: number): void;
  recolour(metric: "surprisal" | "entropy"): void;
  readonly scroller: HTMLElement;
}

const wanted = new URLSearchParams(location.search);
const N = Number(wanted.get("n") ?? 1000);
const BREAKS = wanted.get("breaks") !== "0";
/** Tokens a frame, and frames, of what is appended. */
const CHUNK = 100;
const FRAMES = 60;
/** Frames of scrolling, pixels each. */
const SCROLLS = 120;
const STEP = 180;
const TOP_K = 20;
const ROWS = 2000;
const WORDS = " the king had three sons and when they were grown he said to them , go out into world".split(/(?= )/);
const host = document.querySelector("#host") as HTMLElement;

let seed = 7;
const random = (): number => {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed / 2 ** 32;
};

const tokenAt = (i: number): Token => ({
  text: i % 61 === 60 && BREAKS ? "\n" : WORDS[(i * 7 + (i >> 3)) % WORDS.length],
  surprisal: -Math.log(1 - random()) * 1.5,
  entropy: random() * 4,
});

/** One span a token, as a page does it that shows tokens the plain way: a colour and a tooltip each. */
function plain(tokens: Token[]): Subject {
  const box = document.createElement("div");
  box.style.cssText = "height:440px;overflow-y:auto;white-space:pre-wrap;font:17px/1.95 serif;border:1px solid #ccc";
  const colour = (share: number): string => `rgb(255 ${Math.round(255 - 200 * Math.min(1, share))} 80)`;
  const add = (from: number, to: number): void => {
    const spans = document.createDocumentFragment();
    for (const { text, surprisal } of tokens.slice(from, to)) {
      const span = document.createElement("span");
      span.textContent = text;
      span.title = `p = ${Math.exp(-surprisal).toFixed(4)}`;
      span.style.backgroundColor = colour(surprisal / 9);
      spans.append(span);
    }
    box.append(spans);
    box.scrollTop = box.scrollHeight;
  };
  return {
    scroller: box,
    read() {}, // its tokens are objects already
    show() {
      add(0, N);
      host.append(box);
      box.scrollTop = box.scrollHeight;
    },
    append: add,
    recolour(metric) {
      for (let i = 0; i < box.children.length; i++)
        (box.children[i] as HTMLElement).style.backgroundColor = colour(tokens[i][metric] / 9);
    },
  };
}

/** The widget as it is, with the frames that a kernel would send; drawn in every frame, not ten times a second. */
function ours(tokens: Token[]): Subject {
  const ids = new Map<string, number>();
  for (const { text } of tokens) if (!ids.has(text)) ids.set(text, ids.size);
  const rowOf = ({ text, surprisal, entropy }: Token, i: number): Row => ({
    parent: i - 1,
    token_id: ids.get(text) as number,
    kind: 1,
    logprob: i ? -surprisal : Number.NaN,
    entropy,
    rank: i ? 1 + Math.floor(surprisal * 3) : 0,
    ms: 5,
    top_ids: Array.from({ length: TOP_K }, (_, k) => k % ids.size),
    top_logprobs: Array.from({ length: TOP_K }, (_, k) => -k),
  });
  let seq = 0;
  const frameOf = (from: number, to: number, head = to - 1): DataView =>
    encode({
      seq: ++seq,
      start: from,
      head,
      k: TOP_K,
      rows: tokens.slice(from, to).map((token, i) => rowOf(token, from + i)),
      pieces: from ? [] : Array.from(ids, ([text, id]) => [id, text] as const),
    });
  const first = Array.from({ length: Math.ceil(N / ROWS) }, (_, i) => frameOf(i * ROWS, Math.min(N, (i + 1) * ROWS)));
  const chunks = Array.from({ length: FRAMES }, (_, i) => frameOf(N + i * CHUNK, N + (i + 1) * CHUNK));
  const { initialize, render } = widget();
  const model = new FakeModel({ panels: ["stream"], status: { state: "ready" }, look: LOOK });
  return {
    get scroller() {
      return host.querySelector(".stream-text") as HTMLElement;
    },
    read() {
      initialize({ model });
      for (const frame of first.splice(0)) model.rows(frame);
    },
    show() {
      render({ el: host });
    },
    append() {
      model.rows(chunks.shift() as DataView);
    },
    recolour(metric) {
      model.put("look", { ...LOOK, metric });
    },
  };
}

const frame = (): Promise<number> => new Promise((done) => requestAnimationFrame(done));

/** When the next frame has been painted: a task that was queued while it was made. */
const painted = (): Promise<void> =>
  new Promise((done) => {
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => done();
      port2.postMessage(0);
    });
  });

async function took(act: () => void): Promise<number> {
  await painted();
  await new Promise((done) => setTimeout(done, 50));
  const start = performance.now();
  act();
  await painted();
  return performance.now() - start;
}

/** Time between frames while something is done in each. */
async function frames(count: number, act: (i: number) => void): Promise<number[]> {
  const times: number[] = [];
  let before = await frame();
  for (let i = 0; i < count; i++) {
    act(i);
    const now = await frame();
    times.push(now - before);
    before = now;
  }
  return times;
}

/** One after the other; a profile may be taken of each. */
function stepsOf(subject: Subject) {
  return {
    read(): number {
      const start = performance.now();
      subject.read();
      return performance.now() - start;
    },
    first: () => took(() => subject.show()),
    append: () => frames(FRAMES, (i) => subject.append(N + i * CHUNK, N + (i + 1) * CHUNK)),
    async recolour(): Promise<number[]> {
      const times: number[] = [];
      for (let i = 0; i < 5; i++) times.push(await took(() => subject.recolour(i % 2 ? "surprisal" : "entropy")));
      return times;
    },
    async scroll(): Promise<number[]> {
      const { scroller } = subject;
      scroller.scrollTop = scroller.scrollHeight / 2;
      await painted();
      return frames(SCROLLS, (i) => {
        scroller.scrollTop += i < SCROLLS / 2 ? STEP : -STEP;
      });
    },
  };
}

const tokens = Array.from({ length: N + FRAMES * CHUNK }, (_, i) => tokenAt(i));
const subject = (wanted.get("who") === "plain" ? plain : ours)(tokens);
const steps = stepsOf(subject);

async function bench() {
  const read = steps.read();
  const first = await steps.first();
  const append = await steps.append();
  const recolour = await steps.recolour();
  const scroll = await steps.scroll();
  return { read, first, append, recolour, scroll, text: subject.scroller.textContent?.length ?? 0 };
}

Object.assign(globalThis, { bench, steps });
