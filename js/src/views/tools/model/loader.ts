/** One chosen file: what it is, what it would cost, and the button that loads it. */

import type { Estimate, FoundFile, Header } from "../../../answers/files.js";
import { h, setText } from "../../../dom.js";
import { bytes, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import type { Failure } from "../../../protocol.js";
import { type Part, stackedBar } from "../../parts/bars.js";
import { button } from "../../parts/button.js";
import { failureBox } from "../../parts/failure.js";
import { later } from "../../parts/later.js";
import { longName } from "../../parts/name.js";
import { numberField } from "../../parts/number.js";
import { findings } from "./findings.js";
import { cardFacts, failed, type Headers } from "./headers.js";

/** llama.cpp rounds a context up to a multiple of this. */
const CELLS = 256;
const ESTIMATE_MS = 150;

export function loader(link: Link, headers: Headers, leave: () => void) {
  const name = longName();
  const place = longName({ class: "long-name note" });
  const facts = h("p", { class: "note" });
  const odd = findings();
  const failure = failureBox();
  const context = numberField(
    {
      label: "context",
      name: "n_ctx",
      min: CELLS,
      max: CELLS,
      step: CELLS,
      unit: "tokens",
      help: "How many tokens all sessions of this model can hold together",
      log: true,
    },
    resize,
  );
  const longest = button("", () => void context.settle(estimate?.n_ctx_fit ?? CELLS), { class: "quiet", hidden: true });
  const need = h("p", { class: "loader-need", role: "status" });
  const bar = stackedBar("Memory it needs", bytes);
  const load = button("Load", () => void act(), { class: "small primary", "data-action": "load" });
  const cancel = button("Close", leave, { "data-action": "leave" });
  const cost = h(
    "div",
    { class: "loader-cost" },
    context.element,
    bar.element,
    h("div", { class: "line" }, need, longest),
  );
  const title = h("div", { class: "loader-title" }, h("strong", {}, name.element), place.element);
  const actions = h("div", { class: "line loader-actions" }, load, cancel);
  const element = h("section", { class: "loader", "aria-label": "Chosen file", hidden: true });
  element.append(title, facts, odd.element, failure.element, cost, actions);

  let file: FoundFile | null = null;
  let header: Header | null = null;
  let estimate: Estimate | null = null;
  let refused: Failure | null = null;
  let sending = false;
  let wanted = 0; // the context that was chosen; 0: the one that the kernel would take
  const askSoon = later(() => void ask(), ESTIMATE_MS);

  function resize(n_ctx: number): undefined {
    wanted = n_ctx;
    askSoon();
  }

  async function choose(next: FoundFile): Promise<void> {
    file = next;
    header = estimate = refused = null;
    wanted = 0;
    element.hidden = false;
    name.draw(file.name);
    place.draw(file.path);
    setText(facts, "Reading its header…");
    odd.draw([]);
    draw();
    load.focus();
    const known = await headers.ask(next);
    if (file !== next) return;
    if (failed(known)) refused = known;
    else show(known);
    draw();
    element.scrollIntoView?.({ block: "nearest" });
  }

  function show(known: Header): void {
    header = known;
    const { n_ctx_train, n_layer, n_vocab, chat } = known;
    const trained = `trained for a context of ${whole(n_ctx_train)}`;
    const talks = chat ? "has a chat template" : "base model without a chat template";
    const told = [cardFacts(known), `${n_layer} layers`, `vocabulary of ${whole(n_vocab)}`, trained, talks];
    setText(facts, told.join(" · "));
    odd.draw(known.findings);
    const most = Math.max(CELLS, Math.ceil(n_ctx_train / CELLS) * CELLS);
    context.limit(CELLS, most);
    void ask();
  }

  async function ask(): Promise<void> {
    const [asked, n_ctx] = [file, wanted];
    if (!asked) return;
    const answer = await link.ask<Estimate>({ kind: "estimate", path: asked.path, n_ctx });
    if (file !== asked || wanted !== n_ctx) return;
    estimate = answer.ok ? answer.value : null;
    if (!answer.ok) refused = answer.error;
    else if (!wanted) context.show(answer.value.n_ctx);
    draw();
    if (!wanted) element.scrollIntoView?.({ block: "nearest" });
  }

  /** Whether it needs more memory than is free, as far as that is known. */
  function tight(): boolean {
    return estimate !== null && !estimate.fits;
  }

  async function act(): Promise<void> {
    const asked = file;
    if (!asked || sending) return;
    sending = true;
    refused = null;
    draw();
    const known = await headers.ask(asked);
    const load = { kind: "load", path: asked.path, n_ctx: wanted, force: tight() } as const;
    const answer = failed(known) ? known : await link.command(load);
    sending = false;
    if (file !== asked) return draw();
    refused = answer;
    if (answer) draw();
    else leave();
  }

  function draw(): void {
    // A task that failed says the same, and stays.
    const told = link.library.tasks.some(({ error }) => error?.message === refused?.message);
    failure.show(told ? null : refused);
    const wrong = refused !== null && !header;
    if (wrong) setText(facts, "");
    cost.hidden = !header;
    load.hidden = wrong;
    load.disabled = sending || !link.reachable;
    setText(load, sending ? "Loading…" : tight() ? "Load anyway" : "Load");
    bar.element.hidden = !estimate;
    longest.hidden = !estimate || estimate.n_ctx_fit === estimate.n_ctx || !estimate.n_ctx_fit;
    if (estimate) drawEstimate(estimate);
    else setText(need, "");
  }

  function drawEstimate({ total, free, fits, n_ctx_fit, weights, kv, compute }: Estimate): void {
    setText(longest, `longest that fits: ${whole(n_ctx_fit)}`);
    setText(
      need,
      fits
        ? `needs ${bytes(total)} of ${bytes(free)} free`
        : `needs ${bytes(total)}: ${bytes(total - free)} more than is free`,
    );
    need.classList.toggle("bad", !fits);
    const parts: Part[] = [
      { name: "weights", value: weights, paint: "strong" },
      { name: "KV cache", value: kv, paint: "middle" },
      { name: "compute", value: compute, paint: "weak" },
    ];
    const left = free - total;
    bar.draw([
      ...parts,
      left >= 0 ? { name: "left", value: left, paint: "free" } : { name: "missing", value: -left, paint: "over" },
    ]);
  }

  return {
    element,
    choose,
    draw,
    hide(): void {
      file = null;
      element.hidden = true;
      askSoon.cancel();
    },
  };
}
