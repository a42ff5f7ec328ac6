import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COLUMNS, HEADER } from "../src/protocol.js";
import { decode } from "../src/wire.js";
import { encode } from "./encode.js";

const ROW = {
  parent: 3,
  token_id: 17,
  kind: 2,
  logprob: -0.5,
  entropy: 1.25,
  rank: 2,
  sampled_prob: 0.75,
  kept: 9,
  draw: 0.125,
  ms: 8.5,
  tail: 0.0625,
  left_out: 2048,
  top_ids: [5, 17],
  top_logprobs: [-0.25, -0.5],
  top_kept: 0x80000001,
};

describe("decode", () => {
  it("reads every field back, wherever the frame lies in its buffer", () => {
    const frame = decode(
      encode({
        seq: 7,
        epoch: 2,
        start: 4,
        k: 3,
        head: -1,
        rows: [ROW, ROW],
        pieces: [
          [5, " été"],
          [0, "<s>"],
        ],
        control: [0],
      }),
    );
    const { columns, pieces, control, ...header } = frame;
    expect(header).toEqual({ seq: 7, epoch: 2, start: 4, rows: 2, k: 3, head: -1 });
    for (const [name, , width] of COLUMNS) {
      if (width === 1) expect([...columns[name]], name).toEqual([ROW[name], ROW[name]]);
    }
    expect([...columns.top_ids]).toEqual([5, 17, -1, 5, 17, -1]);
    expect([...columns.top_logprobs]).toEqual([-0.25, -0.5, Number.NaN, -0.25, -0.5, Number.NaN]);
    expect([...pieces]).toEqual([
      [5, new TextEncoder().encode(" été")],
      [0, new TextEncoder().encode("<s>")],
    ]);
    expect([...control]).toEqual([0]);
  });

  it("keeps nothing of the message's buffer", () => {
    const message = encode({ k: 0, rows: [{ parent: -1, token_id: 1 }] });
    const { columns } = decode(message);
    new Uint8Array(message.buffer).fill(255);
    expect(columns.token_id[0]).toBe(1);
  });

  it("reads what is watched beside the rows, wherever it lies in its buffer", () => {
    const rows = [ROW, ROW, ROW];
    const bytes = new Uint8Array(7 + 4 * 6);
    bytes.set(new Uint8Array(new Float32Array([Number.NaN, 0.5, 0.25, Number.NaN, 1, 0]).buffer), 7);
    const { watched } = decode(encode({ k: 0, rows }), [["yes", "no"], new DataView(bytes.buffer, 7)]);
    bytes.fill(255);
    expect([...(watched ?? [])]).toEqual([
      ["yes", new Float32Array([Number.NaN, 0.5, 0.25])],
      ["no", new Float32Array([Number.NaN, 1, 0])],
    ]);
    expect(decode(encode({ k: 0, rows })).watched).toBeUndefined();
    expect(() => decode(encode({ k: 0, rows }), [["yes"], new DataView(bytes.buffer, 7)])).toThrow(
      "1 watches of 3 rows are 12 bytes, not 24",
    );
  });

  it("refuses a frame that was cut short, is too long, or is of another version", () => {
    const whole = encode({ k: 2, rows: [ROW], pieces: [[1, "abc"]] });
    for (const size of [8, 40, whole.byteLength - 1])
      expect(() => decode(new DataView(whole.buffer, whole.byteOffset, size))).toThrow(RangeError);
    expect(() => decode(new DataView(whole.buffer, whole.byteOffset, whole.byteLength + 1))).toThrow(
      /should have been/,
    );
    expect(() => decode(encode({ version: 2 }))).toThrow("the kernel sent version 2");
    expect(() => decode(encode({ version: 0 }))).toThrow("the kernel sent version 0");
  });

  it.each([
    ["rows", 2, /^a frame of \d+ bytes was cut short: 2 rows take \d+/],
    ["rows", 0, /should have been/],
    ["k", 9, /^a frame of \d+ bytes was cut short: 1 rows take \d+/],
    ["k", 1, /^a frame of \d+ bytes/],
    ["k", 33, "a frame has 33 alternatives a row; 32 is the most"],
    ["pieces", 2, /^a frame of \d+ bytes was cut short: 1 pieces are missing/],
    ["pieces", 0xffffffff, /pieces are missing/],
    ["pieces", 0, /should have been/],
  ])("refuses a frame that says %s %d and does not bring as many", (name, count, words) => {
    const frame = encode({ k: 2, rows: [ROW], pieces: [[1, "abc"]] });
    const at = HEADER.findIndex(([field]) => field === name);
    expect(decode(frame).rows).toBe(1);
    frame.setUint32(4 * at, count, true);
    expect(() => decode(frame)).toThrow(words);
  });
});

/** Frames as Python wrote them: x.bin beside x.json, which says what is in it; null stands for NaN. */
interface Expected {
  header: Record<string, number>;
  columns: Record<string, (number | null)[] | (number | null)[][]>;
  pieces: Record<string, number[]>;
  control: number[];
}

const folder = new URL("./fixtures/", import.meta.url);
const fixtures = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".bin")) : [];

describe.skipIf(!fixtures.length)("frames written by Python", () => {
  it.each(fixtures)("%s", (name) => {
    const expected: Expected = JSON.parse(readFileSync(new URL(name.replace(".bin", ".json"), folder), "utf8"));
    const { columns, pieces, control, ...header } = decode(readFileSync(new URL(name, folder)));
    const { version: _, pieces: count, ...said } = expected.header;
    expect(header).toEqual(said);
    expect(pieces.size).toBe(count);
    for (const [column, dtype] of COLUMNS) {
      const want = (expected.columns[column] ?? []).flat().map((value) => Number(value ?? Number.NaN));
      const rounded = dtype === "float32" ? [...new Float32Array(want)] : want;
      expect([...columns[column]], column).toEqual(rounded);
    }
    for (const [id, bytes] of Object.entries(expected.pieces))
      expect([...(pieces.get(Number(id)) ?? [])]).toEqual(bytes);
    expect([...control].sort((a, b) => a - b)).toEqual(expected.control);
  });
});
