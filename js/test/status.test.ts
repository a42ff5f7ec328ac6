// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { LoadedModel, Memory } from "../src/state.js";
import { frame, key, openPage, type Page, run } from "./open.js";

const MODEL: LoadedModel = {
  ...{ id: 1, name: "demo", file: "/demo.gguf", current: true, n_ctx: 512, rss: 41e6, weights: 4e6 },
  ...{ kv_reserved: 10e6, kv_used: 4e6, holders: [], warnings: 0 },
};
const MEMORY: Memory = {
  ...{ engines: 41e6, weights: 4e6, kv_used: 4e6, kv_reserved: 10e6, traces: 2e6, free: 8.3e9, warning: "" },
};
const HOLDERS = [
  { session: "story", tokens: 100 },
  { session: "昔話", tokens: 300 },
];

let page: Page;
beforeEach(async () => {
  page = openPage({ status: { state: "ready", n_ctx: 512, used: 100, rss: 41e6 } });
  await frame();
});
afterEach(() => page.close());

const meter = () => page.get(".meter");
const share = (name: string) => Number(page.get(`.meter .${name}`).style.getPropertyValue("--p"));

it("tells the pool: what this session holds and what all hold", async () => {
  expect(page.get(".status-context").textContent).toBe("100 / 512");
  await page.library({ models: [{ ...MODEL, holders: HOLDERS }] });
  expect(page.get(".status-context").textContent).toBe("400 / 512");
  expect([share("own"), share("others")]).toEqual([0.1953, 0.7813]);
  expect(meter().getAttribute("aria-valuenow")).toBe("400");
  expect(page.get("[data-action=pool]").title).toContain("昔話: 300");
  expect(meter().classList.contains("nearly")).toBe(false);
  await page.library({ models: [{ ...MODEL, holders: [{ session: "story", tokens: 470 }] }] });
  expect(meter().classList.contains("nearly")).toBe(true);
});

it("tells at once what the model sees of the text, and not what it left out", async () => {
  page.model.rows(run(["Once"], [" upon", " a"]));
  await frame();
  expect(page.get(".status-context").textContent).toBe("3 / 512");
});

it("names the model that is on its way", async () => {
  page.model.status({ state: "loading", model: null, n_ctx: 0, progress: 0.4 });
  const task = { id: 1, kind: "load" as const, name: "demo.gguf", stage: "loading", progress: 0.4, error: null };
  await page.library({ tasks: [task] });
  expect(page.get(".model-name").textContent).toBe("demo.gguf");
  page.model.status({ state: "error", model: null, n_ctx: 0, progress: null });
  await page.library({ tasks: [{ ...task, error: { type: "ModelFileError", message: "no" } }] });
  expect(page.get(".model-name").textContent).toBe("no model");
  expect(page.get("[data-action=choose]").hidden, "and the way to another one is offered").toBe(false);
  expect(page.get("[data-action=load-demo]").hidden, "and the demo model, by one click").toBe(false);
  page.get("[data-action=load-demo]").click();
  expect(page.sent("load")).toMatchObject([{ path: "", n_ctx: 0 }]);
  expect(page.get<HTMLButtonElement>("[data-action=run]").disabled).toBe(true);
  expect(page.get(".stream-empty").textContent).toContain("No model is loaded");
});

it("says that a branch is read again before it goes on", async () => {
  const said = () => [page.get(".status-state").textContent, page.get(".status .progress").hidden];
  page.model.status({ state: "generating", progress: 0.25 });
  await vi.waitFor(() => expect(said()).toEqual(["reading the text again 25%", false]));
  page.model.status({ progress: null });
  await vi.waitFor(() => expect(said()).toEqual(["generating", true]));
});

it("offers to slide where the context is full, and nowhere else", async () => {
  const offer = page.get("[data-action=slide]");
  page.model.status({ state: "ready", finish: "length" });
  await frame();
  expect(offer.hidden).toBe(true);
  page.model.status({ finish: "context" });
  await frame();
  expect([offer.hidden, page.get(".status-state").textContent]).toEqual([false, "ready · context full"]);
  await page.click("[data-action=slide]");
  expect(page.sent("set")).toMatchObject([{ name: "on_full", value: "slide" }]);
  expect(page.sent("resume"), "not before it holds").toHaveLength(0);
  await page.answer("set");
  expect(page.sent("resume")).toHaveLength(1);
  page.model.status({ state: "generating", finish: null });
  await frame();
  expect(offer.hidden).toBe(true);
});

it("waits for a model where the last one was unloaded, and takes that for no fault", async () => {
  page.model.status({ state: "closed", model: null, n_ctx: 0 });
  await frame();
  expect(page.get(".status-state").textContent).toBe("waiting for a model");
  expect(page.get(".status").dataset.state).toBe("empty");
  expect(page.get(".stream-empty").textContent).toContain("No model is loaded");
  expect(page.get("[data-action=load-demo]").hidden).toBe(false);
});

it("says in full who holds what, when asked, and closes on Escape", async () => {
  await page.library({ models: [{ ...MODEL, holders: HOLDERS }], memory: MEMORY });
  const button = page.get("[data-action=pool]");
  button.click();
  expect(button.getAttribute("aria-expanded")).toBe("true");
  expect(page.texts(".status-more .stack-key li")).toEqual([
    ...["昔話 300", "story 100", "free 112"],
    ...["weights 4 MB", "KV cache in use 4 MB", "KV cache reserved, not in use 6 MB", "engines' other needs 27 MB"],
    ...["recorded runs 2 MB", "free 8.3 GB"],
  ]);
  await page.library({ models: [{ ...MODEL, holders: HOLDERS.slice(1) }] });
  expect(page.texts(".status-more .stack-key li").slice(0, 2)).toEqual(["昔話 300", "free 212"]);
  key(button, "Escape");
  expect([page.get(".status-more").hidden, button.getAttribute("aria-expanded")]).toEqual([true, "false"]);
});

it("warns before memory hurts", async () => {
  const warning = page.get(".status-warning");
  await page.library({ memory: MEMORY });
  expect(warning.hidden).toBe(true);
  await page.library({ memory: { ...MEMORY, warning: "Only 300 MB are free: unload a model." } });
  expect([warning.hidden, warning.textContent]).toEqual([false, "Only 300 MB are free: unload a model."]);
});

it("lets one choose among several models, and find one where there is none", async () => {
  const pick = page.get<HTMLSelectElement>(".model-pick");
  expect(pick.hidden).toBe(true);
  page.get("[data-action=choose]").click();
  expect(page.get("[data-tool=model]").getAttribute("aria-selected")).toBe("true");
  await page.library({
    models: [
      { ...MODEL, current: false },
      { ...MODEL, id: 2, name: "other" },
    ],
  });
  expect([pick.hidden, pick.selectedOptions[0].textContent]).toEqual([false, "other"]);
  await page.library({
    models: [
      { ...MODEL, current: false },
      { ...MODEL, id: 2, n_ctx: 2048 },
    ],
  });
  expect(pick.selectedOptions[0].textContent).toBe("demo (2,048)");
  pick.value = "1";
  pick.dispatchEvent(new Event("change"));
  expect(page.sent("use")).toMatchObject([{ model: 1 }]);
});
