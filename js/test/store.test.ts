import { describe, expect, it } from "vitest";
import { Store } from "../src/store.js";
import { decode } from "../src/wire.js";
import { encode, type Message, type Row } from "./encode.js";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A chain of tokens, one piece each, whose ids are the places of the pieces. */
function chain(pieces: (Uint8Array | string)[], first = 0, parent = first - 1): Message {
  return {
    start: first,
    rows: pieces.map((_, i) => ({ parent: i ? first + i - 1 : parent, token_id: first + i })),
    pieces: pieces.map((piece, i) => [first + i, piece] as const),
  };
}

const apply = (store: Store, message: Message) => store.apply(decode(encode(message)));

function filled(...pieces: (Uint8Array | string)[]): Store {
  const store = new Store();
  apply(store, chain(pieces));
  return store;
}

/** The units as text, and as spans of positions. */
const units = (store: Store) => Array.from({ length: store.units }, (_, unit) => store.unitText(unit));
const spans = (store: Store) => Array.from({ length: store.units }, (_, unit) => store.unitSpan(unit));

describe("frames", () => {
  it("are appended, and growing keeps what was there", () => {
    const store = new Store();
    for (let i = 0; i < 3000; i++) apply(store, { ...chain([`${i} `], i), seq: i + 1 });
    expect(store.size).toBe(3000);
    expect(store.seq).toBe(3000);
    expect(store.length).toBe(3000);
    expect([...store.path.subarray(0, 3000)]).toEqual(Array.from({ length: 3000 }, (_, i) => i));
    expect(store.unitText(1234)).toEqual(["1234 "]);
    expect(store.columns.token_id[1234]).toBe(1234);
  });

  it("say which tokens are no part of the text, of each model anew", () => {
    const store = new Store();
    apply(store, { ...chain(["<bos>", "a", "<end_of_turn>"]), control: [0, 2] });
    const copied = () => Array.from({ length: store.units }, (_, unit) => store.unitCopy(unit));
    expect(copied()).toEqual(["", "a", ""]);
    expect(store.unitString(2), "but it can be found").toBe("<end_of_turn>");
    apply(store, { ...chain(["Once", " upon"]), seq: 2, epoch: 2 });
    expect(copied()).toEqual(["Once", " upon"]);
  });

  it("may come twice, or overlap", () => {
    const store = filled("a", "b", "c");
    expect(apply(store, chain(["a", "b", "c"]))).toBe("applied");
    expect(apply(store, { ...chain(["b", "c", "d", "e"], 1), seq: 2 })).toBe("applied");
    expect(units(store).flat().join("")).toBe("abcde");
    expect([...store.columns.parent.subarray(0, 5)]).toEqual([-1, 0, 1, 2, 3]);
  });

  it("leave a gap unapplied, with the number that was last seen", () => {
    const store = filled("a");
    expect(apply(store, { ...chain(["c"], 2), seq: 9 })).toBe("gap");
    expect([store.size, store.seq]).toEqual([1, 1]);
    expect(apply(store, { ...chain(["b", "c"], 1), seq: 9 })).toBe("late");
    expect(units(store).flat().join("")).toBe("abc");
  });

  it("that come late bring their rows, and no old head", () => {
    const store = filled("a");
    apply(store, { ...chain(["b", "c"], 1), seq: 3 });
    expect(apply(store, { ...chain(["b"], 1), seq: 2 })).toBe("stale");
    expect([store.seq, store.head, store.size]).toEqual([3, 2, 3]);
  });

  it("of an older trace are taken where their number is a later one: what took its place was a mistake", () => {
    const store = filled("a");
    apply(store, { ...chain(["x", "y"]), epoch: 7, seq: 2 });
    expect(apply(store, { ...chain(["a"]), epoch: 1, seq: 2 })).toBe("stale");
    expect(apply(store, { ...chain(["a", "b"]), epoch: 1, seq: 3 })).toBe("applied");
    expect([store.epoch, units(store).flat().join("")]).toEqual([1, "ab"]);
  });

  it("of a newer trace start over; of an older one are left alone", () => {
    const store = filled("a", "b");
    expect(apply(store, { ...chain(["z"], 5), epoch: 2, head: -1 })).toBe("gap");
    expect(units(store).flat().join("")).toBe("ab");
    expect(apply(store, { ...chain(["x"]), epoch: 2 })).toBe("applied");
    expect(units(store).flat().join("")).toBe("x");
    expect(apply(store, { ...chain(["a", "b"]), epoch: 1 })).toBe("stale");
    expect(units(store).flat().join("")).toBe("x");
  });

  it("of an empty trace clear the text", () => {
    const store = filled("a", "b");
    apply(store, { epoch: 2, head: -1 });
    expect([store.size, store.length, store.units]).toEqual([0, 0, 0]);
  });

  it("ahead of whose head rows are missing wait for them", () => {
    const store = new Store();
    apply(store, { ...chain(["a", "b"]), head: 3 });
    expect([store.incomplete, store.length]).toEqual([true, 0]);
    apply(store, { ...chain(["c", "d"], 2), head: 3 });
    expect([store.incomplete, store.length]).toEqual([false, 4]);
  });

  it("take as many alternatives as their trace", () => {
    const store = filled("a");
    expect(() => apply(store, { ...chain(["b"], 1), k: 2 })).toThrow("2 alternatives a row, its trace 0");
  });

  it.each([
    ["node 2 follows node 2, which is not before it", { ...chain(["c", "d"], 2, 2), head: -1 }],
    ["node 2 follows node 3, which is not before it", { ...chain(["c", "d"], 2, 3), head: -1 }],
    ["node 2 follows node -2, which is not before it", { ...chain(["c", "d"], 2, -2), head: -1 }],
    ["a token of kind 3, which is none", { start: 2, rows: [{ parent: 1, token_id: 0, kind: 3 }] }],
    ["a frame's head is -2, which is no node", { ...chain(["c"], 2), head: -2 }],
    ["frame 1073741825 of trace 1: nobody counts so far", { ...chain(["c"], 2), seq: 2 ** 30 + 1 }],
    ["frame 2 of trace 1073741825: nobody counts so far", { ...chain(["c"]), epoch: 2 ** 30 + 1 }],
  ])("that cannot be are refused, and change nothing: %s", (words, message) => {
    const store = filled("a", "b");
    expect(() => apply(store, { seq: 2, ...message })).toThrow(words);
    expect([store.epoch, store.seq, store.size, store.head]).toEqual([1, 1, 2, 1]);
    expect(apply(store, { ...chain(["c"], 2), seq: 2, epoch: 1 })).toBe("applied");
    expect(units(store).flat().join("")).toBe("abc");
  });

  it("with numbers as high as they go, the last parent that can be, and every kind are taken", () => {
    const rows = [0, 1, 2].map((kind) => ({ parent: kind - 1, token_id: 0, kind }));
    expect(apply(new Store(), { rows, seq: 2 ** 30, epoch: 2 ** 30 })).toBe("applied");
  });

  it("make no room for what they only announce", () => {
    const store = new Store();
    apply(store, { ...chain(["a"]), head: 2 ** 31 - 1 });
    expect(store.columns.parent.length).toBeLessThan(200_000);
    expect(store.incomplete).toBe(true);
  });
});

describe("the path", () => {
  it("follows the head through forks and back", () => {
    const store = filled("a", "b", "c", "d");
    const changes: number[] = [];
    store.onUnits((unit) => changes.push(unit));
    apply(store, chain(["B", "C"], 4, 0)); // instead of b
    expect(units(store).flat().join("")).toBe("aBC");
    expect([...store.path.subarray(0, store.length)]).toEqual([0, 4, 5]);
    expect([store.onPath(0), store.onPath(1), store.onPath(4)]).toEqual([true, false, true]);
    apply(store, { start: 6, head: 3 });
    expect(units(store).flat().join("")).toBe("abcd");
    apply(store, { start: 6, head: 1 });
    expect(units(store).flat().join("")).toBe("ab");
    expect(changes).toEqual([1, 1, 2]);
  });

  it("tells how little changed when it only grew", () => {
    const store = filled("a", "b");
    const changes: number[] = [];
    const stop = store.onUnits((unit) => changes.push(unit));
    apply(store, chain(["c"], 2));
    apply(store, { start: 3, head: 2 });
    stop();
    apply(store, chain(["d"], 3));
    expect(changes).toEqual([2]);
  });
});

describe("units", () => {
  const [d0, d1, d2, d3] = Array.from(utf8("🐉"), (byte) => Uint8Array.of(byte));

  it("join the four bytes of an emoji, however the frames are cut", () => {
    const store = filled(" ", d0, d1);
    expect(units(store)).toEqual([[" "], [0xf0, 0x9f]]);
    apply(store, chain([d2, d3, "!"], 3));
    expect(units(store)).toEqual([[" "], ["🐉"], ["!"]]);
    expect(spans(store)).toEqual([
      [0, 1],
      [1, 5],
      [5, 6],
    ]);
    expect([...store.unitOf.subarray(0, 6)]).toEqual([0, 1, 1, 1, 1, 2]);
  });

  it("join the bytes of CJK, one character at a time", () => {
    const store = filled(...[...utf8("你好")].map((byte) => Uint8Array.of(byte)));
    expect(units(store)).toEqual([["你"], ["好"]]);
  });

  it("join tokens that hold more than the cut character", () => {
    const [a, b, c] = utf8("好");
    const store = filled(Uint8Array.of(0x61, a), Uint8Array.of(b), Uint8Array.of(c, 0x62), "c");
    expect(units(store)).toEqual([["a好b"], ["c"]]);
  });

  it("stop at a token that does not go on with the character", () => {
    expect(units(filled(d0, "x", d1))).toEqual([[0xf0], ["x"], [0x9f]]);
    expect(units(filled(Uint8Array.of(0xe0), Uint8Array.of(0x80)))).toEqual([[0xe0], [0x80]]);
  });

  it("go on where garbage follows the completed character", () => {
    expect(units(filled(Uint8Array.of(0xc3), Uint8Array.of(0xa9, 0xff)))).toEqual([["é", 0xff]]);
  });

  it("come apart again when a fork cuts a character", () => {
    const store = filled("a", d0, d1, d2, d3);
    apply(store, chain(["x"], 5, 2)); // in place of d2
    expect(units(store)).toEqual([["a"], [0xf0, 0x9f], ["x"]]);
  });
});

describe("graphemes", () => {
  const bytesOf = (text: string) => [...utf8(text)].map((byte) => Uint8Array.of(byte));
  const texts = (store: Store) => Array.from({ length: store.units }, (_, unit) => store.unitString(unit));

  it("join a letter and the accents that follow it", () => {
    const store = filled("e", "\u0301", "\u0323", "x");
    expect(texts(store)).toEqual(["e\u0301\u0323", "x"]);
    expect(spans(store)).toEqual([
      [0, 3],
      [3, 4],
    ]);
    expect([...store.unitOf.subarray(0, 4)]).toEqual([0, 0, 0, 1]);
  });

  it("join a family of emoji that came byte by byte, however the frames are cut", () => {
    const family = "👩‍👩‍👧";
    const pieces = bytesOf(`a${family}b`);
    for (let cut = 1; cut < pieces.length; cut++) {
      const store = filled(...pieces.slice(0, cut));
      const seen: number[] = [];
      store.onUnits((unit) => seen.push(unit));
      apply(store, { ...chain(pieces.slice(cut), cut), seq: 2 });
      expect(texts(store), `cut at ${cut}`).toEqual(["a", family, "b"]);
      if (cut > 5) expect(seen[0], `cut at ${cut}`).toBeLessThanOrEqual(cut === pieces.length - 1 ? 2 : 1);
    }
  });

  it("join flags two by two, and no accent to a line break", () => {
    expect(texts(filled("🇫", "🇷", "🇩", "🇪", "!"))).toEqual(["🇫🇷", "🇩🇪", "!"]);
    expect(texts(filled("\n", "\u0301"))).toEqual(["\n", "\u0301"]);
    expect(texts(filled("你", "好", "世"))).toEqual(["你", "好", "世"]);
  });

  it("come apart where a fork cuts them, and have an end", () => {
    const store = filled("e", "\u0301", "x");
    apply(store, chain(["y"], 3, 0));
    expect(texts(store)).toEqual(["e", "y"]);
    const pile = filled("e", ...Array.from({ length: 200 }, () => "\u0301"));
    expect(pile.units).toBeGreaterThan(1);
    expect(texts(pile).join("")).toHaveLength(201);
  });
});

it("a unit as a string: bytes that are no text are named", () => {
  const store = filled("a", Uint8Array.of(0xff, 0x62), "c");
  expect([0, 1, 2].map((unit) => store.unitString(unit))).toEqual(["a", "<FF>b", "c"]);
});

describe("the distribution", () => {
  const row: Row = {
    parent: -1,
    token_id: 8,
    rank: 2,
    logprob: Math.log(0.25),
    kept: 2,
    tail: 0.125,
    top_ids: [7, 8, 9],
    top_logprobs: [0.5, 0.25, 0.125].map(Math.log),
    top_kept: 0b011,
  };
  const of = (change: Partial<Row>, k = 3) => {
    const store = new Store();
    apply(store, { k, rows: [{ ...row, ...change }] });
    return store.distribution(0);
  };

  it("lists ranks, probabilities, what was chosen and what was cut", () => {
    const { alternatives, rest } = of({});
    expect(alternatives.map(({ id, rank, kept, chosen }) => [id, rank, kept, chosen])).toEqual([
      [7, 1, true, false],
      [8, 2, true, true],
      [9, 3, false, false],
    ]);
    expect(alternatives[1].probability).toBeCloseTo(0.25);
    expect(rest).toBe(0.125);
  });

  it("gives a chosen token from below the list a row of its own, and takes it from the rest", () => {
    const { alternatives, rest } = of({ token_id: 99, rank: 57, logprob: Math.log(0.025) });
    expect(alternatives.at(-1)).toMatchObject({ id: 99, rank: 57, chosen: true });
    expect(rest).toBeCloseTo(0.1);
  });

  it("cuts nothing where no sampler ran, and ends where the vocabulary does", () => {
    expect(of({ kept: 0, top_kept: 0 }).alternatives.every(({ kept }) => kept)).toBe(true);
    expect(of({}, 5).alternatives).toHaveLength(3);
  });

  it("reads the thirty-second bit of the mask", () => {
    const ids = Array.from({ length: 32 }, (_, i) => i);
    const { alternatives } = of({ top_ids: ids, top_logprobs: ids.map(() => -4), top_kept: 0x80000000 }, 32);
    expect(alternatives.filter(({ kept }) => kept).map(({ id }) => id)).toEqual([31]);
  });
});

describe("a limit", () => {
  const text = (store: Store) => units(store).flat().join("");

  it("shows the first tokens of the path, and more as it rises", () => {
    const store = filled("a", "b", "c", "d");
    const changed: number[] = [];
    store.onUnits((unit) => changed.push(unit));
    const seen = [2, 3, 3, 0, 9].map((n) => {
      store.show(n);
      return [text(store), store.length, store.total, store.at(3)];
    });
    expect(seen).toEqual([
      ["ab", 2, 4, -1],
      ["abc", 3, 4, -1],
      ["abc", 3, 4, -1],
      ["", 0, 4, -1],
      ["abcd", 4, 4, 3],
    ]);
    expect(changed).toEqual([2, 2, 0, 0]);
    expect(store.limit).toBe(9);
  });

  it("within a character leaves it unfinished, and finishes it later", () => {
    const dragon = utf8("🐉");
    const store = filled("a", dragon.subarray(0, 2), dragon.subarray(2), "b");
    store.show(2);
    expect(spans(store)).toEqual([
      [0, 1],
      [1, 2],
    ]);
    store.show(3);
    expect(units(store)).toEqual([["a"], ["🐉"]]);
    store.show(4);
    expect(text(store)).toBe("a🐉b");
  });

  it("holds while the path grows or changes behind it, and ends with the trace", () => {
    const store = filled("a", "b", "c");
    store.show(2);
    apply(store, { ...chain(["d", "e"], 3), seq: 2 });
    expect([text(store), store.total]).toEqual(["ab", 5]);
    apply(store, { ...chain(["x"], 5, 0), seq: 3 });
    expect([text(store), store.total]).toEqual(["ax", 2]);
    apply(store, { ...chain(["p", "q", "r"]), epoch: 2 });
    expect(text(store)).toBe("pqr");
  });
});

describe("another branch", () => {
  /** a b c, and d e behind a. */
  const forked = (): Store => {
    const store = filled("a", "b", "c");
    apply(store, { ...chain(["d", "e"], 3, 0), seq: 2, head: 2 });
    return store;
  };
  const text = (store: Store) => units(store).flat().join("");

  it("is shown without a kernel, until the kernel says otherwise", () => {
    const store = forked();
    const changed: number[] = [];
    store.onUnits((unit) => changed.push(unit));
    store.goto(4);
    expect([text(store), changed]).toEqual(["ade", [1]]);
    apply(store, { start: 5, rows: [], head: 1, seq: 3 });
    expect(text(store)).toBe("ab");
  });

  it("is shown whole, however far a player had come", () => {
    const store = forked();
    store.show(1);
    store.goto(4);
    expect([text(store), store.limit]).toEqual(["ade", Number.POSITIVE_INFINITY]);
    store.show(1);
    store.goto(4);
    expect(text(store)).toBe("ade");
  });

  it("leaves the tip that was shown before, which growing does not", () => {
    const store = forked();
    expect(store.left).toBe(-1);
    store.goto(4);
    expect(store.left).toBe(2);
    apply(store, { ...chain(["f"], 5, 4), seq: 3 });
    expect([text(store), store.left]).toEqual(["adef", 2]);
    store.goto(0);
    expect(store.left).toBe(5);
    apply(store, { ...chain(["z"]), epoch: 2 });
    expect(store.left).toBe(-1);
  });

  it("has a text, whole characters of bytes that were cut", () => {
    const dragon = utf8("🐉");
    const store = filled("a", dragon.subarray(0, 2), dragon.subarray(2), "b");
    expect(store.passage([0, 1, 2, 3])).toEqual(["a🐉b"]);
    expect(store.passage([0, 1])).toEqual(["a", 0xf0, 0x9f]);
    expect(store.passage([])).toEqual([]);
  });
});
