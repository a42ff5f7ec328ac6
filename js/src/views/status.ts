/** One row of facts: which model, what it does, what it takes. */

import { h, setAttribute, setShare, setText, type View } from "../dom.js";
import { bytes, count, speed, whole } from "../draw/format.js";
import type { Link } from "../link.js";
import type { Status } from "../state.js";

const FINISH = {
  length: "at max tokens",
  eog: "the model ended",
  stop: "met a stop string",
  context: "context full",
  cancelled: "stopped",
};

function words({ state, finish, progress }: Status, recorded: boolean): string {
  const done = progress === null ? "" : ` ${Math.round(100 * progress)}%`;
  switch (state) {
    case "loading":
      return `loading the model${done}`;
    case "prefill":
      return `reading the prompt${done}`;
    case "ready":
      return finish ? `ready · ${FINISH[finish]}` : "ready";
    case "closed":
      return recorded ? "a recorded run" : "closed";
    case "empty":
      return "nothing run yet";
    default:
      return state;
  }
}

export function status(link: Link): View {
  const name = h("strong", { class: "model-name" });
  const chip = h("span", { class: "model-chip" });
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  const state = h("span", { class: "status-state", role: "status", "data-testid": "state" });
  const rate = h("span", { class: "status-speed" });
  const meter = h(
    "span",
    { class: "meter", role: "meter", "aria-label": "Context used", "aria-valuemin": 0 },
    h("span"),
  );
  const used = h("b", { class: "status-context" });
  const context = h("span", { class: "fact" }, "context ", meter, used);
  const memory = h("b", { class: "status-memory" });
  const engine = h("span", { class: "fact", title: "Memory of the engine's process" }, "engine ", memory);
  const bar = h("div", { class: "progress", role: "progressbar", "aria-label": "Progress" }, h("span"));
  const element = h(
    "header",
    { class: "status", "data-testid": "status" },
    h("span", { class: "status-model" }, name, chip),
    h("span", { class: "status-now" }, dot, state, rate),
    h("span", { class: "status-use" }, context, engine),
    bar,
  );

  return {
    element,
    draw() {
      const now = link.status;
      const { model, n_ctx, progress } = now;
      setText(name, model?.name ?? "no model");
      chip.hidden = !model;
      if (model) {
        setText(chip, [model.architecture, count(model.parameters), model.quantisation].filter(Boolean).join(" · "));
        const trained = `vocabulary of ${whole(model.n_vocab)}, trained for a context of ${whole(model.n_ctx_train)}`;
        setAttribute(chip, "title", `${whole(model.parameters)} parameters, ${trained}`);
      }
      const shown = link.recorded ? "recorded" : link.reachable ? now.state : "closed";
      setAttribute(element, "data-state", shown);
      const gone = link.saved ? "saved view, no kernel" : "no kernel";
      setText(state, link.reachable ? words(now, link.store.length > 0) : gone);
      const rated =
        link.reachable && now.tokens_per_second && ["prefill", "generating", "paused", "ready"].includes(now.state);
      setText(rate, rated ? ` · ${speed(now.tokens_per_second as number)} tok/s` : "");
      context.hidden = !n_ctx;
      setShare(meter, n_ctx ? Math.min(1, now.used / n_ctx) : 0);
      setAttribute(meter, "aria-valuemax", String(n_ctx));
      setAttribute(meter, "aria-valuenow", String(now.used));
      setText(used, `${whole(now.used)} / ${whole(n_ctx)}`);
      engine.hidden = !now.rss;
      setText(memory, bytes(now.rss));
      bar.hidden = !link.reachable || !(now.state === "loading" || now.state === "prefill");
      bar.classList.toggle("unknown", progress === null);
      setShare(bar, progress ?? 0);
      setAttribute(bar, "aria-valuenow", progress === null ? null : String(Math.round(100 * progress)));
    },
  };
}
