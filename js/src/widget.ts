/** What anywidget loads: wiring only. Each model gets a closure of its own, so nothing is kept at module level. */
import { Link, type Model } from "./link.js";
import { LIVE } from "./views/live.js";
import { mount } from "./views/panels.js";

export default () => {
  let link: Link;
  return {
    initialize({ model }: { model: Model }): () => void {
      link = new Link(model);
      return () => link.close();
    },
    render({ el }: { el: HTMLElement }): () => void {
      el.addEventListener("keydown", keepPlain);
      const unmount = mount(link, el, LIVE);
      return () => {
        el.removeEventListener("keydown", keepPlain);
        unmount();
      };
    },
  };
};

/**
 * Keys without Ctrl are the widget's alone: JupyterLab would move to another cell, or cut this one, wherever the focus
 * is on something that is no text field. Escape leads back to the notebook, Shift+Enter runs the cell.
 */
function keepPlain(event: KeyboardEvent): void {
  const { key, ctrlKey, metaKey, altKey, shiftKey } = event;
  if (ctrlKey || metaKey || altKey || key === "Escape" || (shiftKey && key === "Enter")) return;
  event.stopPropagation();
}
