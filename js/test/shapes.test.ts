/** Each shape takes what it should, up to the edge, and says in words where the rest is wrong. */
import { describe, expect, it } from "vitest";
import {
  fitted,
  flag,
  list,
  maybe,
  missing,
  number,
  object,
  one,
  type Shape,
  table,
  text,
  where,
  whole,
} from "../src/shapes.js";

const pair = object<{ a: number; b: string[] }>({ a: number, b: list(text) });
const both = where(list(number), (values) => values.length === 2, "two of them");
const colour = one<"red" | "blue">(["red", "blue"]);

describe("a shape", () => {
  it.each<[string, Shape<unknown>, unknown[]]>([
    ["text", text, ["", "x"]],
    ["flag", flag, [true, false]],
    ["number", number, [0, -0.5, 1e308]],
    ["whole", whole(), [0, 1, Number.MAX_SAFE_INTEGER]],
    ["whole from -1 to 3", whole(-1, 3), [-1, 3]],
    ["one of", colour, ["red", "blue"]],
    ["maybe", maybe(text), [null, "x"]],
    ["missing", missing(text), [undefined, "x"]],
    ["list", list(text), [[], ["x", "y"]]],
    ["table", table(number), [{}, { any: 1 }]],
    [
      "object",
      pair,
      [
        { a: 1, b: [] },
        { a: 1, b: ["x"], newer: null },
      ],
    ],
    ["where", both, [[1, 2]]],
  ])("%s takes what it should", (_, shape, values) => {
    for (const value of values) expect(shape(value, "it")).toBe("");
  });

  it.each<[string, Shape<unknown>, unknown, string]>([
    ["text", text, 5, "it must be text, not number"],
    ["text", text, null, "it must be text, not null"],
    ["text", text, undefined, "it must be text, not missing"],
    ["flag", flag, 1, "it must be true or false, not number"],
    ["number", number, "5", "it must be a number, not string"],
    ["number", number, Number.NaN, "it must be a number, not number"],
    ["number", number, Number.POSITIVE_INFINITY, "it must be a number, not number"],
    ["whole", whole(), 0.5, "it must be a whole number from 0 on, not number"],
    ["whole", whole(), -1, "it must be a whole number from 0 on, not number"],
    ["whole", whole(), 2 ** 53, "it must be a whole number from 0 on, not number"],
    ["whole from -1 to 3", whole(-1, 3), -2, "it must be a whole number from -1 on, not number"],
    ["whole from -1 to 3", whole(-1, 3), 4, "it must be a whole number from -1 on, not number"],
    ["one of", colour, "green", "it must be red or blue, not string"],
    ["maybe", maybe(text), undefined, "it must be text, not missing"],
    ["missing", missing(text), null, "it must be text, not null"],
    ["list", list(text), { 0: "x" }, "it must be a list, not object"],
    ["list", list(text), ["x", 5], "it[1] must be text, not number"],
    ["table", table(number), [1], "it must be an object, not a list"],
    ["table", table(number), { a: 1, b: "x" }, "it.b must be a number, not string"],
    ["object", pair, null, "it must be an object, not null"],
    ["object", pair, { b: [] }, "it.a must be a number, not missing"],
    ["object", pair, { a: 1, b: ["x", null] }, "it.b[1] must be text, not null"],
    ["where", both, [1], "it contradicts itself: two of them"],
    ["where", both, ["x", 2], "it[0] must be a number, not string"],
  ])("%s refuses the rest: %#", (_, shape, value, words) => {
    expect(shape(value, "it")).toBe(words);
  });
});

describe("what of an object fits", () => {
  const defaults = { a: 1, b: ["x"] };
  const shapes = { a: number, b: list(text) };

  it("is kept, with the default for the rest and the first fault", () => {
    expect(fitted({ a: "x", b: [5], c: 2 }, "it", defaults, shapes)).toEqual({
      value: { a: 1, b: ["x"], c: 2 },
      fault: "it.a must be a number, not string",
    });
    expect(fitted({ b: ["y"] }, "it", defaults, shapes)).toEqual({ value: { a: 1, b: ["y"] }, fault: "" });
    expect(fitted<Partial<typeof defaults>>({ a: "x" }, "it", {}, shapes).value).toEqual({});
  });

  it.each([undefined, null])("is nothing of %s, and that is no fault", (value) => {
    expect(fitted(value, "it", defaults, shapes)).toEqual({ value: defaults, fault: "" });
  });

  it.each([[[]], ["x"], [5]])("is nothing of %j, and that is one", (value) => {
    expect(fitted(value, "it", defaults, shapes).value).toEqual(defaults);
    expect(fitted(value, "it", defaults, shapes).fault).toContain("it must be an object");
  });
});
