/** Find, load and inspect models. */

import type { FoundFile, Places } from "../../answers/files.js";
import { h, type View } from "../../dom.js";
import type { Link } from "../../link.js";
import { button } from "../parts/button.js";
import { browser } from "./model/browser.js";
import { card } from "./model/card.js";
import { headers } from "./model/headers.js";
import { hub } from "./model/hub.js";
import { loaded } from "./model/loaded.js";
import { loader } from "./model/loader.js";
import { tasks } from "./model/tasks.js";

export function model(link: Link): View {
  const known = headers(link);
  const demo = button("The demo model", () => void pickDemo(), {
    "data-action": "demo",
    title: "Comes with the package",
  });
  const files = browser(link, {
    kinds: ["gguf", "inferno"],
    wanted: "models or recorded runs",
    lead: demo,
    headers: known,
    pick,
  });
  const chosen = loader(link, known, leave);
  const running = tasks(link);
  const data = card(link);
  const open = loaded(link, (id) => void data.show(id));
  const find = h("section", { class: "model-find" }, h("h3", {}, "Find a model"), files.element);
  const side = h("div", { class: "model-side" }, running.element, chosen.element, open.element, hub(link).element);
  const element = h("div", { class: "tool-model" }, h("div", { class: "model-columns" }, find, side), data.element);
  let current = -1;
  let started = false;

  function pick(file: FoundFile): void {
    if (file.kind === "inferno") return void link.order({ kind: "open", path: file.path });
    files.choose(file.path);
    void chosen.choose(file);
  }

  function leave(): void {
    chosen.hide();
    if (!files.focus()) demo.focus();
    files.choose("");
  }

  async function pickDemo(): Promise<void> {
    const answer = await link.ask<Places>({ kind: "places" });
    if (answer.ok) pick({ ...answer.value.demo, kind: "gguf", bytes: 0, parts: 1 });
  }

  return {
    element,
    draw() {
      if (!started) {
        started = true;
        files.refresh();
      }
      running.draw();
      open.draw();
      chosen.draw();
      const { models } = link.library;
      const now = models.find((one) => one.current)?.id ?? -1;
      const gone = !models.some(({ id }) => id === data.shown);
      if (now === current && !(gone && data.shown >= 0)) return;
      current = now;
      void data.show(current);
    },
    close: files.close,
  };
}
