/** What is used up: the pool of context, and memory. Short in the status bar, in full when it is asked for. */
import { h, setAttribute, setShare, setText, uniqueId } from "../dom.js";
import { bytes, whole } from "../draw/format.js";
import type { Link } from "../link.js";
import type { LoadedModel, Memory } from "../state.js";
import { type Part, stackedBar } from "./parts/bars.js";
import { keyedList } from "./parts/list.js";

/** Share of the context from which on it is nearly full. */
const NEARLY = 0.9;
/** Sessions that have a stretch of their own; the others are one. */
const NAMED = 6;

export function resources(link: Link) {
  const id = uniqueId("use");
  const [others, own] = [h("span", { class: "others" }), h("span", { class: "own" })];
  const meter = h(
    "span",
    { class: "meter", role: "meter", "aria-label": "Context used", "aria-valuemin": 0 },
    others,
    own,
  );
  const used = h("b", { class: "status-context" });
  const size = h("b", { class: "status-memory" });
  const disclosure = { type: "button", class: "fact", "aria-expanded": "false", "aria-controls": id };
  const context = h("button", { ...disclosure, "data-action": "pool" }, "context ", meter, used);
  const engine = h("button", { ...disclosure, "data-action": "memory" }, "engine ", size);
  const element = h("span", { class: "status-use" }, context, engine);
  const more = h("div", { class: "status-more", id, hidden: true });
  const list = keyedList<Use>("What is used up", ({ key }) => key, useRow);
  const none = h("p", { class: "note" }, "No model is loaded.");

  function toggle(): void {
    more.hidden = !more.hidden;
    for (const one of [context, engine]) setAttribute(one, "aria-expanded", String(!more.hidden));
    drawMore();
  }

  for (const one of [context, engine]) {
    one.addEventListener("click", toggle);
    one.addEventListener("keydown", ({ key }) => {
      if (key === "Escape" && !more.hidden) toggle();
    });
  }

  function drawMore(): void {
    if (more.hidden) return;
    if (!more.firstChild) more.append(list.element, none);
    const { models, memory: now } = link.library;
    const all = [...models.map(poolOf), ...(now ? [memoryOf(now)] : [])];
    list.draw(all);
    none.hidden = all.length > 0;
  }

  return {
    element,
    more,
    draw(): void {
      const { n_ctx, used: told, rss } = link.status;
      const mine = seen(link) || told; // the page knows it sooner
      const { models, sessions, memory: now } = link.library;
      // The model of what is shown, which need not be that of the next run.
      const shown = sessions.find((one) => one.current)?.name;
      const holding = models.find((one) => one.holders.some(({ session }) => session === shown));
      const current = holding ?? models.find((one) => one.current);
      const held = Math.max(mine, current?.holders.reduce((sum, { tokens }) => sum + tokens, 0) ?? 0);
      context.hidden = !n_ctx;
      setShare(others, n_ctx ? Math.min(1, held / n_ctx) : 0);
      setShare(own, n_ctx ? Math.min(1, mine / n_ctx) : 0);
      meter.classList.toggle("nearly", held >= NEARLY * n_ctx);
      setAttribute(meter, "aria-valuemax", String(n_ctx));
      setAttribute(meter, "aria-valuenow", String(held));
      setText(used, `${whole(held)} / ${whole(n_ctx)}`);
      setAttribute(context, "title", current ? holders(current) : "Tokens of context in use");
      engine.hidden = !rss;
      setText(size, bytes(rss));
      setAttribute(engine, "title", now ? memoryLine(now) : "Memory of the engine's process");
      drawMore();
    },
  };
}

/** Tokens of the text that the model sees. */
function seen({ store }: Link): number {
  return store.length && store.length - store.columns.left_out[store.at(store.length - 1)];
}

/** One thing that is used up: who holds how much of it. */
interface Use {
  key: string;
  title: string;
  note: string;
  format: (value: number) => string;
  parts: Part[];
}

function useRow({ title, format }: Use) {
  const note = h("span", { class: "note" });
  const bar = stackedBar(title, format);
  const name = h("b");
  return {
    element: h("li", {}, h("p", {}, name, " ", note), bar.element),
    draw(use: Use): void {
      setText(name, use.title);
      setText(note, use.note);
      bar.draw(use.parts);
    },
  };
}

/** A model's name, with its context where another has the same name. */
export const modelTitle = ({ id, name, n_ctx }: LoadedModel, models: readonly LoadedModel[]): string =>
  models.some((other) => other.name === name && other.id !== id) ? `${name} (${whole(n_ctx)})` : name;

const poolOf = (model: LoadedModel): Use => ({
  key: `model ${model.id}`,
  title: `Context of ${model.name}`,
  note: `${whole(model.n_ctx)} tokens, shared by its sessions`,
  format: whole,
  parts: poolParts(model),
});

const memoryOf = (now: Memory): Use => ({
  key: "memory",
  title: "Memory",
  note: `engines take ${bytes(now.engines)}, ${bytes(now.free)} are free`,
  format: bytes,
  parts: memoryParts(now),
});

function poolParts({ n_ctx, holders: all }: LoadedModel): Part[] {
  const sorted = all.filter(({ tokens }) => tokens).sort((a, b) => b.tokens - a.tokens);
  const paints = ["strong", "middle", "weak"] as const;
  const parts: Part[] = sorted
    .slice(0, NAMED)
    .map(({ session, tokens }, i) => ({ name: session, value: tokens, paint: paints[i % paints.length] }));
  const rest = sorted.slice(NAMED).reduce((sum, { tokens }) => sum + tokens, 0);
  if (rest) parts.push({ name: `${sorted.length - NAMED} others`, value: rest, paint: "held" });
  const free = n_ctx - sorted.reduce((sum, { tokens }) => sum + tokens, 0);
  return [...parts, { name: "free", value: Math.max(0, free), paint: "free" }];
}

function memoryParts({ engines, weights, kv_used, kv_reserved, traces, free }: Memory): Part[] {
  return [
    { name: "weights", value: weights, paint: "strong" },
    { name: "KV cache in use", value: kv_used, paint: "middle" },
    { name: "KV cache reserved, not in use", value: Math.max(0, kv_reserved - kv_used), paint: "held" },
    { name: "engines' other needs", value: Math.max(0, engines - weights - kv_reserved), paint: "weak" },
    { name: "recorded runs", value: traces, paint: "other" },
    { name: "free", value: free, paint: "free" },
  ];
}

const holders = ({ holders: all, n_ctx }: LoadedModel): string =>
  [`${whole(n_ctx)} tokens of context, shared by all sessions:`]
    .concat(all.map(({ session, tokens }) => `${session}: ${whole(tokens)}`))
    .join("\n");

const memoryLine = ({ engines, kv_used, kv_reserved, free }: Memory): string =>
  `engines ${bytes(engines)}, KV cache ${bytes(kv_used)} of ${bytes(kv_reserved)}, free ${bytes(free)}`;
