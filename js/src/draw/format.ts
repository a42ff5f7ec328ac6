/** Numbers as a reader wants them. */

const UNITS = ["", " K", " M", " B", " T"];

/** 3,145,728 -> "3.1 M" */
export function count(value: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  const scaled = value / 1000 ** power;
  return `${power && scaled < 100 ? scaled.toFixed(1) : Math.round(scaled)}${UNITS[power]}`;
}

export function bytes(value: number): string {
  if (value < 1e6) return `${Math.ceil(value / 1e3)} kB`;
  if (value < 1e9) return `${Math.round(value / 1e6)} MB`;
  return `${(value / 1e9).toFixed(1)} GB`;
}

const english = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const whole = (value: number): string => english.format(Math.round(value));

export const nats = (value: number): string => value.toFixed(2);

/** A probability; never a rounded lie of 0 or 100. */
export function percent(p: number): string {
  if (!(p > 0)) return "0%";
  if (p < 0.0001) return "<0.01%";
  if (p < 0.001) return `${(100 * p).toFixed(2)}%`;
  if (p > 0.9995 && p < 1) return ">99.9%";
  return `${(100 * p).toFixed(1)}%`;
}

export const speed = (value: number): string => (value < 10 ? value.toFixed(1) : whole(value));
