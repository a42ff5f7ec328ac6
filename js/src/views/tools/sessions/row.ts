/** One session in the list: what it is, and what can be done with it. */
import { h, setAttribute, setText } from "../../../dom.js";
import { whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import type { Command } from "../../../requests.js";
import type { OpenSession } from "../../../state.js";
import { button } from "../../parts/button.js";
import { longName } from "../../parts/name.js";
import { nameEntry } from "../../parts/rename.js";

export function sessionRow(link: Link, { id }: OpenSession, act: (command: Command) => Promise<void>) {
  const name = longName();
  const main = h("button", { type: "button", class: "session-name quiet", "data-row": true }, name.element);
  const words = { class: "entry session-entry", "aria-label": "Name of the session" };
  const entry = nameEntry(words, {
    writing: (on) => {
      main.hidden = on;
    },
    back: () => main,
    keep: (wanted) => wanted && void act({ kind: "rename", session: id, name: wanted }),
  });
  const state = h("span", { class: "session-state" });
  const model = longName({ class: "long-name note session-model" });
  const tokens = h("span", { class: "note session-tokens" });
  const time = h("time", { class: "note" });
  const rename = button("Rename", () => edit(), { class: "quiet", "data-action": "rename", title: "Rename (F2)" });
  const copy = button("Duplicate", () => void act({ kind: "duplicate", session: id }), { class: "quiet" });
  const remove = button("Delete", () => void act({ kind: "delete", session: id }), { class: "quiet" });
  copy.dataset.action = "duplicate";
  remove.dataset.action = "delete";
  const title = h("span", { class: "session-title" }, main, entry.element);
  const buttons = h("span", { class: "session-actions" }, rename, copy, remove);
  const element = h("li", { class: "session" }, title, state, model.element, tokens, time, buttons);
  let called = "";

  const edit = (): void => entry.edit(called);

  main.addEventListener("click", () => void act({ kind: "show", session: id }));
  main.addEventListener("keydown", (event) => {
    if (event.key === "F2") edit();
    else if (event.key === "Delete") void act({ kind: "delete", session: id });
    else return;
    event.preventDefault();
  });
  return {
    element,
    draw(session: OpenSession): void {
      called = session.name;
      name.draw(called);
      model.draw(session.model);
      setAttribute(element, "data-state", session.state);
      setAttribute(main, "aria-current", session.current ? "true" : null);
      setText(tokens, `${whole(session.tokens)} tokens`);
      setText(time, clock(session.started));
      setAttribute(time, "datetime", new Date(1000 * session.started).toISOString());
      setAttribute(time, "title", new Date(1000 * session.started).toLocaleString());
      const recorded = session.state === "closed" || !session.live;
      setText(state, recorded ? "recorded" : session.state);
      setAttribute(state, "title", session.live ? null : "It can go on when its model is loaded");
      for (const [one, verb] of [
        [rename, "Rename"],
        [copy, "Duplicate"],
        [remove, "Delete"],
      ] as const) {
        one.disabled = !link.reachable;
        setAttribute(one, "aria-label", `${verb} ${called}`);
      }
    },
  };
}

/** The time of what began today, the day of what is older. */
function clock(seconds: number): string {
  const then = new Date(1000 * seconds);
  const today = then.toDateString() === new Date().toDateString();
  return today
    ? then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : then.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}
