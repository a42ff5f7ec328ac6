/** Interventions: where each is made, and what it is called. Pure. */
import { whole } from "../../../draw/format.js";
import type { Edit } from "../../../state.js";

/** A head of a layer, or the whole of its attention or MLP. */
export interface Spot {
  layer: number;
  head: number | null;
  part: "attention" | "mlp";
}

export const spotWords = ({ layer, head, part }: Spot): string =>
  head === null
    ? `${part === "mlp" ? "the MLP" : "all attention"} of layer ${layer}`
    : `head ${head} of layer ${layer}`;

export function editWords(edit: Edit): string {
  switch (edit.kind) {
    case "ablate":
      return `${spotWords(edit)} is off`;
    case "scale":
      return `${spotWords(edit)} × ${edit.factor}`;
    case "steer": {
      const [towards, away] = [edit.positive, edit.negative].map((texts) =>
        texts.map((text) => `‘${text}’`).join(", "),
      );
      return `behind layer ${edit.layer}: ${edit.strength} × towards ${towards}, away from ${away}`;
    }
  }
}

/** The edit that is made at a spot. */
export const editAt = (edits: readonly Edit[], { layer, head, part }: Spot): Edit | undefined =>
  edits.find((edit) => edit.kind !== "steer" && edit.layer === layer && edit.head === head && edit.part === part);

/** Takes away what is done at a spot; else multiplies what it adds by a factor, 0 being off. */
export function toggled(edits: readonly Edit[], spot: Spot, factor: number): Edit[] {
  const found = editAt(edits, spot);
  if (found) return edits.filter((edit) => edit !== found);
  return [...edits, factor === 0 ? { kind: "ablate", ...spot } : { kind: "scale", ...spot, factor }];
}

export const same = (a: readonly Edit[], b: readonly Edit[]): boolean => JSON.stringify(a) === JSON.stringify(b);

export const interventions = (n: number): string => `${whole(n)} ${n === 1 ? "intervention" : "interventions"}`;
