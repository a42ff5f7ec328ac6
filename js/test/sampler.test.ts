// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Link } from "../src/link.js";
import type { ToKernel } from "../src/protocol.js";
import { LIBRARY } from "../src/state.js";
import { samplerCode } from "../src/views/parts/samplercode.js";
import { FIELDS, isPreset, SETTINGS, USUAL } from "../src/views/parts/sampling.js";
import { fromTyped, toTyped } from "../src/views/tools/sampler/escapes.js";
import { sampler } from "../src/views/tools/sampler.js";
import { FakeModel } from "./fake.js";

const PRESETS = [
  { name: "llama.cpp", builtin: true, settings: {} },
  { name: "balanced", builtin: true, settings: { temperature: 0.7, top_p: 0.9, repeat_penalty: 1.05 } },
  { name: "mine", builtin: false, settings: { temperature: 0.5 } },
];

let model: FakeModel;
let link: Link;
let view: ReturnType<typeof sampler>;

const get = <T extends HTMLElement = HTMLElement>(selector: string): T => view.element.querySelector<T>(selector) as T;
const all = (selector: string) => [...view.element.querySelectorAll<HTMLElement>(selector)];
const row = (name: string) => get(`[data-setting="${name}"]`);
const input = (name: string) => get<HTMLInputElement>(`[data-field="${name}"]`);
const sent = () => model.sent.filter(({ kind }) => kind === "set") as { id: number; name: string; value: unknown }[];
const last = (kind: string) =>
  model.sent.filter((message) => message.kind === kind).at(-1) as ToKernel & { id: number };
const key = (target: Element, name: string): boolean =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const settle = () => new Promise((done) => setTimeout(done));

function write(element: HTMLInputElement, text: string): void {
  element.value = text;
  element.dispatchEvent(new Event("input", { bubbles: true }));
}

/** As the kernel takes a setting. */
async function accept(): Promise<void> {
  const { id, name, value } = last("set") as unknown as { id: number; name: string; value: unknown };
  model.put("settings", { ...(model.get("settings") as object), [name]: value });
  model.reply(id);
  await settle();
  view.draw(false);
}

async function refuse(message: string): Promise<void> {
  model.reply(last("set").id, { type: "ValueError", message });
  await settle();
  view.draw(false);
}

beforeEach(() => {
  model = new FakeModel({
    settings: structuredClone(USUAL),
    look: { presets: PRESETS },
    status: { state: "ready", model: { name: "demo", n_vocab: 4096 } },
  });
  link = new Link(model);
  view = sampler(link);
  document.body.append(view.element);
  view.draw(false);
});

afterEach(() => {
  link.close();
  view.element.remove();
  vi.useRealTimers();
});

describe("the table of settings", () => {
  it("has the defaults of Python's Sampler and Controls, in their order", () => {
    const declared = ["sampling/sampler.py", "controls.py"].flatMap((name) => {
      const source = readFileSync(join(import.meta.dirname, "../../inferno_widget", name), "utf8");
      const own = source.slice(Math.max(0, source.indexOf("class Sampler:"))); // what stands before has other fields
      const lines = own.matchAll(/^ {4}(\w+): (?:float|int|int \| None) = (\S+)$/gm);
      return [...lines].map(([, setting, value]) => [setting, value === "None" ? null : Number(value)] as const);
    });
    for (const [name, value] of declared) expect(USUAL, name).toHaveProperty(name, value);
    const numbers = SETTINGS.filter(
      (name) => !["logit_bias", "grammar", "dry_sequence_breakers", "stop", "on_full"].includes(name),
    );
    expect(declared.map(([name]) => name)).toEqual(numbers);
  });

  it("has sliders that can stand at every default", () => {
    for (const { name, stops, usual } of FIELDS) if (stops.length) expect(stops, name).toContain(usual);
  });
});

it("shows every setting, in the order of the chain", () => {
  expect(all("[data-setting]").map(({ dataset }) => dataset.setting)).toEqual([
    "logit_bias",
    "repeat_penalty",
    "frequency_penalty",
    "presence_penalty",
    "penalty_last_n",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "grammar",
    "top_n_sigma",
    "top_k",
    "typical_p",
    "top_p",
    "min_p",
    "xtc_probability",
    "xtc_threshold",
    "temperature",
    "seed",
    "mirostat_mode",
    "mirostat_tau",
    "mirostat_eta",
    "max_tokens",
    "stop",
    "on_full",
    "keep",
  ]);
  for (const element of all("[data-setting] .field-help")) expect(element.textContent?.length).toBeGreaterThan(20);
  for (const element of all("input, button, select, textarea"))
    expect(element.getAttribute("aria-label") || element.textContent, element.outerHTML).toBeTruthy();
});

describe("a number", () => {
  it("goes to the kernel from the slider, at the slider's own scale", async () => {
    const slider = get<HTMLInputElement>("[data-slider=top_k]");
    write(slider, slider.max);
    expect(sent().at(-1)).toMatchObject({ name: "top_k", value: 0 });
    expect(input("top_k").value).toBe("0");
    await accept();
    expect(slider.getAttribute("aria-valuetext")).toBe("all");
    expect(row("top_k").querySelector(".field-unit")?.textContent).toBe("all");
    write(slider, "0");
    expect(sent().at(-1)).toMatchObject({ name: "top_k", value: 1 });
  });

  it("may lie beyond the slider's range, and between its stops", async () => {
    for (const [written, place] of [
      ["5000", 1000],
      ["7", 6],
    ] as const) {
      write(input("top_k"), written);
      key(input("top_k"), "Enter");
      expect(sent().at(-1)).toMatchObject({ name: "top_k", value: Number(written) });
      await accept();
      expect(input("top_k").value).toBe(written);
      const stops = FIELDS.find(({ name }) => name === "top_k")?.stops as number[];
      expect(stops[Number(get<HTMLInputElement>("[data-slider=top_k]").value)]).toBe(place);
    }
  });

  it("is marked where it differs from its default, and goes back to it", async () => {
    expect(row("temperature").classList.contains("changed")).toBe(false);
    const reset = row("temperature").querySelector(".reset") as HTMLButtonElement;
    expect(reset.style.visibility).toBe("hidden");
    write(get("[data-slider=temperature]"), "10");
    expect(sent().at(-1)).toMatchObject({ name: "temperature", value: 0.5 });
    await accept();
    expect(all(".changed").map(({ dataset }) => dataset.setting)).toEqual(["temperature"]);
    expect(reset.style.visibility).toBe("");
    expect(reset.getAttribute("aria-label")).toBe("Reset temperature to its default, 0.8");
    reset.click();
    expect(sent().at(-1)).toMatchObject({ name: "temperature", value: 0.8 });
    await accept();
    expect(all(".changed")).toEqual([]);
  });

  it("that is refused says why in its place, and Escape takes it back", async () => {
    write(input("typical_p"), "3");
    key(input("typical_p"), "Enter");
    await refuse("typical_p must be between 0 and 1, not 3");
    expect(row("typical_p").querySelector("[role=alert]")?.textContent).toContain("between 0 and 1");
    expect(input("typical_p").value).toBe("3");
    expect(input("typical_p").getAttribute("aria-invalid")).toBe("true");
    key(input("typical_p"), "Escape");
    view.draw(false);
    expect(input("typical_p").value).toBe("1");
    expect(row("typical_p").querySelector("[role=alert]")?.textContent).toBe("");
  });

  it("below nought can be reached with the arrow keys only where it means something", () => {
    for (const [name, expected] of [
      ["frequency_penalty", "-0.1"],
      ["top_p", "0"],
    ] as const) {
      input(name).value = "0";
      key(input(name), "ArrowDown");
      expect(input(name).value, name).toBe(expected);
    }
  });

  it("of the dice is taken by chance, or left to it", async () => {
    get("[data-action=dice]").click();
    const seed = sent().at(-1)?.value as number;
    expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32).toBe(true);
    await accept();
    write(input("seed"), "");
    key(input("seed"), "Enter");
    expect(sent().at(-1)).toMatchObject({ name: "seed", value: null });
  });
});

it("gives everything back its default at once", async () => {
  model.put("settings", { ...USUAL, temperature: 0, stop: ["x"], logit_bias: { 4: 1 } });
  view.draw(false);
  const reset = get<HTMLButtonElement>("[data-action=reset-all]");
  expect(reset.textContent).toBe("Reset 3 settings");
  reset.click();
  for (let i = 0; i < 3; i++) await accept();
  expect(sent().map(({ name, value }) => [name, value])).toEqual([
    ["temperature", 0.8],
    ["logit_bias", {}],
    ["stop", []],
  ]);
  expect(reset.disabled).toBe(true);
});

describe("the line of Python", () => {
  it("names what differs from the defaults, and nothing else", () => {
    expect(samplerCode(USUAL)).toBe("Sampler()");
    expect(samplerCode({ ...USUAL, temperature: 0.7, seed: 7, max_tokens: 3, stop: ["x"] })).toBe(
      "Sampler(temperature=0.7, seed=7)",
    );
    expect(samplerCode({ ...USUAL, logit_bias: { 5: 2.5, 9: null as never } })).toBe(
      'Sampler(logit_bias={5: 2.5, 9: float("-inf")})',
    );
  });

  it("follows the settings", () => {
    model.put("settings", { ...USUAL, min_p: 0 });
    view.draw(false);
    expect(get("[data-testid=sampler-code]").textContent).toBe("Sampler(min_p=0)");
  });
});

describe("the grammar", () => {
  const area = () => get<HTMLTextAreaElement>("[data-field=grammar]");
  const culprit = () => get("[data-setting=grammar] .code-line");

  it("is applied by Ctrl+Enter or when it is left, once, and not line by line", async () => {
    area().value = 'root ::= "a"';
    expect(key(area(), "Enter")).toBe(true); // a line break
    expect(sent()).toEqual([]);
    area().dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, bubbles: true }));
    area().dispatchEvent(new Event("blur"));
    expect(sent().map(({ name, value }) => [name, value])).toEqual([["grammar", 'root ::= "a"']]);
    await accept();
    expect(row("grammar").classList.contains("changed")).toBe(true);
    area().value = " \n";
    area().dispatchEvent(new Event("blur"));
    expect(sent().at(-1)).toMatchObject({ value: "" });
  });

  it("shows a mistake with its line, keeps what was written, and gives it up on Escape", async () => {
    area().value = 'root ::= a\na ::= ["';
    area().dispatchEvent(new Event("blur"));
    await refuse("grammar, line 2, column 7: a character class is not closed");
    expect(row("grammar").querySelector("[role=alert]")?.textContent).toContain("not closed");
    expect([culprit().hidden, culprit().textContent]).toEqual([false, '2: a ::= ["']);
    expect(area().getAttribute("aria-invalid")).toBe("true");
    expect(area().value).toContain("root");
    key(area(), "Escape");
    expect([area().value, culprit().hidden, area().hasAttribute("aria-invalid")]).toEqual(["", true, false]);
  });

  it("has examples that are given by a click", async () => {
    all("[data-action=grammar-example]")[1].click();
    const { value } = sent().at(-1) as { value: string };
    expect(JSON.parse(value)).toMatchObject({ type: "object" });
    await accept();
    expect(area().value).toBe(value);
    expect(get("[data-testid=sampler-code]").textContent).toContain('Sampler(grammar={"type": "object", ');
    row("grammar").querySelector<HTMLButtonElement>(".reset")?.click();
    expect(sent().at(-1)).toMatchObject({ value: "" });
  });

  it("is written in Python as text, or a schema as a dict", () => {
    const code = (grammar: string) => samplerCode({ ...USUAL, grammar });
    expect(code('root ::= "a"\n')).toBe('Sampler(grammar="root ::= \\"a\\"\\n")');
    expect(code('{"additionalProperties": false, "enum": [null, true, 1.5]}')).toBe(
      'Sampler(grammar={"additionalProperties": False, "enum": [None, True, 1.5]})',
    );
    expect(code("{half")).toBe('Sampler(grammar="{half")');
  });
});

describe("presets", () => {
  const pressed = () => all("[data-preset][aria-pressed=true]").map(({ dataset }) => dataset.preset);

  it("are taken by a click, and the one that holds is marked whatever seed, bias and grammar are", async () => {
    expect(pressed()).toEqual(["llama.cpp"]);
    get('[data-preset="balanced"]').click();
    expect(last("preset")).toMatchObject({ name: "balanced" });
    model.put("settings", {
      ...USUAL,
      ...PRESETS[1].settings,
      seed: 3,
      logit_bias: { 1: 1 },
      grammar: "x",
      max_tokens: 9,
    });
    view.draw(false);
    expect(pressed()).toEqual(["balanced"]);
    expect(isPreset({ ...USUAL, top_k: 3 }, {})).toBe(false);
  });

  it("are saved under a name, and one's own dropped", async () => {
    write(input("preset"), " calm ");
    key(input("preset"), "Enter");
    expect(last("save_preset")).toMatchObject({ name: "calm" });
    model.reply(last("save_preset").id, { type: "ValueError", message: "choose another name" });
    await settle();
    expect(get(".presets [role=alert]").textContent).toBe("choose another name");
    expect(input("preset").value).toBe(" calm ");
    const drops = all('.presets [aria-label^="Drop"]').filter((element) => !element.hidden);
    expect(drops.map((element) => element.getAttribute("aria-label"))).toEqual(["Drop the preset mine"]);
    drops[0].click();
    expect(last("drop_preset")).toMatchObject({ name: "mine" });
  });
});

describe("stop strings", () => {
  it("are added and removed, with line breaks as they are typed", async () => {
    write(input("stop"), "\\n\\nEnd");
    key(input("stop"), "Enter");
    expect(sent().at(-1)).toMatchObject({ name: "stop", value: ["\n\nEnd"] });
    await accept();
    expect(input("stop").value).toBe("");
    expect(all("[data-setting=stop] .chip-text code").map(({ textContent }) => textContent)).toEqual(["\\n\\nEnd"]);
    write(input("stop"), "two");
    get("[data-action=add-stop]").click();
    expect(sent().at(-1)).toMatchObject({ value: ["\n\nEnd", "two"] });
    await accept();
    get('[aria-label="Remove the stop string \\\\n\\\\nEnd"]').click();
    expect(sent().at(-1)).toMatchObject({ value: ["two"] });
    await accept();
    key(input("stop"), "Backspace");
    expect(sent().at(-1)).toMatchObject({ value: [] });
  });

  it("are neither empty nor there twice", async () => {
    key(input("stop"), "Enter");
    expect(sent()).toEqual([]);
    model.put("settings", { ...USUAL, stop: ["x"] });
    write(input("stop"), "x");
    key(input("stop"), "Enter");
    expect(sent()).toEqual([]);
  });

  it("can hold any character, written so that it can be seen", () => {
    for (const text of ["\n", "\t\r", "\\n", "\\", "a\u0000b", "\u200d\u2028", "\u{e0001}", "naïve 你 👩‍👧"])
      expect(fromTyped(toTyped(text)), toTyped(text)).toBe(text);
    expect(toTyped("\n\u0007\u200b\\")).toBe("\\n\\x07\\u200b\\\\");
    expect(fromTyped("\\d \\x4 \\")).toBe("\\d \\x4 \\");
  });
});

it("shows DRY's breakers, and the way back to the usual ones", async () => {
  const chips = () => all("[data-setting=dry_sequence_breakers] .chip-text code").map(({ textContent }) => textContent);
  expect(chips()).toEqual(["\\n", ":", '"', "*"]);
  write(input("dry_sequence_breakers"), "\\t");
  key(input("dry_sequence_breakers"), "Enter");
  expect(sent().at(-1)).toMatchObject({ name: "dry_sequence_breakers", value: ["\n", ":", '"', "*", "\t"] });
  await accept();
  expect(chips()).toContain("\\t");
  expect(samplerCode(link.settings)).toBe('Sampler(dry_sequence_breakers=["\\n", ":", "\\"", "*", "\\t"])');
  expect(isPreset(link.settings, {})).toBe(false);
  row("dry_sequence_breakers").querySelector<HTMLButtonElement>(".reset")?.click();
  expect(sent().at(-1)).toMatchObject({ value: ["\n", ":", '"', "*"] });
  await accept();
  expect(samplerCode(link.settings)).toBe("Sampler()");
  expect(isPreset(structuredClone(link.settings), {})).toBe(true);
});

describe("the bias of a token", () => {
  const search = () => input("vocabulary");
  const options = () => all("[role=option]").map(({ textContent }) => textContent);

  async function find(query: string): Promise<void> {
    vi.useFakeTimers();
    for (let i = 1; i <= query.length; i++) write(search(), query.slice(0, i));
    vi.advanceTimersByTime(300);
    vi.useRealTimers();
    const asked = model.sent.filter(({ kind }) => kind === "vocabulary");
    expect(asked.at(-1)).toMatchObject({ query });
    model.answer((asked.at(-1) as { id: number }).id, [
      { id: 3, text: " king" },
      { id: 8, text: "king\n" },
    ]);
    await settle();
  }

  it("is asked for once, when the typing rests, and picked with the keyboard", async () => {
    await find("king");
    expect(model.sent.filter(({ kind }) => kind === "vocabulary")).toHaveLength(1);
    expect(options()).toEqual(["·king 3", "king⏎ 8"]);
    expect(search().getAttribute("aria-expanded")).toBe("true");
    key(search(), "ArrowDown");
    const active = search().getAttribute("aria-activedescendant") as string;
    expect(document.getElementById(active)?.textContent).toBe("king⏎ 8");
    key(search(), "Enter");
    expect(sent().at(-1)).toMatchObject({ name: "logit_bias", value: { 8: 5 } });
    expect(search().getAttribute("aria-expanded")).toBe("false");
    await accept();
    expect(get(".bias-row").dataset.tokenId).toBe("8");
    expect(get(".bias-row code").textContent).toBe("king⏎");
  });

  it("is not called after another model's token of that number", async () => {
    await find("king");
    key(search(), "Enter");
    await accept();
    expect(get(".bias-row code").textContent).toBe("·king");
    const other = { id: 2, name: "other", file: "", current: true, n_ctx: 512, warnings: 0, holders: [] };
    const sizes = { rss: 0, weights: 0, kv_reserved: 0, kv_used: 0 };
    model.put("library", { ...LIBRARY, models: [{ ...other, ...sizes }] });
    await settle();
    view.draw(false);
    expect(get(".bias-row code").textContent).toBe("#3");
  });

  it("shows nothing for a query that is no longer the one that is written", async () => {
    await find("ki");
    vi.useFakeTimers();
    write(search(), "kin");
    vi.advanceTimersByTime(300);
    vi.useRealTimers();
    const { id } = last("vocabulary");
    write(search(), "q");
    model.answer(id, [{ id: 9, text: "kin" }]);
    await settle();
    expect(options()).not.toContain("kin 9");
  });

  it("closes its list on Escape before the drawer does", async () => {
    await find("ki");
    expect(key(search(), "Escape")).toBe(false);
    expect(options()).toEqual([]);
    expect(search().value).toBe("ki");
    expect(key(search(), "Escape")).toBe(false);
    expect(search().value).toBe("");
    expect(key(search(), "Escape")).toBe(true); // the drawer's own
  });

  it("is weighed, forbidden, allowed again and removed", async () => {
    model.put("settings", { ...USUAL, logit_bias: { 3: 2, 8: null } });
    view.draw(false);
    const never = () => all("[data-action=never]").map((element) => element.getAttribute("aria-pressed"));
    expect(never()).toEqual(["false", "true"]);
    write(get('[data-slider="bias-3"]'), "-4.5");
    expect(sent().at(-1)).toMatchObject({ value: { 3: -4.5, 8: null } });
    await accept();
    all("[data-action=never]")[0].click();
    expect(sent().at(-1)).toMatchObject({ value: { 3: null, 8: null } });
    await accept();
    expect(never()).toEqual(["true", "true"]);
    all("[data-action=never]")[1].click();
    expect(sent().at(-1)).toMatchObject({ value: { 3: null, 8: -5 } });
    await accept();
    get('[aria-label="Remove the bias of token 3"]').click();
    expect(sent().at(-1)).toMatchObject({ value: { 8: -5 } });
    await refuse("logit_bias: no");
    expect(row("logit_bias").querySelector("[role=alert]")?.textContent).toBe("logit_bias: no");
  });

  it("may be any number, and nothing else", () => {
    model.put("settings", { ...USUAL, logit_bias: { 3: 2 } });
    view.draw(false);
    const number = get<HTMLInputElement>(".bias-row input[type=text]");
    number.value = "40";
    key(number, "Enter");
    expect(sent().at(-1)).toMatchObject({ value: { 3: 40 } });
    number.value = "much";
    key(number, "Enter");
    expect(sent()).toHaveLength(1);
    expect(row("logit_bias").querySelector("[role=alert]")?.textContent).toBe("a bias is a number");
  });
});

it("says what happens when the context is full, and keeps what was refused from looking accepted", async () => {
  const select = get<HTMLSelectElement>("[data-field=on_full]");
  select.value = "slide";
  select.dispatchEvent(new Event("change"));
  expect(sent().at(-1)).toMatchObject({ name: "on_full", value: "slide" });
  await refuse("not with this model");
  expect(select.value).toBe("stop");
  expect(row("on_full").querySelector("[role=alert]")?.textContent).toBe("not with this model");
});

it("can be changed by nobody while there is no kernel", () => {
  model.emit("comm_live_update");
  view.draw(false);
  const able = all("input, select, textarea, button").filter((element) => !(element as HTMLInputElement).disabled);
  expect(able.map(({ dataset }) => dataset.action)).toEqual(["copy"]);
});
