/** Ways of sampling that have a name: take one, keep one's own. */
import { h, setAttribute, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import type { Preset } from "../../../state.js";
import { button } from "../../parts/button.js";
import { keyedList, type Row } from "../../parts/list.js";
import { samplerCode } from "../../parts/samplercode.js";
import { isPreset } from "../../parts/sampling.js";
import type { Part } from "./field.js";

export function presets(link: Link): Part {
  const list = keyedList<Preset>("Presets", ({ name }) => name, row);
  const name = h("input", {
    class: "entry",
    type: "text",
    autocomplete: "off",
    placeholder: "save as…",
    "data-field": "preset",
    "aria-label": "Name of a new preset made of these settings",
  });
  const save = button("Save", () => void keep(), { "data-action": "save-preset" });
  const error = h("span", { class: "field-error", role: "alert" });
  const element = h(
    "div",
    { class: "presets" },
    h("span", { class: "field-name" }, "presets"),
    list.element,
    h("span", { class: "line" }, name, save),
    error,
  );

  async function tell(command: Promise<{ message: string } | null>): Promise<boolean> {
    const failure = await command;
    setText(error, failure?.message ?? "");
    return !failure;
  }

  async function keep(): Promise<void> {
    const text = name.value.trim();
    if (!text) return name.focus();
    if (await tell(link.command({ kind: "save_preset", name: text }))) name.value = "";
  }

  function row(preset: Preset): Row<Preset> {
    const take = button(preset.name, () => void tell(link.command({ kind: "preset", name: preset.name })), {
      "data-preset": preset.name,
      "data-row": true,
    });
    const drop = button("✕", () => void tell(link.command({ kind: "drop_preset", name: preset.name })), {
      class: "quiet",
      "aria-label": `Drop the preset ${preset.name}`,
      title: "Drop this preset",
    });
    return {
      element: h("li", {}, take, drop),
      draw({ builtin, settings }) {
        drop.hidden = builtin;
        take.disabled = drop.disabled = !link.reachable;
        setAttribute(take, "aria-pressed", String(isPreset(link.settings, settings)));
        setAttribute(take, "title", samplerCode(settings));
      },
    };
  }

  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void keep();
    else if (event.key === "Escape" && (name.value || error.textContent)) {
      name.value = "";
      setText(error, "");
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw() {
      list.draw(link.look.presets);
      name.disabled = save.disabled = !link.reachable;
    },
  };
}
