/** The text, token by token, coloured by the chosen metric: what is near the part that is seen, with all that reads it. */

import { h, setAttribute, setText, uniqueId, type View } from "../dom.js";
import type { Link } from "../link.js";
import type { State } from "../protocol.js";
import { button } from "./parts/button.js";
import { announcements } from "./stream/announcements.js";
import { card } from "./stream/card.js";
import { copyMenu } from "./stream/copy.js";
import { editor } from "./stream/edit.js";
import { find } from "./stream/find.js";
import { keys } from "./stream/keys.js";
import { Marks } from "./stream/marks.js";
import { minimap } from "./stream/minimap.js";
import { Pane } from "./stream/pane.js";
import { Painter } from "./stream/token.js";

/** Of so many drawings while tokens stream in, one is also of the minimap. */
const RESTFUL = 3;

/** What an empty text says, where it is not an invitation. */
const NO_MODEL = "No model is loaded: choose one under Model.";
const HINTS: Partial<Record<State, string>> = {
  loading: "The model is being loaded.",
  prefill: "The model is reading the prompt.",
  generating: "The first token is on its way.",
  closed: NO_MODEL,
};

export function stream(link: Link): View {
  const { store } = link;
  const text = h("div", {
    class: "stream-text",
    role: "listbox",
    tabindex: 0,
    "aria-label": "Tokens. Arrow keys select one, Escape lets it go, Ctrl+F finds text.",
    "data-testid": "stream",
  });
  const follow = button("↓ follow", followAgain, { class: "follow", hidden: true, "data-action": "follow" });
  const said = announcements(link);
  const hint = h("p", {});
  const empty = h("div", { class: "stream-empty" }, h("p", {}, "Nothing has been said yet."), hint);
  const seek = button("find", () => search.open(), {
    class: "quiet",
    "data-action": "find",
    title: "Find in the text, go to a token (Ctrl+F)",
  });
  const back = button("back to here", backFromButton, {
    class: "quiet",
    "data-action": "back",
    title: "Generation goes on from the selected token; what came after it stays on its branch (Backspace)",
    hidden: true,
  });
  const change = button("edit", () => void edit.start(), {
    class: "quiet",
    "data-action": "edit",
    title: "Change the text anywhere: it becomes a branch at the first token that differs (E)",
  });

  const id = uniqueId("token");
  const painter = new Painter(link);
  const pane = new Pane(text, store, (unit, hang) => painter.draw(unit, hang));
  const marks = new Marks(text, store, pane);
  const menu = copyMenu(store, marks);
  const map = minimap(link, pane);
  const facts = card(store, `${id}-card`, (node) => {
    const { overlay } = link;
    const position = store.depth[node];
    return overlay && position <= overlay.about ? [overlay.words(position)] : [];
  });
  const search = find(link, pane, {
    left: () => text.focus({ preventScroll: true }),
    changed: () => {
      seek.hidden = !search.element.hidden;
      map.draw(search.positions);
    },
    finding: (found) => text.classList.toggle("finding", found),
  });
  const edit = editor(link, () => {
    element.classList.toggle("editing", edit.open);
    if (!edit.open) text.focus({ preventScroll: true });
    drawTools();
  });
  const tools = h("div", { class: "stream-tools" }, back, change, seek, menu.element);
  const element = h(
    "section",
    { class: "stream", "aria-label": "Text" },
    h("div", { class: "stream-head" }, search.element, tools),
    h("div", { class: "stream-body" }, text, map.element, empty, follow),
    edit.element,
    said.element,
    facts.element,
  );

  let dirty = 0; // first unit that differs from the page
  let passed = 0; // drawings since the minimap was drawn
  let typeface = "";
  let selected: HTMLElement | null = null;
  let selectedNode = -1;

  const stop = store.onUnits((unit) => {
    dirty = Math.min(dirty, unit);
    map.changed(unit);
  });

  /** Marks the selected token, where it is drawn. */
  function mark(): void {
    const node = link.selection;
    const unit = node >= 0 && store.onPath(node) ? store.unitOf[store.depth[node]] : -1;
    const span = pane.spanOf(unit);
    if (span === selected && (!span || span.id)) return;
    selected?.classList.remove("selected");
    for (const name of ["id", "aria-selected", "aria-posinset", "aria-setsize"]) selected?.removeAttribute(name);
    if (span) {
      span.classList.add("selected");
      span.id = id;
      span.setAttribute("aria-selected", "true");
      span.setAttribute("aria-posinset", String(unit + 1));
      span.setAttribute("aria-setsize", String(store.units));
    }
    setAttribute(text, "aria-activedescendant", span ? id : null);
    selected = span;
  }

  /** Shows a token that has just been selected, wherever that was done. */
  function reveal(): void {
    const node = link.selection;
    if (node === selectedNode) return;
    selectedNode = node;
    if (node < 0 || !store.onPath(node)) return;
    pane.reveal(store.unitOf[store.depth[node]]);
    mark();
    if (selected && keyboard.moved()) facts.show(selected);
  }

  /** Which tools make sense now. */
  function drawTools(): void {
    const { selection } = link;
    tools.hidden = store.units === 0;
    change.hidden = !edit.able || edit.open;
    back.hidden = !edit.able || edit.open || !store.onPath(selection) || selection === store.head;
    seek.hidden = !search.element.hidden || edit.open;
    menu.element.hidden = edit.open;
  }

  /** What has moved, or come into the page or left it, by scrolling. */
  function moved(): void {
    mark();
    follow.hidden = pane.following || pane.atEnd;
    map.scrolled();
    facts.moved();
    marks.restore();
    search.draw(true);
  }

  // --- what the reader does ---

  const tokenAt = (target: EventTarget | null): HTMLElement | null =>
    (target as Element | null)?.closest<HTMLElement>("[data-token]") ?? null;

  text.addEventListener("click", (event) => {
    if (marks.range) return; // text was marked for copying
    const span = tokenAt(event.target);
    if (span) link.select(Number(span.dataset.node));
  });

  let pointer = "";
  text.addEventListener("pointermove", (event) => {
    // Text that moves under a pointer at rest is not pointed at.
    const place = `${event.clientX} ${event.clientY}`;
    if (place === pointer || event.pointerType === "touch") return;
    pointer = place;
    if (event.buttons && marks.range) pane.following = false; // what is being marked must not run away
    facts.point(event.buttons ? null : tokenAt(event.target));
  });
  text.addEventListener("pointerleave", () => facts.point(null));
  text.addEventListener("blur", () => facts.hide());

  text.addEventListener("scroll", () => {
    if (pane.scrolled()) moved();
    else if (link.status.state !== "generating") map.scrolled(); // a search went there, or a selection
  });
  map.element.addEventListener("pointermove", moved);
  map.element.addEventListener("pointerdown", moved);
  map.element.addEventListener("keydown", moved);

  /** Back to the selected token; to the one before the newest, where none is selected. */
  function goBack(): void {
    const node = link.selection;
    if (!edit.able || store.length < 2) return;
    if (node < 0) void link.order({ kind: "rewind", n: 1 });
    else if (node !== store.head) void rewind(node);
  }

  async function rewind(node: number): Promise<void> {
    const failure = await link.goto(node);
    if (failure) link.complain(failure);
    else link.select(-1);
  }

  function backFromButton(): void {
    goBack();
    text.focus({ preventScroll: true });
  }

  function followAgain(): void {
    pane.following = true;
    pane.toEnd();
    moved();
    pane.following = pane.follows;
    text.focus({ preventScroll: true });
  }

  const keyboard = keys({
    ...{ link, pane, facts, find: search.open, markAll: () => marks.all() },
    ...{ back: goBack, edit: () => edit.able && void edit.start() },
  });
  text.addEventListener("keydown", keyboard.pressed);
  element.addEventListener("keydown", keyboard.opened);

  // The size is 0 until the widget is in the page, and again where a notebook takes far cells out of it.
  const observer =
    globalThis.ResizeObserver &&
    new ResizeObserver(([{ contentRect }]) => {
      const shown = selected !== null;
      pane.resize(contentRect.width, contentRect.height);
      if (shown) pane.reveal(store.unitOf[store.depth[selectedNode]]);
      moved();
    });
  observer?.observe(text);
  const refont = (): void => pane.reflow();
  document.fonts?.addEventListener("loadingdone", refont);

  return {
    element,
    draw(streaming) {
      const { font_size, glyphs, follow: follows } = link.look;
      // Another branch, or another text: whoever asked for it wants to see it grow. (The last unit may just be unfinished.)
      if (dirty < pane.blocks.end - 1) pane.following = follows || pane.following;
      if (pane.follows !== follows) pane.following = follows;
      pane.follows = follows;
      const known = pane.drawn[1];
      const repaint = painter.refresh();
      pane.update(dirty);
      if (repaint) pane.each((unit, span) => painter.repaint(unit, span));
      dirty = pane.blocks.end;
      if (!streaming) pane.touch();
      const type = `${font_size} ${glyphs}`;
      if (typeface && type !== typeface) pane.reflow();
      typeface = type;
      if (known !== pane.drawn[1] || !streaming) mark();
      empty.hidden = store.units > 0;
      drawTools();
      const { state, model } = link.status;
      const usual = "Write a prompt and press Run, or Step to go one token at a time.";
      setText(hint, state === "error" && !model ? NO_MODEL : (HINTS[state] ?? usual));
      said.draw();
    },
    settle() {
      pane.settle();
      reveal();
      mark();
      follow.hidden = pane.following || pane.atEnd;
      passed = (passed + 1) % RESTFUL;
      if (!passed || link.status.state !== "generating") {
        map.draw(search.positions);
        search.draw(link.status.state === "generating");
      }
      marks.restore();
      facts.moved();
    },
    close() {
      stop();
      said.close();
      marks.close();
      menu.close();
      map.close();
      facts.close();
      search.close();
      observer?.disconnect();
      document.fonts?.removeEventListener("loadingdone", refont);
    },
  };
}
