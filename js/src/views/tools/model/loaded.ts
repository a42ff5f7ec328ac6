/** The models that are loaded: what each costs, which one is used, and how to be rid of it. */
import { h, setAttribute, setText } from "../../../dom.js";
import { bytes, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import type { LoadedModel } from "../../../state.js";
import { button } from "../../parts/button.js";
import { keyedList } from "../../parts/list.js";
import { longName } from "../../parts/name.js";
import { warnings } from "./findings.js";

export function loaded(link: Link, inspect: (model: number) => void) {
  const list = keyedList<LoadedModel>("Loaded models", ({ id }) => id, makeRow);
  const none = h("p", { class: "note" }, "No model is loaded.");
  const element = h("section", { class: "loaded" }, h("h3", {}, "Loaded"), list.element, none);

  function makeRow({ id }: LoadedModel) {
    const name = longName();
    const main = h("button", { type: "button", class: "loaded-name quiet", "data-row": true }, name.element);
    main.addEventListener("click", () => inspect(id));
    const current = h("span", { class: "tag" }, "in use");
    const use = button("Use", () => void link.order({ kind: "use", model: id }), { "data-action": "use" });
    const unload = button("Unload", () => void link.order({ kind: "unload", model: id }), { "data-action": "unload" });
    const costs = h("p", { class: "note" });
    const head = h("div", { class: "line" }, main, current, h("span", { class: "push" }), use, unload);
    return {
      element: h("li", { class: "loaded-row" }, head, costs),
      draw(model: LoadedModel): void {
        name.draw(model.name);
        setAttribute(main, "title", `${model.file}\nShow what it says of itself`);
        setAttribute(unload, "aria-label", `Unload ${model.name}`);
        setAttribute(use, "aria-label", `Use ${model.name}`);
        current.hidden = !model.current;
        use.hidden = model.current;
        use.disabled = unload.disabled = !link.reachable;
        const kv = `KV ${bytes(model.kv_used)} of ${bytes(model.kv_reserved)}`;
        const context = `context of ${whole(model.n_ctx)}`;
        const odd = model.warnings ? [warnings(model.warnings)] : [];
        const told = [`${bytes(model.rss)} resident`, `weights ${bytes(model.weights)}`, kv, context, ...odd];
        setText(costs, told.join(" · "));
      },
    };
  }

  return {
    element,
    draw(): void {
      const { models } = link.library;
      none.hidden = models.length > 0;
      list.draw(models);
    },
  };
}
