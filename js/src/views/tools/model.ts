/** */
import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";

export function model(_link: Link): View {
  const element = h("div", { class: "tool-model" });
  return { element, draw() {} };
}
