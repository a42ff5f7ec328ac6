/** What is on its way: how far it has come, and what stopped it. */
import { h, setAttribute, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import type { Task } from "../../../state.js";
import { progressBar } from "../../parts/bars.js";
import { button } from "../../parts/button.js";
import { failureBox } from "../../parts/failure.js";
import { keyedList } from "../../parts/list.js";
import { longName } from "../../parts/name.js";

export function tasks(link: Link) {
  const list = keyedList<Task>("Loading and downloading", ({ id }) => id, makeRow);

  function makeRow({ id, kind }: Task) {
    const name = longName();
    const stage = h("span", { class: "note", role: "status" });
    const bar = progressBar(kind === "load" ? "Loading" : "Downloading");
    const failure = failureBox();
    const end = button("Cancel", () => void link.order({ kind: "cancel", task: id }), { "data-action": "cancel" });
    const element = h("li", { class: "task" }, h("div", { class: "line" }, h("strong", {}, name.element), stage, end));
    element.append(bar.element, failure.element);
    return {
      element,
      draw({ name: called, stage: now, progress, error }: Task): void {
        name.draw(called);
        const done = progress === null ? "" : ` ${Math.round(100 * progress)}%`;
        setText(stage, error ? `${kind === "load" ? "was not loaded" : "was not downloaded"}` : `${now}${done}`);
        bar.element.hidden = error !== null;
        bar.draw(progress);
        failure.show(error);
        setText(end, error ? "Dismiss" : "Cancel");
        setAttribute(end, "aria-label", `${error ? "Dismiss" : "Cancel"} ${called}`);
      },
    };
  }

  return {
    element: list.element,
    draw(): void {
      const { tasks: all } = link.library;
      list.element.hidden = !all.length;
      list.draw(all);
    },
  };
}
