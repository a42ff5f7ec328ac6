/** Two branches side by side, from where they part. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function compare(_link: Link): View {
  return { element: h("div", { class: "explore-compare" }), draw() {} };
}
