/** The scale of the colours, and the line of Python that the last gesture was. */

import { h, setAttribute, setText, type View } from "../dom.js";
import { endOf, gradient, SCALES, type Theme } from "../draw/colour.js";
import type { Link } from "../link.js";
import { copyButton } from "./parts/copy.js";

export function legend(link: Link, theme: () => Theme): View {
  const title = h("span");
  const quiet = h("span", { class: "legend-end" });
  const hot = h("span", { class: "legend-end" });
  const scale = h("span", { class: "legend-scale", "aria-hidden": "true" });
  const colours = h("span", { class: "legend-colours", "data-testid": "scale" }, title, quiet, scale, hot);
  const code = h("code", { class: "legend-code", "data-testid": "code" });
  const copy = copyButton(() => link.status.code, "Copy this line of Python");
  const python = h("span", { class: "legend-python" }, code, copy);
  const element = h(
    "footer",
    { class: "legend", role: "group", "aria-label": "Legend" },
    colours,
    h("span", { class: "legend-prompt" }, "grey: prompt"),
    h("span", { class: "legend-forced" }, h("u", {}, "dotted"), ": your choice"),
    python,
  );
  let painted = "";

  return {
    element,
    draw() {
      const { metric, palette } = link.look;
      if (painted !== theme() + palette) {
        painted = theme() + palette;
        scale.style.backgroundImage = gradient(theme(), palette);
      }
      const { title: name, help, range } = SCALES[metric];
      const [from, to] = range(endOf(link.store, metric));
      setText(title, name);
      setText(quiet, from);
      setText(hot, to);
      setAttribute(colours, "title", help);
      const line = link.status.code;
      python.hidden = !line;
      setText(code, line);
      setAttribute(code, "title", line);
    },
  };
}
