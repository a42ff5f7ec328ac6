/** */
import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function sessions(_link: Link): View {
  const element = h("div", { class: "tool-sessions" });
  return { element, draw() {} };
}
