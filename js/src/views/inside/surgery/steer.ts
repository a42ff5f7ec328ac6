/** Steering: texts that have, and have not, what is meant; the direction between them is added behind a layer. */
import { h, setAttribute } from "../../../dom.js";
import type { Edit } from "../../../state.js";
import { button } from "../../parts/button.js";
import { failureBox } from "../../parts/failure.js";

export function steering(add: (edit: Edit) => void) {
  const texts = (name: string, label: string, placeholder: string) => {
    const attributes = { class: "entry", rows: 2, spellcheck: "false", "data-field": name, placeholder };
    const field = h("textarea", attributes);
    return { field, element: h("label", { class: "surgery-texts" }, label, field) };
  };
  const number = (name: string, label: string, value: string) => {
    const field = h("input", { class: "entry", type: "text", inputmode: "decimal", "data-field": name, value });
    return { field, element: h("label", {}, label, field) };
  };
  const towards = texts("steer-positive", "towards, a text a line", "The king was happy");
  const away = texts("steer-negative", "away from", "The king was sad");
  const layer = number("steer-layer", "behind layer", "0");
  const strength = number("steer-strength", "strength", "2");
  const failure = failureBox();
  const put = button("Steer", act, { "data-action": "steer", title: "Add this to the interventions" });
  const element = h(
    "details",
    { class: "surgery-steer" },
    h("summary", {}, "Steer towards a text"),
    h("div", { class: "surgery-two" }, towards.element, away.element),
    h("div", { class: "asked" }, layer.element, strength.element, put),
    failure.element,
  );
  let layers = 0;
  let told = false; // whether a layer was offered

  const lines = ({ field }: { field: HTMLTextAreaElement }): string[] =>
    field.value.split("\n").filter((line) => line.trim());

  /** What is wrong with what was written, or "". */
  function wrong(at: number, by: number): string {
    if (!lines(towards).length || !lines(away).length)
      return "Write a text on both sides, alike in everything but what is meant.";
    if (!Number.isInteger(at) || at < 0 || at >= layers || !layer.field.value.trim())
      return `The layer is a whole number from 0 to ${layers - 1}.`;
    return Number.isFinite(by) && by !== 0 ? "" : "The strength is a number other than 0.";
  }

  function act(): void {
    const [at, by] = [layer, strength].map(({ field }) => Number(field.value));
    const refused = wrong(at, by);
    failure.show(refused ? { type: "Not added", message: refused } : null);
    if (refused) return;
    add({ kind: "steer", layer: at, strength: by, positive: lines(towards), negative: lines(away) });
  }

  return {
    element,
    draw(n_layer: number, able: boolean): void {
      layers = n_layer;
      put.disabled = !able;
      if (!told) layer.field.value = String(Math.floor(n_layer / 2));
      told = true;
      setAttribute(layer.field, "aria-description", `0 to ${n_layer - 1}`);
    },
  };
}
