/** What a person likes to see: it changes at once, and the kernel keeps it. */
import { h, setAttribute, setText, uniqueId, type View } from "../../dom.js";
import { endOf, gradient, SCALES } from "../../draw/colour.js";
import { themeOf } from "../../draw/theme.js";
import type { Link } from "../../link.js";
import { type Look, METRICS, PALETTES, type Palette } from "../../state.js";
import { numberField } from "../parts/number.js";

const PALETTE_HELP: Record<Palette, string> = {
  inferno: "yellow, red, black",
  viridis: "yellow, green, purple",
  cividis: "blue and yellow: the same for nearly all eyes",
  contrast: "7:1 for text on every step",
};

interface Part {
  readonly element: HTMLElement;
  draw(look: Look): void;
}

export function look(link: Link): View {
  const error = h("span", { class: "field-error", role: "alert" });

  async function prefer<K extends keyof Look>(name: K, value: Look[K]) {
    const failure = await link.prefer(name, value);
    setText(error, failure?.message ?? "");
    return failure;
  }

  const parts: Part[] = [
    choice("Colour by", METRICS, (metric) => void prefer("metric", metric), {
      chosen: ({ metric }) => metric,
      fill(metric, option) {
        option.body.append(h("b", {}, SCALES[metric].title), " ", option.note);
        setAttribute(option.element, "title", SCALES[metric].help);
      },
      draw(metric, { note }) {
        setText(note, SCALES[metric].range(endOf(link.store, metric)).join(" – "));
      },
    }),
    choice("Palette", PALETTES, (palette) => void prefer("palette", palette), {
      chosen: ({ palette }) => palette,
      fill(palette, option) {
        option.body.append(h("b", {}, palette), " ", option.note, option.swatch);
        setText(option.note, PALETTE_HELP[palette]);
      },
      draw(palette, { swatch }) {
        const picture = gradient(themeOf(document), palette);
        if (swatch.dataset.picture !== picture) swatch.style.backgroundImage = picture;
        swatch.dataset.picture = picture;
      },
    }),
    group(
      "Text and list",
      number("font_size", { label: "font size", unit: "px", min: 8, max: 48 }),
      check("glyphs", "show spaces, tabs and line breaks"),
      check("follow", "scroll with what is generated"),
      number("top_k", {
        label: "tokens listed",
        unit: "",
        min: 1,
        max: 32,
        help: "Of the alternatives that were recorded; all others are one bar",
      }),
    ),
  ];
  const note = h("p", { class: "note", role: "status" });
  const element = h("div", { class: "tool-look" }, ...parts.map((part) => part.element), error, note);

  function number(
    name: "font_size" | "top_k",
    options: { label: string; unit: string; min: number; max: number; help?: string },
  ): Part {
    const field = numberField({ name, step: 1, ...options }, (value) => prefer(name, value));
    return { element: field.element, draw: (now) => field.show(now[name]) };
  }

  function check(name: "glyphs" | "follow", text: string): Part {
    const box = h("input", { type: "checkbox", "data-field": name });
    box.addEventListener("change", () => void prefer(name, box.checked));
    return {
      element: h("label", { class: "look-check" }, box, " ", text),
      draw(now) {
        box.checked = now[name];
      },
    };
  }

  return {
    element,
    draw(streaming) {
      if (streaming) return; // nothing here comes from the run but the scale of time
      note.hidden = link.recorded;
      setText(note, link.look.note || "Kept for the next time in your settings file.");
      for (const part of parts) part.draw(link.look);
    },
  };
}

interface Option {
  element: HTMLElement;
  body: HTMLElement;
  note: HTMLElement;
  swatch: HTMLElement;
}

interface Choice<T> {
  chosen: (look: Look) => T;
  fill: (value: T, option: Option) => void;
  draw: (value: T, option: Option) => void;
}

/** One of several, as radio buttons: the arrow keys choose. */
function choice<T extends string>(
  title: string,
  values: readonly T[],
  give: (value: T) => void,
  { chosen, fill, draw }: Choice<T>,
): Part {
  const name = uniqueId("look");
  const made = values.map((value) => {
    const radio = h("input", { type: "radio", name, value });
    const body = h("span", { class: "look-option" });
    const note = h("span", { class: "note" });
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    const option = { element: h("label", {}, radio, " ", body), body, note, swatch };
    fill(value, option);
    radio.addEventListener("change", () => give(value));
    return { value, radio, option };
  });
  const legend = h("legend", {}, title);
  return {
    element: h("fieldset", { class: "look-group" }, legend, ...made.map(({ option }) => option.element)),
    draw(look) {
      for (const { value, radio, option } of made) {
        radio.checked = value === chosen(look);
        draw(value, option);
      }
    },
  };
}

function group(title: string, ...parts: Part[]): Part {
  return {
    element: h("fieldset", { class: "look-group" }, h("legend", {}, title), ...parts.map(({ element }) => element)),
    draw(look) {
      for (const part of parts) part.draw(look);
    },
  };
}
