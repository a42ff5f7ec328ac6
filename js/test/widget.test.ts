// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ToKernel } from "../src/protocol.js";
import widget from "../src/widget.js";
import { encode, type Row } from "./encode.js";
import { FakeModel } from "./fake.js";

const TEXT = ["Once", " upon", " a", " time", "\n"];

const predicted = (i: number): Row => ({
  parent: i - 1,
  token_id: i,
  kind: i < 2 ? 0 : i === 3 ? 2 : 1,
  ...(i > 0 && {
    logprob: -i,
    entropy: 1.5,
    rank: 1,
    kept: i < 2 ? 0 : 1,
    tail: 0.25,
    top_ids: [i, 0],
    top_logprobs: [-i, -9],
    top_kept: 1,
  }),
});

const story = (n = TEXT.length, more = {}) =>
  encode({
    k: 2,
    rows: TEXT.slice(0, n).map((_, i) => predicted(i)),
    pieces: TEXT.map((t, i) => [i, t] as const),
    ...more,
  });

let model: FakeModel;
let host: HTMLElement;
let close: () => void;

const frame = () => new Promise((done) => requestAnimationFrame(done));
const get = <T extends HTMLElement = HTMLElement>(selector: string): T => host.querySelector<T>(selector) as T;
const all = (selector: string) => [...host.querySelectorAll<HTMLElement>(selector)];
const last = (kind: string) =>
  model.sent.filter((message) => message.kind === kind).at(-1) as ToKernel & { id: number };
const key = (target: Element, name: string, more = {}) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true, ...more }));

function open(traits: Record<string, unknown> = {}): void {
  model = new FakeModel({ status: { state: "ready", n_ctx: 512 }, prompt: "Once upon", ...traits });
  host = document.createElement("div");
  document.body.append(host);
  const { initialize, render } = widget();
  const end = initialize({ model });
  const leave = render({ el: host });
  close = () => {
    leave();
    end();
    host.remove();
  };
}

beforeEach(() => open());
afterEach(() => close());

describe("the stream", () => {
  it("draws tokens with their nodes, kinds and colours", async () => {
    model.rows(story());
    await frame();
    const tokens = all("[data-token]");
    expect(tokens.map(({ textContent }) => textContent)).toEqual(TEXT);
    expect(tokens.map(({ dataset }) => dataset.node)).toEqual(["0", "1", "2", "3", "4"]);
    expect(tokens.map(({ className }) => className)).toEqual([
      "t prompt",
      "t prompt lead",
      "t generated s8 lead",
      "t forced s12 lead",
      "t generated s16",
    ]);
    expect(get(".stream-text").textContent).toBe(TEXT.join(""));
    expect(get(".stream-empty").hidden).toBe(true);
  });

  it("adds to what stands, and takes away only what a fork changed", async () => {
    model.rows(story(4));
    await frame();
    const before = all("[data-token]");
    model.rows(story(5, { seq: 2 }));
    await frame();
    expect(all("[data-token]").slice(0, 4)).toEqual(before);
    model.rows(encode({ start: 5, k: 2, rows: [{ ...predicted(2), parent: 1 }], seq: 3 }));
    await frame();
    expect(all("[data-token]").slice(0, 2)).toEqual(before.slice(0, 2));
    expect(all("[data-token]").map(({ dataset }) => dataset.node)).toEqual(["0", "1", "5"]);
  });

  it("selects by click and by keys, and lets go", async () => {
    model.rows(story());
    await frame();
    all("[data-token]")[2].click();
    expect(last("select")).toEqual({ kind: "select", node: 2 });
    await frame();
    expect(get(".selected").dataset.node).toBe("2");
    for (const [name, node] of [
      ["ArrowRight", 3],
      ["ArrowLeft", 2],
      ["Home", 0],
      ["ArrowLeft", 0],
      ["End", 4],
      ["Escape", -1],
    ] as const) {
      key(get(".stream-text"), name);
      expect(last("select"), name).toEqual({ kind: "select", node });
    }
    await frame();
    expect(get(".selected")).toBeNull();
  });

  it("shows the bytes of an unfinished character, then the character, as one", async () => {
    const bytes = [...new TextEncoder().encode("🐉")];
    const pieces = bytes.map((byte, i) => [i, Uint8Array.of(byte)] as const);
    model.rows(encode({ k: 2, rows: [0, 1, 2].map(predicted), pieces }));
    await frame();
    expect(all("[data-token]").map(({ textContent }) => textContent)).toEqual(["F09F90"]);
    model.rows(encode({ k: 2, start: 3, rows: [predicted(3)], seq: 2 }));
    await frame();
    expect(all("[data-token]").map(({ textContent }) => textContent)).toEqual(["🐉"]);
    model.put("selection", 2);
    await frame();
    expect(get(".logits-head").textContent).toContain("part 3 of 4 of 🐉");
  });
});

it("tells control tokens and a recorded run for what they are", async () => {
  model.status({ state: "closed" });
  await frame();
  expect(get(".status-state").textContent).toBe("waiting for a model");
  model.rows(
    encode({
      rows: [0, 1].map((i) => ({ parent: i - 1, token_id: i })),
      pieces: [
        [0, "<s>"],
        [1, "<p>"],
      ],
    }),
  );
  await frame();
  expect(all("[data-token]").map(({ innerHTML }) => innerHTML)).toEqual(['<i class="chip">&lt;s&gt;</i>', "&lt;p&gt;"]);
  expect(get(".status-state").textContent).toBe("a recorded run");
  expect(get(".status").dataset.state).toBe("recorded");
  const session = { id: 1, name: "a", model: "m", tokens: 2, state: "closed", started: 0, current: true, live: false };
  model.put("library", { sessions: [session] });
  await frame();
  expect(get(".status-state").textContent).toBe("a recorded run · its model is not loaded");
});

describe("the distribution", () => {
  beforeEach(async () => {
    model.rows(story());
    model.put("selection", 2);
    await frame();
  });

  it("shows rank, piece, bar and percent, the chosen, the cut and the rest", () => {
    const rows = all(".logits-row:not([hidden])");
    expect(rows.map(({ children }) => [...children].map(({ textContent }) => textContent))).toEqual([
      ["1", "·a", "", "13.5%"],
      ["2", "Once", "", "0.01%"],
      ["", "everything else", "", "25.0%"],
    ]);
    expect(rows.map(({ className }) => className)).toEqual(["logits-row chosen", "logits-row cut", "logits-row rest"]);
    expect(get(".logits-head").textContent).toContain("entropy 1.50 nats");
  });

  it("forks where another token is clicked, and nowhere else", () => {
    get(".logits-row.chosen").click();
    expect(last("fork")).toBeUndefined();
    get('.logits-row[data-token-id="0"]').click();
    expect(last("fork")).toMatchObject({ kind: "fork", node: 2, token_id: 0 });
  });

  it("forks nothing while a model is loaded", async () => {
    model.status({ state: "loading" });
    await frame();
    get('.logits-row[data-token-id="0"]').click();
    expect(last("fork")).toBeUndefined();
  });

  it("has nothing to show before the first token, and says so", async () => {
    model.put("selection", 0);
    await frame();
    expect(get(".logits-list").hidden).toBe(true);
    expect(get(".logits-note").textContent).toContain("first token");
  });

  it("is read aloud and pointed at in full at rest, and by its own text while it streams", async () => {
    const chosen = () => get(".logits-row.chosen");
    expect(chosen().title).toBe("·a  token 2: the token that came");
    model.put("selection", -1);
    model.status({ state: "generating" });
    await frame();
    expect(chosen().title).toContain("the token that came");
    model.rows(encode({ k: 2, start: 5, rows: [{ ...predicted(2), parent: 4 }], seq: 2 }));
    await vi.waitFor(() => expect(chosen().hasAttribute("title")).toBe(false));
    expect(get(".logits-head").textContent).toContain("token 5");
    chosen().dispatchEvent(new Event("pointerover", { bubbles: true }));
    expect(chosen().title).toBe("·a  token 2: the token that came");
    model.status({ state: "ready" });
    await frame();
    expect(chosen().title).toBe("·a  token 2: the token that came");
  });

  it("follows the newest token when none is selected", async () => {
    get("[data-action=latest]").click();
    await frame();
    expect(get(".logits-head").textContent).toContain("token 4");
  });
});

describe("the controls", () => {
  const enabled = () =>
    all(".buttons button:not([hidden])")
      .filter((b) => !(b as HTMLButtonElement).disabled)
      .map(({ dataset }) => dataset.action);

  it("can do what the state allows", async () => {
    model.rows(story());
    const can: Record<string, string[]> = {
      empty: ["run", "step"],
      loading: ["stop"],
      prefill: ["pause", "stop"],
      generating: ["pause", "stop"],
      paused: ["run", "resume", "step", "stop"],
      ready: ["run", "resume", "step"],
      error: ["run", "resume", "step"],
      closed: [],
    };
    for (const [state, actions] of Object.entries(can)) {
      model.status({ state });
      await frame();
      expect(enabled(), state).toEqual(actions);
    }
  });

  it("run the prompt that is written, by button and by Ctrl+Enter", () => {
    const prompt = get<HTMLTextAreaElement>("[data-field=prompt]");
    prompt.value = "Long ago";
    get("[data-action=run]").click();
    expect(last("run")).toMatchObject({ prompt: "Long ago" });
    prompt.value = "Longer ago";
    key(prompt, "Enter", { ctrlKey: true });
    expect(last("run")).toMatchObject({ prompt: "Longer ago" });
  });

  it("send a setting on Enter, once, and show why it was refused beside it", async () => {
    const field = get<HTMLInputElement>("[data-field=temperature]");
    field.focus();
    field.value = "-1";
    key(field, "Enter");
    field.blur();
    expect(model.sent.filter(({ kind }) => kind === "set")).toEqual([
      { kind: "set", id: last("set").id, name: "temperature", value: -1 },
    ]);
    model.reply(last("set").id, { type: "ValueError", message: "temperature: must not be negative" });
    await frame();
    expect(field.value).toBe("-1");
    expect(field.parentElement?.textContent).toContain("must not be negative");
    key(field, "Escape");
    expect(field.value).toBe("0.8");
    expect(field.getAttribute("aria-invalid")).toBeNull();
  });

  it("mark a setting that differs from the usual", async () => {
    model.put("settings", { temperature: 0.5, top_k: 40, seed: 3 });
    await frame();
    expect(all(".setting.changed input").map(({ dataset }) => dataset.field)).toEqual(["temperature", "seed"]);
  });

  it("take an empty seed as chance, and no word for a number", () => {
    model.put("settings", { seed: 3, top_k: 40 });
    const [seed, topK] = ["seed", "top_k"].map((name) => get<HTMLInputElement>(`[data-field=${name}]`));
    seed.value = "";
    key(seed, "Enter");
    expect(last("set")).toMatchObject({ name: "seed", value: null });
    topK.value = "many";
    key(topK, "Enter");
    expect(last("set")).toMatchObject({ name: "seed" });
    expect(topK.parentElement?.textContent).toContain("top-k is a number");
  });
});

describe("the frame", () => {
  it("shows errors in place: the state's, a command's, and the kernel's silence", async () => {
    const banner = get(".error-banner");
    expect(banner.hidden).toBe(true);
    get("[data-action=step]").click();
    model.reply(last("step").id, { type: "ContextFullError", message: "the context is full" });
    await new Promise((done) => setTimeout(done));
    await frame();
    expect(banner.textContent).toContain("ContextFullErrorthe context is full");
    get("[data-action=dismiss]").click();
    await frame();
    expect(banner.hidden).toBe(true);
    model.status({ state: "error", error: { type: "EngineDiedError", message: "gone" } });
    await frame();
    expect(banner.textContent).toContain("EngineDiedErrorgone");
    model.emit("comm_live_update");
    await frame();
    expect(banner.textContent).toContain("Run the cell again");
    expect(get(".status-state").textContent).toBe("no kernel");
  });

  it("holds the panels that were asked for", async () => {
    model.put("panels", ["logits"]);
    await frame();
    expect([get(".logits"), get(".stream"), get(".controls"), get(".legend")].map(Boolean)).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  it("keeps their order, and errors above the text", async () => {
    model.put("panels", ["strip", "logits", "status", "stream"]);
    await frame();
    const names = (element: HTMLElement) => [...element.children].map(({ classList }) => classList[0]);
    expect(names(get(".inferno-widget"))).toEqual(["strip", "error-banner", "body", "status", "legend"]);
    expect(names(get(".body"))).toEqual(["logits", "stream"]);
  });

  it("tells the status", async () => {
    const card = {
      name: "demo",
      architecture: "llama",
      parameters: 3145728,
      quantisation: "Q8_0",
      n_ctx_train: 512,
      n_vocab: 4096,
    };
    model.put("status", {
      state: "generating",
      model: card,
      n_ctx: 512,
      used: 162,
      tokens_per_second: 1240.4,
      rss: 41e6,
    });
    await frame();
    const shown = get(".status").cloneNode(true) as HTMLElement;
    for (const hidden of shown.querySelectorAll("[hidden]")) hidden.remove();
    expect(shown.textContent).toBe("demollama · 3.1 M · Q8_0generating · 1,240 tok/scontext 162 / 512engine 41 MB");
  });

  it("follows the notebook's theme", async () => {
    expect(get(".inferno-widget").dataset.theme).toBe("light");
    document.body.dataset.jpThemeLight = "false";
    await frame();
    expect(get(".inferno-widget").dataset.theme).toBe("dark");
    delete document.body.dataset.jpThemeLight;
  });

  it("is drawn at most once a frame", async () => {
    await frame();
    const draws = vi.spyOn(globalThis, "requestAnimationFrame");
    for (let i = 1; i <= TEXT.length; i++) model.rows(story(i, { seq: i }));
    expect(draws).toHaveBeenCalledTimes(1);
    draws.mockRestore();
  });
});

it("draws the newest token while it streams, without being told that it was the last", async () => {
  model.status({ state: "generating" });
  await frame();
  for (let i = 1; i <= TEXT.length; i++) model.rows(story(i, { seq: i }));
  await vi.waitFor(() => expect(get(".logits-head").textContent).toContain("token 4"));
  expect(all("[data-token]")).toHaveLength(TEXT.length);
});

it("two views of one model agree, and closing one stops nothing", async () => {
  const { initialize, render } = widget();
  const other = new FakeModel();
  const hosts = [0, 1].map(() => document.body.appendChild(document.createElement("div")));
  const end = initialize({ model: other });
  const leave = hosts.map((el) => render({ el }));
  other.rows(story());
  await frame();
  hosts[0].querySelectorAll<HTMLElement>("[data-token]")[3].click();
  await frame();
  expect(hosts.map((el) => el.querySelector<HTMLElement>(".selected")?.dataset.node)).toEqual(["3", "3"]);
  leave[0]();
  other.rows(encode({ k: 2, start: 5, rows: [predicted(4)].map((row) => ({ ...row, parent: 4 })), seq: 2 }));
  await frame();
  expect(hosts.map((el) => el.querySelectorAll("[data-token]").length)).toEqual([0, 6]);
  leave[1]();
  end();
  expect(other.listeners).toBe(0);
  for (const el of hosts) el.remove();
});
