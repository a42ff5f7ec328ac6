// @vitest-environment jsdom
import { afterEach, expect, it } from "vitest";
import { Link, type Model } from "../src/link.js";
import { LIVE } from "../src/views/live.js";
import { mount, type Panels } from "../src/views/panels.js";
import { RECORDED } from "../src/views/recorded.js";
import { FakeModel } from "./fake.js";

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
  expect(tabsOf(RECORDED)).toEqual(["look", "tree", "compare"]);
  expect(document.querySelector(".controls, .inside")).toBeNull();
  close();
  expect(tabsOf(LIVE)).toEqual([
    ...["model", "chat", "sampler", "sessions", "exports", "look"],
    ...["tree", "compare", "xray", "dice", "resample", "watch"],
    ...["attention", "lens", "surgery"],
  ]);
});

it("a panel that is none is not shown", () => {
  const link = new Link(new FakeModel({ panels: ["stream", "toString", "x"] }) as unknown as Model);
  const host = document.createElement("div");
  close = mount(link, host, LIVE);
  expect(host.querySelectorAll("section")).toHaveLength(1);
  link.close();
});
