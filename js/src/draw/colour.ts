/** Surprisal -> colour: the inferno map, walked away from the page, and the ink that stays readable on it. */

export type Theme = "light" | "dark";
export type Rgb = readonly [red: number, green: number, blue: number];

/** Nats at which the scale ends. */
export const FULL = 9;
/** Steps of the scale, a quarter of a nat each. Step 0 is certainty: it has no colour. */
export const STEPS = 36;
/** Least contrast of text on its ground, after WCAG 2 (AA). */
export const CONTRAST = 4.5;

/** matplotlib's inferno at 33 even places; straight lines between them stay within 2/255 of its 256 colours. */
const INFERNO = parse(
  "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754" +
    "c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e865f3f586fcffa4",
);

export const PAGE: Record<Theme, Rgb> = { light: [255, 255, 255], dark: [17, 17, 20] };
const INK: Record<Theme, Rgb> = { light: [26, 24, 38], dark: [245, 243, 248] };
const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [255, 255, 255];

function parse(table: string): Rgb[] {
  const byte = (at: number): number => Number.parseInt(table.slice(at, at + 2), 16);
  return Array.from({ length: table.length / 6 }, (_, i) => [byte(6 * i), byte(6 * i + 2), byte(6 * i + 4)]);
}

const mix = (a: Rgb, b: Rgb, t: number): Rgb => [
  a[0] + (b[0] - a[0]) * t,
  a[1] + (b[1] - a[1]) * t,
  a[2] + (b[2] - a[2]) * t,
];

/** The map at t in [0, 1]: black, purple, red, orange, pale yellow. */
export function inferno(t: number): Rgb {
  const place = Math.min(1, Math.max(0, t)) * (INFERNO.length - 1);
  const below = Math.min(Math.floor(place), INFERNO.length - 2);
  return mix(INFERNO[below], INFERNO[below + 1], place - below);
}

export function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((value) => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

export function contrast(a: Rgb, b: Rgb): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

/** Where on the scale a surprisal lies: 0 to STEPS. Without a prediction there is nothing to be surprised by. */
export const stepOf = (surprisal: number): number =>
  surprisal > 0 ? Math.min(STEPS, Math.round((surprisal / FULL) * STEPS)) : 0;

/** The map's own colour at a step: for bars and the legend, which carry no text. */
export function flame(step: number, theme: Theme): Rgb {
  const t = step / STEPS;
  return inferno(theme === "light" ? 0.95 - 0.9 * t : 0.17 + 0.83 * t);
}

/** The ground under a token's text. It comes out of the page gently, so that a calm text stays calm. */
export const ground = (step: number, theme: Theme): Rgb =>
  step === 0 ? PAGE[theme] : mix(PAGE[theme], flame(step, theme), Math.min(1, 0.3 + (1.8 * step) / STEPS));

/** The page's own ink as long as it can be read on that ground, else its opposite, else the stronger extreme. */
export function ink(on: Rgb, theme: Theme): Rgb {
  const other = theme === "light" ? "dark" : "light";
  const readable = [INK[theme], INK[other], BLACK].find((colour) => contrast(colour, on) >= CONTRAST);
  return readable ?? WHITE;
}

export const css = (colour: Rgb): string => `rgb(${colour.map(Math.round).join(" ")})`;

/**
 * The style sheet that colours tokens by their class, so that changing the theme touches no token.
 * The build puts it into widget.css.
 */
export function sheet(): string {
  const rule = (theme: Theme, step: number): string => {
    const on = ground(step, theme);
    return `.inferno-widget[data-theme=${theme}] .s${step}{background-color:${css(on)};color:${css(ink(on, theme))}}`;
  };
  return Array.from({ length: STEPS }, (_, i) => rule("light", i + 1) + rule("dark", i + 1)).join("\n");
}
