/** */
import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function chat(_link: Link): View {
  const element = h("div", { class: "tool-chat" });
  return { element, draw() {} };
}
