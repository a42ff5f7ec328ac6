/** A row of tabs, and the drawer that one of them opens. Which one is open is the page's own affair. */

import { h, setAttribute, type View } from "../dom.js";
import type { Link } from "../link.js";
import { chat } from "./tools/chat.js";
import { exports } from "./tools/exports.js";
import { look } from "./tools/look.js";
import { model } from "./tools/model.js";
import { sampler } from "./tools/sampler.js";
import { sessions } from "./tools/sessions.js";

const TOOLS: Record<string, { text: string; title: string; make: (link: Link) => View }> = {
  model: { text: "Model", title: "Find, load and inspect models", make: model },
  chat: { text: "Chat", title: "Talk through the model's chat template", make: chat },
  sampler: { text: "Sampler", title: "How the next token is chosen", make: sampler },
  sessions: { text: "Sessions", title: "What was generated so far", make: sessions },
  exports: { text: "Export", title: "Keep the result, and hand it on", make: exports },
  look: { text: "Look", title: "Colours, metric, font", make: look },
};

export function tools(link: Link): View {
  const id = `inferno-tools-${crypto.getRandomValues(new Uint32Array(1))[0]}`; // two views may be in one page
  const drawer = h("div", { class: "drawer", id: `${id}-drawer`, role: "tabpanel", hidden: true });
  const offered = Object.entries(TOOLS).filter(([name]) => !link.recorded || name === "look"); // needs no kernel
  const tabs = offered.map(([name, { text, title }]) => {
    const attributes = { type: "button", role: "tab", id: `${id}-${name}`, title, "data-tool": name };
    return h("button", { ...attributes, "aria-controls": drawer.id, "aria-selected": "false", tabindex: -1 }, text);
  });
  tabs[0].tabIndex = 0;
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Tools" }, ...tabs);
  const element = h("div", { class: "tools" }, list, drawer);
  const made = new Map<string, View>();
  let open = "";

  function toggle(name: string): void {
    open = open === name ? "" : name;
    for (const tab of tabs) {
      const chosen = tab.dataset.tool === open;
      setAttribute(tab, "aria-selected", String(chosen));
      if (chosen) setAttribute(drawer, "aria-labelledby", tab.id);
    }
    drawer.hidden = !open;
    drawer.replaceChildren();
    if (!open) return;
    const view = made.get(open) ?? TOOLS[open].make(link);
    made.set(open, view);
    drawer.append(view.element);
    view.draw(false);
  }

  const focus = (tab: HTMLButtonElement): void => {
    for (const other of tabs) other.tabIndex = other === tab ? 0 : -1;
    tab.focus();
  };

  for (const tab of tabs) tab.addEventListener("click", () => toggle(tab.dataset.tool as string));
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target as HTMLButtonElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    focus(tabs[(to + tabs.length) % tabs.length]);
    event.preventDefault();
  });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !open || event.defaultPrevented) return;
    const tab = tabs.find(({ dataset }) => dataset.tool === open) as HTMLButtonElement;
    toggle(open);
    focus(tab);
  });

  return {
    element,
    draw(streaming) {
      if (open) made.get(open)?.draw(streaming);
    },
    settle() {
      if (open) made.get(open)?.settle?.();
    },
    close() {
      for (const view of made.values()) view.close?.();
    },
  };
}
