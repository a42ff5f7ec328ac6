/** */
import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function sampler(_link: Link): View {
  const element = h("div", { class: "tool-sampler" });
  return { element, draw() {} };
}
