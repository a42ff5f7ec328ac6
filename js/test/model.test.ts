// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Finding, Header, Listing } from "../src/answers/files.js";
import type { LoadedModel } from "../src/state.js";
import { key, openPage, type Page } from "./open.js";

const CARD = {
  name: "q",
  architecture: "qwen2",
  parameters: 494e6,
  quantisation: "Q8_0",
  n_ctx_train: 32768,
  n_vocab: 5,
};
const HEADER = { ...CARD, bytes: 531e6, n_layer: 24, chat: true, findings: [] };
const finding = (field: string): Finding => ({
  ...{ severity: "warning" as const, field, offset: 7, found: "0", expected: "1", advice: "get another copy" },
  text: `${field}, byte 7: 0; expected 1; get another copy`,
});
const PLACES = {
  root: { name: "Home", path: "" },
  demo: { name: "demo.gguf", path: "/pkg/demo.gguf" },
  recent: [{ name: "old.gguf", path: "/h/old.gguf" }],
  caches: [{ name: "Hugging Face", path: "/h/.cache/hf" }],
};
const file = (name: string, kind: "gguf" | "inferno" = "gguf", parts = 1) => ({
  name,
  path: `/h/${name}`,
  kind,
  bytes: 531e6,
  parts,
});
const LISTING: Listing = {
  path: "/h",
  crumbs: [{ name: "Home", path: "" }],
  folders: [{ name: "models", path: "/h/models" }],
  files: [file("q.gguf"), file("größer-00001-of-00003.gguf", "gguf", 3), file("run.inferno", "inferno")],
};
const loadedModel = (more: Partial<LoadedModel> = {}): LoadedModel => ({
  id: 1,
  name: "demo",
  file: "/pkg/demo.gguf",
  current: true,
  n_ctx: 512,
  rss: 41e6,
  weights: 3.6e6,
  kv_reserved: 2.4e6,
  kv_used: 0.9e6,
  holders: [],
  warnings: 0,
  ...more,
});

let page: Page;
const rows = () => page.all(".browser-row");
const names = () => rows().map((row) => row.querySelector(".entry-name")?.textContent);

beforeEach(async () => {
  page = openPage({}, "model");
  await page.answer("places", PLACES);
  await page.answer("browse", LISTING);
});
afterEach(() => page.close());

/** Chooses the first file, up to the estimate. */
async function choose(header: Partial<Header> = {}): Promise<void> {
  page.model.answer(page.sent("inspect")[0].id, { ...HEADER, ...header });
  rows()[1].click();
  await vi.waitFor(() => expect(page.sent("estimate")).toHaveLength(1));
}
const estimate = (n_ctx: number, more = {}) => ({
  ...{ n_ctx, n_ctx_train: 32768, weights: 531e6, kv: 50e6, compute: 65e6, total: 646e6, free: 8.3e9, fits: true },
  n_ctx_fit: 32768,
  ...more,
});

describe("the browser", () => {
  it("lists folders, models, split ones as one, and recorded runs", () => {
    expect(page.sent("browse")[0]).toMatchObject({ path: "", hidden: false });
    expect(names()).toEqual(["models/", "q.gguf", "größer-00001-of-00003.gguf", "run.inferno"]);
    expect(rows()[2].textContent).toContain("3 parts");
    expect(page.texts(".browser-places button")).toEqual(["The demo model", "Home", "Recent", "Hugging Face"]);
  });

  it("reads headers, each once, and says which file is of no use", async () => {
    expect(page.sent("inspect").map(({ path }) => path)).toEqual(["/h/q.gguf", "/h/größer-00001-of-00003.gguf"]);
    const [first, second] = page.sent("inspect");
    page.model.answer(first.id, HEADER);
    page.model.reply(second.id, { type: "ModelFileError", message: "cut off" });
    await vi.waitFor(() => expect(rows()[1].textContent).toContain("qwen2 · 494 M · Q8_0"));
    expect(rows()[2].textContent).toContain("not usable");
    await page.write(".browser input[type=search]", "q");
    await page.write(".browser input[type=search]", "");
    expect(page.sent("inspect")).toHaveLength(2);
  });

  it("reads no more than three headers at once", async () => {
    page.get(".crumbs button").click();
    const files = Array.from({ length: 8 }, (_, i) => file(`m${i}.gguf`));
    await page.answer("inspect", HEADER);
    page.model.answer(page.sent("inspect")[0].id, HEADER);
    const before = page.sent("inspect").length;
    await page.answer("browse", { ...LISTING, folders: [], files });
    expect(page.sent("inspect").length - before).toBe(3);
    await page.answer("inspect", HEADER);
    expect(page.sent("inspect").length - before).toBe(4);
  });

  it("filters by name and says when nothing is left", async () => {
    await page.write(".browser input[type=search]", "GRÖSS");
    expect(names()).toEqual([]);
    expect(page.get(".browser-list .note").textContent).toBe("Nothing here is called “GRÖSS”.");
    await page.write(".browser input[type=search]", "größ");
    expect(names()).toEqual(["größer-00001-of-00003.gguf"]);
  });

  it("goes into folders and back by keys, and shows hidden files when asked", async () => {
    rows()[0].focus();
    rows()[0].click();
    await page.answer("browse", {
      path: "/h/models",
      crumbs: [...LISTING.crumbs, { name: "models", path: "/h/models" }],
      folders: [],
      files: [file("a.gguf")],
    });
    expect(page.texts(".crumbs button")).toEqual(["Home", "models"]);
    expect(document.activeElement).toBe(rows()[0]);
    key(rows()[0], "Backspace");
    expect(page.sent("browse").at(-1)).toMatchObject({ path: "" });
    const hidden = page.get<HTMLInputElement>("[data-field=hidden]");
    hidden.checked = true;
    hidden.dispatchEvent(new Event("change"));
    expect(page.sent("browse").at(-1)).toMatchObject({ hidden: true });
  });

  it("walks the rows with arrows, of which one is in the tab order", () => {
    rows()[0].focus();
    key(rows()[0], "ArrowDown");
    expect(document.activeElement).toBe(rows()[1]);
    key(rows()[1], "End");
    expect(document.activeElement).toBe(rows()[3]);
    expect(rows().map(({ tabIndex }) => tabIndex)).toEqual([-1, -1, -1, 0]);
  });

  it("shows why a folder cannot be read, leaves the way back, and tries again", async () => {
    rows()[0].click();
    await page.refuse("browse", "/h/models cannot be read: permission denied");
    expect(page.texts(".browser .failure")).toEqual(["InfernoError /h/models cannot be read: permission denied"]);
    expect(page.texts(".crumbs button")).toEqual(["Home"]);
    page.get(".browser-list > .small").click();
    expect(page.sent("browse").at(-1)).toMatchObject({ path: "/h/models" });
  });

  it("forgets the answer about a folder that was left", async () => {
    rows()[0].click();
    const slow = page.sent("browse").at(-1)?.id as number;
    page.get(".crumbs button").click();
    await page.answer("browse", { ...LISTING, folders: [] });
    page.model.answer(slow, { ...LISTING, files: [] });
    await page.answer("places");
    expect(names()).toEqual(["q.gguf", "größer-00001-of-00003.gguf", "run.inferno"]);
  });

  it("shows recent models as a folder, and opens a recorded run as a session", async () => {
    await page.click(".browser-places button:nth-of-type(3)");
    const recent = [
      { name: "new.gguf", path: "/h/new-00001-of-00002.gguf" }, // loaded since the places were read
      { name: "q.gguf", path: "/h/q.gguf" }, // which stands in the folder that was listed, too
    ];
    await page.answer("places", { ...PLACES, recent });
    expect(names()).toEqual(["new.gguf", "q.gguf"]);
    expect(rows().map((row) => row.querySelector<HTMLElement>(".entry-name")?.title)).toEqual(
      recent.map((r) => r.path),
    );
    await page.answer("inspect", HEADER);
    await page.answer("inspect", HEADER); // three are read at once
    const sizes = () => rows().map((row) => row.querySelector(".entry-size")?.textContent);
    expect(sizes(), "of which no folder told").toEqual(["531 MB", "531 MB"]);
    page.get(".browser-places button:nth-of-type(2)").click();
    await page.answer("browse", LISTING);
    rows()[3].click();
    expect(page.sent("open")).toMatchObject([{ path: "/h/run.inferno" }]);
    expect(page.get(".loader").hidden).toBe(true);
  });
});

describe("the loader", () => {
  it("says what is odd about the file, and loads it all the same", async () => {
    await choose({ findings: ["a", "b", "c", "d", "e", "f", "g"].map(finding) });
    expect(page.texts(".loader .findings-list li").slice(-2)).toEqual([
      "e, byte 7: 0; expected 1; get another copy",
      "and 2 more",
    ]);
    await page.answer("estimate", estimate(4096));
    expect(page.get<HTMLButtonElement>("[data-action=load]").disabled).toBe(false);
  });

  it("says nothing where nothing is odd", async () => {
    await choose();
    expect(page.get(".loader .findings").hidden).toBe(true);
  });

  it("says what the file is and needs, and loads it with the context that was chosen", async () => {
    await choose();
    expect(page.sent("estimate")[0]).toMatchObject({ path: "/h/q.gguf", n_ctx: 0 }); // as the kernel would take it
    await page.answer("estimate", estimate(4096));
    expect(page.get(".loader").textContent).toContain("trained for a context of 32,768 · has a chat template");
    expect(page.get(".loader-need").textContent).toBe("needs 646 MB of 8.3 GB free");
    expect(page.texts(".loader .stack-key li")).toEqual([
      "weights 531 MB",
      "KV cache 50 MB",
      "compute 65 MB",
      "left 7.7 GB",
    ]);
    const context = page.get<HTMLInputElement>("[data-field=n_ctx]");
    context.value = "8,192";
    key(context, "Enter");
    await vi.waitFor(() => expect(page.sent("estimate").at(-1)).toMatchObject({ n_ctx: 8192 }));
    await page.click("[data-action=load]");
    expect(page.sent("load")).toMatchObject([{ path: "/h/q.gguf", n_ctx: 8192, force: false }]);
    await page.answer("load");
    expect(page.get(".loader").hidden).toBe(true);
  });

  it("offers the longest context that fits, where the chosen one does not", async () => {
    await choose();
    await page.answer("estimate", estimate(4096, { total: 9e9, fits: false, n_ctx_fit: 2048 }));
    expect(page.get(".loader-need").textContent).toBe("needs 9.0 GB: 700 MB more than is free");
    expect(page.texts(".loader .stack-key li").at(-1)).toBe("missing 700 MB");
    expect(page.get("[data-action=load]").textContent).toBe("Load anyway");
    page.get(".loader-cost button.quiet").click();
    expect(page.get<HTMLInputElement>("[data-field=n_ctx]").value).toBe("2048");
  });

  it("loads what needs more memory than is free, where the button says so", async () => {
    await choose();
    await page.answer("estimate", estimate(4096, { total: 9e9, fits: false, n_ctx_fit: 2048 }));
    await page.click("[data-action=load]");
    expect(page.sent("load")).toMatchObject([{ path: "/h/q.gguf", force: true }]);
  });

  it("refuses a context that is no number or out of range, and asks nothing for it", async () => {
    await choose();
    await page.answer("estimate", estimate(4096));
    const context = page.get<HTMLInputElement>("[data-field=n_ctx]");
    for (const [typed, said] of [
      ["many", "context is a number"],
      ["99999999", "context lies between 256 and 32768"],
    ]) {
      context.value = typed;
      key(context, "Enter");
      expect(page.get(".loader .field-error").textContent).toBe(said);
    }
    key(context, "Escape");
    expect([context.value, page.get(".loader .field-error").textContent]).toEqual(["4096", ""]);
    expect(page.get(".drawer").hidden).toBe(false);
    expect(page.sent("estimate")).toHaveLength(1);
  });

  it("shows what is wrong with a file, whole, and offers no loading", async () => {
    const message = "/h/q.gguf: tensor 'blk.1' ends behind the end of the file. Download it again.";
    page.model.reply(page.sent("inspect")[0].id, { type: "ModelFileError", message });
    rows()[1].click();
    await vi.waitFor(() => expect(page.texts(".loader .failure")).toEqual([`ModelFileError ${message}`]));
    expect(page.get("[data-action=load]").hidden).toBe(true);
    expect(page.sent("estimate")).toEqual([]);
  });

  it("shows why loading was refused, once", async () => {
    await choose();
    await page.answer("estimate", estimate(4096));
    await page.click("[data-action=load]");
    await page.refuse("load", "not enough memory");
    expect(page.texts(".loader .failure")).toEqual(["InfernoError not enough memory"]);
    const error = { type: "InfernoError", message: "not enough memory" };
    await page.library({ tasks: [{ id: 3, kind: "load", name: "q.gguf", stage: "", progress: null, error }] });
    expect(page.texts(".failure")).toEqual(["InfernoError not enough memory"]);
  });

  it("leaves the focus on the demo model while the places come", async () => {
    page.close();
    page = openPage({}, "model");
    page.get("[data-action=demo]").focus();
    await page.answer("places", PLACES);
    expect(document.activeElement).toBe(page.get("[data-action=demo]"));
    expect(page.all(".browser-places button").length).toBeGreaterThan(1);
  });

  it("has the demo model one click away", async () => {
    page.get("[data-action=demo]").click();
    await page.answer("places", PLACES);
    expect(page.sent("inspect").at(-1)).toMatchObject({ path: "/pkg/demo.gguf" });
    expect(page.get(".loader-title").textContent).toContain("demo.gguf");
    expect(document.activeElement).toBe(page.get("[data-action=load]"));
  });
});

describe("tasks", () => {
  const task = {
    id: 7,
    kind: "load" as const,
    name: "q.gguf",
    stage: "reading the weights",
    progress: 0.43,
    error: null,
  };

  it("tell stage and progress, and can be cancelled", async () => {
    await page.library({ tasks: [task] });
    expect(page.get(".task").textContent).toContain("reading the weights 43%");
    expect(page.get(".task [role=progressbar]").getAttribute("aria-valuenow")).toBe("43");
    page.get(".task [data-action=cancel]").click();
    expect(page.sent("cancel")).toMatchObject([{ task: 7 }]);
  });

  it("that failed stay with their reason until they are dismissed", async () => {
    await page.library({ tasks: [{ ...task, error: { type: "ModelLoadError", message: "unknown architecture" } }] });
    expect(page.texts(".task .failure")).toEqual(["ModelLoadError unknown architecture"]);
    expect(page.get(".task [data-action=cancel]").textContent).toBe("Dismiss");
  });
});

describe("loaded models", () => {
  const METADATA = {
    card: { ...CARD, file: "/pkg/demo.gguf", bytes: 3.6e6, n_ctx: 512, n_layer: 6, n_embd: 192, n_head: 6 },
    rows: [
      { key: "general.name", type: "str", value: "demo" },
      { key: "tokenizer.ggml.tokens", type: "arr[str, 4096]", value: "x".repeat(400) },
    ],
    findings: [] as Finding[],
    template: "{{ messages }}",
  };

  it("say what they cost, which is used, and can be used and unloaded", async () => {
    await page.library({ models: [loadedModel(), loadedModel({ id: 2, name: "other", current: false })] });
    expect(page.texts(".loaded-row .note")[0]).toBe(
      "41 MB resident · weights 4 MB · KV 900 kB of 2 MB · context of 512",
    );
    expect(page.texts(".loaded-row .tag")).toEqual(["in use"]);
    page.get('[aria-label="Use other"]').click();
    page.get('[aria-label="Unload demo"]').click();
    expect([page.sent("use"), page.sent("unload")]).toMatchObject([[{ model: 2 }], [{ model: 1 }]]);
  });

  it("say what is odd about their files, as text", async () => {
    const evil = "<img src=x onerror=alert(1)>";
    await page.library({ models: [loadedModel({ warnings: 2 })] });
    expect(page.texts(".loaded-row .note")[0]).toContain("context of 512 · 2 warnings about its file");
    await page.answer("metadata", { ...METADATA, findings: [finding("llama.block_count"), finding(evil)] });
    expect(page.texts(".model-card .findings-title")).toEqual(["2 warnings about its file"]);
    expect(page.texts(".model-card .findings-list li")[1]).toBe(`${evil}, byte 7: 0; expected 1; get another copy`);
    expect(page.all(".model-card img")).toEqual([]);
  });

  it("show their data, a table to search, long values on demand, and the template", async () => {
    await page.library({ models: [loadedModel()] });
    await page.answer("metadata", METADATA);
    expect(page.get(".card-facts").textContent).toContain("parameters494 M (494,000,000)");
    expect(page.get(".card-template").textContent).toBe("{{ messages }}");
    const long = page.get(".long-value");
    expect(long.textContent).toHaveLength(121);
    page.get("td button[aria-expanded]").click();
    expect(long.textContent).toHaveLength(400);
    await page.write(".model-card input[type=search]", "GENERAL");
    expect(page.texts(".card-table tbody th")).toEqual(["general.name"]);
    expect(page.get(".model-card .line .note").textContent).toBe("1 of 2");
  });

  it("keep the focus when they are drawn again", async () => {
    await page.library({ models: [loadedModel()] });
    page.get(".loaded-name").focus();
    await page.library({ models: [loadedModel({ id: 2, name: "other", current: false }), loadedModel({ rss: 50e6 })] });
    expect(document.activeElement?.textContent).toBe("demo");
    expect(page.texts(".loaded-name")).toEqual(["other", "demo"]);
  });
});

describe("the hub", () => {
  it("downloads what was named, and nothing that is no repository", async () => {
    const form = page.get<HTMLFormElement>("form.hub");
    await page.write("[data-field=repo]", "just-a-name");
    form.requestSubmit();
    expect(page.texts(".hub .failure")[0]).toContain("“just-a-name” is not a repository: write owner/name");
    expect(page.sent("download")).toEqual([]);
    await page.write("[data-field=repo]", " owner/repo-GGUF ");
    form.requestSubmit();
    expect(page.sent("download")).toMatchObject([{ repo: "owner/repo-GGUF", pattern: "*Q8_0.gguf" }]);
    await page.refuse("download", "huggingface_hub is not installed");
    expect(page.texts(".hub .failure")[0]).toContain("huggingface_hub is not installed");
  });
});
