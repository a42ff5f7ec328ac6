/** The interventions that are written down, each with what takes it away. */
import { h, setAttribute, setText } from "../../../dom.js";
import type { Edit } from "../../../state.js";
import { button } from "../../parts/button.js";
import { keyedList, type Row } from "../../parts/list.js";
import { editWords } from "./edits.js";

export function editList(remove: (edit: Edit) => void) {
  return keyedList<Edit>("Interventions", (edit) => JSON.stringify(edit), row);

  function row(edit: Edit): Row<Edit> {
    const words = h("span", { class: "surgery-words" });
    const away = button("✕", () => remove(edit), { class: "quiet", "data-row": true, "data-action": "edit-remove" });
    return {
      element: h("li", { class: "surgery-edit" }, words, away),
      draw(now) {
        setText(words, editWords(now));
        for (const name of ["aria-label", "title"]) setAttribute(away, name, `Take away: ${editWords(now)}`);
      },
    };
  }
}
