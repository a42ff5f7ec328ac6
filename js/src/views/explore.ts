/** What else could have come: the roads not taken, and why. */

import type { View } from "../dom.js";
import type { Link } from "../link.js";
import { compare } from "./explore/compare.js";
import { dice } from "./explore/dice.js";
import { resample } from "./explore/resample.js";
import { tree } from "./explore/tree.js";
import { watch } from "./explore/watch.js";
import { xray } from "./explore/xray.js";
import { type Tab, tabbed } from "./parts/tabs.js";

const VIEWS: Record<string, Tab> = {
  tree: { text: "Tree", title: "Every road that was taken, and the way back to each", make: tree },
  compare: { text: "Compare", title: "Two branches side by side, from where they part", make: compare },
  xray: { text: "X-ray", title: "What each stage of the sampler did at the token", make: xray },
  dice: { text: "Same dice", title: "The same run under other settings, thrown with the same dice", make: dice },
  resample: {
    text: "Resample",
    title: "What else comes out, how often, and from where on it was decided",
    make: resample,
  },
  watch: { text: "Watch", title: "The probability of chosen tokens at every step", make: watch },
};
/** Those that need nothing but the trace. */
const RECORDED = ["tree", "compare"];

export function explore(link: Link): View {
  const offered = Object.entries(VIEWS).filter(([name]) => !link.recorded || RECORDED.includes(name));
  return tabbed(link, "explore", "The road not taken", offered, true);
}
