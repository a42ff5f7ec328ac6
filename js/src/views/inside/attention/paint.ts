/** Attention as a picture: rows are the tokens that read, columns those that were read. */
import { flame, PAGE, STEPS, type Theme } from "../../../draw/colour.js";
import type { Palette } from "../../../state.js";

/** How maps are to look. `skip`: without the first token. */
export interface MapLook {
  theme: Theme;
  palette: Palette;
  skip: boolean;
}

/** How soon the colours cover the page: what is next to nothing shall not look like something. */
const COVER = 2.5;
/** Weight that they reach to at least: below, a byte is too coarse, and nothing much is there. */
export const LEAST = 0.02;

/** What of a map counts: columns from `first` on, of `size` x `size` bytes, the square roots of weights times 255. */
export interface Part {
  map: Uint8Array;
  size: number;
  first: number;
}

/** The byte that the colours reach to: that of all; without the first column, the largest that counts, if it is not too little. */
export function reach(part: Part): number {
  return part.first ? Math.max(peak(part), Math.round(255 * Math.sqrt(LEAST))) : 255;
}

/** The largest byte that counts. */
function peak({ map, size, first }: Part): number {
  let most = 0;
  for (let at = 0; at < map.length; at++) if (map[at] > most && at % size >= first) most = map[at];
  return most;
}

/** Colours of a byte, [256] of red, green, blue and cover, as an image has them: by its share of `most`. */
export function colours(theme: Theme, palette: Palette, most: number): Uint32Array {
  const table = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const share = Math.min(1, byte / Math.max(1, most));
    const full = flame(STEPS * share, theme, palette);
    const cover = Math.min(1, COVER * share);
    const [red, green, blue] = PAGE[theme].map((paper, i) => Math.round(paper + (full[i] - paper) * cover));
    table[byte] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  return table;
}

/** Pixels of a map at `side` x `side`; what could not be read, and what does not count, is left clear. */
export function pixels(part: Part, side: number, table: Uint32Array): Uint32Array<ArrayBuffer> {
  const image = new Uint32Array(side * side);
  const begin = Int32Array.from({ length: side + 1 }, (_, at) => Math.floor((at * part.size) / side));
  const end = (at: number): number => Math.max(begin[at] + 1, begin[at + 1]);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side && begin[x] < end(y); x++)
      if (end(x) > part.first)
        image[y * side + x] = table[strongest(part, Math.max(part.first, begin[x]), end(x), begin[y], end(y))];
  return image;
}

/** The largest byte of those that fall on a pixel. */
function strongest({ map, size }: Part, left: number, right: number, top: number, bottom: number): number {
  let most = 0;
  for (let row = top; row < bottom; row++)
    for (let at = row * size + left; at < row * size + right; at++) if (map[at] > most) most = map[at];
  return most;
}

/** Paints a map at a place of a canvas, in the canvas's own pixels. */
export function put(
  canvas: HTMLCanvasElement,
  image: Uint32Array<ArrayBuffer>,
  side: number,
  x: number,
  y: number,
): void {
  const context = canvas.getContext("2d");
  if (!context || !side) return;
  const data = context.createImageData(side, side);
  data.data.set(new Uint8ClampedArray(image.buffer));
  context.putImageData(data, x, y);
}
