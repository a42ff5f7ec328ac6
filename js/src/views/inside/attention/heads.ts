/** What the numbers of a head tell, in words, and the order in which heads are looked through. Pure. */
import type { Heads } from "../../../answers/inside.js";

type Statistic = keyof Heads["statistics"];
export type Order = Statistic | "number";

export const ORDERS: Record<Order, { text: string; help: string }> = {
  number: { text: "number", help: "As the model counts them" },
  induction: {
    text: "induction",
    help: "Weight on what followed the same token earlier: such a head goes on as last time. The most first",
  },
  previous_token: { text: "previous token", help: "Weight on the token just before. The most first" },
  first_token: {
    text: "first token",
    help: "Weight on the very first token, where heads rest that find nothing. The most first",
  },
  distance: { text: "distance", help: "How many tokens back it looks, on the average. The farthest first" },
  entropy: { text: "focus", help: "Entropy of the weights, in nats: 0 looks at one token. The most focused first" },
};

/** Weight from which on one place is what a head is about. */
const TELLING = 0.4;

const value = ({ statistics }: Heads, name: Statistic, head: number): number => statistics[name][head] ?? Number.NaN;

function words(heads: Heads, name: Statistic, head: number): string {
  const number = value(heads, name, head);
  if (Number.isNaN(number)) return name === "induction" ? "no token twice" : "–";
  if (name === "distance") return `${number.toFixed(1)} back`;
  if (name === "entropy") return `${number.toFixed(2)} nats`;
  return `${{ first_token: "first", previous_token: "previous", induction: "induction" }[name]} ${Math.round(100 * number)}%`;
}

/** The statistic that they are ordered by; else the one that tells most of a head. */
export function tellingOf(heads: Heads, head: number, order: Order): string {
  if (order !== "number") return words(heads, order, head);
  const places = (["induction", "previous_token", "first_token"] as const).filter(
    (name) => value(heads, name, head) >= TELLING,
  );
  return words(heads, places[0] ?? "distance", head);
}

/** All of them, for a title. */
export const allOf = (heads: Heads, head: number): string =>
  `Head ${head}: entropy ${words(heads, "entropy", head)}, looks ${words(heads, "distance", head)}, ` +
  `${(["first_token", "previous_token", "induction"] as const).map((name) => words(heads, name, head)).join(", ")}`;

/** Numbers of the heads, in an order; those without a number last. */
export function ordered(heads: Heads, order: Order): number[] {
  const all = Array.from({ length: heads.n_head }, (_, head) => head);
  if (order === "number") return all;
  const sign = order === "entropy" ? 1 : -1;
  const key = (head: number): number => {
    const number = value(heads, order, head);
    return Number.isNaN(number) ? Number.POSITIVE_INFINITY : sign * number;
  };
  return all.sort((a, b) => key(a) - key(b) || a - b);
}
