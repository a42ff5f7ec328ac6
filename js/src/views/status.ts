/** One row of facts: which model, what it does, what it takes. */

import { h, setAttribute, setShare, setText, type View } from "../dom.js";
import { count, speed, whole } from "../draw/format.js";
import type { Link } from "../link.js";
import type { Status } from "../state.js";
import { editWords, interventions } from "./inside/surgery/edits.js";
import { button, openTool } from "./parts/button.js";
import { modelTitle, resources } from "./resources.js";

const FINISH = {
  length: "at max tokens",
  eog: "the model ended",
  stop: "met a stop string",
  context: "context full",
  cancelled: "stopped",
};

/** What a recorded run is, and what is missing for it to go on. */
function recording({ library }: Link): string {
  const waits = library.sessions.some(({ current, live }) => current && !live);
  return waits ? "a recorded run · its model is not loaded" : "a recorded run";
}

function words({ state, finish, progress }: Status): string {
  const done = progress === null ? "" : ` ${Math.round(100 * progress)}%`;
  switch (state) {
    case "loading":
      return `loading the model${done}`;
    case "prefill":
      return `reading the prompt${done}`;
    case "generating": // a branch that had lost its place in the cache, as a rule
      return progress === null ? state : `reading the text again${done}`;
    case "ready":
      return finish ? `ready · ${FINISH[finish]}` : "ready";
    case "closed": // the last one was unloaded
      return "waiting for a model";
    case "empty":
      return "nothing run yet";
    default:
      return state;
  }
}

/** Beside a context that is full: the way to go on all the same. */
function slide(link: Link) {
  const element = button("slide and go on", () => void act(), {
    "data-action": "slide",
    title: "Leave out the older half of the text from here on, and whenever it is full again",
    hidden: true,
  });

  async function act(): Promise<void> {
    const refused = await link.command({ kind: "set", name: "on_full", value: "slide" });
    const failure = refused ?? (await link.command({ kind: "resume" }));
    if (failure) link.complain(failure);
  }

  return {
    element,
    draw(): void {
      const { state, finish } = link.status;
      element.hidden = !link.reachable || state !== "ready" || finish !== "context";
    },
  };
}

/** Which model is used: its name, the choice where there are several, the ways to one where there is none. */
function modelName(link: Link) {
  const name = h("strong", { class: "model-name" });
  const pick = h("select", {
    class: "model-pick",
    "aria-label": "Model in use",
    title: "Model of the next run",
    hidden: true,
  });
  const find = button("", () => openTool(find, "model"), { "data-action": "choose" });
  const demo = button(
    "load the demo model",
    () => void link.order({ kind: "load", path: "", n_ctx: 0, force: false }),
    {
      "data-action": "load-demo",
      title: "Comes with the package",
      hidden: true,
    },
  );
  let listed = "";
  pick.addEventListener("change", () => void link.order({ kind: "use", model: Number(pick.value) }));

  return {
    elements: [name, pick, find, demo],
    draw(): void {
      const { models, tasks } = link.library;
      const { model, state } = link.status;
      const coming = tasks.find(({ error }) => !error)?.name;
      const several = models.length > 1;
      const ids = JSON.stringify(models.map((one) => [one.id, modelTitle(one, models)]));
      if (several && ids !== listed) {
        pick.replaceChildren(...models.map((one) => h("option", { value: one.id }, modelTitle(one, models))));
        listed = ids;
      }
      const current = String(models.find((one) => one.current)?.id ?? "");
      if (several && document.activeElement !== pick) pick.value = current;
      pick.hidden = !several;
      pick.disabled = !link.reachable;
      name.hidden = several;
      const known = model?.name ?? coming;
      setText(name, known ?? "no model");
      setAttribute(name, "title", known ?? null);
      const none = !several && model === null && link.reachable && state !== "loading" && coming === undefined;
      demo.hidden = !none;
      find.hidden = !none || !link.panels.includes("tools");
      setText(find, find.hidden ? "" : "choose one");
    },
  };
}

export function status(link: Link): View {
  const name = modelName(link);
  const chip = h("span", { class: "model-chip" });
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  const state = h("span", { class: "status-state", role: "status", "data-testid": "state" });
  const rate = h("span", { class: "status-speed" });
  const under = h("span", { class: "status-under", "data-testid": "under" });
  const full = slide(link);
  const use = resources(link);
  const warning = h("p", { class: "status-warning", role: "alert", hidden: true });
  const bar = h("div", { class: "progress", role: "progressbar", "aria-label": "Progress" }, h("span"));
  const element = h(
    "header",
    { class: "status", role: "group", "aria-label": "Model and state", "data-testid": "status" },
    h("span", { class: "status-model" }, ...name.elements, chip),
    h("span", { class: "status-now" }, dot, state, rate, under, full.element),
    use.element,
    warning,
    use.more,
    bar,
  );

  return {
    element,
    draw() {
      const now = link.status;
      const { model, progress } = now;
      name.draw();
      chip.hidden = !model;
      if (model) {
        setText(chip, [model.architecture, count(model.parameters), model.quantisation].filter(Boolean).join(" · "));
        const trained = `vocabulary of ${whole(model.n_vocab)}, trained for a context of ${whole(model.n_ctx_train)}`;
        setAttribute(chip, "title", `${whole(model.parameters)} parameters, ${trained}`);
      }
      const recorded = link.reachable ? now.state === "closed" && link.store.length > 0 : link.saved;
      const waiting = now.state === "closed"; // for a model, which is no fault
      const shown = link.reachable ? (waiting ? "empty" : now.state) : "closed";
      setAttribute(element, "data-state", recorded || link.recorded ? "recorded" : shown);
      const gone = link.saved ? "saved view, no kernel" : "no kernel";
      setText(state, link.reachable ? (recorded ? recording(link) : words(now)) : gone);
      const rated =
        link.reachable && now.tokens_per_second && ["prefill", "generating", "paused", "ready"].includes(now.state);
      setText(rate, rated ? ` · ${speed(now.tokens_per_second as number)} tok/s` : "");
      const { edits } = link.marks;
      setText(under, edits.length && link.reachable ? ` · under ${interventions(edits.length)}` : "");
      setAttribute(under, "title", edits.map(editWords).join("\n") || null);
      full.draw();
      use.draw();
      use.element.hidden = !link.reachable; // nobody holds it any more
      use.more.hidden ||= !link.reachable;
      warning.hidden = !link.reachable || !link.library.memory?.warning;
      setText(warning, link.library.memory?.warning ?? "");
      const reading = now.state === "generating" && progress !== null;
      bar.hidden = !link.reachable || !(reading || now.state === "loading" || now.state === "prefill");
      bar.classList.toggle("unknown", progress === null);
      setShare(bar, progress ?? 0);
      setAttribute(bar, "aria-valuenow", progress === null ? null : String(Math.round(100 * progress)));
    },
  };
}
