/** Puts the panels that were asked for into one frame, and draws them once per animation frame at most. */

import { h, type View } from "../dom.js";
import type { Theme } from "../draw/colour.js";
import { onTheme, themeOf } from "../draw/theme.js";
import type { Link } from "../link.js";
import { banner } from "./banner.js";
import { controls } from "./controls.js";
import { legend } from "./legend.js";
import { logits } from "./logits.js";
import { status } from "./status.js";
import { stream } from "./stream.js";
import { strip } from "./strip.js";

export function mount(link: Link, host: HTMLElement): () => void {
  let theme: Theme = themeOf(document);
  let views: View[] = [];
  let shown = "";
  let frame = 0;
  // Arrow keys and Ctrl+Enter in here are the widget's, not the notebook's.
  const root = h("div", { class: "inferno-widget", "data-lm-suppress-shortcuts": "true", "data-theme": theme });

  function build(): void {
    close();
    const panels = new Set(link.panels);
    const make = {
      status: () => status(link),
      banner: () => banner(link),
      controls: () => controls(link),
      stream: () => stream(link),
      logits: () => logits(link),
      strip: () => strip(link, () => theme),
      legend: () => legend(link, () => theme),
    };
    panels.add("banner");
    if (panels.has("stream") || panels.has("strip")) panels.add("legend");
    const made = new Map<string, View>();
    for (const [name, view] of Object.entries(make)) if (panels.has(name)) made.set(name, view());
    views = [...made.values()];
    const body = h("div", { class: "body" });
    const place = (name: string): HTMLElement[] => [made.get(name)?.element ?? []].flat();
    body.append(...place("stream"), ...place("logits"));
    root.replaceChildren(
      ...["status", "controls", "banner"].flatMap(place),
      ...(body.children.length ? [body] : []),
      ...["strip", "legend"].flatMap(place),
    );
    shown = link.panels.join();
  }

  function close(): void {
    for (const view of views) view.close?.();
  }

  function draw(): void {
    frame = 0;
    if (shown !== link.panels.join()) build();
    for (const view of views) view.draw();
  }

  const schedule = (): void => {
    frame ||= requestAnimationFrame(draw);
  };

  host.append(root);
  build();
  draw();
  link.views++;
  const endChange = link.onChange(schedule);
  const endTheme = onTheme(document, () => {
    theme = themeOf(document);
    root.dataset.theme = theme;
    schedule();
  });

  return () => {
    link.views--;
    cancelAnimationFrame(frame);
    endChange();
    endTheme();
    close();
    root.remove();
  };
}
