/** What was generated so far: every session, open files among them. */

import type { Exported } from "../../answers/files.js";
import { h, setText, type View } from "../../dom.js";
import type { Link } from "../../link.js";
import type { Command } from "../../requests.js";
import type { OpenSession } from "../../state.js";
import { button } from "../parts/button.js";
import { fileName, wrote } from "../parts/download.js";
import { failureBox } from "../parts/failure.js";
import { keyedList } from "../parts/list.js";
import { browser } from "./model/browser.js";
import { sessionRow } from "./sessions/row.js";

export function sessions(link: Link): View {
  const list = keyedList<OpenSession>(
    "Sessions",
    ({ id }) => id,
    (first) => sessionRow(link, first, act),
  );
  const none = h("p", { class: "note" }, "No session yet. Run a prompt, or open an .inferno file.");
  const failure = failureBox();
  const undo = button("Undo", () => void act({ kind: "undo" }), { "data-action": "undo", hidden: true });
  const opening = opener(link, act);
  const saving = saver(link);
  const head = h("div", { class: "line" }, h("h3", {}, "Sessions"), undo);
  const files = h("div", { class: "session-files" }, opening.element, saving.element);
  const element = h("div", { class: "tool-sessions" }, head, list.element, none, failure.element, files);

  async function act(command: Command): Promise<void> {
    failure.show(await link.command(command));
  }

  return {
    element,
    draw() {
      const { sessions: all, undo: last } = link.library;
      list.draw(all);
      none.hidden = all.length > 0;
      undo.hidden = !last;
      undo.disabled = !link.reachable;
      setText(undo, `Undo: ${last}`);
      saving.draw();
    },
    close: opening.close,
  };
}

/** Opens a file, by its path or out of a list. */
function opener(link: Link, act: (command: Command) => Promise<void>) {
  const path = h("input", { class: "entry", placeholder: "path of an .inferno file", "aria-label": "File to open" });
  path.dataset.field = "open";
  const files = browser(link, {
    kinds: ["inferno"],
    wanted: ".inferno files",
    headers: null,
    pick: (file) => void open(file.path),
  });
  files.element.hidden = true;
  const look = button("Browse…", browse, { "aria-expanded": "false", "data-action": "browse" });
  const go = h("button", { type: "submit", class: "small" }, "Open");
  const form = h("form", { class: "line", "aria-label": "Open a file" }, path, go, look);
  const element = h("section", { class: "session-file" }, h("h3", {}, "Open a recorded run"), form, files.element);

  function browse(): void {
    files.element.hidden = !files.element.hidden;
    look.setAttribute("aria-expanded", String(!files.element.hidden));
    if (!files.element.hidden) files.refresh();
  }

  async function open(file: string): Promise<void> {
    path.value = file;
    go.disabled = true;
    await act({ kind: "open", path: file });
    go.disabled = false;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (path.value.trim()) void open(path.value.trim());
    else path.focus();
  });
  return { element, close: files.close };
}

/** Keeps the session that is shown: in the kernel's file system, or in the browser's downloads. */
function saver(link: Link) {
  const path = h("input", { class: "entry", "aria-label": "File to write", "data-field": "save" });
  const said = h("p", { class: "note", role: "status" });
  const failure = failureBox();
  const write = h("button", { type: "submit", class: "small" }, "Save");
  const take = button("Download", () => void save(""), { "data-action": "download" });
  const form = h("form", { class: "line", "aria-label": "Save the shown session" }, path, write, take);
  const title = h("h3", {}, "Keep the one that is shown");
  const element = h("section", { class: "session-file" }, title, form, said, failure.element);

  async function save(to: string): Promise<void> {
    write.disabled = take.disabled = true;
    setText(said, "Saving…");
    const answer = await link.ask<Exported>({ kind: "save", path: to });
    failure.show(answer.ok ? null : answer.error);
    setText(said, answer.ok ? wrote(answer.value, answer.buffers[0]) : "");
    draw();
  }

  function draw(): void {
    const shown = link.library.sessions.find(({ current }) => current);
    path.placeholder = `${fileName(shown?.name ?? "session")}.inferno`;
    write.disabled = take.disabled = !link.reachable || !link.store.length;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void save(path.value.trim() || path.placeholder);
  });
  return { element, draw };
}
