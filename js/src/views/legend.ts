/** The scale of the colours, and the line of Python that the last gesture was. */

import { h, setAttribute, setText, type View } from "../dom.js";
import { endOf, gradient, SCALES, type Theme } from "../draw/colour.js";
import type { Link } from "../link.js";
import { copyButton } from "./parts/copy.js";

export function legend(link: Link, theme: () => Theme): View {
  const metrics = colourScale("scale");
  const overlaid = colourScale("overlay-scale");
  const code = h("code", { class: "legend-code", "data-testid": "code" });
  const copy = copyButton(() => link.status.code, "Copy this line of Python");
  const python = h("span", { class: "legend-python" }, code, copy);
  const prompt = h("span", { class: "legend-prompt" }, "grey: prompt");
  const element = h(
    "footer",
    { class: "legend", role: "group", "aria-label": "Legend" },
    metrics.element,
    overlaid.element,
    prompt,
    h(
      "span",
      { class: "legend-forced" },
      h("u", {}, "dotted"),
      link.recorded ? ": put there by a person" : ": your choice",
    ),
    python,
  );
  let picture = "";
  let painted = ""; // what the picture is of

  return {
    element,
    draw() {
      const { overlay, panels } = link;
      const { metric, palette } = link.look;
      if (painted !== theme() + palette) picture = gradient(theme(), palette);
      painted = theme() + palette;
      const { title, help, range } = SCALES[metric];
      metrics.draw(overlay ? `bars: ${title}` : title, range(endOf(link.store, metric)), help, picture);
      if (overlay) overlaid.draw(overlay.title, overlay.range, overlay.help, picture);
      overlaid.element.hidden = !overlay;
      metrics.element.hidden = overlay !== null && !panels.includes("strip");
      prompt.hidden = overlay !== null;
      const line = link.status.code;
      python.hidden = !line;
      setText(code, line);
      setAttribute(code, "title", line);
    },
  };
}

/** A scale of colours between its two ends. */
function colourScale(name: string) {
  const title = h("span");
  const quiet = h("span", { class: "legend-end" });
  const hot = h("span", { class: "legend-end" });
  const scale = h("span", { class: "legend-scale", "aria-hidden": "true" });
  const element = h("span", { class: "legend-colours", "data-testid": name }, title, quiet, scale, hot);
  let painted = "";
  return {
    element,
    draw(text: string, [from, to]: readonly [string, string], help: string, picture: string): void {
      if (painted !== picture) scale.style.backgroundImage = picture;
      painted = picture;
      setText(title, text);
      setText(quiet, from);
      setText(hot, to);
      setAttribute(element, "title", help);
    },
  };
}
