// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Link, type Model } from "../src/link.js";
import { player } from "../src/views/player.js";
import { encode } from "./encode.js";
import { FakeModel } from "./fake.js";

const PROMPT = 3;
const TOKENS = 13;
const MS = [0, 0, 0, 40, 10, 300, 10, 10, 10, 10, 10, 10, 10];

let link: Link;
let view: ReturnType<typeof player>;
let calm: boolean;

/** A recording of 3 tokens of prompt and 10 that were generated, played from now on. */
function open(recorded = true): FakeModel {
  const model = new FakeModel({ status: { state: "closed" } });
  link = new Link(Object.assign(model, { recorded }) as unknown as Model);
  const rows = MS.map((ms, i) => ({ parent: i - 1, token_id: 1, kind: i < PROMPT ? 0 : 1, ms }));
  model.rows(encode({ rows, pieces: [[1, "x"]] }));
  view = player(link);
  link.onChange(view.draw);
  document.body.replaceChildren(view.element);
  view.draw(false);
  return model;
}

beforeEach(() => {
  calm = false;
  vi.stubGlobal("matchMedia", () => ({ matches: calm }));
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});

afterEach(() => {
  view.close?.();
  link.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const find = <T extends HTMLElement>(selector: string): T => view.element.querySelector(selector) as T;
const slider = (): HTMLInputElement => find("input");
const play = (): void => find("button").click();
const press = (key: string, on: EventTarget = document.body): boolean =>
  on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
function speed(name: string): void {
  const select = find<HTMLSelectElement>("select");
  select.value = [...select.options].find(({ text }) => text === name)?.value as string;
}

describe("the player", () => {
  it("begins at the end, with everything shown", () => {
    open();
    expect([slider().value, slider().max, find(".player-place").textContent]).toEqual(["13", "13", "13 / 13"]);
    expect(slider().getAttribute("aria-valuetext")).toBe("token 13 of 13");
  });

  it("plays from the end of the prompt at the speed that was chosen, and stops at the end", () => {
    open();
    speed("4 tokens/s");
    play();
    expect([link.store.length, find("button").textContent]).toEqual([PROMPT, "❚❚ Pause"]);
    vi.advanceTimersByTime(1_020);
    expect(link.store.length).toBe(PROMPT + 4);
    vi.advanceTimersByTime(1_500);
    expect([link.store.length, find("button").textContent]).toEqual([TOKENS, "▶ Play"]);
    expect(link.store.limit).toBe(Number.POSITIVE_INFINITY);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("plays as recorded: each token as long as it took", () => {
    open();
    speed("as recorded");
    play();
    vi.advanceTimersByTime(60);
    expect(link.store.length).toBe(PROMPT + 2);
    vi.advanceTimersByTime(200);
    expect(link.store.length).toBe(PROMPT + 2);
    vi.advanceTimersByTime(160);
    expect(link.store.length).toBeGreaterThan(PROMPT + 3);
  });

  it("pauses where it is, and goes on from there", () => {
    open();
    speed("4 tokens/s");
    play();
    vi.advanceTimersByTime(600);
    play();
    vi.advanceTimersByTime(5_000);
    expect(link.store.length).toBe(PROMPT + 2);
    play();
    vi.advanceTimersByTime(300);
    expect(link.store.length).toBe(PROMPT + 3);
  });

  it("moves once a second where little motion is wanted", () => {
    calm = true;
    open();
    play();
    const seen = new Set<number>();
    for (let ms = 0; ms < 950; ms += 50) {
      vi.advanceTimersByTime(50);
      seen.add(link.store.length);
    }
    expect([...seen]).toEqual([PROMPT]);
    vi.advanceTimersByTime(100);
    expect(link.store.length).toBe(TOKENS);
  });

  it("follows the slider, and lets go of the token that was selected", () => {
    const model = open();
    model.put("selection", 9);
    slider().value = "6";
    slider().dispatchEvent(new Event("input"));
    expect(link.store.length).toBe(6);
    expect(model.sent.filter(({ kind }) => kind === "select")).toEqual([{ kind: "select", node: -1 }]);
  });

  it("says whether more will follow, so that the page draws at its own pace", () => {
    open();
    const heard: boolean[] = [];
    link.onChange((streaming) => heard.push(streaming));
    press("Home", slider());
    play();
    vi.advanceTimersByTime(100);
    play();
    expect([heard[0], heard.at(-2), heard.at(-1)]).toEqual([false, true, false]);
  });
});

describe("the keyboard", () => {
  it("steps, goes to both ends, plays and pauses", () => {
    open();
    const at: number[] = [];
    for (const key of ["ArrowLeft", "ArrowLeft", "ArrowRight", "Home", "ArrowLeft", "End", "ArrowRight"]) {
      press(key, slider());
      at.push(link.store.length);
    }
    expect(at).toEqual([12, 11, 12, 1, 1, 13, 13]);
    expect(press(" ", slider())).toBe(false);
    expect(find("button").textContent).toContain("Pause");
  });

  it("is the player's on the whole of a recording, but not what another part of it uses", () => {
    open();
    const other = document.body.appendChild(document.createElement("button"));
    press("ArrowLeft");
    press("ArrowLeft", other);
    press("Home");
    expect(link.store.length).toBe(12);
    document.body.addEventListener("keydown", (event) => event.preventDefault(), { once: true });
    press("ArrowLeft");
    expect(link.store.length).toBe(12);
  });

  it("is left alone where there is a notebook around", () => {
    open(false);
    press("ArrowLeft");
    expect(link.store.length).toBe(TOKENS);
    press("ArrowLeft", slider());
    expect(link.store.length).toBe(TOKENS - 1);
  });

  it("is given back when the view closes", () => {
    open();
    view.close?.();
    press("ArrowLeft");
    expect(link.store.length).toBe(TOKENS);
  });
});
