// Writes src/protocol.ts from inferno_widget/protocol.json, the one source of what crosses the wire.
import { readFileSync, writeFileSync } from "node:fs";

const source = new URL("../../inferno_widget/protocol.json", import.meta.url);
const target = new URL("../src/protocol.ts", import.meta.url);
const protocol = JSON.parse(readFileSync(source, "utf8"));

const TYPES = { int: "number", str: "string", bool: "boolean", any: "unknown", list: "unknown[]", object: "Failure" };
const ARRAYS = { int32: "Int32Array", uint32: "Uint32Array", float32: "Float32Array", uint8: "Uint8Array" };

const union = (values) => values.map((value) => JSON.stringify(value)).join(" | ");

const field = ([name, type]) => `${name}${type.endsWith("?") ? "?" : ""}: ${TYPES[type.replace("?", "")]}`;

const messages = (kinds) =>
  Object.entries(kinds)
    .map(([kind, fields]) => `  | { ${[`kind: "${kind}"`, ...Object.entries(fields).map(field)].join("; ")} }`)
    .join("\n");

const text = `// Generated from inferno_widget/protocol.json by scripts/generate.mjs: change it there.

export const VERSION = ${protocol.version};

export const LIMITS = ${JSON.stringify(protocol.limits)} as const;

/** The four-byte fields at the start of a frame. */
export const HEADER = ${JSON.stringify(protocol.header)} as const;

/** Name, dtype and elements per row of each column, in the order of the wire. */
export const COLUMNS = ${JSON.stringify(protocol.columns)} as const;

export interface Columns {
${protocol.columns.map(([name, dtype]) => `  ${name}: ${ARRAYS[dtype]};`).join("\n")}
}

export const KINDS = ${JSON.stringify(protocol.kinds)} as const;

export type State = ${union(protocol.states)};

/** An error as it crosses the wire: the name of its Python class and what it says. */
export interface Failure {
  type: string;
  message: string;
}

export type ToPage =
${messages(protocol.to_page)};

export type ToKernel =
${messages(protocol.to_kernel)};
`;

// An unchanged file is left alone, so that a watching build does not start over.
let held = "";
try {
  held = readFileSync(target, "utf8");
} catch {}
if (held !== text) writeFileSync(target, text);
