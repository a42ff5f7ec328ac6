/** Puts the panels that were asked for into one frame, and decides when they are drawn. */

import { h, setAttribute, type View } from "../dom.js";
import type { Theme } from "../draw/colour.js";
import { onTheme, themeOf } from "../draw/theme.js";
import type { Link } from "../link.js";
import { pace } from "../pace.js";
import { banner } from "./banner.js";
import { controls } from "./controls.js";
import { explore } from "./explore.js";
import { inside } from "./inside.js";
import { legend } from "./legend.js";
import { logits } from "./logits.js";
import { player } from "./player.js";
import { status } from "./status.js";
import { stream } from "./stream.js";
import { strip } from "./strip.js";
import { tools } from "./tools.js";

/** Milliseconds between two drawings while tokens stream in: text still flows, and the model keeps its cores. */
const STREAM_MS = 100;
/** Of so many drawings while tokens stream in, one is also of the panels that are restful. */
const RESTFUL = 3;

export function mount(link: Link, host: HTMLElement): () => void {
  let theme: Theme = themeOf(document);
  let views: View[] = [];
  let shown = "";
  let passed = 0; // drawings since everything was drawn
  // Arrow keys and Ctrl+Enter in here are the widget's, not the notebook's.
  const root = h("div", { class: "inferno-widget", "data-lm-suppress-shortcuts": "true", "data-theme": theme });

  const make: Record<string, () => View> = {
    status: () => status(link),
    tools: () => tools(link),
    controls: () => controls(link),
    stream: () => stream(link),
    logits: () => logits(link),
    strip: () => strip(link, () => theme),
    player: () => player(link),
    explore: () => explore(link),
    inside: () => inside(link),
  };

  function build(): void {
    close();
    shown = link.panels.join();
    const asked = link.panels.filter((name) => make[name]);
    const made = asked.map((name) => make[name]());
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
