/** Answers about files and models on disk: each with the shape it is held against. */
import { flag, list, maybe, number, object, one, text } from "../shapes.js";
import type { ModelCard } from "../state.js";
import { CARD } from "../traits.js";

export interface Place {
  name: string;
  path: string;
}

const place = object<Place>({ name: text, path: text });

/** places */
export interface Places {
  root: Place;
  demo: Place;
  recent: Place[];
  /** Folders of other programs' downloads, where they exist. */
  caches: Place[];
}

export const places = object<Places>({ root: place, demo: place, recent: list(place), caches: list(place) });

/** browse */
export interface Listing {
  path: string;
  crumbs: Place[];
  folders: Place[];
  files: FoundFile[];
}

export interface FoundFile {
  name: string;
  path: string;
  kind: "gguf" | "inferno";
  bytes: number;
  /** Files it is split into. */
  parts: number;
}

const file = object<FoundFile>({
  name: text,
  path: text,
  kind: one(["gguf", "inferno"]),
  bytes: number,
  parts: number,
});

export const listing = object<Listing>({
  path: text,
  crumbs: list(place),
  folders: list(place),
  files: list(file),
});

/** What is odd about a model's file. All of it may be the file's own words. */
export interface Finding {
  severity: "error" | "warning";
  field: string;
  offset: number | null;
  found: string;
  expected: string;
  advice: string;
  /** All of it in one line. */
  text: string;
}

const finding = object<Finding>({
  severity: one(["error", "warning"]),
  field: text,
  offset: maybe(number),
  found: text,
  expected: text,
  advice: text,
  text,
});

/** inspect */
export interface Header extends ModelCard {
  bytes: number;
  n_layer: number;
  chat: boolean;
  findings: Finding[];
}

export const header = object<Header>({ ...CARD, bytes: number, n_layer: number, chat: flag, findings: list(finding) });

/** estimate. Sizes are bytes. */
export interface Estimate {
  n_ctx: number;
  n_ctx_train: number;
  weights: number;
  kv: number;
  compute: number;
  total: number;
  free: number;
  fits: boolean;
  /** The longest context that fits, at most the trained one; 0 where none does. */
  n_ctx_fit: number;
}

export const estimate = object<Estimate>({
  n_ctx: number,
  n_ctx_train: number,
  weights: number,
  kv: number,
  compute: number,
  total: number,
  free: number,
  fits: flag,
  n_ctx_fit: number,
});

/** metadata */
export interface Metadata {
  card: ModelCard & { file: string; bytes: number; n_ctx: number; n_layer: number; n_embd: number; n_head: number };
  findings: Finding[];
  rows: { key: string; type: string; value: string }[];
  template: string | null;
}

export const metadata = object<Metadata>({
  card: object({
    ...CARD,
    file: text,
    bytes: number,
    n_ctx: number,
    n_layer: number,
    n_embd: number,
    n_head: number,
  }),
  findings: list(finding),
  rows: list(object({ key: text, type: text, value: text })),
  template: maybe(text),
});

/** export and save: with an empty path the bytes come as the answer's buffer, for the page to download. */
export interface Exported {
  name: string;
  mime: string;
  /** Where it was written; "" where it was not. */
  path: string;
}

export const exported = object<Exported>({ name: text, mime: text, path: text });
