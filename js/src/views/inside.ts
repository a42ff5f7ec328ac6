/** What goes on inside the model that really runs. */

import type { View } from "../dom.js";
import type { Link } from "../link.js";
import { attention } from "./inside/attention.js";
import { lens } from "./inside/lens.js";
import { surgery } from "./inside/surgery.js";
import { type Tab, tabbed } from "./parts/tabs.js";

const VIEWS: Record<string, Tab> = {
  attention: { text: "Attention", title: "Which tokens it read: by layer and head", make: attention },
  lens: { text: "Logit lens", title: "What it would say if it stopped behind a layer", make: lens },
  surgery: {
    text: "Interventions",
    title: "Switch heads off, make them louder, steer: what becomes of the text",
    make: surgery,
  },
};

export function inside(link: Link): View {
  return tabbed(link, "inside", "Inside the model", Object.entries(VIEWS), true);
}
