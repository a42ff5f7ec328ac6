/** A sampler as Python writes it. */
import type { Settings } from "../../state.js";
import { isChanged, SAMPLING } from "./sampling.js";

/** The line of Python that makes this sampler: only what differs from the defaults. */
export function samplerCode(settings: Partial<Settings>): string {
  const named = SAMPLING.filter((name) => isChanged(settings, name));
  return `Sampler(${named.map((name) => `${name}=${written(name, settings[name])}`).join(", ")})`;
}

/** A JSON schema is a dict in Python; text that is none as yet stays text. */
function written(name: keyof Settings, value: unknown): string {
  if (name !== "grammar" || !String(value).trimStart().startsWith("{")) return python(value);
  try {
    return literal(JSON.parse(String(value)));
  } catch {
    return python(value);
  }
}

/** A value of JSON, in Python. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (value !== null && typeof value === "object")
    return `{${Object.entries(value)
      .map(([key, item]) => `${JSON.stringify(key)}: ${literal(item)}`)
      .join(", ")}}`;
  return typeof value === "boolean" ? (value ? "True" : "False") : python(value);
}

function python(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
  const biases = Object.entries(value).map(([id, bias]) => `${id}: ${bias === null ? 'float("-inf")' : bias}`);
  return `{${biases.join(", ")}}`;
}
