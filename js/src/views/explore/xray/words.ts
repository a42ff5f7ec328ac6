/** What an X-ray says in sentences. Pure. */
import { percent, whole } from "../../../draw/format.js";
import type { KINDS } from "../../../protocol.js";
import type { Xray, XrayStage } from "../../../state.js";
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

/** "40 → 8 candidates" */
export function sizes({ before, after }: XrayStage): string {
  const [from, to] = [before.size, after.size].map((size) => (size === null ? "?" : whole(size)));
  const noun = after.size === 1 ? "candidate" : "candidates";
  return from === to ? `${from} ${noun}` : `${from} → ${to} ${noun}`;
}

/** What it removed, in short: how many, and their probability. A grammar's are what the model would have liked to say. */
export function removedWords({ name, removed }: XrayStage): string {
  if (removed.size === 0) return "removed nothing";
  const count = removed.size === null ? "some" : whole(removed.size);
  const mass = percent(massOf(removed));
  return name === "grammar" ? `wanted, and not allowed to say: ${count} tokens, ${mass}` : `removed ${count}, ${mass}`;
}

/** The settings of a stage and what it worked out, as "top_k=40"; a long text is for others to show. */
export function parameterWords({ parameters, numbers }: XrayStage): string[] {
  const settings = Object.entries(parameters).map(([name, value]) => `${name}=${valueWords(value)}`);
  const found = Object.entries(numbers).map(([name, value]) => `${name.replaceAll("_", " ")} ${round(value)}`);
  return [...settings, ...found];
}

const valueWords = (value: unknown): string => (typeof value === "number" ? String(value) : JSON.stringify(value));
const round = (value: number | null): string => (value === null ? "∞" : String(Number(value.toPrecision(4))));

/** Which token it is, or would be; `came`: the one that is there, and how it came. */
export function verdict(
  base: Xray,
  tried: Xray | null,
  came: { id: number; text: string; kind: (typeof KINDS)[number] },
): string {
  const was = quoted(came.text);
  const draw = (tried ?? base).stages.at(-1)?.draw;
  if (!draw) return "";
  const would = quoted(draw.token.text);
  const share = percent(draw.probability);
  if (draw.token.id !== came.id) {
    if (tried) return `Another token: ${would} instead of ${was}`;
    if (came.kind === "prompt") return `The prompt says ${was}; these settings would take ${would}`;
    if (came.kind === "forced") return `You chose ${was}; these settings would take ${would}`;
    return `${was} came; these settings alone would take ${would}`;
  }
  const before = tried && base.stages.at(-1)?.draw;
  if (before && percent(before.probability) !== share) return `Still ${was}: ${percent(before.probability)} → ${share}`;
  return tried ? `Still ${was}, with ${share}` : `It was chosen with ${share}`;
}

/** What the answer was made from, and how far it may be off. */
export function sourceWords({ source, stages }: Xray): string {
  const from =
    source === "row"
      ? "From the whole row of logits"
      : "From the stored candidates and the exact probability of all others; the model was not asked";
  const error = Math.max(...stages.flatMap(({ before, after }) => [before.error, after.error]));
  return error > 0 ? `${from}. Probabilities may be off by at most ${percent(error)}` : from;
}
