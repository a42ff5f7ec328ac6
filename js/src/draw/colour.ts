/** Steps of a scale -> colours: a map walked away from the page, and the ink that stays readable on it. */
import { PALETTES, type Palette } from "../state.js";
import { STEPS } from "./metric.js";
import { MAPS, type Rgb } from "./palettes.js";

export { endOf, SCALES, type Scale, STEPS, stepOf, tokenValue, unitValue, valueText } from "./metric.js";
export type { Rgb } from "./palettes.js";

export type Theme = "light" | "dark";

/** Least contrast of text on its ground, after WCAG 2: AA, and AAA for the high-contrast palette. */
export const CONTRAST: Record<Palette, number> = { inferno: 4.5, viridis: 4.5, cividis: 4.5, contrast: 7 };

export const PAGE: Record<Theme, Rgb> = { light: [255, 255, 255], dark: [17, 17, 20] };
const INK: Record<Theme, Rgb> = { light: [26, 24, 38], dark: [245, 243, 248] };
const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [255, 255, 255];

const mix = (a: Rgb, b: Rgb, t: number): Rgb => [
  a[0] + (b[0] - a[0]) * t,
  a[1] + (b[1] - a[1]) * t,
  a[2] + (b[2] - a[2]) * t,
];

/** A map's colour at t in [0, 1], dark to bright. */
export function colourAt(palette: Palette, t: number): Rgb {
  const { stops, gap } = MAPS[palette];
  const place = Math.min(1, Math.max(0, t)) * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  const between = place - below;
  return mix(stops[below], stops[below + 1], below === gap ? Math.round(between) : between);
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

/** The map's own colour at a step: for bars and the legend, which carry no text. */
export function flame(step: number, theme: Theme, palette: Palette = "inferno"): Rgb {
  const [quiet, hot] = MAPS[palette][theme];
  return colourAt(palette, quiet + ((hot - quiet) * step) / STEPS);
}

/** The ground under a token's text. It comes out of the page gently, so that a calm text stays calm. */
export const ground = (step: number, theme: Theme, palette: Palette = "inferno"): Rgb =>
  step === 0 ? PAGE[theme] : mix(PAGE[theme], flame(step, theme, palette), Math.min(1, 0.3 + (1.8 * step) / STEPS));

/** The page's own ink as long as it can be read on that ground, else its opposite, else the stronger extreme. */
export function ink(on: Rgb, theme: Theme, palette: Palette = "inferno"): Rgb {
  const other = theme === "light" ? "dark" : "light";
  const readable = [INK[theme], INK[other], BLACK].find((colour) => contrast(colour, on) >= CONTRAST[palette]);
  return readable ?? WHITE;
}

export const css = (colour: Rgb): string => `rgb(${colour.map(Math.round).join(" ")})`;

const hex = (colour: Rgb): string =>
  `#${colour.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;

/** A palette from quiet to hot, as the picture behind a legend or a swatch. */
export function gradient(theme: Theme, palette: Palette): string {
  const stops = Array.from({ length: STEPS + 1 }, (_, step) => css(flame(step, theme, palette)));
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

/**
 * The style sheet that colours tokens by their class: s1 to s36, through variables that depend on the root's data-theme
 * and data-palette, so that changing either touches no token. The build puts it into widget.css.
 */
export function sheet(): string {
  const steps = Array.from({ length: STEPS }, (_, i) => i + 1);
  const variables = (theme: Theme, palette: Palette): string => {
    const values = steps.map((step) => {
      const on = ground(step, theme, palette);
      return `--s${step}:${hex(on)};--t${step}:${hex(ink(on, theme, palette))}`;
    });
    const named = palette === "inferno" ? "" : `[data-palette=${palette}]`; // inferno also where none is named
    return `.inferno-widget[data-theme=${theme}]${named}{${values.join(";")}}`;
  };
  const rules = steps.map(
    (step) => `.inferno-widget .s${step}{background-color:var(--s${step});color:var(--t${step})}`,
  );
  return [...PALETTES.flatMap((palette) => [variables("light", palette), variables("dark", palette)]), ...rules].join(
    "\n",
  );
}
