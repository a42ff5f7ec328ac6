/** The tokens that were read most, as a list. */
import { h, setAttribute, setShare, setText } from "../../../dom.js";
import { percent, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { keyedList, type Row as ListRow } from "../../parts/list.js";
import { pieceOf, tokenWords } from "../../parts/words.js";
import { isShare, largest, type Reading, type Row, sourceOf, strongest } from "./row.js";

const LISTED = 12;

export function readList(link: Link) {
  const { store } = link;
  const title = h("h3", { "data-testid": "attention-of" });
  const first = h("p", { class: "note", "data-testid": "attention-first" });
  const rest = h("p", { class: "note" });
  let most = 1;
  let drawn: { shown: Row; skip: boolean } | null = null;
  const list = keyedList<Reading>("Tokens that were read most", ({ position }) => position, row);
  const element = h("section", { class: "attention-read" }, title, list.element, rest, first);

  function row({ position }: Reading): ListRow<Reading> {
    const bar = h("span", { class: "attention-bar", "aria-hidden": "true" });
    const share = h("span", { class: "percent" });
    const text = h("code", {});
    const place = h("span", { class: "attention-place" });
    const button = h("button", { type: "button", class: "attention-row", "data-row": true }, share, bar, text, place);
    button.addEventListener("click", () => link.select(store.at(position)));
    return {
      element: h("li", {}, button),
      draw({ weight }) {
        const node = store.at(position);
        setShare(bar, weight / most);
        setText(share, percent(weight));
        setText(text, pieceOf(store, node));
        setText(place, whole(position));
        setAttribute(button, "title", `Select ${tokenWords(store, node)}, to see what that one read`);
      },
    };
  }

  return {
    element,
    /** `skip`: without the first token. */
    draw(shown: Row, skip: boolean): void {
      if (shown === drawn?.shown && skip === drawn.skip) return;
      drawn = { shown, skip };
      const { listed, others } = strongest(shown, skip, LISTED);
      most = largest(shown, skip) || 1;
      setText(title, `${tokenWords(store, shown.node)} read, in ${sourceOf(shown)}`);
      list.draw(listed);
      const known = isShare(shown.over) && others > 0;
      setText(rest, known ? `All others together: ${percent(others)}` : "");
      setText(first, firstWords(shown, skip));
      rest.hidden = !known;
      first.hidden = !first.textContent;
    },
  };
}

/** What is said of the first token where it does not count. */
function firstWords({ weights, over }: Row, skip: boolean): string {
  if (!skip || !weights.length) return "";
  if (weights.length === 1) return "This is the first token: there was nothing to read but itself.";
  const share = percent(weights[0]);
  return over === "rollout"
    ? `Left out here and in the colours: the first token, with ${share}.`
    : `Left out here and in the colours: the first token, which got ${share}. Heads rest there that find nothing.`;
}
