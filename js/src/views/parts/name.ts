/** Names of files: long ones lose their middle, because they differ at the end. */
import { h, setAttribute, setText } from "../../dom.js";

const TAIL = 12;
const segmenter = new Intl.Segmenter();

export function longName(attributes: Record<string, string> = {}) {
  const [head, tail] = [h("span"), h("span")];
  const element = h("span", { class: "long-name", ...attributes }, head, tail);
  return {
    element,
    /** `title` is said where the pointer rests. */
    draw(name: string, title = name): void {
      const signs = Array.from(segmenter.segment(name), ({ segment }) => segment);
      const cut = signs.length > 3 * TAIL ? signs.length - TAIL : signs.length;
      setText(head, signs.slice(0, cut).join(""));
      setText(tail, signs.slice(cut).join(""));
      setAttribute(element, "title", title);
    },
  };
}
