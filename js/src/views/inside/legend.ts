/** The scale of the colours of a table, in the colours that its cells have. */
import { h, setText } from "../../dom.js";
import { STEPS } from "../../draw/metric.js";

/** Steps between two swatches. */
const BY = 3;

export function stepLegend() {
  const [calm, hot] = [h("span"), h("span")];
  const swatches = Array.from({ length: STEPS / BY + 1 }, (_, i) => h("i", { class: `s${BY * i}` }));
  const element = h("span", { class: "step-legend", "aria-hidden": "true" }, calm, h("span", {}, ...swatches), hot);
  return {
    element,
    draw([from, to]: readonly [calm: string, hot: string]): void {
      setText(calm, from);
      setText(hot, to);
    },
  };
}

/** The class of a share of the scale: 0 is calm, 1 and beyond hot. */
export const stepClass = (share: number): string => `s${Math.max(0, Math.min(STEPS, Math.round(STEPS * share) || 0))}`;
