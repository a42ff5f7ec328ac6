/** A widget in a page of its own, for tests of what a person sees and does. */
import type { ToKernel } from "../src/protocol.js";
import { LIBRARY, type Library } from "../src/state.js";
import widget from "../src/widget.js";
import { encode } from "./encode.js";
import { FakeModel } from "./fake.js";

export const tick = () => new Promise((done) => setTimeout(done));
export const frame = () => new Promise((done) => requestAnimationFrame(done));

export interface Page {
  model: FakeModel;
  host: HTMLElement;
  get<T extends HTMLElement = HTMLElement>(selector: string): T;
  all(selector: string): HTMLElement[];
  /** What is shown, without what is hidden. */
  texts(selector: string): string[];
  sent<K extends ToKernel["kind"]>(kind: K): Extract<ToKernel, { kind: K }>[];
  /** Answers the last command of a kind, and waits for the page. */
  answer(kind: ToKernel["kind"], value?: unknown, buffers?: DataView[]): Promise<void>;
  refuse(kind: ToKernel["kind"], message: string, type?: string): Promise<void>;
  library(change: Partial<Library>): Promise<void>;
  click(selector: string): Promise<void>;
  write(selector: string, text: string): Promise<void>;
  close(): void;
}

export function openPage(traits: Record<string, unknown> = {}, tool = ""): Page {
  const model = new FakeModel({ status: { state: "ready", n_ctx: 512 }, library: LIBRARY, ...traits });
  const host = document.body.appendChild(document.createElement("div"));
  const { initialize, render } = widget();
  const end = initialize({ model });
  const leave = render({ el: host });
  const all = (selector: string) => [...host.querySelectorAll<HTMLElement>(selector)];
  const get = <T extends HTMLElement>(selector: string): T => {
    const found = host.querySelector<T>(selector);
    if (!found) throw new Error(`nothing is ${selector}`);
    return found;
  };
  const sent = <K extends ToKernel["kind"]>(kind: K) =>
    model.sent.filter((message) => message.kind === kind) as Extract<ToKernel, { kind: K }>[];
  const settled = async (): Promise<void> => {
    await tick();
    await frame();
  };
  const last = (kind: ToKernel["kind"]): number => (sent(kind).at(-1) as unknown as { id: number }).id;
  const page: Page = {
    model,
    host,
    get,
    all,
    texts: (selector) =>
      all(selector)
        .filter((element) => !element.closest("[hidden]"))
        .map(({ textContent }) => textContent),
    sent,
    async answer(kind, value = null, buffers = []) {
      model.answer(last(kind), value, buffers);
      await settled();
    },
    async refuse(kind, message, type = "InfernoError") {
      model.reply(last(kind), { type, message });
      await settled();
    },
    async library(change) {
      model.put("library", { ...(model.get("library") as Library), ...change });
      await frame();
    },
    async click(selector) {
      get(selector).click();
      await settled();
    },
    async write(selector, text) {
      const field = get<HTMLInputElement>(selector);
      field.value = text;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      await settled();
    },
    close() {
      leave();
      end();
      host.remove();
    },
  };
  if (tool) get(`[data-tool=${tool}]`).click();
  return page;
}

export const key = (target: Element, name: string, more = {}): boolean =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true, ...more }));

/** A run of tokens: the prompt's and the generated. */
export const run = (prompt: string[], generated: string[], more = {}) => {
  const pieces = [...prompt, ...generated];
  const rows = pieces.map((_, i) => ({ parent: i - 1, token_id: i, kind: i < prompt.length ? 0 : 1 }));
  return encode({ k: 1, rows, pieces: pieces.map((piece, i) => [i, piece] as const), ...more });
};
