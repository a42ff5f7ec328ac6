/** What each stage of the sampler did at the token. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function xray(_link: Link): View {
  return { element: h("div", { class: "explore-xray" }), draw() {} };
}
