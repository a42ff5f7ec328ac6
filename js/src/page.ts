/** A page made of a trace: the widget's own views, and what stands in for the kernel. */
import { Link, type Model } from "./link.js";
import type { ToKernel } from "./protocol.js";
import { mount } from "./views/panels.js";
import { RECORDED } from "./views/recorded.js";

/** What `inferno_widget/export/html.py` writes into the page. */
interface Data {
  traits: Record<string, unknown>;
  /** Base64. */
  snapshot: string;
}

type Callback = (...args: never[]) => void;

const REFUSAL = {
  type: "A recording",
  message: "This page is a recording: nothing can be generated here. Open the run in a notebook to go on from it.",
};

/** Holds the traits, and answers what needs no model. */
class Recording implements Model {
  readonly recorded = true;
  readonly #traits: Record<string, unknown>;
  readonly #callbacks = new Map<string, Set<Callback>>();

  constructor({ traits, snapshot }: Data) {
    const bytes = Uint8Array.from(atob(snapshot), (letter) => letter.charCodeAt(0));
    this.#traits = { ...traits, snapshot: new DataView(bytes.buffer) };
  }

  get(name: string): unknown {
    return this.#traits[name];
  }

  on(event: string, callback: Callback): void {
    this.#callbacks.set(event, (this.#callbacks.get(event) ?? new Set()).add(callback));
  }

  off(event: string, callback: Callback): void {
    this.#callbacks.get(event)?.delete(callback);
  }

  send(content: unknown): void {
    const message = content as ToKernel;
    if (message.kind === "select") this.#put("selection", message.node);
    else if (message.kind === "look")
      this.#put("look", { ...(this.get("look") as object), [message.name]: message.value });
    if (!("id" in message)) return;
    const reply = { kind: "reply", id: message.id };
    const answer = message.kind === "look" ? { ...reply, ok: true } : { ...reply, ok: false, error: REFUSAL };
    queueMicrotask(() => this.#emit("msg:custom", answer, []));
  }

  #put(name: string, value: unknown): void {
    this.#traits[name] = value;
    this.#emit(`change:${name}`);
  }

  #emit(event: string, ...args: unknown[]): void {
    for (const callback of this.#callbacks.get(event) ?? []) callback(...(args as never[]));
  }
}

const find = (id: string): HTMLElement => document.getElementById(id) as HTMLElement;

// What a reader without scripts finds open is folded away where the widget shows the same.
for (const details of document.querySelectorAll("details")) details.open = false;
try {
  mount(new Link(new Recording(JSON.parse(find("data").textContent as string))), find("inferno"), RECORDED);
} catch (error) {
  const why = error instanceof Error ? error.message : String(error);
  find("inferno").textContent = `What was recorded in this page cannot be read: ${why}`;
}
