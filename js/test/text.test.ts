import { describe, expect, it } from "vitest";
import { decodeText, label, runs } from "../src/text.js";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const decoded = (...bytes: number[]) => decodeText(new Uint8Array(bytes));

describe("decodeText", () => {
  it("reads whole characters of every length", () => {
    expect(decodeText(utf8("aé好🐉\u0000"))).toEqual({ parts: ["aé好🐉\u0000"], open: 0 });
  });

  it("keeps a byte order mark, as a character of the text", () => {
    expect(decodeText(utf8("\ufeffa")).parts).toEqual(["\ufeffa"]);
  });

  it("leaves a cut-off character open, as bytes", () => {
    expect(decoded(0x61, 0xf0, 0x9f, 0x90)).toEqual({ parts: ["a", 0xf0, 0x9f, 0x90], open: 3 });
  });

  it("takes bytes that can never be a character as bytes, and goes on behind them", () => {
    expect(decoded(0x80, 0x61)).toEqual({ parts: [0x80, "a"], open: 0 });
    expect(decoded(0xc0, 0x80)).toEqual({ parts: [0xc0, 0x80], open: 0 }); // overlong
    expect(decoded(0xed, 0xa0, 0x80)).toEqual({ parts: [0xed, 0xa0, 0x80], open: 0 }); // a surrogate
    expect(decoded(0xf4, 0x90)).toEqual({ parts: [0xf4, 0x90], open: 0 }); // beyond U+10FFFF
    expect(decoded(0xe5, 0xa5, 0x61)).toEqual({ parts: [0xe5, 0xa5, "a"], open: 0 });
  });

  it("never yields U+FFFD, and loses no byte, whatever the bytes", () => {
    let seed = 1;
    const random = (n: number): number => {
      seed = (seed * 48271) % 2147483647;
      return seed % n;
    };
    const interesting = [0x61, 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0xf0, 0x90, 0xf4, 0xff];
    for (let trial = 0; trial < 2000; trial++) {
      const bytes = Uint8Array.from({ length: random(9) }, () => interesting[random(interesting.length)]);
      const { parts } = decodeText(bytes);
      expect(parts.join("")).not.toContain("\ufffd");
      const back = parts.flatMap((part) => (typeof part === "number" ? [part] : [...utf8(part)]));
      expect(back).toEqual([...bytes]);
    }
  });
});

describe("runs", () => {
  it("tells what can be read from what cannot be seen", () => {
    expect(runs([" a  b\tc\n", 0xf0, "\u200b\u0007"])).toEqual([
      { kind: "space", text: " " },
      { kind: "text", text: "a" },
      { kind: "space", text: " " },
      { kind: "space", text: " " },
      { kind: "text", text: "b" },
      { kind: "tab", text: "\t" },
      { kind: "text", text: "c" },
      { kind: "newline", text: "\n" },
      { kind: "chip", text: "F0" },
      { kind: "chip", text: "U+200B" },
      { kind: "chip", text: "07" },
    ]);
  });

  it("leaves a joined emoji whole", () => {
    expect(runs(["👩‍👩‍👧"])).toEqual([{ kind: "text", text: "👩‍👩‍👧" }]);
  });
});

it("labels in one visible line", () => {
  expect(label([" sons\n\t", 0xe5])).toBe("·sons⏎⇥<E5>");
});
