import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Link } from "../src/link.js";
import type { Command } from "../src/requests.js";
import { encode } from "./encode.js";
import { FakeModel } from "./fake.js";

let model: FakeModel;
let link: Link;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  model = new FakeModel({ status: { state: "ready" } });
  link = new Link(model);
});

afterEach(() => {
  link.close();
  vi.useRealTimers();
});

const rows = (start: number, n: number, more = {}) =>
  model.rows(
    encode({ start, rows: Array.from({ length: n }, (_, i) => ({ parent: start + i - 1, token_id: 1 })), ...more }),
  );
const sent = (kind: string) => model.sent.filter((message) => message.kind === kind);

describe("frames", () => {
  it("are asked for at the start", () => {
    expect(model.sent).toEqual([{ kind: "replay", epoch: 0, have: 0, seq: 0 }]);
  });

  it("that leave a gap are asked for again, once while the answer is on its way", () => {
    rows(0, 2, { seq: 4 });
    rows(5, 1, { seq: 6 });
    rows(6, 1, { seq: 7 });
    expect(sent("replay").slice(1)).toEqual([{ kind: "replay", epoch: 1, have: 2, seq: 4 }]);
    rows(2, 5, { seq: 7 });
    expect(link.store.length).toBe(7);
  });

  it("that stay away are asked for with the heartbeat", () => {
    rows(0, 2, { seq: 4, head: 9 });
    vi.advanceTimersByTime(2_000);
    expect(sent("replay").at(-1)).toEqual({ kind: "replay", epoch: 1, have: 2, seq: 4 });
  });

  it("that cannot be read are an error in place, not in the log alone", () => {
    model.rows(encode({ version: 9 }));
    expect(link.failure?.message).toContain("version 9");
  });

  it("that cannot be read are asked for again", () => {
    rows(0, 2, { seq: 4 });
    model.rows(encode({ seq: 5, start: 2, rows: [{ parent: 7, token_id: 1 }] }));
    expect(link.failure?.message).toContain("node 2 follows node 7");
    expect(sent("replay").slice(1)).toEqual([{ kind: "replay", epoch: 1, have: 2, seq: 4 }]);
  });

  it("that skipped some are taken, and those are asked for from where the last was seen", () => {
    rows(0, 2, { seq: 4 });
    rows(2, 1, { seq: 6 });
    expect(link.store.size).toBe(3);
    expect(sent("replay").slice(1)).toEqual([{ kind: "replay", epoch: 1, have: 3, seq: 4 }]);
    rows(3, 1, { seq: 9 }); // while the answer is on its way
    expect(sent("replay")).toHaveLength(2);
    vi.advanceTimersByTime(2_000);
    expect(sent("replay").at(-1)).toEqual({ kind: "replay", epoch: 1, have: 4, seq: 6 });
    vi.advanceTimersByTime(10_000);
    expect(sent("replay")).toHaveLength(3);
  });
});

describe("what is watched", () => {
  const frame = (start: number, n: number, more = {}) =>
    encode({ start, rows: Array.from({ length: n }, (_, i) => ({ parent: start + i - 1, token_id: 1 })), ...more });
  const of = (name: string) => [...link.store.watched.of(name).subarray(0, link.store.size)];

  it("comes with its rows, and for rows of the past once more", () => {
    rows(0, 2);
    model.watchedRows(frame(2, 1), { king: [0.5] });
    expect(of("king")).toEqual([Number.NaN, Number.NaN, 0.5]);
    model.watchedRows(frame(0, 3), { king: [Number.NaN, 0.25, 0.5], queen: [Number.NaN, 1, 0] });
    expect(of("king")).toEqual([Number.NaN, 0.25, 0.5]);
    expect(of("queen")).toEqual([Number.NaN, 1, 0]);
    expect(link.store.size).toBe(3);
  });

  it("is not taken across a gap, nor kept for another trace", () => {
    model.watchedRows(frame(0, 1), { king: [0.5] });
    model.watchedRows(frame(5, 1), { king: [0.75] });
    expect([...link.store.watched.of("king").subarray(0, 6)]).toEqual([0.5, ...Array(5).fill(Number.NaN)]);
    rows(0, 1, { epoch: 2 });
    expect(of("king")).toEqual([]);
  });

  it("grows with the trace, whatever its length", () => {
    for (let start = 0; start < 1000; start += 100)
      model.watchedRows(frame(start, 100), { king: Array.from({ length: 100 }, (_, i) => (start + i) / 1024) });
    expect(of("king")).toEqual(Array.from({ length: 1000 }, (_, i) => i / 1024));
  });

  it("that does not fit its rows is an error in place", () => {
    model.watchedRows(frame(0, 2), { king: [0.5] });
    expect(link.failure?.message).toContain("1 watches of 2 rows are 8 bytes, not 4");
  });
});

it("says every two seconds what it has and how many look", () => {
  rows(0, 1, { seq: 3 });
  link.views = 2;
  vi.advanceTimersByTime(4_000);
  expect(sent("alive")).toEqual(Array(2).fill({ kind: "alive", seq: 3, views: 2 }));
});

describe("commands", () => {
  it("carry ids of their own and end with their reply", async () => {
    const [first, second] = [link.command({ kind: "pause" }), link.command({ kind: "stop" })];
    const [a, b] = model.sent.slice(1) as { id: number }[];
    expect(a.id).not.toBe(b.id);
    model.reply(b.id, { type: "ValueError", message: "no" });
    model.reply(a.id);
    expect(await second).toEqual({ type: "ValueError", message: "no" });
    expect(await first).toBeNull();
  });

  it("that nobody answers say so, until the kernel speaks again", async () => {
    const order = link.order({ kind: "step", prompt: "" });
    vi.advanceTimersByTime(12_000);
    await order;
    expect(link.failure?.type).toBe("No answer");
    rows(0, 1);
    expect(link.failure).toBeNull();
  });

  it("may take as long as a model takes to load", () => {
    model.status({ state: "loading" });
    void link.order({ kind: "run", prompt: "" });
    vi.advanceTimersByTime(60_000);
    expect(link.failure).toBeNull();
  });

  it("may take as long as a download, but not as one that failed", async () => {
    const task = { id: 1, kind: "download", name: "a/b", stage: "downloading", progress: null, error: null };
    model.put("library", { tasks: [task] });
    const order = link.order({ kind: "pause" });
    vi.advanceTimersByTime(300_000);
    expect(link.failure).toBeNull();
    model.put("library", { tasks: [{ ...task, error: { type: "OSError", message: "no" } }] });
    vi.advanceTimersByTime(2_000);
    await order;
    expect(link.failure?.type).toBe("No answer");
  });

  it("that read, write or compute a lot get two minutes", async () => {
    const order = link.order({ kind: "verify" });
    vi.advanceTimersByTime(118_000);
    expect(link.failure).toBeNull();
    vi.advanceTimersByTime(4_000);
    await order;
    expect(link.failure?.type).toBe("No answer");
  });

  it("that wait when the kernel goes, or come after that, are refused at once", async () => {
    const waiting = link.ask({ kind: "places" });
    model.emit("comm_live_update");
    const late = link.ask({ kind: "places" });
    for (const answer of [await waiting, await late])
      expect(answer).toMatchObject({ ok: false, error: { type: "No kernel", message: link.silence } });
  });

  it("that cannot be sent say that the kernel is gone", () => {
    model.onSend = () => {
      throw new Error("Comm is closed");
    };
    void link.order({ kind: "stop" });
    expect(link.reachable).toBe(false);
  });
});

it("knows when the kernel went away, leaves a new one in peace, and knows when it is back", () => {
  model.emit("comm_live_update");
  expect(link.silence).toContain("Run the cell again");
  vi.advanceTimersByTime(10_000);
  expect(sent("alive")).toEqual([]);
  model.status({ state: "ready" });
  expect(link.reachable).toBe(true);
});

it("takes traits that come as messages, for no notebook to keep, before those of the model", () => {
  const heard: boolean[] = [];
  link.onChange((streaming) => heard.push(streaming));
  model.emit("msg:custom", ...([{ kind: "trait", name: "prompt", value: "secret" }, []] as unknown[]));
  model.emit("msg:custom", ...([{ kind: "trait", name: "status", value: { state: "generating" } }, []] as unknown[]));
  expect([link.prompt, link.status.state]).toEqual(["secret", "generating"]);
  expect(heard).toEqual([false, false]);
  rows(0, 1);
  expect(heard.at(-1)).toBe(true);
});

it("takes the model's traits before those of messages that came earlier", () => {
  model.emit("msg:custom", ...([{ kind: "trait", name: "library", value: { models: 7 } }, []] as unknown[]));
  model.emit("msg:custom", ...([{ kind: "trait", name: "prompt", value: "earlier" }, []] as unknown[]));
  expect(link.library.models).toEqual([]);
  model.put("prompt", "later");
  model.put("library", { ...link.library, undo: "rename “a”" });
  expect([link.prompt, link.library.undo]).toEqual(["later", "rename “a”"]);
});

describe("the selection", () => {
  beforeEach(() => rows(0, 6));

  it("holds at once, and against the kernel's echo of an earlier one", () => {
    link.select(2);
    link.select(3);
    expect(link.selection).toBe(3);
    model.put("selection", 2);
    expect(link.selection).toBe(3);
    model.put("selection", 3);
    model.put("selection", 5);
    expect(link.selection).toBe(5);
  });

  it("is the kernel's in the end", () => {
    link.select(2);
    vi.advanceTimersByTime(2_000);
    expect(link.selection).toBe(-1);
  });

  it("keeps its place when another branch is shown", () => {
    model.put("selection", 3);
    model.rows(encode({ start: 6, rows: [{ parent: 2, token_id: 2 }] }));
    expect(link.selection).toBe(6);
    model.rows(encode({ start: 7, rows: [], head: 1 }));
    expect(link.selection).toBe(-1);
  });
});

it("lets go of everything when it closes", () => {
  link.close();
  expect(model.listeners).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

const WATCH: Command = { kind: "watch", name: "x", tokens: [], variants: false };

describe("an answer that cannot be read", () => {
  it("is refused in words, and so is a part of one", async () => {
    const told: unknown[] = [];
    const command = { kind: "lookahead", node: 1, k: 1, depth: 1, sampled: false } as const;
    const answer = link.ask(command, { told: (part) => told.push(part) });
    const { id } = model.sent.at(-1) as { id: number };
    model.partial(id, 5);
    expect([told, link.failure?.type]).toEqual([[], "WireError"]);
    expect(link.failure?.message).toContain("lookahead must be a list, not number");
    model.partial(id, []);
    expect(told).toEqual([[]]);
    model.answer(id, { node: "one" });
    const settled = await answer;
    expect(settled).toMatchObject({ ok: false, error: { type: "WireError" } });
    expect(JSON.stringify(settled)).toContain("lookahead.node must be a whole number");
  });
});

describe("an answer that comes in parts", () => {
  it("is told as it comes, and the work ends early when the asker has enough", async () => {
    const told: number[] = [];
    const stop = new AbortController();
    const answer = link.ask<string, number>(WATCH, { told: (part) => told.push(part), signal: stop.signal });
    const { id } = model.sent.at(-1) as { id: number };
    model.partial(id, 1);
    model.partial(id, 2);
    model.partial(id + 1, 3);
    stop.abort();
    expect(model.sent.at(-1)).toMatchObject({ kind: "enough", request: id });
    model.answer(id, "all");
    expect(told).toEqual([1, 2]);
    expect(await answer).toMatchObject({ ok: true, value: "all" });
  });
});
