/** What was asked of the kernel: each answer goes to who waits for it, and nobody waits for ever. */
import { faultOf, faultOfPart, notUnderstood } from "./answers.js";
import type { Failure, ToKernel, ToPage } from "./protocol.js";

/** What came back for a command: the kernel's value and its bytes, or why it was refused. */
export type Answer<T> = { ok: true; value: T; buffers: readonly DataView[] } | { ok: false; error: Failure };

/** What else there is to asking: who hears of partial answers, and what ends the work early, with what there is. */
export interface Asking<P> {
  told?: (part: P) => void;
  signal?: AbortSignal;
}

type WithoutId<T> = T extends { id: number } ? Omit<T, "id"> : never;
export type Command = WithoutId<ToKernel>;

/** How long a command may stay unanswered before the page says so. */
const PATIENCE_MS = 10_000;
/** The same for what reads, writes or computes as much as there is of it. */
const LONG_PATIENCE_MS = 120_000;
const LONG: readonly ToKernel["kind"][] = [
  "verify",
  "export",
  "save",
  "open",
  "load",
  "unload",
  "metadata",
  "download",
  "edit",
  "lookahead",
  "explain",
  "what_if",
  "resample",
  "commitment",
  "watch",
  "heads",
  "attention",
  "head_map",
  "lens",
  "attribution",
  "causal_map",
  "try_edits",
  "intervene",
];
/** What is answered when somebody ends it. */
const ENDLESS: readonly ToKernel["kind"][] = ["follow"];

function patienceOf(kind: ToKernel["kind"]): number {
  if (ENDLESS.includes(kind)) return Number.POSITIVE_INFINITY;
  return LONG.includes(kind) ? LONG_PATIENCE_MS : PATIENCE_MS;
}

export const NO_ANSWER: Failure = {
  type: "No answer",
  message: "The kernel does not answer. It may be busy with another cell, or have ended.",
};

interface Waiting {
  kind: ToKernel["kind"];
  until: number;
  settle: (answer: Answer<unknown>) => void;
  told?: (part: never) => void;
}

export class Requests {
  readonly #post: (message: ToKernel) => void;
  readonly #waiting = new Map<number, Waiting>();
  /** Another page of the same widget counts from elsewhere: it gets the answers to both. */
  #id = Math.floor(Math.random() * 2 ** 40);

  constructor(post: (message: ToKernel) => void) {
    this.#post = post;
  }

  ask<T, P>(command: Command, { told, signal }: Asking<P>): Promise<Answer<T>> {
    const { kind } = command;
    const id = ++this.#id;
    signal?.addEventListener("abort", () => {
      if (this.#waiting.has(id)) this.#post({ kind: "enough", id: ++this.#id, request: id });
    });
    return new Promise((settle) => {
      this.#waiting.set(id, { kind, until: performance.now() + patienceOf(kind), settle, told } as Waiting);
      this.#post({ ...command, id } as ToKernel);
    });
  }

  /** The kernel has answered. */
  settle({ id, ok, value, error }: ToPage & { kind: "reply" }, buffers: readonly DataView[]): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (!waiting) return;
    const fault = ok ? faultOf(waiting.kind, value, buffers) : "";
    const refusal = fault ? notUnderstood(fault) : (error ?? { type: "Error", message: "refused" });
    waiting.settle(ok && !fault ? { ok, value, buffers } : { ok: false, error: refusal });
  }

  /** A part of an answer has come, and with it more patience for the rest. What is wrong with it, "" where nothing is. */
  tell({ id, value }: ToPage & { kind: "partial" }): string {
    const waiting = this.#waiting.get(id);
    if (!waiting) return "";
    waiting.until = performance.now() + patienceOf(waiting.kind);
    const fault = faultOfPart(waiting.kind, value);
    if (!fault) waiting.told?.(value as never);
    return fault;
  }

  /** Lets go of what nobody heard of for too long. */
  expire(): void {
    for (const [id, { until, settle }] of this.#waiting) {
      if (performance.now() < until) continue;
      this.#waiting.delete(id);
      settle({ ok: false, error: NO_ANSWER });
    }
  }

  /** Tells everybody who waits that no answer will come. */
  giveUp(error: Failure): void {
    for (const { settle } of this.#waiting.values()) settle({ ok: false, error });
    this.#waiting.clear();
  }
}
