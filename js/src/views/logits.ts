/** The distribution behind one token, as a list one can click: the road not taken. */

import { h, setAttribute, setShare, setText, type View } from "../dom.js";
import { endOf, SCALES, stepOf, tokenValue } from "../draw/colour.js";
import { percent, whole } from "../draw/format.js";
import type { Link } from "../link.js";
import { METRICS, type Metric } from "../state.js";
import type { Alternative, Distribution } from "../store.js";
import { label } from "../text.js";

interface Row {
  element: HTMLButtonElement;
  rank: HTMLElement;
  piece: HTMLElement;
  bar: HTMLElement;
  percent: HTMLElement;
  /** Writes what it says, beside its own text, to a pointer that rests on it and to a screen reader. */
  describe: () => void;
}

/**
 * Numbers of the token that came, beside each metric: as many as fit into a line. Its rank and its probability stand
 * in its row of the list too.
 */
const BESIDE: Record<Metric, readonly Metric[]> = {
  probability: ["entropy", "rank"],
  surprisal: ["entropy"],
  entropy: ["rank", "probability"],
  rank: ["entropy", "probability"],
  time: ["entropy", "rank"],
};
const SHORT: Partial<Record<Metric, string>> = { probability: "p" };
/** States in which a fork can be asked for. */
const FORKABLE = ["generating", "paused", "ready", "error"];

export function logits(link: Link): View {
  const { store } = link;
  const position = h("b");
  const piece = h("code", { class: "fact-piece" });
  const part = h("span", { class: "fact", title: "A character made of several tokens" });
  const kept = h("b");
  const keptFact = fact("kept", kept, "");
  const which = h("div", { class: "facts" }, fact("token", position, "Position in the sequence, from 0"), piece, part);
  const measures = METRICS.map((metric) => measure(metric));
  const facts = h("div", { class: "facts" }, ...measures.map(({ element }) => element), keptFact);
  const latest = h(
    "button",
    {
      class: "quiet",
      type: "button",
      "data-action": "latest",
      title: "Let the token go and watch the newest (Escape)",
    },
    "latest",
  );
  const head = h("header", { class: "logits-head" }, which, latest, facts);
  const list = h("div", { class: "logits-list", role: "group", "aria-label": "Alternatives", "data-testid": "logits" });
  const rest = makeRow("div");
  rest.element.classList.add("rest");
  rest.element.title = "All other tokens of the vocabulary together, exactly";
  setText(rest.piece, "everything else");
  const note = h("p", { class: "logits-note" });
  const element = h("section", { class: "logits", "aria-label": "Distribution" }, head, list, note);
  const rows: Row[] = [];
  let shown = -1;

  latest.addEventListener("click", () => link.select(-1));

  list.addEventListener("click", (event) => {
    const button = (event.target as Element).closest<HTMLButtonElement>("button[data-token-id]");
    if (!button || button.getAttribute("aria-disabled") === "true") return;
    void link.order({ kind: "fork", node: shown, token_id: Number(button.dataset.tokenId) });
  });

  for (const event of ["pointerover", "focusin"])
    list.addEventListener(event, ({ target }) => {
      rows.find(({ element }) => element.contains(target as Node))?.describe();
    });

  list.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    const at = rows.findIndex(({ element }) => element === document.activeElement);
    const next = rows[at + (event.key === "ArrowDown" ? 1 : -1)]?.element;
    if (at < 0 || !next || next.hidden) return;
    next.focus();
    event.preventDefault();
  });

  const pieceName = (id: number): string => label(store.piece(id)) || `#${id}`;

  /** Which token: its position, its own text, and the character that it is a part of. */
  function drawIdentity(node: number): void {
    const at = store.depth[node];
    setText(position, whole(at));
    setText(piece, pieceName(store.columns.token_id[node]));
    const unit = store.unitOf[at];
    const [from, to] = store.onPath(node) ? store.unitSpan(unit) : [at, at + 1];
    part.hidden = to - from === 1;
    setText(part, part.hidden ? "" : `part ${at - from + 1} of ${to - from} of ${label(store.unitText(unit))}`);
  }

  function drawNumbers(node: number): void {
    const { kept: left, sampled_prob, rank } = store.columns;
    const first = rank[node] === 0;
    for (const { draw } of measures) draw(node, first);
    keptFact.hidden = first || left[node] <= 0;
    if (keptFact.hidden) return;
    const among = `among them the token that came had ${percent(sampled_prob[node])}`;
    setText(kept, whole(left[node]));
    setAttribute(keptFact, "title", `The sampler left ${whole(left[node])} candidates; ${among}`);
  }

  /** One number of the token; the one that the text is coloured by has its colour beside it. */
  function measure(metric: Metric) {
    const value = h("b");
    const swatch = h("i", { "aria-hidden": "true" });
    const { title, help } = SCALES[metric];
    const element = h("span", { class: "fact", title: help }, swatch, `${SHORT[metric] ?? title} `, value);
    return {
      element,
      draw(node: number, first: boolean): void {
        const chosen = link.look.metric === metric;
        element.hidden = first || !(chosen || BESIDE[link.look.metric].includes(metric));
        if (element.hidden) return;
        const number = tokenValue(store, node, metric);
        setText(value, SCALES[metric].format(number));
        element.classList.toggle("metric", chosen);
        swatch.hidden = !chosen;
        setAttribute(swatch, "class", `metric-swatch s${stepOf(metric, number, endOf(store, metric))}`);
      },
    };
  }

  function drawRow(row: Row, alternative: Alternative, scale: number, forkable: boolean, streaming: boolean): void {
    const { id, rank, probability, kept, chosen } = alternative;
    const { element } = row;
    const name = pieceName(id);
    element.hidden = false;
    setAttribute(element, "data-token-id", String(id));
    setAttribute(element, "class", `logits-row${chosen ? " chosen" : ""}${kept ? "" : " cut"}`);
    setAttribute(element, "aria-current", chosen ? "true" : null);
    setAttribute(element, "aria-disabled", String(chosen || !forkable));
    row.describe = () => {
      const role = roleOf(alternative, forkable);
      setAttribute(element, "title", `${name}  token ${id}: ${role}`);
    };
    // While it streams, its own text has to do, until somebody points at it.
    if (!streaming) row.describe();
    else element.removeAttribute("title");
    setText(row.rank, whole(rank));
    setText(row.piece, name);
    setText(row.percent, percent(probability));
    setShare(row.bar, probability / scale);
  }

  function drawRows(node: number, streaming: boolean): void {
    const { alternatives, rest: mass } = listed(store.distribution(node), link.look.top_k);
    while (rows.length < alternatives.length) {
      const row = makeRow("button");
      rows.push(row);
      list.append(row.element);
    }
    if (list.lastChild !== rest.element) list.append(rest.element);
    const scale = Math.max(mass, ...alternatives.map(({ probability }) => probability));
    const forkable = link.reachable && FORKABLE.includes(link.able);
    rows.forEach((row, i) => {
      const alternative = alternatives[i];
      if (alternative) drawRow(row, alternative, scale, forkable, streaming);
      else row.element.hidden = true;
    });
    setText(rest.percent, percent(mass));
    setShare(rest.bar, mass / scale);
  }

  return {
    element,
    restful: true,
    draw(streaming) {
      const chosen = link.selection;
      const node = chosen >= 0 ? chosen : store.at(store.length - 1);
      const predicted = node >= 0 && store.columns.rank[node] > 0;
      shown = node;
      latest.hidden = chosen < 0;
      list.hidden = !predicted;
      note.hidden = predicted;
      head.hidden = node < 0;
      if (node >= 0) {
        drawIdentity(node);
        drawNumbers(node);
      }
      if (predicted) drawRows(node, streaming);
      else if (node >= 0) setText(note, "This is the first token: there was nothing before it to predict it from.");
      else
        setText(
          note,
          "What the model thought of saying appears here, most likely first. Click a word it did not say, and it goes on from there.",
        );
    },
  };
}

/** What an alternative was, and what a click on it does where it does anything. */
function roleOf({ chosen, kept }: Alternative, forkable: boolean): string {
  if (chosen) return "the token that came";
  if (!forkable) return kept ? "did not come" : "the sampler left it out";
  return kept ? "fork here with this token" : "the sampler left it out; fork here with it";
}

/** As many alternatives as a person wants to see, and the token that came; the others are part of the rest. */
function listed({ alternatives, rest }: Distribution, most: number): Distribution {
  const isListed = ({ rank, chosen }: Alternative): boolean => rank <= most || chosen;
  const others = alternatives.filter((alternative) => !isListed(alternative));
  return {
    alternatives: alternatives.filter(isListed),
    rest: others.reduce((sum, { probability }) => sum + probability, rest),
  };
}

function fact(name: string, value: HTMLElement, title: string): HTMLElement {
  return h("span", { class: "fact", title }, `${name} `, value);
}

function makeRow(tag: "button" | "div"): Row {
  const [rank, piece, bar, share] = ["rank", "piece", "bar", "percent"].map((name) => h("span", { class: name }));
  const element = h(tag, { class: "logits-row", ...(tag === "button" && { type: "button" }) }, rank, piece, bar, share);
  return { element: element as HTMLButtonElement, rank, piece, bar, percent: share, describe: () => {} };
}
