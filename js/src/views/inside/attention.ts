/** Which tokens it read: by layer and head. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function attention(_link: Link): View {
  return { element: h("div", { class: "inside-attention" }), draw() {} };
}
