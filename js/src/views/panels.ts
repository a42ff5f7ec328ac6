/** Puts the panels that were asked for into one frame, and decides when they are drawn. */

import { h, setAttribute, type View } from "../dom.js";
import type { Theme } from "../draw/colour.js";
import { onTheme, themeOf } from "../draw/theme.js";
import type { Link } from "../link.js";
import { pace } from "../pace.js";
import { banner } from "./banner.js";
import { legend } from "./legend.js";

/** Milliseconds between two drawings while tokens stream in: text still flows, and the model keeps its cores. */
const STREAM_MS = 100;
/** Of so many drawings while tokens stream in, one is also of the panels that are restful. */
const RESTFUL = 3;

/** What each panel is made by; a panel that was asked for and is none of these is not shown. */
export type Panels = Record<string, (link: Link, theme: () => Theme) => View>;

export function mount(link: Link, host: HTMLElement, panels: Panels): () => void {
  let theme: Theme = themeOf(document);
  let views: View[] = [];
  let shown = "";
  let passed = 0; // drawings since everything was drawn
  // Arrow keys and Ctrl+Enter in here are the widget's, not the notebook's.
  const root = h("div", { class: "inferno-widget", "data-lm-suppress-shortcuts": "true", "data-theme": theme });

  function build(): void {
    close();
    shown = link.panels.join();
    const asked = link.panels.filter((name) => Object.hasOwn(panels, name));
    const made = asked.map((name) => panels[name](link, () => theme));
    // Text and distribution stand side by side, where the first of them was asked for; errors above them.
    const body = h("div", { class: "body" });
    const complaint = banner(link);
    const sections = made.map(({ element }, i) => {
      if (asked[i] !== "stream" && asked[i] !== "logits") return element;
      body.append(element);
      return body;
    });
    const at = sections.indexOf(body);
    sections.splice(at < 0 ? 0 : at, 0, complaint.element);
    views = [...made, complaint];
    if (asked.includes("stream") || asked.includes("strip")) {
      const scale = legend(link, () => theme);
      views.push(scale);
      sections.push(scale.element);
    }
    root.replaceChildren(...new Set(sections));
  }

  function close(): void {
    for (const view of views) view.close?.();
  }

  /** What the style sheet needs to know; tokens hear of it through their classes. */
  function dress(): void {
    const { palette, glyphs, font_size } = link.look;
    setAttribute(root, "data-palette", palette);
    setAttribute(root, "data-glyphs", glyphs ? "on" : "off");
    const size = `${font_size}px`;
    if (root.style.getPropertyValue("--iw-font-size") !== size) root.style.setProperty("--iw-font-size", size);
  }

  function draw(streaming: boolean): void {
    if (shown !== link.panels.join()) build();
    dress();
    passed = streaming ? (passed + 1) % RESTFUL : 0;
    for (const view of views) if (!(passed && view.restful)) view.draw(streaming);
    for (const view of views) view.settle?.();
    if (passed) drawing.ask(true);
  }

  const drawing = pace(draw, STREAM_MS);

  host.append(root);
  build();
  draw(false);
  link.views++;
  const endChange = link.onChange(drawing.ask);
  const endTheme = onTheme(document, () => {
    theme = themeOf(document);
    root.dataset.theme = theme;
    drawing.ask(false);
  });

  return () => {
    link.views--;
    drawing.close();
    endChange();
    endTheme();
    close();
    root.remove();
  };
}
