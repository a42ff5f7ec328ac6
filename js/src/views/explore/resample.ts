/** What else comes out, how often, and from where on it was decided. */

import { h, setText, type View } from "../../dom.js";
import { COLOURS, Slots } from "../../draw/series.js";
import type { Link } from "../../link.js";
import { obstacle } from "../parts/words.js";
import { answerBy } from "./resample/by.js";
import { decided } from "./resample/decided.js";
import { outcomes } from "./resample/outcomes.js";

export function resample(link: Link): View {
  const slots = new Slots(); // an answer has one colour in both pictures
  const by = answerBy();
  const claim = (): void => slots.keep([...new Set([...when.named(), ...out.named()])].slice(0, COLOURS));
  const out = outcomes(link, by, slots, claim);
  const when = decided(link, by, slots, claim);
  const note = h("p", { class: "note" });
  const element = h(
    "div",
    { class: "explore-resample" },
    h("div", { class: "resample-by" }, by.element),
    note,
    out.element,
    when.element,
  );
  return {
    element,
    draw() {
      setText(note, obstacle(link));
      note.hidden = !note.textContent;
      out.draw();
      when.draw();
    },
    close: when.close,
  };
}
