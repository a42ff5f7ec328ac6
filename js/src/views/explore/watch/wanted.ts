/** What a person wrote to have watched -> a name, and the words or ids behind it. */

export interface Wanted {
  name: string;
  /** Words as they were written, without the space at their ends unless there is only one. */
  words: string[];
  /** Tokens by number: #1234. */
  ids: number[];
}

const ID = /^#(\d+)$/;

/** "king", " king", "#1234", or several under a name: "positive: good, great". Null where nothing is named. */
export function read(written: string): Wanted | null {
  const named = /^\s*([^:,]*[^:,\s])\s*:\s*(\S.*)$/s.exec(written);
  const parts = named ? named[2].split(",").map((part) => part.trim()) : [written];
  const asked = parts.filter((part) => part.trim());
  if (!asked.length) return null;
  const ids = asked.flatMap((part) => ID.exec(part.trim())?.[1] ?? []).map(Number);
  const words = asked.filter((part) => !ID.test(part.trim()));
  return { name: named ? named[1] : (words[0]?.trim() ?? `#${ids[0]}`), words, ids };
}

/** Whether a way in which a word stands in the vocabulary is meant at once: itself, with or without a space before it. */
export const meant = (word: string, found: string): boolean =>
  word.startsWith(" ") ? found === word : found.trimStart() === word;
