// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it } from "vitest";
import { LOOK } from "../src/state.js";
import { frame, openPage, type Page, run } from "./open.js";

let page: Page;
beforeEach(async () => {
  page = openPage({}, "exports");
  await page.library({
    sessions: [{ id: 1, name: "a/b: c", model: "m", tokens: 2, state: "ready", started: 0, current: true, live: true }],
  });
});
afterEach(() => page.close());

const choose = async (format: string): Promise<void> => page.click(`.format input[value=${format}]`);
const code = () => page.get("[data-testid=export-code]").textContent;
const buttons = () => page.all(".tool-exports button:not(.quiet, [hidden])") as HTMLButtonElement[];
const tokens = async (): Promise<void> => {
  page.model.rows(run(["Once"], [" upon", " a"]));
  await frame();
};

it("has nothing to export at first, and says so", async () => {
  expect(buttons().map(({ disabled }) => disabled)).toEqual([true, true, true]);
  expect(page.get(".export-do > .note").textContent).toBe("Nothing has been generated yet.");
  await tokens();
  expect(buttons().map(({ disabled }) => disabled)).toEqual([false, false, false]);
  expect(page.get(".export-do > .note").textContent).toBe("");
});

it("names the formats that the kernel knows, and the line of Python for each", async () => {
  await tokens();
  const formats = (page.all(".format input") as HTMLInputElement[]).map(({ value }) => value);
  expect([...formats].sort()).toEqual(
    ["html", "inferno", "json", "markdown", "png", "png_distribution", "svg", "svg_distribution"].sort(),
  );
  const lines: string[] = [];
  for (const format of formats) {
    await choose(format);
    lines.push(code());
  }
  expect(lines).toEqual([
    'session.trace.to_html("a-b- c.html")',
    'session.trace.to_png("a-b- c.png")',
    'session.trace.to_svg("a-b- c.svg")',
    'session.trace.to_png("a-b- c.png", what="distribution", at=2)',
    'session.trace.to_svg("a-b- c.svg", what="distribution", at=2)',
    'session.trace.to_json("a-b- c.json")',
    'session.trace.to_markdown("a-b- c.md")',
    'session.trace.save("a-b- c.inferno")',
  ]);
  page.model.put("selection", 1);
  await choose("svg_distribution");
  expect(code()).toContain("at=1");
});

it("exports what is seen: metric, palette and theme", async () => {
  await tokens();
  page.model.put("look", { ...LOOK, metric: "entropy", palette: "viridis", glyphs: false });
  document.body.dataset.jpThemeLight = "false";
  await choose("svg");
  expect(code()).toContain('.svg", theme="dark", metric="entropy", palette="viridis")');
  await choose("png_distribution");
  expect(code()).toContain('what="distribution", at=2, theme="dark")');
  await choose("html");
  expect(code()).toContain('.html", look={"metric": "entropy", "palette": "viridis", "glyphs": False})');
  await page.click("[data-action=download]");
  expect(page.sent("export")).toMatchObject([{ format: "html", path: "", theme: "dark" }]);
  delete document.body.dataset.jpThemeLight;
});

it("writes where one says, and says where that was or why it was not", async () => {
  await tokens();
  await choose("json");
  await page.write("[data-field=export]", "/out/über.json");
  expect(code()).toBe('session.trace.to_json("/out/über.json")');
  page.get<HTMLFormElement>("form[aria-label=Export]").requestSubmit();
  expect(page.sent("export")).toMatchObject([{ format: "json", path: "/out/über.json" }]);
  expect(buttons()[0].disabled).toBe(true);
  await page.refuse("export", "/out: no such folder");
  expect(page.texts(".export-do > .failure")).toEqual(["InfernoError /out: no such folder"]);
  page.get<HTMLFormElement>("form[aria-label=Export]").requestSubmit();
  await page.answer("export", { name: "über.json", mime: "application/json", path: "/out/über.json" });
  expect(page.get(".export-do > .note").textContent).toBe("Written to /out/über.json");
  expect(page.texts(".export-do > .failure")).toEqual([]);
});

it("downloads with an empty path", async () => {
  await tokens();
  await page.click("[data-action=download]");
  expect(page.sent("export")).toMatchObject([{ format: "html", path: "" }]);
});

it("verifies, and says how far the numbers agree", async () => {
  await tokens();
  await page.click("[data-action=verify]");
  expect((page.get("[data-action=verify]") as HTMLButtonElement).disabled).toBe(true);
  const answer = { same: false, compared: 1500, largest: 0.25, tolerance: 0.1, message: "token 3: -1.2 became -1.45" };
  await page.answer("verify", answer);
  expect(page.get(".verified").textContent).toBe("✗ token 3: -1.2 became -1.45");
  await page.click("[data-action=verify]");
  await page.answer("verify", { ...answer, same: true, largest: 0.0312, message: "" });
  expect(page.get(".verified").textContent).toBe(
    "✓ 1,500 tokens compared, largest difference 0.031 nats, tolerance 0.10",
  );
  page.model.rows(run(["Other"], [" run"], { epoch: 9 }));
  await frame();
  expect(page.get(".verified").hidden).toBe(true); // it was said of another trace
});

it("stops verifying, and holds that against nobody", async () => {
  await tokens();
  const stop = page.get("[data-action=verify-stop]");
  expect(stop.hidden).toBe(true);
  for (const [type, shown] of [
    ["Cancelled", false],
    ["EngineDiedError", true],
  ] as const) {
    await page.click("[data-action=verify]");
    expect(stop.hidden).toBe(false);
    await page.click("[data-action=verify-stop]");
    const request = page.sent("verify").at(-1)?.id;
    expect(page.sent("enough").at(-1)).toMatchObject({ request });
    await page.refuse("verify", "it was ended", type);
    expect(stop.hidden).toBe(true);
    expect(!page.get(".export-verify .failure").hidden).toBe(shown);
  }
  await page.click("[data-action=verify]");
  await page.refuse("verify", "a new run has begun", "Cancelled");
  expect(page.get(".export-verify .failure").textContent).toContain("a new run has begun"); // nobody stopped it here
});
