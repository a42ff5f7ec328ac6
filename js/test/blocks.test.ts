import { describe, expect, it } from "vitest";
import { Store } from "../src/store.js";
import { Blocks, LONGEST, SHORTEST } from "../src/views/stream/blocks.js";
import { Profile } from "../src/views/stream/profile.js";
import { decode } from "../src/wire.js";
import { encode } from "./encode.js";

const PIECES = [
  "word",
  " and",
  "\n",
  "好",
  "longer than a line of eighty columns, as some tokens of some vocabularies are ",
];

/** A path of pieces, by their places in PIECES. */
function filled(ids: number[]): Store {
  const store = new Store();
  const rows = ids.map((token_id, i) => ({ parent: i - 1, token_id }));
  store.apply(decode(encode({ rows, pieces: PIECES.map((piece, i) => [i, piece] as const) })));
  return store;
}

const blocksOf = (ids: number[]): Blocks => {
  const blocks = new Blocks(filled(ids));
  blocks.extend();
  return blocks;
};
const times = (n: number, id: (i: number) => number): number[] => Array.from({ length: n }, (_, i) => id(i));

describe("blocks", () => {
  it("end where lines do, once they hold enough", () => {
    const { list } = blocksOf(times(400, (i) => (i % 30 === 29 ? 2 : 1)));
    expect(list.map(({ first, soft }) => [first, soft])).toEqual(
      times(Math.ceil(400 / 60), (i) => i * 60).map((first) => [first, false]),
    );
    expect(list[0].breaks).toBe(2);
    expect(list[0].columns).toBe(58 * 4);
  });

  it("hold thousands of line breaks, a line each", () => {
    const blocks = blocksOf(times(3000, () => 2));
    blocks.measure = { perLine: 70, line: 20 };
    expect(blocks.list).toHaveLength(3000 / SHORTEST);
    expect(blocks.total).toBe(3000 * 20);
  });

  it("cut text without line breaks at spaces, however long it is", () => {
    const ids = times(20_000, (i) => (i % 7 ? 0 : 1));
    const blocks = blocksOf(ids);
    const sizes = blocks.list.map((_, i) => blocks.span(i)[1] - blocks.span(i)[0]);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(LONGEST);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(20_000);
    for (const { first, soft } of blocks.list.slice(1)) expect([soft, ids[first]]).toEqual([true, 1]);
  });

  it("are found by unit and by height", () => {
    const blocks = blocksOf(times(2000, (i) => (i % 10 === 9 ? 2 : 1)));
    blocks.list.forEach((block, i) => {
      block.height = 100 + i;
    });
    blocks.touch(0);
    expect(blocks.of(0)).toBe(0);
    expect(blocks.of(blocks.list[7].first)).toBe(7);
    expect(blocks.of(blocks.list[7].first - 1)).toBe(6);
    expect(blocks.top(3)).toBe(303);
    expect([blocks.at(-5), blocks.at(302), blocks.at(303), blocks.at(1e9)]).toEqual([0, 2, 3, blocks.list.length - 1]);
  });

  it("guess higher for wide characters and narrow pages", () => {
    const [latin, wide] = [blocksOf(times(400, () => 0)), blocksOf(times(400, () => 3))];
    latin.measure = { perLine: 40, line: 10 };
    wide.measure = latin.measure;
    expect(latin.total).toBe(10 * Math.round(1600 / 40 + 0.5));
    expect(wide.total).toBe(10 * Math.round(800 / 40 + 0.5));
  });

  it("forget what was measured of the end when it grows or is taken back", () => {
    const store = filled(times(70, (i) => (i === 59 ? 2 : 1)));
    const blocks = new Blocks(store);
    blocks.extend();
    for (const block of blocks.list) block.height = 77;
    store.apply(decode(encode({ start: 70, rows: [{ parent: 69, token_id: 1 }] })));
    blocks.extend();
    expect(blocks.list.map(({ height }) => height)).toEqual([77, 0]);
    expect(blocks.truncate(20)).toHaveLength(1);
    expect([blocks.end, blocks.list[0].height, blocks.list[0].columns]).toEqual([20, 0, 80]);
  });
});

describe("the profile", () => {
  const means = (profile: Profile) => Array.from({ length: profile.stretches }, (_, i) => profile.mean(i));
  const exact = (values: number[], span: number) =>
    Array.from({ length: Math.ceil(values.length / span) }, (_, i) => {
      const stretch = values.slice(i * span, (i + 1) * span);
      return stretch.reduce((sum, value) => sum + value, 0) / stretch.length;
    });

  it("equals the means, whatever the pieces it came in", () => {
    const values = Array.from({ length: 5000 }, (_, i) => (i * 7919) % 37);
    const profile = new Profile();
    for (let length = 0; length < 5000; ) {
      length = Math.min(5000, length + 1 + (length % 97));
      profile.update(length, length, (at) => values[at]);
    }
    expect(profile.span).toBe(16);
    expect(means(profile)).toEqual(exact(values, 16));
  });

  it("asks only for what is new, and again for what a fork changed", () => {
    const profile = new Profile();
    const asked: number[] = [];
    const value = (scale: number) => (at: number) => {
      asked.push(at);
      return at * scale;
    };
    profile.update(1000, 0, value(1));
    asked.length = 0;
    profile.update(1003, 1000, value(1));
    expect(asked).toEqual([1000, 1001, 1002]);
    asked.length = 0;
    profile.update(1001, 996, value(2));
    expect(asked).toEqual([996, 997, 998, 999, 1000]);
    const values = Array.from({ length: 1001 }, (_, at) => (at < 996 ? at : 2 * at));
    expect(means(profile)).toEqual(exact(values, profile.span));
    expect(profile.update(1001, 1001, value(2))).toBe(false);
  });

  it("is fine again for a short path after a long one", () => {
    const profile = new Profile();
    profile.update(100_000, 0, () => 1);
    expect(profile.stretches).toBeLessThanOrEqual(512);
    profile.update(300, 0, () => 1);
    expect(profile.stretches).toBe(300);
    profile.update(20, 0, (at) => at);
    expect([profile.span, means(profile)]).toEqual([
      1,
      exact(
        Array.from({ length: 20 }, (_, at) => at),
        1,
      ),
    ]);
  });
});
