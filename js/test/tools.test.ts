// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Link } from "../src/link.js";
import { tabbed } from "../src/views/parts/tabs.js";
import { frame, key, openPage, type Page } from "./open.js";

let page: Page;
beforeEach(() => {
  page = openPage();
});
afterEach(() => page.close());

const tabs = () => page.all(".tools [role=tab]");
const chosen = () => tabs().filter((tab) => tab.getAttribute("aria-selected") === "true");

it("opens a drawer a tab, one at a time, and closes it by the same tab", () => {
  tabs()[0].click();
  expect([chosen()[0].dataset.tool, page.get(".drawer").hidden]).toEqual(["model", false]);
  expect(page.get(".drawer").getAttribute("aria-labelledby")).toBe(tabs()[0].id);
  tabs()[3].click();
  expect(chosen().map(({ dataset }) => dataset.tool)).toEqual(["sessions"]);
  expect(page.all(".drawer > *")).toHaveLength(1);
  tabs()[3].click();
  expect([chosen().length, page.get(".drawer").hidden]).toEqual([0, true]);
});

it("names the rows of tabs that stand below each other, so that they do not look like one", () => {
  expect(page.texts(".tabs-heading")).toEqual(["The road not taken", "Inside the model"]);
});

it("scrolls what is opened into view, once and not whenever it is drawn", async () => {
  const shown: [Element, unknown][] = [];
  Element.prototype.scrollIntoView = function (how) {
    shown.push([this, how]);
  };
  await page.click("[data-tool=look]");
  page.model.put("look", { font_size: 20 });
  await frame();
  await page.click("[data-tool=look]");
  expect(shown).toEqual([[page.get(".tools"), { block: "nearest", inline: "nearest", behavior: "smooth" }]]);
});

it("walks the tabs with arrows, of which one is in the tab order", () => {
  tabs()[0].focus();
  key(tabs()[0], "ArrowLeft");
  expect(document.activeElement).toBe(tabs().at(-1));
  key(tabs().at(-1) as HTMLElement, "Home");
  expect(document.activeElement).toBe(tabs()[0]);
  expect(tabs().map(({ tabIndex }) => tabIndex)).toEqual([0, -1, -1, -1, -1, -1]);
});

it("closes on Escape and gives the focus back to the tab, unless a field wanted that key", async () => {
  await page.click("[data-tool=sessions]");
  await page.library({
    sessions: [{ id: 1, name: "a", model: "m", tokens: 1, state: "ready", started: 0, current: true, live: true }],
  });
  await page.click("[data-action=rename]");
  key(page.get(".session-entry"), "Escape");
  expect(page.get(".drawer").hidden).toBe(false);
  key(page.get(".session-name"), "Escape");
  expect(page.get(".drawer").hidden).toBe(true);
  expect(document.activeElement).toBe(page.get("[data-tool=sessions]"));
});

it("keeps what was written in a drawer while another is open", async () => {
  await page.click("[data-tool=model]");
  await page.write("[data-field=repo]", "owner/repo");
  await page.click("[data-tool=chat]");
  await page.click("[data-tool=model]");
  expect(page.get<HTMLInputElement>("[data-field=repo]").value).toBe("owner/repo");
});

it("rests while tokens stream in wherever what is open does", () => {
  const tab = (restful: boolean) => ({
    text: "",
    title: "",
    make: () => ({ element: document.createElement("p"), restful, draw() {} }),
  });
  const row = tabbed({} as Link, "row", "Row", { calm: tab(true), quick: tab(false) });
  const open = (name: string): boolean | undefined => {
    row.element.querySelector<HTMLElement>(`[data-tool=${name}]`)?.click();
    return row.restful;
  };
  expect([row.restful, open("calm"), open("quick"), open("quick")]).toEqual([true, true, false, true]);
});
