// @vitest-environment jsdom
/** The whole widget, told anything and pressed anywhere: no exception, and what comes behind it is shown. */
import fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ToKernel } from "../src/protocol.js";
import { openPage, type Page, run, tick } from "./open.js";
import { buffersOf, NASTY, places, SAMPLES, spoilt, TRAITS } from "./samples.js";

/** As many of each kind; `EXAMPLES=500 npx vitest run test/robust-page.test.ts` tries more, each time others. */
const EXAMPLES = Number(process.env.EXAMPLES ?? 0);
const runs = (n: number) =>
  EXAMPLES ? { numRuns: EXAMPLES, endOnFailure: true } : { numRuns: n, seed: 7, endOnFailure: true };
vi.setConfig({ testTimeout: EXAMPLES ? 0 : 120_000 }); // a busy machine
const tried = { traits: 0, messages: 0, answers: 0, presses: 0 };
afterAll(() => console.info("tried", tried));

const faults: string[] = [];
const listen = (event: ErrorEvent | PromiseRejectionEvent): void => {
  const { error, reason } = event as { error?: Error; reason?: Error };
  faults.push(String((error ?? reason)?.stack ?? event.type));
};
/** Takes whatever is painted; jsdom has no canvas. */
const canvas: object = new Proxy(
  {
    measureText: () => ({ width: 8 }),
    createImageData: (w: number, h: number) => ({ data: new Uint8ClampedArray(4 * w * h) }),
  } as Record<string, unknown>,
  { get: (known, name) => known[name as string] ?? (() => canvas), set: () => true },
);
let page: Page;
let frames = 0;

beforeEach(() => {
  vi.stubGlobal("confirm", () => true);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(canvas as never);
  HTMLAnchorElement.prototype.click = () => {}; // a download, which jsdom does not know
  URL.createObjectURL = () => "blob:x";
  URL.revokeObjectURL = () => {};
  window.addEventListener("error", listen);
  process.on("unhandledRejection", reject);
  vi.spyOn(console, "error").mockImplementation((...said) => faults.push(said.map(String).join(" ")));
});
afterEach(() => {
  page.close();
  window.removeEventListener("error", listen);
  process.off("unhandledRejection", reject);
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  expect(faults.splice(0)).toEqual([]);
});
function reject(reason: unknown): void {
  faults.push(String((reason as Error)?.stack ?? reason));
}

/** Waits until the page has drawn. */
const drawn = async (): Promise<void> => {
  await tick();
  await new Promise((done) => requestAnimationFrame(done));
  await tick();
};

/** A run of five tokens, one of them on another branch. */
const good = () =>
  run(["once", " upon"], [" a", " time", " king"], {
    epoch: 1 + frames,
    seq: ++frames,
    head: 3,
    rows: [-1, 0, 1, 2, 2].map((parent, i) => ({
      parent,
      token_id: i,
      rank: i ? 1 : 0,
      logprob: -1,
      kind: i < 2 ? 0 : 1,
    })),
  });

/** The widget goes on as if nothing had been. */
async function stands(): Promise<void> {
  for (const [name, value] of Object.entries(TRAITS)) page.model.put(name, value);
  page.model.put("look", { ...(TRAITS.look as object), glyphs: false });
  page.model.rows(good());
  await drawn();
  expect(page.get(".stream-text").textContent).toContain("once upon a time");
  expect(faults).toEqual([]);
}

describe("traits", () => {
  beforeEach(async () => {
    page = openPage(TRAITS);
    page.model.rows(good());
    await drawn();
  });

  it.each(Object.keys(TRAITS))("%s may be wrong at any place", async (name) => {
    for (const place of places(TRAITS[name])) {
      for (const by of NASTY) {
        page.model.put(name, spoilt(TRAITS[name], place, by));
        tried.traits++;
      }
      await drawn();
    }
    await stands();
  });

  it("are of any version when a notebook opens", async () => {
    for (const name of Object.keys(TRAITS))
      for (const by of NASTY) {
        page.close();
        page = openPage({ ...TRAITS, [name]: by });
        tried.traits++;
      }
    await stands();
  });

  it("that cannot be read are said to be, and the rest of them is shown", async () => {
    page.model.put("look", { ...(TRAITS.look as object), palette: "neon", metric: "rank" });
    page.model.put("status", { ...(TRAITS.status as object), error: null });
    await drawn();
    expect(page.get("[data-testid=error]").textContent).toContain("look.palette must be inferno or viridis");
    expect(page.get(".inferno-widget").dataset.palette).toBe("inferno");
    await stands();
  });
});

describe("messages", () => {
  beforeEach(async () => {
    page = openPage(TRAITS);
    page.model.rows(good());
    await drawn();
  });

  it("of any kind and content are passed over with a note", async () => {
    const kinds = ["rows", "partial", "reply", "trait", "note", "none"];
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(...NASTY));
    const names = ["id", "ok", "value", "error", "name", "watched", "kind"];
    const content = fc.oneof(
      value,
      fc
        .tuple(fc.constantFrom(...kinds), fc.dictionary(fc.constantFrom(...names), value))
        .map(([kind, rest]) => ({ kind, ...rest })),
    );
    const buffers = fc.oneof(
      value,
      fc.array(
        fc.uint8Array({ maxLength: 90 }).map((bytes) => new DataView(bytes.slice().buffer)),
        { maxLength: 3 },
      ),
    );
    await fc.assert(
      fc.asyncProperty(content, buffers, async (said, beside) => {
        page.model.emit("msg:custom", said, beside);
        tried.messages++;
        if (tried.messages % 50 === 0) await drawn();
        expect(faults).toEqual([]);
      }),
      runs(1_000),
    );
    await stands();
  });

  it("that say what is wrong are shown", async () => {
    page.model.put("status", { ...(TRAITS.status as object), error: null });
    page.model.emit("msg:custom", { kind: "note", error: { type: "ValueError", message: "no such thing" } }, []);
    await drawn();
    expect(page.get("[data-testid=error]").textContent).toContain("no such thing");
  });
});

describe("a kernel that answers anything", () => {
  type Choice = { way: number; place: number; by: number };
  const choice = fc.record({ way: fc.nat(9), place: fc.nat(), by: fc.nat() });

  /** One of the ways in which a command is answered: well, refused, in parts, spoilt, for another one, or never. */
  function answer(message: ToKernel, { way, place, by }: Choice): void {
    if (!("id" in message)) return;
    const { id, kind } = message;
    const { value = null, sizes = [], part } = SAMPLES[kind] ?? {};
    const nasty = NASTY[by % NASTY.length];
    const spoil = (of: unknown): unknown => {
      const all = places(of);
      return spoilt(of, all[place % all.length], nasty);
    };
    const { model } = page;
    tried.answers++;
    if (part !== undefined) model.partial(id, way % 3 ? part : spoil(part));
    if (way < 4) model.answer(id, value, buffersOf(sizes));
    else if (way === 4) model.reply(id, { type: "InfernoError", message: "no" });
    else if (way === 5) model.answer(id, spoil(value), buffersOf(sizes));
    else if (way === 6) model.answer(id, value, buffersOf([place % 50, ...sizes]));
    else if (way === 7) model.answer(id + 1, nasty);
    else if (way === 8) model.emit("msg:custom", { kind: "reply", id, ok: true, value: nasty, error: nasty }, nasty);
  }

  /** Presses, writes, chooses or types somewhere. */
  function press({ way, place, by }: Choice): void {
    const found = page.all(
      way < 2
        ? "[role=tab], [data-tool]"
        : "button, input, select, textarea, [role=tab], [tabindex], summary, [data-node]",
    );
    const visible = found.filter((element) => !element.closest("[hidden]"));
    const target = visible[place % visible.length];
    tried.presses++;
    if (!target) return;
    const keys = ["Enter", "Escape", "ArrowDown", "ArrowRight", "ArrowUp", "Home", "End", "PageDown", " ", "x"];
    if (way < 5) target.click();
    else if (way < 7)
      target.dispatchEvent(new KeyboardEvent("keydown", { key: keys[by % keys.length], bubbles: true }));
    else if (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement) {
      if (!["file", "radio", "checkbox"].includes(target.type))
        target.value = String(["5", "-1", "", "x", "1e99", "{", "[", "king"][by % 8]);
      target.dispatchEvent(new Event("input", { bubbles: true }));
      target.dispatchEvent(new Event("change", { bubbles: true }));
    } else if (target instanceof HTMLSelectElement) {
      target.selectedIndex = by % Math.max(1, target.options.length);
      target.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }

  it("kills no view, whatever is pressed", async () => {
    const steps = fc.array(fc.tuple(choice, choice, choice), { minLength: 10, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, async (presses) => {
        page = openPage(TRAITS);
        let at = 0;
        page.model.onSend = (message) => {
          const turn = presses[at++ % presses.length][1];
          queueMicrotask(() => answer(message, turn));
        };
        page.model.rows(good());
        await drawn();
        for (const [how, , other] of presses) {
          press(how);
          if (other.way === 0) page.model.status({ state: ["generating", "ready", "closed", "prefill"][other.by % 4] });
          if (other.way === 1) page.model.rows(good());
          await tick();
          if (other.way < 5) await drawn();
          expect(faults).toEqual([]);
        }
        await stands();
        page.close();
      }),
      runs(12),
    );
  });
});
