// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Link } from "../src/link.js";
import type { ToKernel } from "../src/protocol.js";
import { controls } from "../src/views/controls.js";
import { legend } from "../src/views/legend.js";
import { logits } from "../src/views/logits.js";
import { USUAL } from "../src/views/parts/sampling.js";
import { strip } from "../src/views/strip.js";
import { look } from "../src/views/tools/look.js";
import { encode, type Row } from "./encode.js";
import { FakeModel } from "./fake.js";

let model: FakeModel;
let link: Link;

const WORDS = ["Once", " upon", " a", " time"];
const predicted = (i: number): Row => ({
  parent: i - 1,
  token_id: i % WORDS.length,
  kind: i < 2 ? 0 : 1,
  ...(i > 0 && {
    logprob: -((i % 9) + 1),
    entropy: 1.5,
    rank: 10,
    ms: 20,
    tail: 0.1,
    top_ids: [0, 1, 2, 3],
    top_logprobs: [0.5, 0.2, 0.1, 0.1].map(Math.log),
  }),
});

function rows(from: number, to: number, seq = 1): void {
  const made = Array.from({ length: to - from }, (_, i) => predicted(from + i));
  model.rows(encode({ k: 4, start: from, rows: made, seq, pieces: WORDS.map((word, i) => [i, word] as const) }));
}

const last = (kind: string) =>
  model.sent.filter((message) => message.kind === kind).at(-1) as ToKernel & { id: number };
const settle = () => new Promise((done) => setTimeout(done));

beforeEach(() => {
  model = new FakeModel({ status: { state: "ready" }, settings: { ...USUAL } });
  link = new Link(model);
});

afterEach(() => link.close());

describe("the drawer", () => {
  const open = () => {
    const view = look(link);
    document.body.replaceChildren(view.element);
    view.draw(false);
    const option = (value: string) =>
      view.element.querySelector<HTMLInputElement>(`[value="${value}"]`) as HTMLInputElement;
    return { view, option };
  };

  it("shows what holds: metric, palette, text and list", () => {
    model.put("look", { metric: "rank", palette: "cividis", top_k: 7, glyphs: false, font_size: 20, follow: false });
    const { view, option } = open();
    expect([option("rank"), option("cividis"), option("surprisal")].map(({ checked }) => checked)).toEqual([
      true,
      true,
      false,
    ]);
    const value = (name: string) =>
      view.element.querySelector<HTMLInputElement>(`[data-field=${name}]`) as HTMLInputElement;
    expect([value("top_k").value, value("font_size").value]).toEqual(["7", "20"]);
    expect([value("glyphs").checked, value("follow").checked]).toEqual([false, false]);
    const swatches = [...view.element.querySelectorAll<HTMLElement>(".swatch")].map(
      ({ style }) => style.backgroundImage,
    );
    expect(new Set(swatches.filter(Boolean)).size).toBe(4);
  });

  it("changes the page at once, and for good when the kernel agrees", async () => {
    const { view, option } = open();
    option("viridis").click();
    expect(last("look")).toMatchObject({ name: "palette", value: "viridis" });
    expect(link.look.palette).toBe("viridis");
    model.put("look", { palette: "viridis" });
    model.reply(last("look").id);
    await settle();
    expect(link.look.palette).toBe("viridis");
    model.put("look", { palette: "cividis" }); // from Python
    view.draw(false);
    expect(option("cividis").checked).toBe(true);
  });

  it("takes back what the kernel refuses, and says why", async () => {
    const { view, option } = open();
    option("time").click();
    model.reply(last("look").id, { type: "ValueError", message: "metric must be one of ..." });
    await settle();
    view.draw(false);
    expect(link.look.metric).toBe("surprisal");
    expect(option("surprisal").checked).toBe(true);
    expect(view.element.textContent).toContain("metric must be one of");
  });

  it("obeys the last of two choices, whenever the first is answered", async () => {
    const { option } = open();
    option("viridis").click();
    const { id } = last("look");
    option("cividis").click();
    model.put("look", { palette: "viridis" });
    model.reply(id);
    await settle();
    expect(link.look.palette).toBe("cividis");
  });

  it("works for as long as the page stands where there is no kernel", () => {
    model.emit("comm_live_update");
    const { option } = open();
    option("contrast").click();
    expect(last("look")).toBeUndefined();
    expect(link.look.palette).toBe("contrast");
  });
});

describe("the legend", () => {
  it("tells the metric, its range and its unit, in the palette's colours", () => {
    const view = legend(link, () => "light");
    const said = () => view.element.querySelector("[data-testid=scale]")?.textContent;
    const painted = () => view.element.querySelector<HTMLElement>(".legend-scale")?.style.backgroundImage;
    view.draw(false);
    const before = painted();
    expect(said()).toBe("surprisal09 nats");
    model.put("look", { metric: "rank", palette: "viridis" });
    view.draw(false);
    expect(said()).toBe("rank11,000");
    expect(painted()).not.toBe(before);
    rows(0, 5);
    model.put("look", { metric: "time" });
    view.draw(false);
    expect(said()).toBe("time0100 ms"); // usual: 20 ms
  });
});

describe("the distribution", () => {
  const draw = () => {
    const view = logits(link);
    view.draw(false);
    const shown = (selector: string) =>
      [...view.element.querySelectorAll<HTMLElement>(selector)].filter(({ hidden }) => !hidden);
    return { view, shown };
  };

  it("lists as many as a person likes, always the one that came, and adds the others to the rest", () => {
    rows(0, 4);
    model.put("look", { top_k: 2 });
    const { shown } = draw();
    expect(shown(".logits-row").map(({ textContent }) => textContent)).toEqual([
      "1Once50.0%",
      "2·upon20.0%",
      "4·time10.0%", // it came
      "everything else20.0%",
    ]);
  });

  it("puts the metric first, with its unit and its colour", () => {
    rows(0, 4);
    model.put("look", { metric: "time" });
    const { shown } = draw();
    const metric = shown(".facts .metric");
    expect(metric.map(({ textContent }) => textContent)).toEqual(["time 20 ms"]);
    expect(metric[0].querySelector("i")?.className).toBe("metric-swatch s7"); // 20 of 100 ms
  });
});

describe("the bars", () => {
  interface Bar {
    x: number;
    high: number;
    colour: string;
  }
  let bars: Bar[];
  let view: ReturnType<typeof strip>;

  function open(width: number): void {
    bars = [];
    vi.stubGlobal(
      "ResizeObserver",
      class {
        readonly #tell: (entries: unknown[]) => void;
        constructor(tell: (entries: unknown[]) => void) {
          this.#tell = tell;
        }
        observe(): void {
          queueMicrotask(() => this.#tell([{ contentRect: { width } }]));
        }
        disconnect(): void {}
      },
    );
    const context = {
      fillStyle: "",
      scale() {},
      fillRect(x: number, _y: number, _w: number, high: number) {
        bars.push({ x, high, colour: this.fillStyle });
      },
    };
    vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(context as never);
    view = strip(link, () => "light");
    document.body.replaceChildren(view.element);
  }

  afterEach(() => {
    view.close?.();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  const point = (x: number, type = "pointermove") =>
    view.element.dispatchEvent(new MouseEvent(type, { clientX: x, bubbles: true }));
  const tip = () => view.element.querySelector<HTMLElement>(".strip-tip") as HTMLElement;

  it("add what is new, and paint all again for another metric or palette", async () => {
    rows(0, 10);
    open(800);
    await settle();
    expect(bars).toHaveLength(10);
    expect(bars[8].high).toBeGreaterThan(bars[2].high);
    bars = [];
    view.draw(false);
    expect(bars).toEqual([]);
    model.put("look", { metric: "entropy" });
    view.draw(false);
    expect(bars).toHaveLength(10);
    expect(new Set(bars.slice(2).map(({ high }) => high)).size).toBe(1);
    const before = bars.at(-1)?.colour;
    bars = [];
    model.put("look", { metric: "entropy", palette: "contrast" });
    view.draw(false);
    expect(bars.at(-1)?.colour).not.toBe(before);
    bars = [];
    rows(10, 12, 2);
    view.draw(false);
    expect(bars).toHaveLength(2);
  });

  it("paint no bar when another token is selected", async () => {
    rows(0, 10);
    open(800);
    await settle();
    bars = [];
    link.select(4);
    view.draw(false);
    expect(bars).toEqual([]);
    const frame = view.element.querySelector<HTMLElement>(".strip-mark") as HTMLElement;
    expect(frame.hidden).toBe(false);
    expect(view.element.getAttribute("aria-valuetext")).toBe("token 4  surprisal 5.00 nats  Once");
    expect(view.element.getAttribute("aria-label")).toContain("Surprisal over the whole run");
  });

  it("stand for the hottest of the tokens that share a pixel, whichever way they came", async () => {
    rows(0, 3000);
    open(100);
    await settle();
    expect(bars).toHaveLength(100);
    expect(new Set(bars.slice(1).map(({ high }) => high)).size).toBe(1); // each pixel holds one of 9 nats
    model.put("status", { state: "generating" });
    rows(3000, 3010, 2);
    view.draw(true); // makes room
    bars = [];
    rows(3010, 3045, 3);
    view.draw(true);
    expect(bars.length).toBeLessThan(4);
    const added = bars;
    bars = [];
    model.put("look", { palette: "contrast" });
    view.draw(true);
    const again = new Map(bars.map(({ x, high }) => [x, high]));
    for (const { x, high } of added) expect(again.get(x), `at ${x}`).toBe(high);
    expect(again.size).toBe(bars.length);
  });

  it("say value and unit of the bar that is pointed at, and give its token where it is pressed", async () => {
    rows(0, 3000);
    open(100);
    await settle();
    expect(tip().hidden).toBe(true);
    point(50);
    expect(tip().hidden).toBe(false);
    expect(tip().textContent).toMatch(/^token 1,50\d {2}surprisal 9.00 nats {2}\S+$/);
    model.put("look", { metric: "time" });
    view.draw(false);
    point(51);
    expect(tip().textContent).toContain("time 20 ms");
    view.element.setPointerCapture = () => {};
    view.element.hasPointerCapture = () => true;
    point(50, "pointerdown");
    expect(last("select")).toMatchObject({ kind: "select" });
    view.element.dispatchEvent(new MouseEvent("pointerleave"));
    expect(tip().hidden).toBe(true);
  });
});

describe("the row of settings", () => {
  const more = (settings: object, panels = ["tools", "controls"]): HTMLButtonElement => {
    model.put("settings", { ...USUAL, ...settings });
    model.put("panels", panels);
    const view = controls(link);
    view.draw(false);
    return view.element.querySelector("[data-action=more]") as HTMLButtonElement;
  };

  it("tells how many others differ from their defaults, and which", () => {
    const button = more({ temperature: 0.1, typical_p: 0.5, logit_bias: { 3: 1 } });
    expect(button.textContent).toBe("+2 more");
    expect(button.title).toBe("Also changed: typical p, logit bias");
    expect(more({ temperature: 0.1 }).textContent).toBe("all settings");
  });

  it("opens the drawer of the sampler where there is one", () => {
    const button = more({});
    const tab = document.createElement("button");
    tab.dataset.tool = "sampler";
    tab.setAttribute("aria-selected", "false");
    const opened = vi.fn();
    tab.addEventListener("click", opened);
    const tabs = document.createElement("div");
    tabs.className = "tabs";
    tabs.append(tab);
    const root = document.createElement("div");
    root.className = "inferno-widget";
    root.append(tabs, button);
    document.body.replaceChildren(root);
    button.click();
    expect(opened).toHaveBeenCalledOnce();
    expect(more({}, ["controls"]).hidden).toBe(true);
    expect(more({ typical_p: 0.5 }, ["controls"]).disabled).toBe(true);
  });
});
