/** Every setting of the next tokens, in the order in which the sampler's chain applies them. */
import { h, setText, type View } from "../../dom.js";
import type { Link } from "../../link.js";
import type { Settings } from "../../state.js";
import { button } from "../parts/button.js";
import { pythonLine } from "../parts/python.js";
import { samplerCode } from "../parts/samplercode.js";
import { changed, type NumberName, USUAL } from "../parts/sampling.js";
import { logitBias } from "./sampler/bias.js";
import { mark, numberRow, type Part, resetButton } from "./sampler/field.js";
import { grammar } from "./sampler/grammar.js";
import { presets } from "./sampler/presets.js";
import { breakers, stopStrings } from "./sampler/strings.js";

const ON_FULL: Record<Settings["on_full"], string> = {
  stop: "stop: the run ends",
  slide: "slide: forget the oldest half",
  error: "error: the run fails",
};

export function sampler(link: Link): View {
  const named = presets(link);
  const reset = resetAll(link);
  const python = pythonLine("sampler-code");
  const numbers = (...names: NumberName[]): Part[] => names.map((name) => numberRow(link, name));
  const groups: [title: string, order: string, parts: Part[]][] = [
    ["Bias", "1", [logitBias(link)]],
    ["Penalties", "2", numbers("repeat_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n")],
    [
      "DRY: no repetitions",
      "3",
      [...numbers("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"), breakers(link)],
    ],
    ["Grammar", "4", [grammar(link)]],
    ["Cutting off the tail", "5", numbers("top_n_sigma", "top_k", "typical_p", "top_p", "min_p")],
    ["XTC: no top choices", "6", numbers("xtc_probability", "xtc_threshold")],
    ["Temperature and dice", "7", numbers("temperature", "seed")],
    ["Mirostat, instead of 5 and 6", "8", numbers("mirostat_mode", "mirostat_tau", "mirostat_eta")],
    ["The run", "", [...numbers("max_tokens"), stopStrings(link), whenFull(link), ...numbers("keep")]],
  ];
  const sections = groups.map(([title, order, parts]) =>
    h(
      "section",
      { class: "sampler-group", "aria-label": title },
      h("h3", {}, ...(order ? [h("span", { class: "order", title: "Place in the chain" }, order), " "] : []), title),
      ...parts.map(({ element }) => element),
    ),
  );
  const element = h(
    "div",
    { class: "tool-sampler" },
    h("div", { class: "sampler-head" }, named.element, reset.element),
    python.element,
    h("div", { class: "sampler-groups" }, ...sections),
  );
  const parts = [named, reset, ...groups.flatMap(([, , ofGroup]) => ofGroup)];

  return {
    element,
    draw() {
      for (const part of parts) part.draw();
      python.draw(samplerCode(link.settings));
    },
  };
}

/** The way back to all defaults. */
function resetAll(link: Link): Part {
  const element = button("", () => void act(), { "data-action": "reset-all" });

  async function act(): Promise<void> {
    for (const name of changed(link.settings)) await link.order({ kind: "set", name, value: USUAL[name] });
  }

  return {
    element,
    draw() {
      const count = changed(link.settings).length;
      element.disabled = !link.reachable || !count;
      setText(element, count ? `Reset ${count} ${count === 1 ? "setting" : "settings"}` : "All at their defaults");
    },
  };
}

function whenFull(link: Link): Part {
  const select = h(
    "select",
    { class: "entry", "data-field": "on_full", "aria-label": "When the context is full" },
    ...Object.entries(ON_FULL).map(([value, text]) => h("option", { value }, text)),
  );
  const error = h("span", { class: "field-error", role: "alert" });
  const undo = resetButton("what happens when the context is full", USUAL.on_full, () => void set(USUAL.on_full));
  const element = h(
    "div",
    { class: "field wide", "data-setting": "on_full" },
    h("span", { class: "field-name" }, "when full"),
    select,
    undo,
    h(
      "p",
      { class: "field-help" },
      "When the context has no room left; a slide keeps the beginning and the newest half",
    ),
    error,
  );

  async function set(value: string): Promise<void> {
    const failure = await link.command({ kind: "set", name: "on_full", value });
    setText(error, failure?.message ?? "");
    select.value = link.settings.on_full ?? USUAL.on_full;
  }
  select.addEventListener("change", () => void set(select.value));

  return {
    element,
    draw() {
      select.disabled = !link.reachable;
      if (document.activeElement !== select) select.value = link.settings.on_full ?? USUAL.on_full;
      mark(element, undo, link, "on_full");
    },
  };
}
