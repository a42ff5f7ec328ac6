/** The scale of the colours, and the line of Python that the last gesture was. */

import { h, setAttribute, setText, type View } from "../dom.js";
import { css, flame, SCALES, STEPS, type Theme } from "../draw/colour.js";
import type { Link } from "../link.js";
import { copyButton } from "./parts/copy.js";

export function legend(link: Link, theme: () => Theme): View {
  const scale = h("span", { class: "legend-scale", "aria-hidden": "true" });
  const code = h("code", { class: "legend-code", "data-testid": "code" });
  const copy = copyButton(() => link.status.code, "Copy this line of Python");
  const python = h("span", { class: "legend-python" }, code, copy);
  const element = h(
    "footer",
    { class: "legend" },
    h(
      "span",
      { class: "legend-colours", title: "Surprisal is -ln p: how little the model expected the token" },
      "surprisal ",
      scale,
      ` 0 – ${SCALES.surprisal.end} nats`,
    ),
    h("span", { class: "legend-prompt" }, "grey: prompt"),
    h("span", { class: "legend-forced" }, h("u", {}, "dotted"), ": your choice"),
    python,
  );
  let painted: Theme | null = null;

  return {
    element,
    draw() {
      if (painted !== theme()) {
        painted = theme();
        const stops = Array.from({ length: STEPS + 1 }, (_, step) => css(flame(step, theme())));
        scale.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
      }
      const line = link.status.code;
      python.hidden = !line;
      setText(code, line);
      setAttribute(code, "title", line);
    },
  };
}
