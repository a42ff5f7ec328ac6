import { deflateSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Link, type Model } from "../src/link.js";
import { unpack } from "../src/snapshot.js";
import { encode, type Message } from "./encode.js";
import { FakeModel } from "./fake.js";

/** What Python's `export.snapshot.pack` makes, at an odd address. */
function pack(...messages: Message[]): DataView {
  return deflated(...messages.map(part));
}

function part(message: Message): Buffer {
  const frame = encode({ epoch: 0, ...message });
  return behindLength(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
}

/** What is watched of the frame before. */
function beside(names: unknown, values: number[]): Buffer {
  const floats = Buffer.from(new Float32Array(values).buffer);
  return behindLength(Buffer.concat([Buffer.from(`${JSON.stringify(names)}\n`), floats]), 2 ** 31);
}

function behindLength(data: Buffer, flag = 0): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(flag + data.length);
  return Buffer.concat([length, data]);
}

function deflated(...parts: Buffer[]): DataView {
  const packed = Buffer.concat([Buffer.from([0]), deflateSync(Buffer.concat(parts))]);
  return new DataView(new Uint8Array(packed).buffer, 1);
}

const chain = (text: string, start = 0, more: Message = {}): Message => ({
  start,
  rows: [...text].map((_, i) => ({ parent: start + i - 1, token_id: start + i })),
  pieces: [...text].map((letter, i) => [start + i, letter] as const),
  ...more,
});
const text = (link: Link): string =>
  Array.from({ length: link.store.units }, (_, unit) => link.store.unitText(unit))
    .flat()
    .join("");

const links: Link[] = [];
function opened(model: FakeModel, more: Partial<Model> = {}): Link {
  const link = new Link(Object.assign(model, more) as unknown as Model);
  links.push(link);
  return link;
}
afterEach(() => {
  for (const link of links.splice(0)) link.close();
});

describe("a snapshot", () => {
  it("is unpacked into the frames that it was made of", async () => {
    const frames = await unpack(pack(chain("ab", 0, { head: 3 }), chain("cd", 2)));
    expect(frames.map(({ start, rows, head }) => [start, rows, head])).toEqual([
      [0, 2, 3],
      [2, 2, 3],
    ]);
  });

  it("has what was watched behind each frame", async () => {
    const [first, second] = [part(chain("ab")), part(chain("c", 2))];
    const values = [beside(["a\nb", "é"], [0.25, 0.5, 0.75, 1]), beside(["a\nb", "é"], [0.125, 0])];
    const link = opened(new FakeModel({ snapshot: deflated(first, values[0], second, values[1]) }));
    await vi.waitFor(() => expect(text(link)).toBe("abc"));
    expect([...link.store.watched.of("a\nb").subarray(0, 3)]).toEqual([0.25, 0.5, 0.125]);
    expect([...link.store.watched.of("é").subarray(0, 3)]).toEqual([0.75, 1, 0]);
  });

  it.each([
    ["before any frame", [beside(["a"], [1])]],
    ["of another number of rows", [part(chain("ab")), beside(["a"], [1])]],
    ["without names", [part(chain("a")), beside({ length: 1 }, [1])]],
    ["with names that are none", [part(chain("a")), beside([5], [1])]],
    ["that are no JSON", [part(chain("a")), behindLength(Buffer.from("[\n"), 2 ** 31)]],
    ["without a line", [part(chain("a")), behindLength(Buffer.from("[]"), 2 ** 31)]],
  ])("with watched values %s is refused", async (_, parts) => {
    await expect(unpack(deflated(...parts))).rejects.toThrow();
  });

  it("that was cut short is refused", async () => {
    const whole = pack(chain("abc"));
    await expect(unpack(new DataView(whole.buffer, 1, whole.byteLength - 6))).rejects.toThrow();
  });

  it.each([
    ["a length that is not there", new Uint8Array([1, 2, 3])],
    ["more than there is", new Uint8Array([9, 0, 0, 0, 1])],
  ])("that promises %s was cut short", async (_, bytes) => {
    await expect(unpack(deflateSync(bytes))).rejects.toThrow("it was cut short");
  });

  it("is inflated up to a limit, which a long run does not reach", async () => {
    const long = chain("ab", 0, { pieces: Array.from({ length: 20 }, (_, i) => [i, new Uint8Array(60_000)] as const) });
    const size = encode(long).byteLength + 4;
    const packed = pack(long);
    expect((await unpack(packed))[0].pieces.size).toBe(20);
    expect(await unpack(packed, size)).toHaveLength(1);
    await expect(unpack(packed, size - 1)).rejects.toThrow("it would take more than 1 MiB");
  });

  it.each([
    ["its middle", [chain("ab"), chain("c", 3)]],
    ["its end", [chain("ab", 0, { head: 3 })]],
  ])("that lacks %s says so", async (_, messages) => {
    const link = opened(new FakeModel({ snapshot: pack(...messages) }));
    await vi.waitFor(() => expect(link.failure?.message).toContain("a part of it is missing"));
  });

  it("is shown without a kernel, and says that it was saved", async () => {
    const link = opened(new FakeModel({ snapshot: pack(chain("ab"), chain("c", 2)) }), { comm_live: false });
    await vi.waitFor(() => expect(text(link)).toBe("abc"));
    expect(link.saved).toBe(true);
    expect(link.silence).toContain("saved with the notebook");
  });

  it("is known to be saved from the notebook's manager, where the model does not say", async () => {
    const asked: string[] = [];
    const get_model = async (id: string) => {
      asked.push(id);
      return { comm_live: false };
    };
    const model = new FakeModel({ ident: "abc", snapshot: pack(chain("abc")) });
    const link = opened(model, { widget_manager: { get_model } });
    await vi.waitFor(() => expect(link.saved).toBe(true));
    expect(asked).toEqual(["abc"]);
  });

  it("that was not kept is missed where there was a run, and nowhere else", async () => {
    for (const used of [12, 0]) {
      const link = opened(new FakeModel({ status: { state: "ready", used } }), { comm_live: false });
      expect(link.silence.includes("not kept")).toBe(used > 0);
    }
  });

  it("keeps what is selected in it, for there is no kernel to keep it", async () => {
    const link = opened(new FakeModel({ snapshot: pack(chain("abc")) }), { comm_live: false });
    await vi.waitFor(() => expect(link.saved).toBe(true));
    link.select(1);
    vi.spyOn(performance, "now").mockReturnValue(1e9);
    expect(link.selection).toBe(1);
    vi.restoreAllMocks();
  });

  it("gives way to what the kernel sends, whichever comes first", async () => {
    for (const early of [true, false]) {
      const model = new FakeModel({ snapshot: pack(chain("old")) });
      const link = opened(model);
      if (!early) await vi.waitFor(() => expect(text(link)).toBe("old"));
      model.rows(encode(chain("new!", 0, { epoch: 1 })));
      await new Promise((done) => setTimeout(done, 50));
      expect(text(link)).toBe("new!");
      expect([link.saved, link.reachable]).toEqual([false, true]);
    }
  });

  it("with higher numbers than the kernel's gives way to it all the same", async () => {
    const model = new FakeModel({ snapshot: pack(chain("ab", 0, { seq: 9 })) });
    const link = opened(model);
    model.rows(encode({ ...chain("xyz"), seq: 1, epoch: 1 }));
    await new Promise((done) => setTimeout(done, 50));
    expect([text(link), link.store.epoch, link.failure]).toEqual(["xyz", 1, null]);
  });

  it("of a page is no saved view: there is nothing wrong there", async () => {
    const link = opened(new FakeModel({ snapshot: pack(chain("ab")) }), { recorded: true });
    await vi.waitFor(() => expect(text(link)).toBe("ab"));
    expect([link.recorded, link.saved, link.reachable]).toEqual([true, false, true]);
  });

  it("that cannot be read says so in place", async () => {
    const link = opened(new FakeModel({ snapshot: new DataView(new ArrayBuffer(9)) }));
    await vi.waitFor(() => expect(link.failure?.type).toBe("SnapshotError"));
  });
});

it("shows the first tokens of the path, and says whether more will follow", async () => {
  const link = opened(new FakeModel({ snapshot: pack(chain("abcd")) }), { recorded: true });
  await vi.waitFor(() => expect(text(link)).toBe("abcd"));
  const heard: boolean[] = [];
  link.onChange((streaming) => heard.push(streaming));
  link.show(2, true);
  link.show(3, false);
  expect(text(link)).toBe("abc");
  expect(heard).toEqual([true, false]);
});
