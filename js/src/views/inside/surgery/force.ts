/** Writing on under interventions, and leaving them. */
import { h, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import type { Edit } from "../../../state.js";
import { button } from "../../parts/button.js";
import { failureBox } from "../../parts/failure.js";
import { selected, tokenWords } from "../../parts/words.js";
import { editWords, interventions, same } from "./edits.js";

export function inForce(link: Link, draft: () => Edit[]) {
  const { store } = link;
  const words = h("span");
  const leave = button("Leave", () => void act([]), {
    "data-action": "leave",
    title: "The model as it is, and the text as it was; what was written under the interventions stays as a branch",
  });
  const element = h("div", { class: "surgery-force", role: "status", "data-testid": "in-force" }, words, leave);
  const write = button("Write on under these", () => void act(draft()), {
    "data-action": "write-on",
    class: "small primary",
    title: "Put these in force and go on; what is there now stays as a branch, and Leave brings it back",
  });
  const place = h("span", { class: "note" });
  const failure = failureBox();
  let busy = false;

  /** Puts edits into force, and writes on: in place of the selected token, else behind the newest. */
  async function act(edits: Edit[]): Promise<void> {
    if (busy) return;
    busy = true;
    failure.show(null);
    link.dismiss();
    const before = selected(link) < 0 ? -1 : store.at(selected(link) - 1);
    const refused =
      (await link.command({ kind: "intervene", edits })) ??
      (edits.length && before >= 0 ? await link.command({ kind: "goto", node: before }) : null) ??
      (edits.length ? await link.command({ kind: "resume" }) : null);
    busy = false;
    failure.show(refused);
    link.select(-1);
  }

  return {
    element,
    actions: h("div", { class: "surgery-write" }, h("div", { class: "line" }, write, place), failure.element),
    draw(edits: Edit[], able: boolean): void {
      const now = link.marks.edits;
      element.hidden = !now.length || !link.reachable; // with its kernel all that ends
      const said = now.map(editWords).join("; ");
      const others = same(now, edits) ? "" : " The list below is another one.";
      setText(
        words,
        `In force, so that all that is written now is written under ${interventions(now.length)}: ${said}.${others}`,
      );
      write.disabled = busy || !able || !edits.length;
      leave.disabled = busy || !link.reachable;
      const at = selected(link);
      setText(place, at > 0 ? `in place of ${tokenWords(store, store.path[at])}` : "behind the newest token");
    },
  };
}
