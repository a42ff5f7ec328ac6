/** An X-ray as a table: a candidate a column, a stage a row. Pure. */
import type { Xray, XrayPart, XrayStage } from "../../../answers/xray.js";

/** Candidates that have a column, and of those that were left for the draw. */
const COLUMNS = 12;
const LEFT = 4;

export interface Column {
  id: number;
  text: string;
}

export type Fate = "kept" | "removed" | "gone" | "unlisted";

export interface Cell {
  fate: Fate;
  /** Probability before the stage and after it; 0 where it has none or nobody knows. */
  before: number;
  after: number;
  reason: string;
}

/**
 * The most likely tokens of the raw model. The last of them make room for those that must be there: the token that
 * came, the one that is drawn, and the most likely that were left for the draw.
 */
export function columnsOf({ stages }: Xray, came: Column): Column[] {
  const last = stages.at(-1) as XrayStage;
  const needed = [came, ...(last.draw ? [last.draw.token] : []), ...last.before.tokens.slice(0, LEFT)];
  const likely = stages[0].before.tokens.slice(0, COLUMNS).map(({ id, text }) => ({ id, text }));
  const missing = needed.filter(
    ({ id }, i) => !likely.some((one) => one.id === id) && needed.findIndex((one) => one.id === id) === i,
  );
  return [...likely.slice(0, COLUMNS - missing.length), ...missing.map(({ id, text }) => ({ id, text }))];
}

const among = (part: XrayPart, id: number) => part.tokens.find((token) => token.id === id);

/** What a stage did with a candidate; `earlier`: the stages before it. */
export function cellOf(stage: XrayStage, id: number, earlier: readonly XrayStage[]): Cell {
  const [before, after, removed] = [among(stage.before, id), among(stage.after, id), among(stage.removed, id)];
  const known = { before: (before ?? removed)?.probability ?? 0, after: after?.probability ?? 0, reason: "" };
  if (removed) return { ...known, fate: "removed", reason: removed.reason ?? "" };
  if (after) return { ...known, fate: "kept" };
  const whole = stage.before.size === stage.before.tokens.length;
  const gone = !before && (whole || earlier.some((one) => among(one.removed, id)));
  return { ...known, fate: gone ? "gone" : "unlisted" };
}

/** Probability of all that has no column. */
export function othersOf(part: XrayPart, columns: readonly Column[]): number {
  const shown = columns.reduce((sum, { id }) => sum + (among(part, id)?.probability ?? 0), 0);
  return shown > 1 - 1e-6 ? 0 : 1 - shown;
}

/** The largest probability of any candidate at any stage, to which the bars are drawn. */
export function scaleOf(stages: readonly XrayStage[], columns: readonly Column[]): number {
  const parts = stages.filter(({ draw }) => !draw).flatMap(({ before, after }) => [before, after]);
  const all = [stages[0].before, ...parts].flatMap((part) =>
    columns.map(({ id }) => among(part, id)?.probability ?? 0),
  );
  return Math.max(...all, 1e-9);
}

/** The name of what is no stage: what the model said. */
export const RAW = "the model";

/** Whether a stage left all as it was. */
export function isQuiet({ name, before, after, removed, changed, draw }: XrayStage): boolean {
  if (name === RAW || draw || changed.length || removed.tokens.length || before.size !== after.size) return false;
  return before.tokens.every(
    ({ id, probability }, i) =>
      after.tokens[i]?.id === id && Math.abs(after.tokens[i].probability - probability) < 1e-6,
  );
}

/** Probability, before the stage, of all that it removed. */
export const massOf = ({ tokens, rest }: XrayPart): number =>
  tokens.reduce((sum, { probability }) => sum + probability, rest);
