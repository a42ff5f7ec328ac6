/** Colours of the text that stand for something else than the metric, as long as whoever set them shows it. */
export interface Overlay {
  /** What the colours are, and where their scale begins and ends. */
  title: string;
  help: string;
  range: readonly [quiet: string, hot: string];
  /** Step of the scale at each position; 0 and what lies behind have no colour. */
  steps: Uint8Array;
  /** Position of the token that it is about: it is outlined, and what comes behind it steps back. */
  about: number;
  /** What is told of a token up to there: name and value. */
  words(position: number): [name: string, value: string];
}

/** What a unit's classes say under an overlay, instead of its kind and step: positions from, and behind the last. */
export function overlaid({ steps, about }: Overlay, from: number, to: number, kind: string): string {
  if (from > about) return `${kind} later`;
  const step = Math.max(0, ...steps.subarray(from, to));
  // The grey of the prompt could not be read on a colour.
  const name = step && kind === "prompt" ? "" : kind;
  return `${name}${step ? ` s${step}` : ""}${about < to ? " about" : ""}`.trim();
}
