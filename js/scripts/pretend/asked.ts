/** What a model would be asked beside the path, pretended: watches, the same dice, and what else comes out. */
import type { Committed, Resampled, WhatIf } from "../../src/answers/roads.js";
import type { Named } from "../../src/answers/text.js";
import type { Watch } from "../../src/state.js";
import type { Row } from "../../test/encode.js";

/** 0 to 1, the same for the same numbers. */
function chance(...of: number[]): number {
  const mixed = of.reduce((sum, value) => Math.imul(sum ^ Math.round(value * 1009), 2654435761) >>> 0, 40503);
  return ((mixed ^ (mixed >>> 13)) % 100003) / 100003;
}

export function variants(text: string): Named[] {
  const word = text.trim();
  const forms = [text, word, word.toLowerCase(), word[0]?.toUpperCase() + word.slice(1).toLowerCase()];
  const texts = [...new Set(forms.flatMap((form) => [form, ` ${form}`]))].filter((each) => each.trim());
  if (word.length > 9 || word.includes(",")) return [];
  return texts
    .filter((each) => !each.startsWith("  "))
    .map((each, i) => ({ id: 300 + 17 * word.length + i, text: each }));
}

export const watchOf = (name: string, tokens: readonly unknown[]): Watch => ({
  name,
  tokens: tokens.map((token, i) =>
    typeof token === "number" ? { id: token, text: `token ${token}` } : { id: 300 + i, text: String(token) },
  ),
});

/** Probability of a watch at each row: now and then likely, mostly not. */
export function watchedAt(name: string, rows: readonly Row[], from: number): number[] {
  const own = [...name].reduce((sum, letter) => sum * 31 + (letter.codePointAt(0) ?? 0), 7) % 1000;
  return rows.map(({ parent }, i) => {
    if (parent < 0) return Number.NaN;
    const at = from + i;
    const wave = Math.sin(at / (9 + (own % 13)) + own) + 0.6 * Math.sin(at / 3.1 + own / 7);
    return Math.min(0.97, Math.exp(-4.6 + 2.1 * wave - 2.6 * chance(at, own)));
  });
}

/** The further a value is from what the run had, the sooner it differs. */
export function whatIf(parameter: string, values: number[], current: number, length: number, rows: boolean): WhatIf {
  const span = Math.max(...values.map((value) => Math.abs(value - current))) || 1;
  const changes = values.map((value, i) => {
    const far = Math.abs(value - current) / span;
    const at = far < 0.06 ? null : Math.max(12, Math.round(length * (0.08 + 0.9 * (1 - far) ** 3)));
    const unknown = rows || chance(i, length) > 0.3 || far < 0.03 ? null : Math.round((at ?? length) * 0.6);
    return { value, at, text: at === null ? null : [" castle", " daughters", " and", ","][i % 4], unknown };
  });
  return { parameter, current, length, changes };
}

const ANSWERS: [string | null, number, string][] = [
  ["sons", 0.38, " sons; and the eldest of them said"],
  ["daughters", 0.27, " daughters, the youngest of whom was so beautiful"],
  ["children", 0.12, " children, and they were very poor"],
  ["brothers", 0.09, " brothers.\nOne day the king"],
  ["wives", 0.06, " wives who could not bear"],
  ["golden", 0.04, " golden apples upon a tree"],
  [null, 0.04, " …"],
];

/** Which of some shares the dice fell on. */
function drawn(shares: readonly number[], seed: number): number {
  const all = shares.reduce((sum, share) => sum + share, 0);
  let left = chance(seed, 3) * all;
  for (const [i, share] of shares.entries()) {
    left -= share;
    if (left < 0) return i;
  }
  return 0;
}

export function resampled(node: number, n: number): { value: Resampled; parts: Resampled[] } {
  const counts = ANSWERS.map(() => 0);
  const parts = Array.from({ length: n }, (_, i): Resampled => {
    counts[
      drawn(
        ANSWERS.map(([, share]) => share),
        i + 11,
      )
    ]++;
    const answers = ANSWERS.map(([answer, , example], j) => ({ answer, count: counts[j], example }));
    const found = answers.filter(({ count }) => count).sort((a, b) => b.count - a.count);
    return { node, done: i + 1, n, answers: found };
  });
  return { value: parts[parts.length - 1], parts };
}

/** `nodes`: those of the positions, from the first that is left open. */
export function committed(first: number, nodes: number[], n: number, every: number) {
  const left = nodes.filter((_, i) => i % every === 0);
  const answers = ANSWERS.map(([answer]) => answer);
  const rows = left.map((_, i) => {
    const certain = Math.min(1, (i / left.length) * 1.4) ** (i > left.length / 2 ? 0.25 : 2);
    const shares = ANSWERS.map(([, share], j) => share * (1 - certain) + (j === 1 ? certain : 0));
    const counts = answers.map(() => 0);
    for (let way = 0; way < n; way++) counts[drawn(shares, 131 * i + way)]++;
    return counts;
  });
  const part = (done: number): Committed => ({
    positions: left.slice(0, done).map((_, i) => first + i * every),
    nodes: left.slice(0, done),
    of: left.length,
    n,
    answers,
    counts: rows.slice(0, done),
    answer: "daughters",
    decided: decidedAt(rows.slice(0, done), n, first, every),
  });
  return { value: part(left.length), parts: left.map((_, i) => part(i + 1)) };
}

function decidedAt(rows: number[][], n: number, first: number, every: number): number | null {
  let at = rows.length;
  while (at > 0 && rows[at - 1][1] >= 0.9 * n) at--;
  return at < rows.length ? first + at * every : null;
}
