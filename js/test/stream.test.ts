// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ToKernel } from "../src/protocol.js";
import { LOOK } from "../src/state.js";
import { Store } from "../src/store.js";
import { caretOf } from "../src/views/stream/edit.js";
import widget from "../src/widget.js";
import { decode } from "../src/wire.js";
import { encode, type Row } from "./encode.js";
import { FakeModel } from "./fake.js";

const PIECES = ["Once", " upon", " a", " time", "\n", "e", "\u0301", " Time"];
const LINE = 20;
const VIEW = 200;

const row = (i: number, token_id: number, more: Partial<Row> = {}): Row => ({
  parent: i - 1,
  token_id,
  kind: i < 2 ? 0 : 1,
  ...(i > 0 && { logprob: -(i % 9), entropy: 1.5, rank: 1 + (i % 3), ms: 2.5 }),
  ...more,
});
const pieces = PIECES.map((piece, i) => [i, piece] as const);
/** A line break at each eighth token, so that five lines of text have forty. */
const ids = (n: number): number[] => Array.from({ length: n }, (_, i) => (i % 8 === 7 ? 4 : i % 4));

let model: FakeModel;
let host: HTMLElement;
let close: () => void;
let resized: ((entries: unknown[]) => void)[] = [];

const frame = () => new Promise((done) => requestAnimationFrame(done));
const get = <T extends HTMLElement = HTMLElement>(selector: string): T => host.querySelector<T>(selector) as T;
const all = (selector: string) => [...host.querySelectorAll<HTMLElement>(selector)];
const text = () => get(".stream-text");
const nodes = () => all("[data-token]").map(({ dataset }) => Number(dataset.node));
const key = (target: Element, name: string, more = {}) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true, ...more }));
const last = (kind: string) =>
  model.sent.filter((message) => message.kind === kind).at(-1) as ToKernel & { node: number };

let seq = 0;
function send(tokens: number[], start = 0, more: Partial<Row> = {}): void {
  const rows = tokens.map((id, i) => row(start + i, id, more));
  model.rows(encode({ start, rows, pieces, seq: ++seq }));
}

/** Scrolls as a reader does. */
function scroll(y: number): void {
  text().scrollTop = y;
  text().dispatchEvent(new Event("scroll"));
}

/** jsdom lays nothing out: a block is as high as it has line breaks, and the text as all that is in it. */
function layOut(): void {
  const lines = (element: HTMLElement): number => element.textContent?.split("\n").length ?? 1;
  vi.spyOn(HTMLElement.prototype, "offsetHeight", "get").mockImplementation(function (this: HTMLElement) {
    return this.className === "block" ? Math.max(1, lines(this) - 1) * LINE : 0;
  });
  vi.spyOn(Element.prototype, "scrollHeight", "get").mockImplementation(function (this: Element) {
    const inner = [...this.children] as HTMLElement[];
    return inner.reduce((sum, { style, offsetHeight }) => sum + (Number.parseFloat(style.height) || offsetHeight), 0);
  });
  vi.spyOn(Element.prototype, "clientHeight", "get").mockReturnValue(VIEW);
  let top = 0;
  vi.spyOn(Element.prototype, "scrollTop", "get").mockImplementation(() => top);
  vi.spyOn(Element.prototype, "scrollTop", "set").mockImplementation(function (this: Element, y: number) {
    top = Math.max(0, Math.min(y, this.scrollHeight - VIEW));
  });
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
  resized = [];
  vi.stubGlobal(
    "ResizeObserver",
    class {
      constructor(callback: (entries: unknown[]) => void) {
        resized.push(callback);
      }
      observe(): void {}
      disconnect(): void {}
    },
  );
}

beforeEach(() => {
  layOut();
  model = new FakeModel({ status: { state: "ready", n_ctx: 512 }, panels: ["stream"] });
  host = document.createElement("div");
  document.body.append(host);
  const { initialize, render } = widget();
  const end = initialize({ model });
  const leave = render({ el: host });
  text().style.lineHeight = `${LINE}px`;
  for (const callback of resized) callback([{ contentRect: { width: 600, height: VIEW } }]);
  close = () => {
    leave();
    end();
    host.remove();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  };
});
afterEach(() => close());

describe("a long text", () => {
  const N = 20_000;
  beforeEach(async () => {
    send(ids(N));
    await frame();
  });

  it("is in the page only where it is seen, at its end first", () => {
    expect(nodes().length).toBeLessThan(1000);
    expect(nodes().at(-1)).toBe(N - 1);
    const [above, below] = all(".pad").map(({ style }) => Number.parseFloat(style.height));
    expect(below).toBe(0);
    expect(above + all(".block").reduce((sum, { offsetHeight }) => sum + offsetHeight, 0)).toBe((N / 8) * LINE);
  });

  it("comes into the page where one scrolls to, and what is read does not jump", () => {
    for (const y of [25_000, 24_900, 24_000, 12_000, 300, 0]) {
      scroll(y);
      // A token at this height: eight to a line.
      const expected = (text().scrollTop / LINE) * 8;
      expect(nodes()[0], `at ${y}`).toBeLessThanOrEqual(expected);
      expect(nodes().at(-1), `at ${y}`).toBeGreaterThan(expected + (VIEW / LINE) * 8 - 8);
      expect(nodes().length).toBeLessThan(1000);
    }
    expect(nodes()[0]).toBe(0);
  });

  it("keeps its place while more comes, and follows again when asked to", async () => {
    scroll(10_000);
    const [before, shown] = [text().scrollTop, nodes()];
    expect(get("[data-action=follow]").hidden).toBe(false);
    send(ids(800), N);
    await frame();
    expect([text().scrollTop, nodes()]).toEqual([before, shown]);
    get("[data-action=follow]").click();
    expect(nodes().at(-1)).toBe(N + 799);
    send(ids(800), N + 800);
    await frame();
    expect(nodes().at(-1)).toBe(N + 1599);
    expect(get("[data-action=follow]").hidden).toBe(true);
  });

  it("does not follow where the reader wants none of it", async () => {
    model.put("look", { ...LOOK, follow: false });
    await frame();
    send(ids(800), N);
    await frame();
    expect(nodes()).not.toContain(N + 799);
  });

  it("shows a token that is selected anywhere, and keeps it selected while more comes", async () => {
    for (const node of [7000, 12, 19_000]) {
      model.put("selection", node);
      await frame();
      expect(get(".selected").dataset.node).toBe(String(node));
      expect(text().getAttribute("aria-activedescendant")).toBe(get(".selected").id);
      expect(get(".selected").getAttribute("aria-posinset")).toBe(String(node + 1));
      expect(get(".selected").getAttribute("aria-setsize")).toBe(String(N));
    }
    send(ids(80), N);
    await frame();
    expect(get(".selected").dataset.node).toBe("19000");
    key(text(), "ArrowRight");
    expect(last("select").node).toBe(19_001);
  });

  it("recolours what is drawn, and touches no token for a palette", async () => {
    scroll(0);
    expect(all("[data-token]")[4].className).toContain("s16");
    const changes: MutationRecord[] = [];
    const observer = new MutationObserver((records) => changes.push(...records));
    observer.observe(text(), { subtree: true, attributes: true, childList: true });
    model.put("look", { ...LOOK, palette: "viridis" });
    await frame();
    expect(get(".inferno-widget").dataset.palette).toBe("viridis");
    changes.push(...observer.takeRecords());
    expect(changes).toEqual([]);
    model.put("look", { ...LOOK, metric: "entropy" });
    await frame();
    expect(all("[data-token]")[4].className).toBe("t generated s9");
    expect(all("[data-token]")[0].className).toBe("t prompt");
    model.put("look", { ...LOOK, metric: "entropy", font_size: 21, glyphs: false });
    await frame();
    expect(get(".inferno-widget").style.getPropertyValue("--iw-font-size")).toBe("21px");
    expect(get(".inferno-widget").dataset.glyphs).toBe("off");
  });

  it("starts anew for another branch", async () => {
    scroll(0);
    model.rows(encode({ start: N, rows: [{ ...row(N, 2), parent: 10 }], seq: ++seq }));
    await frame();
    expect(nodes()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, N]);
    expect(get(".minimap").hidden).toBe(true);
  });

  it("has a minimap that tells and moves what is seen", async () => {
    scroll(0);
    const map = get(".minimap");
    expect(map.hidden).toBe(false);
    for (const callback of resized) callback([{ contentRect: { width: 600, height: VIEW } }]);
    expect(map.getAttribute("aria-valuemax")).toBe(String(N - 1));
    expect(map.getAttribute("aria-valuetext")).toMatch(/^tokens 0 to \d\d of 20,000$/);
    key(map, "End");
    expect(nodes().at(-1)).toBe(N - 1);
    key(map, "PageUp");
    expect(Number(map.getAttribute("aria-valuenow"))).toBeLessThan(N - 100);
    key(map, "Home");
    expect(nodes()[0]).toBe(0);
  });
});

describe("what the model no longer sees", () => {
  it("is dimmed, and seen again on a branch that left nothing out", async () => {
    model.status({ keep: 3 });
    send(ids(10));
    send([1], 10, { left_out: 4 });
    await frame();
    const unseen = () => all(".unseen").map(({ dataset }) => Number(dataset.node));
    expect(unseen()).toEqual([3, 4, 5, 6]);
    send([1], 11, { left_out: 5 });
    await frame();
    expect(unseen()).toEqual([3, 4, 5, 6, 7]);
    model.rows(encode({ start: 12, rows: [{ ...row(12, 2), parent: 9 }], seq: ++seq }));
    await frame();
    expect(unseen()).toEqual([]);
  });
});

describe("finding", () => {
  const typed = (value: string) => {
    get<HTMLInputElement>("[data-field=find]").value = value;
    get("[data-field=find]").dispatchEvent(new Event("input", { bubbles: true }));
    return get(".find-count").textContent;
  };

  beforeEach(async () => {
    send(ids(8000));
    send([7, 0], 8000);
    await frame();
    scroll(0);
    key(text(), "f", { ctrlKey: true });
  });

  it("counts hits across tokens, in capitals or small letters", () => {
    expect(get(".find").hidden).toBe(false);
    expect(document.activeElement).toBe(get("[data-field=find]"));
    expect(typed("ONCE UPON")).toBe("1 of 2,000");
    expect(typed("once upon a time")).toBe("1 of 1,000");
    expect(typed("time")).toBe("1 of 1,001");
    get("[data-action=find-case]").click();
    expect(typed("Time")).toBe("1 of 1");
    expect(typed("never")).toBe("0 hits");
    expect(typed("")).toBe("");
  });

  it("goes to the next and the previous one, round the end, and selects its first token", async () => {
    typed("Time");
    get("[data-action=find-case]").click();
    key(get("[data-field=find]"), "Enter");
    expect(last("select").node).toBe(8000);
    await frame();
    expect(get(".selected").dataset.node).toBe("8000");
    get("[data-action=find-case]").click();
    typed("a time");
    key(get("[data-field=find]"), "Enter");
    const first = last("select").node;
    expect(first % 4).toBe(2);
    key(get("[data-field=find]"), "Enter", { shiftKey: true });
    key(get("[data-field=find]"), "Enter", { shiftKey: true });
    key(get("[data-field=find]"), "Enter");
    key(get("[data-field=find]"), "Enter");
    expect(last("select").node).toBe(first);
  });

  it("takes in what comes while it is open, and nothing of what a fork took away", async () => {
    expect(typed("time")).toBe("1 of 1,001");
    send([7], 8002);
    await frame();
    expect(get(".find-count").textContent).toContain("1,002");
    model.rows(encode({ start: 8003, rows: [{ ...row(8003, 0), parent: 9 }], seq: ++seq }));
    await frame();
    expect(get(".find-count").textContent).toBe("1 of 1");
  });

  it("goes to a token by its number", () => {
    const field = get<HTMLInputElement>("[data-field=goto]");
    field.value = "4,321";
    key(field, "Enter");
    expect(last("select").node).toBe(4321);
    expect(nodes()).toContain(4321);
    field.value = "99999999";
    key(field, "Enter");
    expect(last("select").node).toBe(8001);
    field.value = "first";
    key(field, "Enter");
    expect(field.getAttribute("aria-invalid")).toBe("true");
  });

  it("is left with Escape, back to the text", () => {
    key(get("[data-field=find]"), "Escape");
    expect(get(".find").hidden).toBe(true);
    expect(document.activeElement).toBe(text());
  });
});

describe("copying", () => {
  const copied = (): string => {
    const data = new Map<string, string>();
    const event = Object.assign(new Event("copy", { bubbles: true, cancelable: true }), {
      clipboardData: { setData: (type: string, value: string) => data.set(type, value) },
    });
    text().dispatchEvent(event);
    return data.get("text/plain") ?? "";
  };
  const whole = (n: number) =>
    ids(n)
      .map((id) => PIECES[id])
      .join("");
  const mark = (from: [number, number], to: [number, number]): void => {
    const point = ([node, offset]: [number, number]): [Node, number] => [
      get(`[data-node="${node}"]`).firstChild as Node,
      offset,
    ];
    getSelection()?.setBaseAndExtent(...point(from), ...point(to));
    document.dispatchEvent(new Event("selectionchange"));
  };

  it("all of a long text takes it from the store, not from the page", async () => {
    send(ids(8000));
    await frame();
    key(text(), "a", { ctrlKey: true });
    document.dispatchEvent(new Event("selectionchange"));
    expect(copied()).toBe(whole(8000));
  });

  it("what is marked keeps the end that was scrolled away", async () => {
    send(ids(8000));
    await frame();
    scroll(0);
    mark([1, 3], [17, 2]);

    const all = whole(8000);
    expect(copied()).toBe(all.slice(4 + 3, whole(17).length + 2));
    scroll(15_000);
    document.dispatchEvent(new Event("selectionchange"));
    expect(copied()).toBe(all.slice(4 + 3, whole(17).length + 2));
    scroll(0);
    expect(getSelection()?.toString()).toBe(all.slice(4 + 3, whole(17).length + 2));
  });

  it("as text, Markdown and Python, of what is marked or of all", async () => {
    const written: string[] = [];
    vi.stubGlobal("navigator", { clipboard: { writeText: async (value: string) => void written.push(value) } });
    send(ids(6));
    send([5, 6], 6, { kind: 2 });
    await frame();
    get("[data-action=copy-text]").click();
    expect(get(".menu").textContent).toContain("Copy all");
    for (const item of all("[role=menuitem]")) item.click();
    await frame();
    expect(written).toEqual([
      "Once upon a timeOnce upone\u0301",
      "**Prompt**\n\n```text\nOnce upon\n```\n\n**What followed**\n\n```text\n a timeOnce upon⟦e\u0301⟧\n```\n",
      'text = "Once upon a timeOnce upone\u0301"\nids = [0, 1, 2, 3, 0, 1, 5, 6]  # tokens 0 to 7\n',
    ]);
    mark([2, 0], [3, 5]);
    written.length = 0;
    get("[data-format=Python]").click();
    await frame();
    expect(written).toEqual(['text = " a time"\nids = [2, 3]  # tokens 2 to 3\n']);
  });

  it("leaves out control tokens, whatever they are called, which stand in the text as such", async () => {
    const called = ["<bos>", "Once", "<end_of_turn>"];
    const rows = called.map((_, i) => row(i, i));
    model.rows(encode({ rows, pieces: called.map((name, i) => [i, name] as const), control: [0, 2], seq: ++seq }));
    await frame();
    expect(all(".chip").map(({ textContent }) => textContent)).toEqual(["<bos>", "<end_of_turn>"]);
    const written: string[] = [];
    vi.stubGlobal("navigator", { clipboard: { writeText: async (value: string) => void written.push(value) } });
    for (const item of all("[role=menuitem]")) item.click();
    await frame();
    expect(written).toEqual([
      "Once",
      "**Prompt**\n\n```text\nOnce\n```\n",
      'text = "Once"\nids = [0, 1, 2]  # tokens 0 to 2\n',
    ]);
    key(text(), "a", { ctrlKey: true });
    document.dispatchEvent(new Event("selectionchange"));
    expect(copied()).toBe("Once");
  });

  it("in a menu that closes behind whoever leaves it, and gives the focus back", async () => {
    vi.stubGlobal("navigator", { clipboard: { writeText: async () => undefined } });
    send(ids(6));
    await frame();
    const opener = get("[data-action=copy-text]");
    opener.click();
    expect(document.activeElement).toBe(get("[role=menuitem]"));
    get("[data-action=find]").focus();
    expect([get(".menu").hidden, opener.getAttribute("aria-expanded")]).toEqual([true, "false"]);
    opener.click();
    get("[role=menuitem]").click();
    await frame();
    expect([get(".menu").hidden, document.activeElement]).toEqual([true, opener]);
  });
});

describe("the card", () => {
  const point = (target: Element, x = 1): void => {
    target.dispatchEvent(
      Object.assign(new MouseEvent("pointermove", { bubbles: true, clientX: x, clientY: 5 }), { pointerType: "mouse" }),
    );
  };
  const shown = () => get(".card").classList.contains("open");

  beforeEach(async () => {
    send([0, 1, 2, 5, 6, 4]);
    await frame();
  });

  it("tells all of a token the pointer rests on, and goes with Escape, the selection staying", async () => {
    model.put("selection", 1);
    await frame();
    point(get('[data-node="2"]'));
    expect(shown()).toBe(false);
    await vi.waitFor(() => expect(shown()).toBe(true));
    const facts = all(".card dl div").map(({ children }) => [...children].map(({ textContent }) => textContent));
    expect(facts).toEqual([
      ["id", "2"],
      ["bytes", "20 61"],
      ["logprob", "-2.000 nats"],
      ["probability", "13.5%"],
      ["rank", "3"],
      ["entropy", "1.50 nats"],
      ["time", "2.50 ms"],
    ]);
    expect(get('[data-node="2"]').getAttribute("aria-describedby")).toBe(get(".card").id);
    key(text(), "Escape");
    expect(shown()).toBe(false);
    expect(last("select")).toBeUndefined();
  });

  it("of a line break alone has a name for those who do not see it", async () => {
    const named = all("[data-token]").filter((token) => !token.textContent?.trim());
    expect(named.map((token) => token.getAttribute("aria-label"))).toEqual(["line break"]);
  });

  it("stays while more is generated behind it", async () => {
    model.status({ state: "generating" });
    point(get('[data-node="2"]'), 7);
    await vi.waitFor(() => expect(shown()).toBe(true));
    send([2], 6);
    await frame();
    await frame();
    expect(get('[data-node="6"]')).toBeTruthy();
    expect(shown()).toBe(true);
  });

  it("tells the parts of a character of several tokens, and their joint probability", async () => {
    expect(get('[data-node="3"]').className).toBe("t generated s28 joint");
    point(get('[data-node="3"]'));
    await vi.waitFor(() => expect(shown()).toBe(true));
    expect(get(".card-joint").textContent).toBe("one character of 2 tokens, joint probability 0.09%, 7.00 nats");
    expect(all(".card tr").map(({ textContent }) => textContent)).toEqual(["15655.0%", "26CC 811.8%"]);
  });

  it("follows the keys, and the text that moves under a pointer at rest brings none", async () => {
    key(text(), "Home");
    await vi.waitFor(() => expect(shown()).toBe(true));
    expect(get(".card").textContent).toContain("nothing came before it");
    key(text(), "ArrowRight");
    await vi.waitFor(() => expect(get(".card p").textContent).toBe("·upon token 1"));
    key(text(), "Escape");
    expect(last("select").node).toBe(-1);
    expect(shown()).toBe(false);
    point(get('[data-node="1"]'), 9);
    text().dispatchEvent(new Event("pointerleave"));
    point(get('[data-node="2"]'), 9);
    await new Promise((done) => setTimeout(done, 450));
    expect(shown()).toBe(false);
  });
});

describe("going back", () => {
  const back = () => get("[data-action=back]");
  const sent = (kind: string) => model.sent.filter((message) => message.kind === kind);
  const answer = async (kind: string): Promise<void> => {
    model.answer((last(kind) as unknown as { id: number }).id, null);
    await frame();
    await frame();
  };

  beforeEach(async () => {
    send(ids(6));
    await frame();
  });

  it("to the selected token makes it the newest, and lets it go", async () => {
    expect(back().hidden).toBe(true);
    get('[data-node="3"]').click();
    await frame();
    expect(back().hidden).toBe(false);
    expect(back().title).toContain("stays on its branch");
    key(text(), "Backspace");
    expect(last("goto").node).toBe(3);
    await answer("goto");
    expect(nodes().at(-1)).toBe(3);
    expect(last("select").node).toBe(-1);
    expect(back().hidden).toBe(true);
  });

  it("by a click does the same", async () => {
    get('[data-node="2"]').click();
    await frame();
    back().click();
    expect(last("goto").node).toBe(2);
  });

  it("goes by one token where none is selected, and nowhere from the newest", async () => {
    key(text(), "Backspace");
    expect(sent("rewind")).toMatchObject([{ n: 1 }]);
    get('[data-node="5"]').click();
    await frame();
    key(text(), "Backspace");
    expect([sent("rewind").length, sent("goto").length]).toEqual([1, 0]);
  });

  it("is refused in the open", async () => {
    get('[data-node="3"]').click();
    key(text(), "Backspace");
    const { id } = last("goto") as unknown as { id: number };
    model.reply(id, { type: "InfernoError", message: "the session is closed" });
    await frame();
    await frame();
    expect(host.textContent).toContain("the session is closed");
    expect(nodes().at(-1)).toBe(5);
  });

  it("is not offered where nothing can go on", async () => {
    model.emit("comm_live_update");
    get('[data-node="3"]').click();
    await frame();
    expect([back().hidden, get("[data-action=edit]").hidden]).toEqual([true, true]);
    key(text(), "Backspace");
    expect(sent("goto")).toEqual([]);
  });
});

describe("editing", () => {
  const area = () => get<HTMLTextAreaElement>(".stream-edit textarea");
  const form = () => get(".stream-edit");
  const id = (kind: string) => (last(kind) as unknown as { id: number }).id;
  const settle = async (): Promise<void> => {
    await frame();
    await frame();
  };

  /** Opens it on a text of six tokens, the third selected. */
  async function open(): Promise<void> {
    send(ids(6));
    await frame();
    get('[data-node="2"]').click();
    text().focus();
    key(text(), "e");
    await settle();
    model.answer(id("text"), "Once upon a timeOnce upon");
    await settle();
  }

  it("takes the place of the text, with the caret at the selected token", async () => {
    await open();
    expect(form().hidden).toBe(false);
    expect(get(".stream").classList.contains("editing")).toBe(true);
    expect(area().value).toBe("Once upon a timeOnce upon");
    expect(area().selectionStart).toBe("Once upon".length);
    expect(document.activeElement).toBe(area());
    expect(get("[data-action=edit]").hidden).toBe(true);
  });

  it("is sent by Ctrl+Enter, and the text is back when it is done", async () => {
    await open();
    area().value = "Once upon a dragon";
    key(area(), "Enter", { ctrlKey: true });
    expect(last("edit")).toMatchObject({ text: "Once upon a dragon" });
    expect([area().readOnly, get(".stream-edit [role=status]").textContent]).toEqual([true, "Reading what is new…"]);
    key(area(), "Enter", { ctrlKey: true });
    expect(model.sent.filter(({ kind }) => kind === "edit")).toHaveLength(1);
    model.answer(id("edit"), null);
    await settle();
    expect(form().hidden).toBe(true);
    expect(document.activeElement).toBe(text());
  });

  it("stays open with what was written when it is refused", async () => {
    await open();
    area().value = "";
    get("[data-action=apply-edit]").click();
    model.reply(id("edit"), { type: "ValueError", message: "the text is empty: give it some" });
    await settle();
    expect(get(".stream-edit .failure").textContent).toBe("ValueError the text is empty: give it some");
    expect([form().hidden, area().readOnly]).toEqual([false, false]);
  });

  it("is cancelled by Escape, and sends nothing where nothing was changed", async () => {
    await open();
    area().value = "something else";
    key(area(), "Escape");
    expect(form().hidden).toBe(true);
    get("[data-action=edit]").click();
    await settle();
    model.answer(id("text"), "the same");
    await settle();
    get("[data-action=apply-edit]").click();
    await settle();
    expect(form().hidden).toBe(true);
    expect(last("edit")).toBeUndefined();
  });

  it("says why there is no text", async () => {
    send(ids(6));
    await frame();
    get("[data-action=edit]").click();
    model.reply(id("text"), { type: "InfernoError", message: "nothing is shown" });
    await settle();
    expect(get(".stream-edit .failure").textContent).toContain("nothing is shown");
    expect(get<HTMLButtonElement>("[data-action=apply-edit]").disabled).toBe(true);
  });

  it("finds a token behind what the text lacks or writes otherwise", () => {
    const store = new Store();
    const parts = ["<s>", "ab", Uint8Array.of(0xf0), "cd", "ef"] as const;
    const rows = parts.map((_, i) => ({ parent: i - 1, token_id: i }));
    store.apply(decode(encode({ rows, pieces: parts.map((part, i) => [i, part] as const) })));
    const written = "ab\\xf0cdef";
    expect([0, 1, 3, 4].map((node) => caretOf(store, written, node))).toEqual([0, 0, 6, 8]);
    expect(caretOf(store, written, -1)).toBe(written.length);
  });
});

describe("marks", () => {
  const fork = (): void => {
    send(ids(6));
    model.rows(encode({ start: 6, rows: [row(6, 7, { parent: 2 }), row(7, 1)], head: 7, seq: ++seq }));
  };

  it("stand at the token that the same dice gave instead", async () => {
    fork();
    model.put("marks", { diverged: [6] });
    await frame();
    expect(all(".diverged").map(({ dataset, title }) => [dataset.node, title])).toEqual([
      ["6", "With the same dice, another token came here"],
    ]);
    model.put("marks", { diverged: [] });
    await frame();
    expect(all(".diverged")).toEqual([]);
    expect(get('[data-node="6"]').hasAttribute("title")).toBe(false);
  });

  it("name the branch that is shown where it begins, and no other", async () => {
    fork();
    model.put("marks", { names: { "the dragon": 7, trunk: 5 } });
    await frame();
    expect(all("[data-branch]").map(({ dataset }) => [dataset.node, dataset.branch])).toEqual([["6", "the dragon"]]);
    model.rows(encode({ start: 8, rows: [], head: 5, seq: ++seq }));
    await frame();
    expect(all("[data-branch]").map(({ dataset }) => [dataset.node, dataset.branch])).toEqual([["0", "trunk"]]);
  });
});
