/** What every stage of the sampler did at a token, and the shape that it is held against. */
import { any, flag, list, maybe, missing, number, object, one, table, text, whole } from "../shapes.js";
import type { Settings } from "../state.js";
import { SETTINGS } from "../traits.js";
import { type Named, named } from "./text.js";

/** explain */
export interface Xray {
  node: number;
  /** Whether the whole row of logits was there, or the stored candidates sufficed. */
  source: "row" | "record";
  /** The settings that it was explained with. */
  settings: Settings;
  /** Whether those are the ones that the token was chosen with. */
  recorded: boolean;
  stages: XrayStage[];
  /** The line of Python that does the same. */
  code: string;
}

export interface XrayStage {
  /** The last is "draw". */
  name: string;
  /** What it does, in words. */
  rule: string;
  parameters: Record<string, unknown>;
  /** What it worked out; null stands for infinity. */
  numbers: Record<string, number | null>;
  before: XrayPart;
  after: XrayPart;
  removed: XrayPart;
  /** Logits that it moved, the most likely tokens first; null stands for minus infinity. */
  changed: (Named & { before: number | null; after: number | null; reason: string })[];
  draw: XrayDraw | null;
}

export interface XrayPart {
  /** The most likely first; `reason` says why a token was removed. */
  tokens: (Named & { probability: number; reason?: string })[];
  /** How many there are; null where a record cannot say. */
  size: number | null;
  /** Probability of those that are not listed. */
  rest: number;
  /** By how much a probability may be wrong at most. */
  error: number;
}

export interface XrayDraw {
  token: Named;
  probability: number;
  /** In [0, 1); null where a single candidate was left and nothing was drawn. */
  uniform: number | null;
  /** Candidates along the cumulative bar, up to the token's at least. */
  bar: (Named & { from: number; to: number })[];
}

const part = object<XrayPart>({
  tokens: list(object<XrayPart["tokens"][number]>({ id: number, text, probability: number, reason: missing(text) })),
  size: maybe(number),
  rest: number,
  error: number,
});

const draw = object<XrayDraw>({
  token: named,
  probability: number,
  uniform: maybe(number),
  bar: list(object({ id: number, text, from: number, to: number })),
});

const stage = object<XrayStage>({
  name: text,
  rule: text,
  parameters: table(any),
  numbers: table(maybe(number)),
  before: part,
  after: part,
  removed: part,
  changed: list(object({ id: number, text, before: maybe(number), after: maybe(number), reason: text })),
  draw: maybe(draw),
});

export const xray = object<Xray>({
  node: whole(-1),
  source: one(["row", "record"]),
  settings: object(SETTINGS),
  recorded: flag,
  stages: list(stage),
  code: text,
});
