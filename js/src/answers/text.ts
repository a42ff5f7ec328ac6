/** Answers about texts and tokens: each with the shape it is held against. */
import { flag, list, number, object, text } from "../shapes.js";

/** A token of the vocabulary with its text: vocabulary and variants answer a list of them. */
export interface Named {
  id: number;
  text: string;
}

export const named = object<Named>({ id: number, text });

/** render */
export interface Rendered {
  text: string;
  tokens: (Named & { special: boolean })[];
}

export const rendered = object<Rendered>({ text, tokens: list(object({ id: number, text, special: flag })) });

/** verify */
export interface Verified {
  same: boolean;
  compared: number;
  largest: number;
  tolerance: number;
  message: string;
}

export const verified = object<Verified>({
  same: flag,
  compared: number,
  largest: number,
  tolerance: number,
  message: text,
});
