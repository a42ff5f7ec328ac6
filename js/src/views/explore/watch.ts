/** The probability of chosen tokens at every step. */

import { h, setAttribute, setText, type View } from "../../dom.js";
import { plot } from "../../draw/plot.js";
import { inkOf, Slots } from "../../draw/series.js";
import type { Link } from "../../link.js";
import type { Watch } from "../../state.js";
import { label } from "../../text.js";
import { button } from "../parts/button.js";
import { keyedList, type Row } from "../parts/list.js";
import { obstacle, selected, tokenWords } from "../parts/words.js";
import { addWatch } from "./watch/add.js";
import { type Line, picture, probabilityText, readingOf, valueAt } from "./watch/lines.js";

const HEIGHT = 250;
const NOTHING =
  "Nothing is watched yet. Name a word, and its exact probability is drawn at every token, past and to come, " +
  "whatever the model said there: from the whole vocabulary, not only from what the list shows.";

const NOT_WATCHED = "Nothing was watched in this run.";

export function watch(link: Link): View {
  const { store } = link;
  const slots = new Slots();
  const add = addWatch(link);
  const list = keyedList<Watch>("What is watched", ({ name }) => name, row);
  const where = h("h3");
  const note = h("p", { class: "note" });
  const scale = logToggle(() => draw());
  const lines = plot({
    name: "watch-plot",
    label: "",
    height: HEIGHT,
    read: (stop) => ({ title: tokenWords(store, store.path[stop]), rows: readingOf(store, drawn(), stop) }),
    choose: (stop) => link.select(store.at(stop)),
  });
  const shown = h(
    "div",
    { class: "watch-lines" },
    h("div", { class: "line" }, where, scale.element),
    list.element,
    lines.element,
  );
  const element = h("div", { class: "explore-watch" }, add.element, note, shown);

  const drawn = (): Line[] =>
    link.marks.watches.map(({ name }) => ({ name, slot: slots.of(name), values: store.watched.of(name) }));

  /** Position whose values stand in the list: that of the selected token, else of the newest. */
  const looked = (): number => {
    const at = selected(link);
    return at < 0 ? store.length - 1 : at;
  };

  function row({ name }: Watch): Row<Watch> {
    const swatch = h("i", { "aria-hidden": "true" });
    const tokens = h("span", { class: "watch-tokens" });
    const value = h("b", { class: "watch-value" });
    const remove = button("✕", () => void link.order({ kind: "unwatch", name }), {
      class: "quiet",
      "data-row": true,
      "data-action": "unwatch",
      "aria-label": `Stop watching ${name}`,
      title: `Stop watching ${name}`,
    });
    return {
      element: h("li", { class: "watch-row" }, swatch, h("span", { class: "watch-name" }, name), tokens, value, remove),
      draw({ tokens: watched }) {
        const line = { name, slot: slots.of(name), values: store.watched.of(name) };
        setAttribute(swatch, "class", `plot-swatch ${inkOf(line.slot)}`);
        const texts = watched.map(({ text }) => label([text])).join("  ");
        setText(tokens, texts);
        setAttribute(tokens, "title", watched.map(({ id, text }) => `${label([text])} token ${id}`).join("\n"));
        const probability = store.length ? valueAt(store, line, looked()) : Number.NaN;
        setText(value, Number.isNaN(probability) ? "–" : probabilityText(probability));
        remove.disabled = obstacle(link) !== "";
        remove.hidden = link.recorded;
      },
    };
  }

  function draw(): void {
    const { watches } = link.marks;
    slots.keep(watches.map(({ name }) => name));
    add.draw();
    add.element.hidden = link.recorded;
    list.draw(watches);
    const hindered = link.recorded ? "" : obstacle(link);
    const nothing = link.recorded ? NOT_WATCHED : NOTHING;
    setText(note, watches.length ? hindered : [hindered, nothing].filter(Boolean).join(" "));
    note.hidden = !note.textContent;
    shown.hidden = !watches.length || !store.length;
    if (shown.hidden) return;
    const at = selected(link);
    setText(where, at < 0 ? "At the newest token" : `At ${tokenWords(store, store.path[at])}`);
    lines.name(
      `Probability of ${watches.map(({ name }) => name).join(", ")} over the text. Arrow keys read, Enter selects.`,
    );
    lines.draw(picture(store, drawn(), scale.on(), at));
  }

  return { element, restful: true, draw, close: lines.close };
}

/** Whether equal factors are equally far apart. */
function logToggle(changed: () => void) {
  let log = false;
  const kinds = (["linear", "log"] as const).map((text) =>
    button(text, () => choose(text), { "data-action": text, title: TITLES[text] }),
  );
  const element = h(
    "div",
    { class: "line watch-scale", role: "group", "aria-label": "Scale of the probability" },
    ...kinds,
  );
  const tell = (): void => {
    for (const kind of kinds) setAttribute(kind, "aria-pressed", String((kind.dataset.action === "log") === log));
  };
  function choose(text: "linear" | "log"): void {
    log = text === "log";
    tell();
    changed();
  }
  tell();
  return { element, on: () => log };
}

const TITLES = {
  linear: "From 0 to the greatest there is",
  log: "Ten times as likely is as far everywhere: shows what is unlikely",
};
