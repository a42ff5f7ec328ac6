/** Every road that was taken, and the way back to each. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function tree(_link: Link): View {
  return { element: h("div", { class: "explore-tree" }), draw() {} };
}
