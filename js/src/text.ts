/** Bytes of tokens -> what a reader sees. No byte is ever shown as U+FFFD. */

/** Text, or a byte that is part of no character (yet). */
export type Part = string | number;

export interface Decoded {
  parts: Part[];
  /** Bytes at the end that may yet become a character: the start of one, cut off. */
  open: number;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Length of the character that starts with `lead`, and the range its second byte must lie in; 0 where none starts so. */
function sequence(lead: number): [length: number, low: number, high: number] {
  if (lead < 0x80) return [1, 0, 0];
  if (lead < 0xc2) return [0, 0, 0];
  if (lead < 0xe0) return [2, 0x80, 0xbf];
  if (lead < 0xf0) return [3, lead === 0xe0 ? 0xa0 : 0x80, lead === 0xed ? 0x9f : 0xbf];
  if (lead < 0xf5) return [4, lead === 0xf0 ? 0x90 : 0x80, lead === 0xf4 ? 0x8f : 0xbf];
  return [0, 0, 0];
}

export function decodeText(bytes: Uint8Array): Decoded {
  const parts: Part[] = [];
  let from = 0; // where the text not yet in `parts` begins
  let at = 0;
  let open = 0;
  const flush = (): void => {
    if (at > from) parts.push(utf8.decode(bytes.subarray(from, at)));
  };
  while (at < bytes.length) {
    const [length, low, high] = sequence(bytes[at]);
    let have = length && 1;
    while (have < length && at + have < bytes.length) {
      const byte = bytes[at + have];
      if (have === 1 ? byte < low || byte > high : byte < 0x80 || byte > 0xbf) break;
      have++;
    }
    if (length && have === length) {
      at += length;
      continue;
    }
    flush();
    if (have && at + have === bytes.length) open = have;
    for (const end = at + Math.max(have, 1); at < end; at++) parts.push(bytes[at]);
    from = at;
  }
  flush();
  return { parts, open };
}

// What goes on with the character before it: marks, joiners, skin tones, flags, tags, the inner letters of Hangul syllables.
const EXTENDS =
  /^(?:\u200d|[\p{M}\p{Emoji_Modifier}\p{Regional_Indicator}\u200c\u{e0020}-\u{e007f}\u1160-\u11ff\ud7b0-\ud7ff])/u;
/** The lowest first byte of those, in UTF-8. */
export const LEAD = 0xcc;
const JOINER = "\u200d";
const segmenter = globalThis.Intl?.Segmenter && new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Whether what a reader takes for one character reaches over the end of one text into the next. */
export function oneGrapheme(before: string, after: string): boolean {
  if (!before || !(EXTENDS.test(after) || before.endsWith(JOINER))) return false;
  if (!segmenter) return true;
  const around = segmenter.segment(before + after).containing(before.length);
  return around !== undefined && around.index < before.length;
}

export const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80;

export const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, "0");

/** A stretch of a token as it is drawn. The text is what copying yields, the glyph what stands for it. */
export interface Run {
  kind: "text" | "space" | "tab" | "newline" | "chip";
  text: string;
}

// Characters without a shape of their own: C0 and C1 controls, zero-width and direction marks, line separators, tags.
const SPECIAL =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]|[ \u00a0]+/g;

/** Cuts parts into runs: words stay whole, what cannot be seen becomes a glyph or a chip. */
export function runs(parts: readonly Part[]): Run[] {
  const out: Run[] = [];
  const text = (value: string): void => {
    if (value) out.push({ kind: "text", text: value });
  };
  for (const part of parts) {
    if (typeof part === "number") {
      out.push({ kind: "chip", text: hex(part) });
      continue;
    }
    let from = 0;
    for (const match of part.matchAll(SPECIAL)) {
      const found = match[0];
      text(part.slice(from, match.index));
      from = match.index + found.length;
      if (found === "\n") out.push({ kind: "newline", text: "\n" });
      else if (found === "\t") out.push({ kind: "tab", text: "\t" });
      else if (found.trim() === "" && /^[ \u00a0]/.test(found))
        for (const space of found) out.push({ kind: "space", text: space });
      else out.push({ kind: "chip", text: codePoint(found) });
    }
    text(part.slice(from));
  }
  return out;
}

const codePoint = (char: string): string => {
  const code = char.codePointAt(0) ?? 0;
  return code < 0x100 ? hex(code) : `U+${code.toString(16).toUpperCase()}`;
};

/** One line for a list or a tooltip: spaces as dots, line breaks as arrows, everything visible. */
export function label(parts: readonly Part[]): string {
  const glyph = { text: "", space: "·", tab: "⇥", newline: "⏎", chip: "" };
  return runs(parts)
    .map(({ kind, text }) => (kind === "text" ? text : kind === "chip" ? `<${text}>` : glyph[kind]))
    .join("");
}
