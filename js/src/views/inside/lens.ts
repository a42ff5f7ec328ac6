/** What it would say if it stopped behind a layer. */

import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function lens(_link: Link): View {
  return { element: h("div", { class: "inside-lens" }), draw() {} };
}
