/** What an X-ray says in sentences. Pure. */

import type { Xray, XrayStage } from "../../../answers/xray.js";
import { percent, whole } from "../../../draw/format.js";
import type { KINDS } from "../../../protocol.js";
import { fieldOf, isNumber } from "../../parts/sampling.js";
import { quoted } from "../../parts/words.js";
import { massOf } from "./columns.js";

const TITLES: Record<string, string> = {
  logit_bias: "bias",
  dry: "DRY",
  xtc: "XTC",
  draw: "the dice",
};

export const titleOf = ({ name }: XrayStage): string => TITLES[name] ?? (isNumber(name) ? fieldOf(name).label : name);

/** "40 → 8 candidates"; where a record cannot count them, what is certain. */
export function sizes({ before: { size: from }, after: { size: to } }: XrayStage): string {
  if (to === null) return from === null ? "number not known" : `at most ${candidates(from)}`;
  if (from === null) return `${candidates(to)} left`;
  return from === to ? candidates(to) : `${whole(from)} → ${candidates(to)}`;
}

const candidates = (n: number): string => `${whole(n)} ${n === 1 ? "candidate" : "candidates"}`;

/** What it removed, in short: how many, and their probability. A grammar's are what the model would have liked to say. */
export function removedWords({ name, removed }: XrayStage): string {
  if (removed.size === 0) return "removed nothing";
  const count = removed.size === null ? "some" : whole(removed.size);
  const mass = `${removed.error > SEEN ? "about " : ""}${percent(massOf(removed))}`;
  return name === "grammar" ? `wanted, and not allowed to say: ${count} tokens, ${mass}` : `removed ${count}, ${mass}`;
}

/** An error that would not show in any number. */
const SEEN = 0.0005;

/** The settings of a stage and what it worked out, as "top_k=40"; a long text is for others to show. */
export function parameterWords({ parameters, numbers, after }: XrayStage): string[] {
  const settings = Object.entries(parameters).map(([name, value]) => `${name}=${valueWords(value)}`);
  const found = Object.entries(numbers).map(([name, value]) => `${name.replaceAll("_", " ")} ${round(value)}`);
  const off = after.error > SEEN ? [`each within ${(100 * after.error).toFixed(1)} points`] : [];
  return [...settings, ...found, ...off];
}

function valueWords(value: unknown): string {
  if (value === null) return "−∞";
  if (typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  const entries = Object.entries(value as object).map(([name, each]) => `${name}: ${valueWords(each)}`);
  return `{${entries.join(", ")}}`;
}
const round = (value: number | null): string => (value === null ? "∞" : String(Number(value.toPrecision(4))));

/** Which token it is, or would be; `came`: the one that is there, and how it came. */
export function verdict(
  base: Xray,
  tried: Xray | null,
  came: { id: number; text: string; kind: (typeof KINDS)[number] },
): string {
  const [own, draw] = [base, tried ?? base].map(({ stages }) => stages.at(-1)?.draw);
  if (!own || !draw) return "";
  const [was, would] = [own, draw].map(({ token }) => quoted(token.text));
  const share = percent(draw.probability);
  if (tried) {
    if (draw.token.id !== own.token.id) return `Another token: ${would} instead of ${was}`;
    const before = percent(own.probability);
    return before === share ? `Still ${would}, with ${share}` : `Still ${would}: ${before} → ${share}`;
  }
  if (draw.token.id === came.id)
    return came.kind === "generated"
      ? `It was chosen with ${share}`
      : `These settings would take it too, with ${share}`;
  const text = quoted(came.text);
  if (came.kind === "prompt") return `The prompt says ${text}; these settings would take ${would}`;
  if (came.kind === "forced") return `You chose ${text}; these settings would take ${would}`;
  return `${text} came; these settings alone would take ${would}`;
}

/** What the answer was made from, and how far it may be off. */
export function sourceWords({ source, stages }: Xray): string {
  const from =
    source === "row"
      ? "From the whole row of logits"
      : "From the stored candidates and the exact probability of all others; the model was not asked";
  const off = stages.some(({ after }) => after.error > SEEN);
  return off ? `${from}. A stage that leaves some which are not stored says how far off its numbers may be` : from;
}
