/** A look-ahead that is pretended: each alternative goes on with a sentence of its own. */
import type { Ahead, AheadPart, AheadToken } from "../../src/answers/roads.js";
import type { Row } from "../../test/encode.js";

const ROADS = [
  ", and the youngest of them was so beautiful that the sun",
  ", the eldest of whom was called the king's son. He said",
  " and a daughter; but when the king\nhad to go to war",
  " who lived in a wood, and were so poor that they had",
  " of gold, and whoever could climb it should have the princess",
  ". The first was clever and wise, the second naïve, the third",
  " and ten; and 🐉 guarded them by night and by day",
  "-headed dragon, which nobody had ever seen in the daylight",
];

/** What a lookahead at a row answers, and its parts as they come: a token of each road at a time. */
export function ahead(row: Row, node: number, k: number, depth: number, name: (id: number) => string) {
  const ways = (row.top_ids ?? []).slice(0, k).map((id, i) => {
    const first = { id, text: name(id), probability: Math.exp((row.top_logprobs ?? [])[i]) };
    const words = ROADS[i % ROADS.length].match(/\s?[^\s,.;]+|./gu) ?? [];
    const rest = words.slice(0, depth).map((text, j): AheadToken => {
      const surprise = ((7 * i + 5 * j) % 11) / 11;
      return { id: 1000 + 20 * i + j, text, probability: Math.exp(-3.5 * surprise ** 2) };
    });
    const tokens = [first, ...rest];
    return {
      tokens,
      logprob: tokens.reduce((sum, { probability }) => sum + Math.log(probability), 0),
      finish: "length",
    };
  });
  const longest = Math.max(0, ...ways.map(({ tokens }) => tokens.length));
  const parts = Array.from(
    { length: longest },
    (_, j): AheadPart => ways.flatMap(({ tokens }, index) => (tokens[j] ? [{ ...tokens[j], index }] : [])),
  );
  return {
    value: { node, ways, code: `session.lookahead(k=${k}, depth=${depth}, at=${node})` } satisfies Ahead,
    parts,
  };
}
