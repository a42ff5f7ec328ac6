/** */
import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function exports(_link: Link): View {
  const element = h("div", { class: "tool-exports" });
  return { element, draw() {} };
}
