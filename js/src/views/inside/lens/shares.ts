/** Who added how much to a token's logit: two bars a layer, from nothing to either side. */

import type { Attributed } from "../../../answers/inside.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { inkOf } from "../../../draw/series.js";
import { pythonLine } from "../../parts/python.js";
import { quoted } from "../../parts/words.js";

interface Share {
  name: string;
  bars: { of: string; slot: number; value: number }[];
}

const LINEARISED =
  "The last norm is linearised: divided by the size that the whole stream has there. So the parts make up the logit, " +
  "but what a layer does by way of later ones counts as theirs.";

const signed = (value: number, digits = 2): string => {
  const size = Math.abs(value).toFixed(digits);
  return `${value < 0 && Number(size) ? "−" : "+"}${size}`;
};

/** Whether there is anything of a part that most models do not have. */
const some = (value: number): boolean => Math.abs(value) >= 0.005;

/** The last layer first, as in the table. */
export function sharesOf({ attn_out, mlp, start, added, bias }: Attributed): Share[] {
  const layers = attn_out.map((attention, layer) => ({
    name: `layer ${layer}`,
    bars: [
      { of: "attention", slot: 0, value: attention },
      { of: "MLP", slot: 1, value: mlp[layer] },
    ],
  }));
  const one = (name: string, value: number): Share => ({ name, bars: [{ of: "", slot: 4, value }] });
  const others = [some(bias) ? [one("bias", bias)] : [], some(added) ? [one("interventions", added)] : []].flat();
  return [...others, ...layers.reverse(), one("embedding", start)];
}

export function shareBars() {
  const list = h("ul", { class: "rows lens-shares", "aria-label": "What each part added to the logit" });
  const title = h("h3", {}, "Who added to its logit?");
  const total = h("p", { class: "lens-total", "data-testid": "attribution" });
  const key = h("span", { class: "lens-key", "aria-hidden": "true" }, swatch(0), "attention", swatch(1), "MLP");
  const note = h("p", { class: "note" }, LINEARISED);
  const python = pythonLine("attribution-code");
  const element = h("div", {}, title, total, key, list, note, python.element);
  return {
    element,
    draw(told: Attributed): void {
      const shares = sharesOf(told);
      const scale = Math.max(1e-9, ...shares.flatMap(({ bars }) => bars.map(({ value }) => Math.abs(value))));
      setText(
        total,
        `${quoted(told.token.text)} has the logit ${told.logit.toFixed(2)}, which all of these add up to.`,
      );
      python.draw(told.code);
      list.replaceChildren(...shares.map((share) => rowOf(share, scale)));
    },
  };
}

const swatch = (slot: number): HTMLElement => h("i", { class: `plot-swatch ${inkOf(slot)}` });

function rowOf({ name, bars }: Share, scale: number): HTMLElement {
  const tracks = bars.map(({ slot, value }) => {
    const bar = h("i", { class: `${inkOf(slot)}${value < 0 ? " less" : ""}` });
    bar.style.setProperty("--p", (Math.abs(value) / scale).toFixed(4));
    return bar;
  });
  const numbers = bars.map(({ of, value }) => h("span", {}, h("span", { class: "hidden" }, `${of} `), signed(value)));
  const row = h(
    "li",
    {},
    h("span", { class: "lens-part" }, name),
    h("span", { class: "lens-track" }, ...tracks),
    ...numbers,
  );
  setAttribute(
    row,
    "title",
    bars.map(({ of, value }) => `${name} ${of}: ${signed(value, 3)}`.replace(" :", ":")).join("\n"),
  );
  return row;
}
