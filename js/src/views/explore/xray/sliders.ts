/** What if I move a slider? The sampler's settings, tried on one token and set nowhere until asked to. */
import { h } from "../../../dom.js";
import type { Settings } from "../../../state.js";
import { button } from "../../parts/button.js";
import { fieldOf, type NumberName, same } from "../../parts/sampling.js";
import { type Holder, settingSlider } from "../../parts/setting.js";

const MAIN: readonly NumberName[] = [
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "typical_p",
  "top_n_sigma",
  "repeat_penalty",
  "frequency_penalty",
  "presence_penalty",
  "penalty_last_n",
];
const MORE: readonly NumberName[] = [
  "dry_multiplier",
  "dry_base",
  "dry_allowed_length",
  "dry_penalty_last_n",
  "xtc_probability",
  "xtc_threshold",
  "mirostat_mode",
  "mirostat_tau",
  "mirostat_eta",
  "seed",
];
/** Pixels from which the sliders stand beside the stages, and are open. */
const BESIDE = 700;

export interface Acts {
  back: () => void;
  use: () => void;
  sameDice: () => void;
}

export function sliders(holder: Holder, { back, use, sameDice }: Acts) {
  const rows = (names: readonly NumberName[]) => names.map((name) => sliderRow(holder, name));
  const [main, more] = [rows(MAIN), rows(MORE)];
  const undo = button("back to what it was", back, { "data-action": "xray-back" });
  const set = button("use these settings", use, {
    "data-action": "xray-use",
    title: "Set them in the Sampler: they hold from the next gesture on",
  });
  const again = button("throw the same dice from here", sameDice, {
    "data-action": "xray-dice",
    title: "Set these settings, and run again from this token with the dice that were thrown: a new branch",
  });
  const others = h(
    "details",
    { class: "xray-more" },
    h("summary", {}, "DRY, XTC, mirostat, seed"),
    ...more.map(({ element }) => element),
  );
  const body = [...main.map(({ element }) => element), others];
  const element = h(
    "details",
    { class: "xray-sliders" },
    h("summary", {}, h("span", {}, "What if I move a slider?")),
    h("div", { class: "xray-fields" }, ...body),
    h("div", { class: "line" }, undo, set, again),
  );
  let sized = false;

  /** Open where there is room beside the stages; afterwards as a person leaves it. */
  function size(): void {
    if (sized || !element.isConnected) return;
    sized = true;
    const width = element.parentElement?.clientWidth ?? 0;
    element.open = width === 0 || width >= BESIDE;
  }

  return {
    element,
    draw(was: Partial<Settings>, tried: number, free: boolean): void {
      size();
      for (const row of [...main, ...more]) row.draw(was);
      undo.disabled = tried === 0;
      set.disabled = !holder.reachable || !free;
      again.disabled = !holder.reachable || !free;
    },
  };
}

function sliderRow(holder: Holder, name: NumberName) {
  const field = fieldOf(name);
  const { slider, number, unit, draw } = settingSlider(holder, field);
  const element = h(
    "div",
    { class: "xray-field", "data-setting": name, title: field.help },
    h("span", { class: "field-name" }, field.label),
    slider,
    h("span", { class: "field-value" }, number.input, unit),
    number.error,
  );
  return {
    element,
    draw(was: Partial<Settings>): void {
      draw();
      element.classList.toggle("tried", !same(was[name], holder.settings[name]));
    },
  };
}
