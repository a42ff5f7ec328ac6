/** The same run under other settings, thrown with the same dice. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function dice(_link: Link): View {
  return { element: h("div", { class: "explore-dice" }), draw() {} };
}
