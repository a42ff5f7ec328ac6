/** What is looked at, and how it is shown. */

import type { Over } from "../../../answers/inside.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { numberField } from "../../parts/number.js";
import { OVERS } from "./row.js";

export interface Chosen {
  layer: number;
  head: number;
  over: Over;
  /** Whether the text is coloured; whether the first token counts for that; whether rows come while tokens do. */
  colour: boolean;
  skip: boolean;
  live: boolean;
}

const SWITCHES = {
  colour: {
    text: "colour the text",
    help: "The text shows what was read instead of the metric, while this tab is open",
  },
  skip: {
    text: "without the first token",
    help: "Heads that find nothing rest on the first token. It often takes nearly all, and hides the rest",
  },
  live: { text: "live", help: "Follows the newest token while the model generates, which slows it down a little" },
} as const;
const UNFOLLOWED = "Rollout goes through the whole text: it cannot be followed token by token";

/** What attention does not say. */
const CAVEAT =
  "Weights say where a head read, not what it made of it: what is read may count for nothing, and later layers have the " +
  "last word. Whether a prediction hangs on a head shows the causal map, under Interventions.";

type Switch = keyof typeof SWITCHES;

/** `changed` is called when something else is chosen. */
export function controls(chosen: Chosen, changed: () => void) {
  const layer = numberField({ label: "layer", name: "attention-layer", min: 0, max: 0, step: 1 }, (value) => {
    chosen.layer = value;
    changed();
    return undefined;
  });
  const over = h(
    "select",
    { class: "entry", "aria-label": "Weights of", "data-field": "over" },
    ...Object.entries(OVERS).map(([value, { text, help }]) => h("option", { value, title: help }, text)),
  );
  const head = h("select", { class: "entry", "aria-label": "Head", "data-field": "head" });
  over.addEventListener("change", () => {
    chosen.over = over.value as Over;
    chosen.live &&= chosen.over !== "rollout";
    changed();
  });
  head.addEventListener("change", () => {
    chosen.head = Number(head.value);
    changed();
  });

  const boxes = Object.entries(SWITCHES).map(([name, { text }]) => {
    const box = h("input", { type: "checkbox", "data-field": name });
    box.addEventListener("change", () => {
      chosen[name as Switch] = box.checked;
      changed();
    });
    return { name: name as Switch, box, label: h("label", {}, box, text) };
  });
  const help = h("p", { class: "note", "data-testid": "attention-help" });
  const element = h(
    "div",
    { class: "asked attention-controls" },
    layer.element,
    h("label", {}, "weights of", over),
    head,
    ...boxes.map(({ label }) => label),
  );

  return {
    element,
    help,
    /** The sizes of the model, as far as they are known; whether it can be asked, and whether it can be followed. */
    draw(layers: number, heads: number, able: boolean, followed: boolean): void {
      layer.limit(0, Math.max(0, layers - 1));
      layer.show(chosen.layer);
      layer.enable(able && layers > 1);
      if (head.childElementCount !== heads)
        head.replaceChildren(...Array.from({ length: heads }, (_, i) => h("option", { value: i }, `head ${i}`)));
      over.value = chosen.over;
      head.value = String(chosen.head);
      head.hidden = chosen.over !== "one" || !heads;
      head.disabled = over.disabled = !able;
      for (const { name, box, label } of boxes) {
        box.checked = chosen[name];
        box.disabled = name === "live" && (!followed || chosen.over === "rollout");
        setAttribute(label, "title", name === "live" && chosen.over === "rollout" ? UNFOLLOWED : SWITCHES[name].help);
      }
      setText(help, `${OVERS[chosen.over].help}. ${CAVEAT}`);
      setAttribute(over, "title", OVERS[chosen.over].help);
    },
  };
}
