// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { OpenSession } from "../src/state.js";
import { frame, key, openPage, type Page, run } from "./open.js";

const session = (id: number, more: Partial<OpenSession> = {}): OpenSession => ({
  ...{
    id,
    name: `story ${id}`,
    model: "demo",
    tokens: 1620,
    state: "ready",
    started: 1e9,
    current: id === 1,
    live: true,
  },
  ...more,
});

let page: Page;
const mains = () => page.all(".session-name");

beforeEach(async () => {
  page = openPage({}, "sessions");
  await page.library({ sessions: [session(1), session(2, { name: "昔話", state: "closed", live: false })] });
});
afterEach(() => page.close());

describe("the list", () => {
  it("says what there is, and that there is nothing", async () => {
    expect(page.texts(".session-name")).toEqual(["story 1", "昔話"]);
    expect(page.texts(".session-state")).toEqual(["ready", "recorded"]);
    expect(page.texts(".session-tokens")).toEqual(["1,620 tokens", "1,620 tokens"]);
    expect(page.get("time").getAttribute("datetime")).toBe("2001-09-09T01:46:40.000Z");
    expect(mains().map((main) => main.getAttribute("aria-current"))).toEqual(["true", null]);
    await page.library({ sessions: [] });
    expect(page.texts(".tool-sessions > .note")[0]).toContain("No session yet");
  });

  it("shows, duplicates and deletes, and undoes what it names", async () => {
    mains()[1].click();
    page.get('[aria-label="Duplicate 昔話"]').click();
    page.get('[aria-label="Delete story 1"]').click();
    expect(page.sent("show")).toMatchObject([{ session: 2 }]);
    expect(page.sent("duplicate")).toMatchObject([{ session: 2 }]);
    expect(page.sent("delete")).toMatchObject([{ session: 1 }]);
    const undo = page.get("[data-action=undo]");
    expect(undo.hidden).toBe(true);
    await page.library({ undo: "delete “story 1”" });
    expect(undo.textContent).toBe("Undo: delete “story 1”");
    undo.click();
    await page.refuse("undo", "nothing to undo");
    expect(page.texts(".tool-sessions > .failure")).toEqual(["InfernoError nothing to undo"]);
  });

  it("renames in place: Enter keeps, Escape does not, the same name is no renaming", () => {
    const entry = page.get<HTMLInputElement>(".session-entry");
    mains()[0].focus();
    key(mains()[0], "F2");
    expect([document.activeElement, entry.value]).toEqual([entry, "story 1"]);
    entry.value = "other";
    key(entry, "Escape");
    expect(document.activeElement).toBe(mains()[0]);
    key(mains()[0], "F2");
    key(entry, "Enter");
    expect(page.sent("rename")).toEqual([]);
    key(mains()[0], "F2");
    entry.value = " der König ";
    key(entry, "Enter");
    expect(page.sent("rename")).toMatchObject([{ session: 1, name: "der König" }]);
  });

  it("keeps a name that is being written while the figures change", async () => {
    page.get("[data-action=rename]").click();
    const entry = page.get<HTMLInputElement>(".session-entry");
    entry.value = "half";
    await page.library({ sessions: [session(1, { tokens: 1630 }), session(2)] });
    expect([entry.value, document.activeElement]).toEqual(["half", entry]);
  });

  it("goes by arrows, and the focus survives what is deleted", async () => {
    mains()[0].focus();
    key(mains()[0], "ArrowDown");
    expect(document.activeElement).toBe(mains()[1]);
    key(mains()[1], "Delete");
    expect(page.sent("delete")).toMatchObject([{ session: 2 }]);
    await page.library({ sessions: [session(1)] });
    expect(document.activeElement).toBe(mains()[0]);
  });
});

it("a recorded run goes on where its model is loaded, and beside another one a new run can begin", async () => {
  page.model.rows(run(["Once"], [" upon"]));
  page.model.status({ state: "closed" });
  const can = () =>
    (page.all(".buttons button:not([hidden])") as HTMLButtonElement[])
      .filter(({ disabled }) => !disabled)
      .map(({ dataset }) => dataset.action);
  const recorded = (live: boolean) => [session(1, { state: "closed", live })];
  await page.library({ sessions: recorded(false) });
  expect(can()).toEqual([]);
  const model = {
    id: 1,
    name: "m",
    file: "",
    current: true,
    n_ctx: 1,
    rss: 0,
    weights: 0,
    kv_reserved: 0,
    kv_used: 0,
    warnings: 0,
  };
  await page.library({ sessions: recorded(false), models: [{ ...model, holders: [] }] });
  expect(can()).toEqual(["run", "step"]);
  await page.library({ sessions: recorded(true), models: [{ ...model, holders: [] }] });
  expect(can()).toEqual(["run", "resume", "step"]);
});

describe("files", () => {
  const listing = {
    path: "/h",
    crumbs: [{ name: "Home", path: "" }],
    folders: [],
    files: [
      { name: "m.gguf", path: "/h/m.gguf", kind: "gguf", bytes: 1, parts: 1 },
      { name: "a.inferno", path: "/h/a.inferno", kind: "inferno", bytes: 1, parts: 1 },
    ],
  };

  it("are opened by path, or out of a list that shows no others", async () => {
    await page.write("[data-field=open]", " /runs/ä.inferno ");
    page.get<HTMLFormElement>('[aria-label="Open a file"]').requestSubmit();
    expect(page.sent("open")).toMatchObject([{ path: "/runs/ä.inferno" }]);
    await page.refuse("open", "/runs/ä.inferno: no such file");
    expect(page.texts(".tool-sessions > .failure")).toEqual(["InfernoError /runs/ä.inferno: no such file"]);
    page.get("[data-action=browse]").click();
    await page.answer("browse", listing);
    expect(page.texts(".browser-row .entry-name")).toEqual(["a.inferno"]);
    page.get(".browser-row").click();
    expect(page.sent("open")[1]).toMatchObject({ path: "/h/a.inferno" });
    expect(page.sent("inspect")).toEqual([]);
  });

  it("are saved where one says, under the session's name where one says nothing", async () => {
    const form = page.get<HTMLFormElement>('[aria-label="Save the shown session"]');
    expect(form.querySelector("button")?.disabled).toBe(true); // there is nothing to save
    page.model.rows(run(["Once"], [" upon"]));
    await frame();
    form.requestSubmit();
    expect(page.sent("save")).toMatchObject([{ path: "story 1.inferno" }]);
    await page.answer("save", {
      name: "story 1.inferno",
      mime: "application/octet-stream",
      path: "/h/story 1.inferno",
    });
    expect(page.texts(".session-file [role=status]").at(-1)).toBe("Written to /h/story 1.inferno");
  });

  it("are downloaded through the browser", async () => {
    page.model.rows(run(["Once"], [" upon"]));
    await frame();
    const made: Blob[] = [];
    const clicked = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => {});
    Object.assign(URL, { createObjectURL: (blob: Blob) => `blob:${made.push(blob)}`, revokeObjectURL() {} });
    page.get(".session-file [data-action=download]").click();
    expect(page.sent("save")).toMatchObject([{ path: "" }]);
    const bytes = new DataView(Uint8Array.of(9, 1, 2, 3, 9).buffer, 1, 3);
    await page.answer("save", { name: "s.inferno", mime: "application/octet-stream", path: "" }, [bytes]);
    expect(made.map(({ size, type }) => [size, type])).toEqual([[3, "application/octet-stream"]]);
    expect(clicked).toHaveBeenCalledOnce();
    clicked.mockRestore();
  });
});
