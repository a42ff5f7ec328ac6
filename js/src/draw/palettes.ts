/** The colour maps: facts, and nothing else. */
import type { Palette } from "../state.js";

export type Rgb = readonly [red: number, green: number, blue: number];

export interface ColourMap {
  /** At even places from 0 to 1, ever brighter; straight lines between them. */
  stops: readonly Rgb[];
  /** Stop after which the map jumps to the next one: nothing lies between. */
  gap?: number;
  /** Where on the map certainty and the greatest surprise lie, on a light page and on a dark one. */
  light: readonly [quiet: number, hot: number];
  dark: readonly [quiet: number, hot: number];
}

function parse(table: string): Rgb[] {
  const byte = (at: number): number => Number.parseInt(table.slice(at, at + 2), 16);
  return Array.from({ length: table.length / 6 }, (_, i) => [byte(6 * i), byte(6 * i + 2), byte(6 * i + 4)]);
}

const AWAY = { light: [0.95, 0.05], dark: [0.17, 1] } as const;

/**
 * Inferno, viridis and cividis are matplotlib's (CC0) at 33 even places: its 256 colours lie within 2/255 of the lines
 * between them (within 6/255 at the dark end of cividis). "contrast" is our own: blues dark enough for white text and
 * oranges bright enough for black, 7:1 each, and none of the colours between, on which neither can be read so well.
 */
export const MAPS: Record<Palette, ColourMap> = {
  inferno: {
    ...AWAY,
    stops: parse(
      "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754" +
        "c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e865f3f586fcffa4",
    ),
  },
  viridis: {
    ...AWAY,
    stops: parse(
      "440154470d6048186a482374472d7b4536814240863f49893b528b375a8d33638d2f6a8e2c728e297a8e26818e23898e21908c" +
        "1f988b1f9f8821a68528ae8031b57b3ebc744cc26c5dc9636ece5882d34c96d83fabdc32c0df24d5e21aeae51afde725",
    ),
  },
  cividis: {
    ...AWAY,
    stops: parse(
      "00224e00285b002e6a0433711a386f273e6e32436d3b496c434e6c4b546c52596d5a5f6e61656f686a716f70737576767c7b78" +
        "8481798b8778938d789b9376a39a75aba072b3a670bbad6cc3b469ccba64d4c15fddc958e6d051efd748f8df3cfee838",
    ),
  },
  contrast: {
    light: [0.95, 0.02],
    dark: [0.25, 1],
    gap: 16,
    stops: parse(
      "00000000020e00031b000428000636000844000b50000f5d00136a001777001b8400218f0029980031a2003aab0042b5004abe" +
        "ff7d00ff8700ff9100ff9c00ffa600ffb000ffb908ffc210ffcc18ffd520ffde28ffe33effe854ffec6afff180fff696",
    ),
  },
};
