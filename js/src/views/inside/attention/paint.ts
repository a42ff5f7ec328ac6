/** Attention as a picture: rows are the tokens that read, columns those that were read. */
import { flame, PAGE, STEPS, type Theme } from "../../../draw/colour.js";
import type { Palette } from "../../../state.js";

/** How soon the colours cover the page: what is next to nothing shall not look like something. */
const COVER = 2.5;

/** Colours of a byte, [256] of red, green, blue and cover, as an image has them. `root`: the byte is the root of the weight already. */
export function colours(theme: Theme, palette: Palette, root: boolean): Uint32Array {
  const table = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const share = root ? byte / 255 : Math.sqrt(byte / 255);
    const full = flame(STEPS * share, theme, palette);
    const cover = Math.min(1, COVER * share);
    const [red, green, blue] = PAGE[theme].map((paper, i) => Math.round(paper + (full[i] - paper) * cover));
    table[byte] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  return table;
}

/** Pixels of a map of `size` x `size` bytes at `side` x `side`; what could not be read is left clear. */
export function pixels(map: Uint8Array, size: number, side: number, table: Uint32Array): Uint32Array<ArrayBuffer> {
  const image = new Uint32Array(side * side);
  const first = Int32Array.from({ length: side + 1 }, (_, at) => Math.floor((at * size) / side));
  for (let y = 0; y < side; y++) {
    const last = Math.max(first[y] + 1, first[y + 1]) - 1;
    for (let x = 0; x < side && first[x] <= last; x++) image[y * side + x] = table[strongest(map, size, first, x, y)];
  }
  return image;
}

/** The largest byte of those that fall on a pixel. */
function strongest(map: Uint8Array, size: number, first: Int32Array, x: number, y: number): number {
  const [left, right] = [first[x], Math.max(first[x] + 1, first[x + 1])];
  const bottom = Math.max(first[y] + 1, first[y + 1]);
  let most = 0;
  for (let row = first[y]; row < bottom; row++)
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
