// @vitest-environment jsdom
import { afterEach, expect, it, vi } from "vitest";
import { Link, type Model } from "../src/link.js";
import { LIVE } from "../src/views/live.js";
import { mount, type Panels } from "../src/views/panels.js";
import { RECORDED } from "../src/views/recorded.js";
import { FakeModel } from "./fake.js";
import { run } from "./open.js";

let close = (): void => {};

afterEach(() => close());

/** The names of the tabs of a page that has these panels, and was asked for all that there are. */
function tabsOf(panels: Panels): (string | undefined)[] {
  const link = new Link(new FakeModel({ panels: Object.keys(LIVE) }) as unknown as Model);
  const host = document.body.appendChild(document.createElement("div"));
  const unmount = mount(link, host, panels);
  close = () => {
    unmount();
    link.close();
    host.remove();
  };
  return [...host.querySelectorAll<HTMLElement>("[data-tool]")].map(({ dataset }) => dataset.tool);
}

it("a page without a kernel has the tabs that need none, in the places that they have in the widget", () => {
  expect(tabsOf(RECORDED)).toEqual(["look", "tree", "compare", "watch"]);
  expect(document.querySelector(".controls, .inside")).toBeNull();
  close();
  expect(tabsOf(LIVE)).toEqual([
    ...["model", "chat", "sampler", "sessions", "exports", "look"],
    ...["tree", "compare", "xray", "dice", "resample", "watch"],
    ...["attention", "lens", "surgery"],
  ]);
});

it("a page without a kernel shows what was watched, and offers nothing that takes a model", async () => {
  const watches = [{ name: "king", tokens: [{ id: 4, text: " king" }] }];
  const model = new FakeModel({ panels: ["explore"], marks: { names: {}, pruned: [], diverged: [], watches } });
  const link = new Link(Object.assign(model, { recorded: true }) as unknown as Model);
  const host = document.body.appendChild(document.createElement("div"));
  const unmount = mount(link, host, RECORDED);
  close = () => {
    unmount();
    link.close();
    host.remove();
  };
  host.querySelector<HTMLElement>("[data-tool=watch]")?.click();
  model.watchedRows(run(["Once", " a"], [" king"]), { king: [Number.NaN, 0.25, 0.5] });
  await vi.waitFor(() => expect(host.querySelectorAll(".plot-line")).toHaveLength(1));
  expect(host.querySelector(".watch-value")?.textContent).toBe("50.0%");
  const shown = (selector: string) => !host.querySelector(selector)?.closest("[hidden]");
  expect([".watch-add", "[data-action=unwatch]", ".explore-watch > .note"].map(shown)).toEqual([false, false, false]);
  model.put("marks", { names: {}, pruned: [], diverged: [], watches: [] });
  await vi.waitFor(() => expect(shown(".explore-watch > .note")).toBe(true));
  expect(host.querySelector(".explore-watch > .note")?.textContent).toBe("Nothing was watched in this run.");
});

it("a panel that is none is not shown", () => {
  const link = new Link(new FakeModel({ panels: ["stream", "toString", "x"] }) as unknown as Model);
  const host = document.createElement("div");
  close = mount(link, host, LIVE);
  expect(host.querySelectorAll("section")).toHaveLength(1);
  link.close();
});
