/** A row of tabs, and the drawer that one of them opens. Which one is open is the page's own affair. */

import { h, setAttribute, uniqueId, type View } from "../../dom.js";
import type { Link } from "../../link.js";
import { reveal } from "./reveal.js";

export interface Tab {
  text: string;
  title: string;
  make: (link: Link) => View;
}

/** `label` says what they are, `headed` to everybody, else to a screen reader; `name` is the class of the whole. */
export function tabbed(link: Link, name: string, label: string, offered: Record<string, Tab>, headed = false): View {
  const id = uniqueId(name);
  const drawer = h("div", { class: "drawer", id: `${id}-drawer`, role: "tabpanel", hidden: true });
  const tabs = Object.entries(offered).map(([tool, { text, title }]) => {
    const attributes = { type: "button", role: "tab", id: `${id}-${tool}`, title, "data-tool": tool };
    return h("button", { ...attributes, "aria-controls": drawer.id, "aria-selected": "false", tabindex: -1 }, text);
  });
  tabs[0].tabIndex = 0;
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": label }, ...tabs);
  const heading = h("span", { class: "tabs-heading", "aria-hidden": "true" }, label);
  const element = h(
    "div",
    { class: name },
    h("div", { class: "tabs-row" }, ...(headed ? [heading] : []), list),
    drawer,
  );
  const made = new Map<string, View>();
  let open = "";

  function toggle(tool: string): void {
    made.get(open)?.leave?.();
    open = open === tool ? "" : tool;
    for (const tab of tabs) {
      const chosen = tab.dataset.tool === open;
      setAttribute(tab, "aria-selected", String(chosen));
      if (chosen) setAttribute(drawer, "aria-labelledby", tab.id);
    }
    drawer.hidden = !open;
    drawer.replaceChildren();
    const view = made.get(open) ?? offered[open]?.make(link);
    if (!view) return;
    made.set(open, view);
    drawer.append(view.element);
    view.draw(false);
    reveal(element);
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
    get restful() {
      return made.get(open)?.restful ?? true;
    },
    draw(streaming) {
      if (open) made.get(open)?.draw(streaming);
    },
    settle() {
      if (open) made.get(open)?.settle?.();
    },
    close() {
      made.get(open)?.leave?.();
      for (const view of made.values()) view.close?.();
    },
  };
}
