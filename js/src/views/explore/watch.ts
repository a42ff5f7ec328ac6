/** The probability of chosen tokens at every step. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function watch(_link: Link): View {
  return { element: h("div", { class: "explore-watch" }), draw() {} };
}
