// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import { copyButton } from "../src/views/parts/copy.js";
import { fileName } from "../src/views/parts/download.js";
import { longName } from "../src/views/parts/name.js";
import { numberField } from "../src/views/parts/number.js";
import { key, tick } from "./open.js";

afterEach(() => document.body.replaceChildren());

describe("a copy button", () => {
  const press = async (): Promise<string> => {
    const button = document.body.appendChild(copyButton(() => "text", "Copy"));
    button.click();
    await tick();
    return button.textContent;
  };

  it("copies where the page is trusted, by the copy of what is selected or of the text where it is not, and says where neither works", async () => {
    const written: string[] = [];
    vi.stubGlobal("navigator", { clipboard: { writeText: async (text: string) => written.push(text) } });
    expect([await press(), written]).toEqual(["copied", ["text"]]);
    vi.stubGlobal("navigator", {});
    const data = new Map<string, string>();
    const copy = Object.assign(new Event("copy", { cancelable: true }), {
      clipboardData: { setData: (type: string, value: string) => data.set(type, value) },
    });
    Object.assign(document, { execCommand: () => !document.dispatchEvent(copy) });
    expect([await press(), data.get("text/plain"), copy.defaultPrevented]).toEqual(["copied", "text", true]);
    const selected: string[] = []; // where the browser copies nothing unless something is selected
    Object.assign(document, {
      execCommand: () => selected.push((document.activeElement as HTMLTextAreaElement).value) > 1,
    });
    expect([await press(), selected]).toEqual(["copied", [undefined, "text"]]);
    Object.assign(document, { execCommand: () => false });
    expect(await press()).toBe("select it to copy");
    expect(document.querySelectorAll("textarea")).toHaveLength(0);
    vi.unstubAllGlobals();
  });
});

it("a long name keeps its end, and never cuts a sign in two", () => {
  const name = longName();
  const long = `${"x".repeat(60)}👩‍👩‍👧abcdefghijk`;
  name.draw(long);
  expect(name.element.textContent).toBe(long);
  expect(name.element.lastChild?.textContent).toBe("👩‍👩‍👧abcdefghijk");
  name.draw("short.gguf");
  expect(name.element.firstChild?.textContent).toBe("short.gguf");
});

it("a file's name has nothing in it that a file system refuses", () => {
  expect(fileName('a/b\\c: "d"?\u0007')).toBe("a-b-c- -d-");
  expect(fileName("  ")).toBe("session");
});

describe("a number", () => {
  const field = (give = vi.fn(async () => null as { type: string; message: string } | null)) => {
    const made = numberField({ label: "context", name: "n", min: 256, max: 4096, step: 256, log: true }, give);
    document.body.append(made.element);
    made.show(1024);
    const [slider, input] = made.element.querySelectorAll("input");
    return { made, give, slider, input };
  };

  it("is the same on the slider and in the field; equal steps of a log slider multiply", () => {
    const { slider, input, give } = field();
    expect([slider.value, input.value]).toEqual(["500", "1024"]);
    slider.value = "750";
    slider.dispatchEvent(new Event("input"));
    expect([input.value, give.mock.calls]).toEqual(["2048", [[2048]]]);
    key(input, "ArrowUp");
    expect(input.value).toBe("2304");
  });

  it("stays as it is written while something else is shown, and shows why it was refused until it is given up", async () => {
    const { made, input } = field(vi.fn(async () => ({ type: "E", message: "too much" })));
    input.focus();
    input.value = "2000";
    made.show(512);
    expect(input.value).toBe("2000");
    key(input, "Enter");
    await tick();
    made.show(512);
    expect([input.value, made.element.querySelector(".field-error")?.textContent]).toEqual(["2000", "too much"]);
    key(input, "Escape");
    expect([input.value, made.element.querySelector(".field-error")?.textContent]).toEqual(["512", ""]);
  });
});
