/** Switch heads off, make them louder, steer: what becomes of the text. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function surgery(_link: Link): View {
  return { element: h("div", { class: "inside-surgery" }), draw() {} };
}
