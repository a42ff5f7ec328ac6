/** Text that is typed on one line: line breaks and other characters that nobody can type are written as in Python. */

const NAMED: Record<string, string> = { n: "\n", t: "\t", r: "\r", "\\": "\\" };

/** `\n` -> a line break; what is no escape stays as it is written. */
export const fromTyped = (text: string): string =>
  text.replace(/\\(?:([ntr\\])|x([0-9a-f]{2})|u([0-9a-f]{4}))/gi, (all, name, byte, code) => {
    if (name) return NAMED[name] ?? all;
    return String.fromCharCode(Number.parseInt(byte ?? code, 16));
  });

/** The inverse of `fromTyped`: everything can be seen. */
export const toTyped = (text: string): string =>
  text.replace(/[\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => {
    const name = Object.keys(NAMED).find((key) => NAMED[key] === char);
    if (name) return `\\${name}`;
    const units = Array.from({ length: char.length }, (_, i) => char.charCodeAt(i).toString(16));
    return units
      .map((unit) => (unit.length < 3 ? `\\x${unit.padStart(2, "0")}` : `\\u${unit.padStart(4, "0")}`))
      .join("");
  });
