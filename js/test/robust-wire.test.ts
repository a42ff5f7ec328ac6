/** Frames that are garbage, cut short, lying, lost, doubled or out of order: refused in words, or made good by a replay. */
import fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { faultOf, faultOfPart } from "../src/answers.js";
import { Link } from "../src/link.js";
import type { ToKernel } from "../src/protocol.js";
import { unpack } from "../src/snapshot.js";
import { Store } from "../src/store.js";
import { decode } from "../src/wire.js";
import { encode, type Row } from "./encode.js";
import { FakeModel } from "./fake.js";
import { buffersOf, NASTY, places, SAMPLES, spoilt } from "./samples.js";

/** As many of each kind; `EXAMPLES=20000 npx vitest run test/robust-wire.test.ts` tries more, each time others. */
const EXAMPLES = Number(process.env.EXAMPLES ?? 0);
const runs = (n: number) => (EXAMPLES ? { numRuns: EXAMPLES } : { numRuns: n, seed: 7 });
vi.setConfig({ testTimeout: EXAMPLES ? 0 : 120_000 }); // a busy machine
const tried = { frames: 0, refused: 0, answers: 0 };
afterAll(() => console.info(`${tried.frames} frames tried, ${tried.refused} refused; ${tried.answers} answers`));

const WORDS = /^(a frame|frame|this page reads|\d+ watches)/;

/** Takes a frame, or refuses it in words of our own. */
function take(store: Store, bytes: DataView): void {
  tried.frames++;
  try {
    store.apply(decode(bytes));
  } catch (error) {
    tried.refused++;
    expect((error as Error).message).toMatch(WORDS);
  }
}

/** What whoever draws the store relies on. */
function consistent(store: Store): void {
  expect(store.length).toBeLessThanOrEqual(store.total);
  for (let at = 0; at < store.length; at++) {
    const node = store.at(at);
    expect(node).toBeLessThan(store.size);
    expect(store.depth[node]).toBe(at);
    expect(store.columns.parent[node]).toBe(at ? store.at(at - 1) : -1);
  }
  for (let unit = 0; unit < store.units; unit++) store.unitString(unit);
  for (let node = 0; node < store.size; node++) store.distribution(node);
}

const treeOf = (parents: readonly number[]): Row[] =>
  parents.map((choice, i) => ({
    ...{ parent: i ? choice % i : -1, token_id: choice % 7, rank: 1, logprob: -1, tail: 0.1 },
    ...{ top_ids: [choice % 7, 3], top_logprobs: [-1, -2], kept: 1, top_kept: 1, kind: choice % 3 },
  }));
const PIECES = [..." abcde", "\u{1f30b}"].map((piece, i) => [i, piece] as const);
const parents = fc.array(fc.nat(99), { minLength: 1, maxLength: 40 });
const whole = (rows: Row[]) => encode({ k: 2, rows, pieces: PIECES });

describe("a frame", () => {
  it("of random bytes is refused in words", () => {
    const store = new Store();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => take(store, new DataView(bytes.slice().buffer))),
      runs(2_000),
    );
    consistent(store);
  });

  it("that is cut short, or too long, is refused", () => {
    fc.assert(
      fc.property(parents, fc.double({ min: 0, max: 0.999, noNaN: true }), (choices, part) => {
        const frame = whole(treeOf(choices));
        const size = Math.floor(frame.byteLength * part);
        expect(() => decode(new DataView(frame.buffer, frame.byteOffset, size))).toThrow(WORDS);
        expect(() => decode(new DataView(frame.buffer, frame.byteOffset, frame.byteLength + 2))).toThrow(WORDS);
        tried.frames += 2;
        tried.refused += 2;
      }),
      runs(300),
    );
  });

  it("of which any bytes are others leaves a store that can be drawn", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(parents, flips, fc.boolean(), (choices, changes, header) => {
        const store = new Store();
        const frame = whole(treeOf(choices));
        const bad = new DataView(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.byteLength));
        for (const [at, value] of changes) bad.setUint8(at % (header ? 32 : bad.byteLength), value);
        take(store, bad);
        consistent(store);
        take(store, encode({ k: 2, rows: treeOf(choices), pieces: PIECES, epoch: 2 ** 30, seq: 2 ** 30 }));
        expect(store.size).toBe(choices.length);
        consistent(store);
      }),
      runs(1_500),
    );
  });

  it("whose numbers lie takes no memory for what it does not bring", () => {
    const store = new Store();
    const frame = encode({ k: 2, rows: treeOf([0]), pieces: PIECES, head: 2 ** 31 - 1 });
    take(store, frame);
    expect(store.columns.top_ids.length).toBeLessThan(1_000_000);
    expect(store.incomplete).toBe(true);
    for (let field = 1; field < 8; field++) {
      const lying = new DataView(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.byteLength));
      lying.setUint32(4 * field, 0xffffffff, true);
      take(new Store(), lying);
    }
  });
});

describe("a line on which frames are lost, doubled, late and damaged", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  type Fault = "good" | "lost" | "doubled" | "late" | "damaged" | "empty";
  const faults = fc.array(fc.constantFrom<Fault>("good", "lost", "doubled", "late", "damaged", "empty"), {
    maxLength: 40,
  });

  /** A kernel that sends further nodes ten times a second, as Python's `Feed` does, over a line with faults. */
  function line(model: FakeModel, rows: Row[], steps: readonly number[], faulty: Fault[]): void {
    let seq = 0;
    let sent = 0;
    let due = true;
    const late: DataView[] = [];
    const send = (bytes: DataView): void => {
      tried.frames++;
      const fault = faulty.shift() ?? "good";
      if (fault === "empty") model.emit("msg:custom", { kind: "rows" }, []);
      else if (fault === "damaged") model.rows(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1));
      else if (fault === "late") late.push(bytes);
      else if (fault !== "lost") model.rows(bytes);
      if (fault === "doubled") model.rows(bytes);
      if (late.length > 1 || (!faulty.length && late.length)) model.rows(late.shift() as DataView);
    };
    model.onSend = (message) => {
      const back = message.kind === "replay" && message.epoch === 1 ? message.have : 0;
      if (message.kind !== "replay" && !(message.kind === "alive" && message.seq < seq && sent === rows.length)) return;
      sent = Math.min(sent, back);
      due = true;
    };
    setInterval(() => {
      const to = Math.min(rows.length, sent + 1 + (steps[seq % steps.length] ?? 0));
      if (to === sent && !due) return;
      due = false;
      const frame = { seq: ++seq, start: sent, rows: rows.slice(sent, to), k: 2, pieces: PIECES, head: to - 1 };
      sent = to;
      send(encode(frame));
    }, 100);
  }

  it("catches up, and shows what the kernel has", () => {
    fc.assert(
      fc.property(parents, faults, fc.array(fc.nat(4), { minLength: 1, maxLength: 40 }), (choices, faulty, steps) => {
        const rows = treeOf(choices);
        const model = new FakeModel();
        line(model, rows, steps, [...faulty]);
        const link = new Link(model);
        vi.advanceTimersByTime(60_000);
        expect(link.store.size).toBe(rows.length);
        expect([...link.store.columns.parent.subarray(0, rows.length)]).toEqual(rows.map(({ parent }) => parent));
        expect(link.store.head).toBe(rows.length - 1);
        consistent(link.store);
        link.close();
        vi.clearAllTimers();
      }),
      runs(200),
    );
  });
});

describe("what was saved", () => {
  it("is shown, or refused in words, however it is damaged", async () => {
    const frame = whole(treeOf([0, 1, 2, 3, 4]));
    const framed = new Uint8Array(4 + frame.byteLength);
    new DataView(framed.buffer).setUint32(0, frame.byteLength, true);
    framed.set(new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength), 4);
    const packed = async (bytes: Uint8Array<ArrayBuffer>) => {
      const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
      return new Uint8Array(await new Response(stream).arrayBuffer());
    };
    expect(await unpack(await packed(framed))).toHaveLength(1);
    await expect(unpack(await packed(new Uint8Array(3 << 20)), 1 << 20)).rejects.toThrow("more than 1 MiB");
    const change = fc.tuple(fc.boolean(), fc.nat(), fc.nat(255), fc.boolean());
    await fc.assert(
      fc.asyncProperty(change, async ([inside, at, value, cut]) => {
        let bytes = inside ? framed.slice() : await packed(framed);
        if (cut) bytes = bytes.slice(0, at % bytes.length);
        else bytes[at % bytes.length] = value;
        const model = new FakeModel({ snapshot: new DataView((inside ? await packed(bytes) : bytes).buffer) });
        const link = new Link(model);
        await vi.waitFor(() => expect(link.store.size || link.failure || !bytes.length || cut).toBeTruthy());
        if (!link.store.length && !cut) expect(link.failure).not.toBeNull();
        if (link.failure) expect(link.failure.message).toMatch(/^(The saved run|What the kernel said) cannot be read/);
        consistent(link.store);
        link.close();
        tried.frames++;
      }),
      runs(60),
    );
  });

  it.each([5, "x", [], {}, true])("%j in its place is refused in words", async (snapshot) => {
    const link = new Link(new FakeModel({ snapshot }));
    await vi.waitFor(() => expect(link.failure?.message).toBe("The saved run cannot be read: it is no data"));
    link.close();
  });
});

describe("an answer", () => {
  const kinds = Object.keys(SAMPLES) as ToKernel["kind"][];

  it.each(kinds)("of the kind %s is taken as it should be, and refused with anything wrong at any place", (kind) => {
    const { value, sizes = [], part } = SAMPLES[kind] as { value: unknown; sizes?: number[]; part?: unknown };
    expect(faultOf(kind, value, buffersOf(sizes))).toBe("");
    if (part !== undefined) expect(faultOfPart(kind, part)).toBe("");
    for (const place of places(value)) {
      for (const by of NASTY) {
        const fault = faultOf(kind, spoilt(value, place, by), buffersOf(sizes)); // in words, or not at all
        expect(fault === "" || fault.startsWith(kind)).toBe(true);
        tried.answers++;
      }
    }
    for (const by of NASTY.filter((each) => typeof each !== "object")) {
      if (kind === "text" || kind === "follow") continue;
      expect(faultOf(kind, by, buffersOf(sizes))).not.toBe("");
    }
    if (["save", "export"].includes(kind)) return;
    if (sizes.length) {
      expect(faultOf(kind, value, [])).toContain("must come with");
      expect(faultOf(kind, value, buffersOf(sizes.map((size) => size + 1)))).toContain("must come with");
    }
  });
});
