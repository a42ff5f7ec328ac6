/** What else comes out, how often, and from where on it was decided. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function resample(_link: Link): View {
  return { element: h("div", { class: "explore-resample" }), draw() {} };
}
