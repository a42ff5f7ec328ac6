/** */
import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function look(_link: Link): View {
  const element = h("div", { class: "tool-look" });
  return { element, draw() {} };
}
