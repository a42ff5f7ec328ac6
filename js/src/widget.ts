/** What anywidget loads: wiring only. Each model gets a closure of its own, so nothing is kept at module level. */
import { Link, type Model } from "./link.js";
import { mount } from "./views/panels.js";

export default () => {
  let link: Link;
  return {
    initialize({ model }: { model: Model }): () => void {
      link = new Link(model);
      return () => link.close();
    },
    render({ el }: { el: HTMLElement }): () => void {
      return mount(link, el);
    },
  };
};
