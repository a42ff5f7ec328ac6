/** What needs nothing but the trace: the panels of a page without a kernel, whose tabs the widget has too. */

import type { View } from "../dom.js";
import type { Link } from "../link.js";
import { compare } from "./explore/compare.js";
import { tree } from "./explore/tree.js";
import { watch } from "./explore/watch.js";
import { logits } from "./logits.js";
import type { Panels } from "./panels.js";
import { type Tab, tabbed } from "./parts/tabs.js";
import { player } from "./player.js";
import { status } from "./status.js";
import { stream } from "./stream.js";
import { strip } from "./strip.js";
import { look } from "./tools/look.js";

const LOOK: Record<string, Tab> = {
  look: { text: "Look", title: "Colours, metric, font", make: look },
};
const ROADS: Record<string, Tab> = {
  tree: { text: "Tree", title: "Every road that was taken, and the way back to each", make: tree },
  compare: { text: "Compare", title: "Two branches side by side, from where they part", make: compare },
};

export const WATCH: Tab = { text: "Watch", title: "The probability of chosen tokens at every step", make: watch };

/** What is done to the whole; `others` need a kernel. */
export const tools = (link: Link, others: Record<string, Tab> = {}): View =>
  tabbed(link, "tools", "Tools", { ...others, ...LOOK });

/** What else could have come: the roads not taken, and behind them `others`. */
export const explore = (link: Link, others: Record<string, Tab>): View =>
  tabbed(link, "explore", "The road not taken", { ...ROADS, ...others }, true);

export const RECORDED: Panels = {
  status,
  player,
  stream,
  logits,
  strip,
  tools: (link) => tools(link),
  explore: (link) => explore(link, { watch: WATCH }),
};
