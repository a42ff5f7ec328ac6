/** What came from elsewhere, held against the shape that it should have. Pure. */

/** Says what is wrong with a value and where, "" where it has the shape. */
export type Shape<T> = ((value: unknown, at: string) => string) & { readonly of?: T };

/** The shapes of an object, by name. */
export type Fields<T> = { [K in keyof T]-?: Shape<T[K]> };

const wrong = (value: unknown, at: string, must: string): string => {
  const is = value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
  return `${at} must be ${must}, not ${is === "undefined" ? "missing" : is}`;
};

export const any: Shape<unknown> = () => "";
export const text: Shape<string> = (value, at) => (typeof value === "string" ? "" : wrong(value, at, "text"));
export const flag: Shape<boolean> = (value, at) =>
  typeof value === "boolean" ? "" : wrong(value, at, "true or false");
export const number: Shape<number> = (value, at) =>
  typeof value === "number" && Number.isFinite(value) ? "" : wrong(value, at, "a number");

/** A whole number from `low` on, which can be counted to. */
export const whole =
  (low = 0, high = Number.MAX_SAFE_INTEGER): Shape<number> =>
  (value, at) =>
    Number.isInteger(value) && (value as number) >= low && (value as number) <= high
      ? ""
      : wrong(value, at, `a whole number from ${low} on`);

export const one =
  <T extends string>(choices: readonly T[]): Shape<T> =>
  (value, at) =>
    choices.includes(value as T) ? "" : wrong(value, at, choices.join(" or "));

export const maybe =
  <T>(shape: Shape<T>): Shape<T | null> =>
  (value, at) =>
    value === null ? "" : shape(value, at);

/** What may be missing. */
export const missing =
  <T>(shape: Shape<T>): Shape<T> =>
  (value, at) =>
    value === undefined ? "" : shape(value, at);

export const list =
  <T>(shape: Shape<T>): Shape<T[]> =>
  (value, at) =>
    Array.isArray(value) ? first(value.keys(), (i) => shape(value[i], `${at}[${i}]`)) : wrong(value, at, "a list");

/** An object of any names, all of one shape. */
export const table =
  <T>(shape: Shape<T>): Shape<Record<string, T>> =>
  (value, at) =>
    isObject(value)
      ? first(Object.keys(value), (name) => shape(value[name], `${at}.${name}`))
      : wrong(value, at, "an object");

/** An object of these names, and perhaps of others, which a newer version may know. */
export const object =
  <T extends object>(shapes: Fields<T>): Shape<T> =>
  (value, at) =>
    isObject(value)
      ? first(Object.keys(shapes), (name) => shapes[name as keyof T](value[name], `${at}.${name}`))
      : wrong(value, at, "an object");

/** What has a shape and is consistent in itself besides. */
export const where =
  <T>(shape: Shape<T>, holds: (value: T) => boolean, must: string): Shape<T> =>
  (value, at) =>
    shape(value, at) || (holds(value as T) ? "" : `${at} contradicts itself: ${must}`);

/**
 * An object with what of it has its shape, and the defaults for the rest. Names that are missing are an older
 * version's, and no fault.
 */
export function fitted<T extends object>(
  value: unknown,
  at: string,
  defaults: T,
  shapes: Fields<T>,
): { value: T; fault: string } {
  if (value === undefined || value === null) return { value: defaults, fault: "" };
  if (!isObject(value)) return { value: defaults, fault: wrong(value, at, "an object") };
  const read: Record<string, unknown> = { ...value };
  let fault = "";
  for (const name of Object.keys(shapes) as (keyof T & string)[]) {
    const said = name in value ? shapes[name](value[name], `${at}.${name}`) : "";
    fault ||= said;
    if (!said && name in value) continue;
    if (name in defaults) read[name] = defaults[name];
    else delete read[name];
  }
  return { value: read as T, fault };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function first<T>(items: Iterable<T>, fault: (item: T) => string): string {
  for (const item of items) {
    const said = fault(item);
    if (said) return said;
  }
  return "";
}
