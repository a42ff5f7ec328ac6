/** An X-ray that is pretended: a short sampler chain over the alternatives of a row. */
import type { Xray, XrayPart, XrayStage } from "../../src/answers/xray.js";
import type { Settings } from "../../src/state.js";
import { USUAL } from "../../src/views/parts/sampling.js";
import type { Row } from "../../test/encode.js";

interface Candidate {
  id: number;
  text: string;
  logit: number;
}
/** What a stage makes of the candidates, and why it removed or moved any. */
interface Step {
  name: string;
  rule: string;
  parameters: Record<string, unknown>;
  left: Candidate[];
  why?: (candidate: Candidate, i: number) => string;
  moved?: string;
}
type Stage = (candidates: Candidate[], s: Settings) => Step | null;

const NONE: XrayPart = { tokens: [], size: 0, rest: 0, error: 0 };
const WORD = /^[ \p{L}]+$/u;

function shares(candidates: Candidate[]): number[] {
  const peak = Math.max(...candidates.map(({ logit }) => logit));
  const weights = candidates.map(({ logit }) => Math.exp(logit - peak));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

function part(candidates: Candidate[], size = candidates.length): XrayPart {
  const probabilities = shares(candidates);
  const tokens = candidates.map(({ id, text }, i) => ({ id, text, probability: probabilities[i] }));
  return {
    tokens: tokens.slice(0, 20),
    size,
    rest: tokens.slice(20).reduce((sum, t) => sum + t.probability, 0),
    error: 0,
  };
}

const CHAIN: Stage[] = [
  (all, { grammar }) =>
    grammar
      ? {
          name: "grammar",
          rule: "keeps what the grammar allows next",
          parameters: { grammar },
          left: all.filter(({ text }) => WORD.test(text)),
          why: () => "the grammar allows no such text here",
        }
      : null,
  (all, { repeat_penalty }) =>
    repeat_penalty === 1
      ? null
      : {
          name: "penalties",
          rule: "makes tokens of the last 64 tokens less likely",
          parameters: { repeat_penalty, penalty_last_n: 64 },
          left: all
            .map((one, i) => (i % 3 ? one : { ...one, logit: one.logit - 2 * Math.log(repeat_penalty) }))
            .sort((a, b) => b.logit - a.logit),
          moved: "penalised: came twice in the last 64 tokens",
        },
  (all, { top_k }) =>
    top_k > 0
      ? {
          name: "top_k",
          rule: `keeps the ${top_k} most likely`,
          parameters: { top_k },
          left: all.slice(0, top_k),
          why: (_, i) => `the ${top_k + i + 1}th most likely, beyond the ${top_k}th`,
        }
      : null,
  (all, { top_p }) => {
    if (top_p >= 1) return null;
    let sum = 0;
    const before = shares(all).map((p) => {
      sum += p;
      return sum - p;
    });
    return {
      name: "top_p",
      rule: `keeps the fewest most likely tokens that have ${top_p} together`,
      parameters: { top_p },
      left: all.filter((_, i) => before[i] < top_p),
      why: () => `outside top-p: the likelier tokens have that much already, of ${top_p}`,
    };
  },
  (all, { min_p }) => {
    if (min_p <= 0) return null;
    const floor = min_p * shares(all)[0];
    const p = new Map(all.map(({ id }, i) => [id, shares(all)[i]]));
    return {
      name: "min_p",
      rule: `keeps tokens of at least ${floor.toPrecision(3)}: ${min_p} of the most likely one's`,
      parameters: { min_p },
      left: all.filter((_, i) => shares(all)[i] >= floor),
      why: ({ id }) => `${p.get(id)?.toPrecision(3)} is below min-p's ${floor.toPrecision(3)}`,
    };
  },
  (all, { temperature }) =>
    temperature === 1
      ? null
      : {
          name: "temperature",
          rule: temperature
            ? `divides the logits by ${temperature}: the distribution becomes ${temperature > 1 ? "flatter" : "steeper"}`
            : "takes the most likely token",
          parameters: { temperature },
          left: temperature ? all.map((one) => ({ ...one, logit: one.logit / temperature })) : all.slice(0, 1),
          why: () => "not the most likely",
        },
];

function stageOf(before: Candidate[], { name, rule, parameters, left, why, moved }: Step, n_vocab: number): XrayStage {
  const size = before.length > 40 ? n_vocab : before.length;
  const kept = new Set(left.map(({ id }) => id));
  const all = shares(before);
  const lost = before.flatMap((one, i) => (kept.has(one.id) ? [] : [{ ...one, probability: all[i] }]));
  const gone = lost.slice(0, 20).map((one, i) => ({ ...one, reason: why?.(one, i) ?? "" }));
  const rest = lost.slice(20).reduce((sum, { probability }) => sum + probability, 0);
  const old = new Map(before.map(({ id, logit }) => [id, logit]));
  const changed = left
    .filter(({ id, logit }) => moved && old.get(id) !== logit)
    .slice(0, 12)
    .map(({ id, text, logit }) => ({ id, text, before: old.get(id) as number, after: logit, reason: moved as string }));
  return {
    name,
    rule,
    parameters,
    numbers: {},
    before: part(before, size),
    after: part(left, left.length === before.length ? size : left.length),
    removed: {
      tokens: gone,
      size: left.length === before.length ? 0 : size - left.length,
      rest,
      error: 0,
    },
    changed,
    draw: null,
  };
}

function draw(left: Candidate[], uniform: number): XrayStage {
  let sum = 0;
  const probabilities = shares(left);
  const bar = left.map(({ id, text }, i) => {
    sum += probabilities[i];
    return { id, text, from: sum - probabilities[i], to: sum };
  });
  const at = Math.max(
    0,
    bar.findIndex(({ to }) => uniform < to),
  );
  const { id, text, from, to } = bar[at];
  return {
    name: "draw",
    rule:
      left.length === 1
        ? "one candidate is left: nothing is drawn"
        : `the number ${uniform.toFixed(4)} falls between ${from.toFixed(4)} and ${to.toFixed(4)}, on candidate ${at + 1} in falling order`,
    parameters: { seed: 12 },
    numbers: {},
    before: part(left),
    after: { tokens: [{ id, text, probability: 1 }], size: 1, rest: 0, error: 0 },
    removed: NONE,
    changed: [],
    draw: {
      token: { id, text },
      probability: probabilities[at],
      uniform: left.length === 1 ? null : uniform,
      bar: bar.slice(0, at + 1),
    },
  };
}

/** `settings` null: those that the row was made with. */
export function xray(
  row: Row,
  node: number,
  asked: Partial<Settings> | null,
  own: Partial<Settings>,
  name: (id: number) => string,
): Xray {
  const settings = { ...USUAL, ...own, ...asked };
  let left = (row.top_ids ?? []).map((id, i) => ({ id, text: name(id), logit: (row.top_logprobs ?? [])[i] }));
  const tail = Array.from({ length: 60 }, (_, i) => ({
    id: 5000 + i,
    text: ` tail${i}`,
    logit: Math.log((row.tail ?? 0) / 60),
  }));
  left = [...left, ...tail];
  const stages: XrayStage[] = [];
  for (const stage of CHAIN) {
    const step = stage(left, settings);
    if (!step) continue;
    stages.push(stageOf(left, step, 4096));
    left = step.left;
  }
  stages.push(draw(left, row.draw ?? 0.5));
  const source = settings.top_k > 0 && settings.top_k <= 20 ? "record" : "row";
  if (source === "record") for (const { after } of stages.slice(0, 1)) after.error = 0.0012;
  return { node, source, settings, recorded: asked === null, stages, code: `session.explain(at=${node})` };
}
