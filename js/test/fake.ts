/** A widget model without a notebook: traits, events, and what was sent. */
import type { ToKernel } from "../src/protocol.js";

type Callback = (...args: never[]) => void;

export class FakeModel {
  readonly traits: Record<string, unknown>;
  readonly sent: ToKernel[] = [];
  onSend: (message: ToKernel) => void = () => {};
  readonly #listeners = new Map<string, Set<Callback>>();

  constructor(traits: Record<string, unknown> = {}) {
    this.traits = {
      panels: ["status", "tools", "controls", "stream", "logits", "strip", "explore", "inside"],
      prompt: "",
      settings: { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, seed: null, max_tokens: 200 },
      status: { state: "empty" },
      selection: -1,
      ...traits,
    };
  }

  get(name: string): unknown {
    return this.traits[name];
  }

  on(event: string, callback: Callback): void {
    this.#listeners.set(event, (this.#listeners.get(event) ?? new Set()).add(callback));
  }

  off(event: string, callback: Callback): void {
    this.#listeners.get(event)?.delete(callback);
  }

  /** Callbacks that nobody has taken back. */
  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  send(message: unknown): void {
    this.sent.push(message as ToKernel);
    this.onSend(message as ToKernel);
  }

  emit(event: string, ...args: unknown[]): void {
    for (const callback of this.#listeners.get(event) ?? []) callback(...(args as never[]));
  }

  /** As the kernel sets a trait. */
  put(name: string, value: unknown): void {
    this.traits[name] = value;
    this.emit(`change:${name}`);
  }

  status(change: Record<string, unknown>): void {
    this.put("status", { ...(this.traits.status as object), ...change });
  }

  rows(frame: DataView): void {
    this.emit("msg:custom", { kind: "rows" }, [frame]);
  }

  /** The same, with what is watched: names, and for each the values of the frame's rows. */
  watchedRows(frame: DataView, watched: Record<string, number[]>): void {
    const values = new Float32Array(Object.values(watched).flat());
    this.emit("msg:custom", { kind: "rows", watched: Object.keys(watched) }, [frame, new DataView(values.buffer)]);
  }

  /** The kernel's value for a command. */
  answer(id: number, value: unknown, buffers: DataView[] = []): void {
    this.emit("msg:custom", { kind: "reply", id, ok: true, value }, buffers);
  }

  /** A part of the kernel's answer, before the whole. */
  partial(id: number, value: unknown): void {
    this.emit("msg:custom", { kind: "partial", id, value }, []);
  }

  reply(id: number, error?: { type: string; message: string }): void {
    this.emit("msg:custom", error ? { kind: "reply", id, ok: false, error } : { kind: "reply", id, ok: true }, []);
  }
}
