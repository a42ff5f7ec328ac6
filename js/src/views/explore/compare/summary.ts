/** How likely two branches were: in all, behind the fork, and a token. */
import type { Comparison, Side } from "../../../comparison.js";
import { h, setText } from "../../../dom.js";
import { nats, whole } from "../../../draw/format.js";

interface Measure {
  name: string;
  title: string;
  of: (side: Side, shared: number) => number;
  format: (value: number) => string;
  /** Whether the greater is the likelier. */
  likelier?: boolean;
}

const MEASURES: readonly Measure[] = [
  {
    name: "own tokens",
    title: "Tokens behind the fork",
    of: ({ path }, shared) => path.length - shared,
    format: whole,
  },
  {
    name: "log-probability of those",
    title: "Sum over the tokens behind the fork, under the raw model, in nats; a longer branch has a lower one",
    of: ({ own }) => own,
    format: nats,
  },
  {
    name: "mean of those",
    title: "Mean log-probability of the tokens behind the fork, in nats",
    of: ({ own, ownPredicted }) => own / ownPredicted,
    format: nats,
    likelier: true,
  },
  {
    name: "log-probability of all",
    title: "Sum over the whole branch, under the raw model, in nats",
    of: ({ logprob }) => logprob,
    format: nats,
  },
  {
    name: "mean of all",
    title: "Mean log-probability over the whole branch, in nats",
    of: ({ logprob, predicted }) => logprob / predicted,
    format: nats,
    likelier: true,
  },
];

export function summary() {
  const lines = MEASURES.map((measure) => {
    const cells = [h("td"), h("td"), h("td")];
    const row = h("tr", { title: measure.title }, h("th", { scope: "row" }, measure.name), ...cells);
    return { measure, cells, row };
  });
  const heads = [h("td"), ...["A", "B", "A − B"].map((name) => h("th", { scope: "col" }, name))];
  const element = h(
    "table",
    { class: "compare-facts", "aria-label": "How likely the branches were" },
    h("thead", {}, h("tr", {}, ...heads)),
    h("tbody", {}, ...lines.map(({ row }) => row)),
  );

  return {
    element,
    draw({ sides, shared }: Comparison): void {
      for (const { measure, cells } of lines) {
        const values = sides.map((side) => measure.of(side, shared));
        const difference = values[0] - values[1];
        const told = (value: number): string => (Number.isFinite(value) ? measure.format(value) : "–");
        const sign = difference > 0 ? "+" : "";
        setText(cells[0], told(values[0]));
        setText(cells[1], told(values[1]));
        setText(cells[2], Number.isFinite(difference) ? sign + told(difference) : "–");
        cells[0].classList.toggle("better", Boolean(measure.likelier) && difference > 0);
        cells[1].classList.toggle("better", Boolean(measure.likelier) && difference < 0);
      }
    },
  };
}
