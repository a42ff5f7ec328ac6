/** The distribution behind one token, as a list one can click: the road not taken. */

import { h, setAttribute, setText, type View } from "../dom.js";
import { nats, percent, whole } from "../draw/format.js";
import type { Link } from "../link.js";
import type { Alternative } from "../store.js";
import { label } from "../text.js";

interface Row {
  element: HTMLButtonElement;
  rank: HTMLElement;
  piece: HTMLElement;
  bar: HTMLElement;
  percent: HTMLElement;
}

/** States in which a fork can be asked for. */
const FORKABLE = ["generating", "paused", "ready", "error"];

export function logits(link: Link): View {
  const { store } = link;
  const which = h("div", { class: "facts" });
  const facts = h("div", { class: "facts" });
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

  list.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    const at = rows.findIndex(({ element }) => element === document.activeElement);
    const next = rows[at + (event.key === "ArrowDown" ? 1 : -1)]?.element;
    if (at < 0 || !next || next.hidden) return;
    next.focus();
    event.preventDefault();
  });

  function fact(name: string, value: string, title: string, unit = ""): HTMLElement {
    return h("span", { class: "fact", title }, `${name} `, h("b", {}, value), unit);
  }

  const pieceName = (id: number): string => label(store.piece(id)) || `#${id}`;

  /** Which token: its position, its own text, and the character that it is a part of. */
  function identity(node: number): HTMLElement[] {
    const position = store.depth[node];
    const made = [
      fact("token", whole(position), "Position in the sequence, from 0"),
      h("code", { class: "fact-piece" }, pieceName(store.columns.token_id[node])),
    ];
    if (!store.onPath(node)) return made;
    const unit = store.unitOf[position];
    const [from, to] = store.unitSpan(unit);
    if (to - from > 1) {
      const part = `part ${position - from + 1} of ${to - from} of ${label(store.unitText(unit))}`;
      made.push(h("span", { class: "fact", title: "A character made of several tokens" }, part));
    }
    return made;
  }

  function numbers(node: number): HTMLElement[] {
    const { rank, entropy, logprob, kept, sampled_prob } = store.columns;
    if (rank[node] === 0) return [];
    const made = [
      fact("entropy", nats(entropy[node]), "How undecided the model was, over its whole vocabulary", " nats"),
      fact("rank", whole(rank[node]), "Place of the token that came among all tokens"),
      fact("p", percent(Math.exp(logprob[node])), "The model's own probability of the token that came"),
    ];
    if (kept[node] > 0) {
      const among = `among them the token that came had ${percent(sampled_prob[node])}`;
      made.push(fact("kept", whole(kept[node]), `The sampler left ${whole(kept[node])} candidates; ${among}`));
    }
    return made;
  }

  function drawRow(row: Row, alternative: Alternative, scale: number, forkable: boolean): void {
    const { id, rank, probability, kept, chosen } = alternative;
    const { element } = row;
    const name = pieceName(id);
    element.hidden = false;
    element.dataset.tokenId = String(id);
    setAttribute(element, "class", `logits-row${chosen ? " chosen" : ""}${kept ? "" : " cut"}`);
    setAttribute(element, "aria-current", chosen ? "true" : null);
    setAttribute(element, "aria-disabled", String(chosen || !forkable));
    const role = chosen
      ? "the token that came"
      : kept
        ? "fork here with this token"
        : "the sampler left it out; fork here with it";
    setAttribute(element, "title", `${name}  token ${id}: ${role}`);
    setAttribute(element, "aria-label", `${rank}: ${name}, ${percent(probability)}, ${role}`);
    setText(row.rank, whole(rank));
    setText(row.piece, name);
    setText(row.percent, percent(probability));
    row.bar.style.setProperty("--p", String(probability / scale));
  }

  function drawRows(node: number): void {
    const { alternatives, rest: mass } = store.distribution(node);
    while (rows.length < alternatives.length) {
      const row = makeRow("button");
      rows.push(row);
      list.append(row.element);
    }
    if (list.lastChild !== rest.element) list.append(rest.element);
    const scale = Math.max(mass, ...alternatives.map(({ probability }) => probability));
    const forkable = link.reachable && FORKABLE.includes(link.status.state);
    rows.forEach((row, i) => {
      const alternative = alternatives[i];
      if (alternative) drawRow(row, alternative, scale, forkable);
      else row.element.hidden = true;
    });
    setText(rest.percent, percent(mass));
    rest.bar.style.setProperty("--p", String(mass / scale));
    rest.element.title = "All other tokens of the vocabulary together, exactly";
  }

  return {
    element,
    draw() {
      const chosen = link.selection;
      const node = chosen >= 0 ? chosen : store.at(store.length - 1);
      const predicted = node >= 0 && store.columns.rank[node] > 0;
      shown = node;
      latest.hidden = chosen < 0;
      list.hidden = !predicted;
      note.hidden = predicted;
      head.hidden = node < 0;
      if (node >= 0) {
        refill(which, identity(node));
        refill(facts, numbers(node));
      }
      if (predicted) drawRows(node);
      else if (node >= 0) setText(note, "This is the first token: there was nothing before it to predict it from.");
      else
        setText(
          note,
          "What the model thought of saying appears here, most likely first. Click a word it did not say, and it goes on from there.",
        );
    },
  };
}

/** Replaces the children only where they say something else, so that a tooltip stays open. */
function refill(element: HTMLElement, children: readonly HTMLElement[]): void {
  const text = children.map(({ title, textContent }) => title + textContent).join("\n");
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  element.replaceChildren(...children);
}

function makeRow(tag: "button" | "div"): Row {
  const [rank, piece, bar, share] = ["rank", "piece", "bar", "percent"].map((name) => h("span", { class: name }));
  const element = h(tag, { class: "logits-row", ...(tag === "button" && { type: "button" }) }, rank, piece, bar, share);
  return { element: element as HTMLButtonElement, rank, piece, bar, percent: share };
}
