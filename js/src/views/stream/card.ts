/** What is known about one token, beside it: for a pointer that rests on it, and for the token chosen by keys. */

import { h } from "../../dom.js";
import { nats, percent, whole } from "../../draw/format.js";
import type { Store } from "../../store.js";
import { hex, label } from "../../text.js";

/** Milliseconds a pointer rests before the card comes, and is away before it goes. */
const DELAY_MS = 350;
const LEAVE_MS = 180;
/** Pixels between token and card, and between card and window. */
const GAP = 7;
/** Tokens of a character that are listed. */
const LISTED = 8;

type Fact = [name: string, value: string];

const bytesOf = (bytes: Uint8Array): string => {
  const shown = Array.from(bytes.subarray(0, 24), hex).join(" ");
  return bytes.length > 24 ? `${shown} … (${bytes.length} bytes)` : shown || "none";
};

const duration = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : whole(ms)} ms`;

/** The facts of one token, names and values. */
export function factsOf(store: Store, node: number): Fact[] {
  const { token_id, logprob, rank, entropy, ms, left_out } = store.columns;
  const facts: Fact[] = [
    ["id", String(token_id[node])],
    ["bytes", bytesOf(store.bytes(token_id[node]))],
  ];
  if (rank[node]) {
    facts.push(["logprob", `${logprob[node].toFixed(3)} nats`]);
    facts.push(["probability", percent(Math.exp(logprob[node]))]);
    facts.push(["rank", whole(rank[node])]);
    facts.push(["entropy", `${nats(entropy[node])} nats`]);
  } else facts.push(["prediction", "none: nothing came before it"]);
  if (ms[node] > 0) facts.push(["time", duration(ms[node])]);
  if (left_out[node]) facts.push(["not seen by it", `${whole(left_out[node])} tokens`]);
  return facts;
}

/** The probability that all tokens of a unit come, one after the other; NaN where the first had no prediction. */
export function jointProbability(store: Store, unit: number): number {
  const [from, to] = store.unitSpan(unit);
  let logprob = 0;
  for (let at = from; at < to; at++) logprob += store.columns.logprob[store.path[at]];
  return Math.exp(logprob);
}

/** The tokens of a character, one a line: place, id, bytes, probability. */
function parts(store: Store, unit: number, node: number): HTMLElement {
  const [from, to] = store.unitSpan(unit);
  const { token_id, logprob, rank } = store.columns;
  const rows = Array.from(store.path.subarray(from, Math.min(to, from + LISTED)), (part, i) =>
    h(
      "tr",
      { class: part === node ? "this" : null },
      h("td", {}, `${i + 1}`),
      h("td", {}, String(token_id[part])),
      h("td", {}, bytesOf(store.bytes(token_id[part]))),
      h("td", {}, rank[part] ? percent(Math.exp(logprob[part])) : "–"),
    ),
  );
  if (to - from > LISTED) rows.push(h("tr", {}, h("td", { colspan: 4 }, `and ${to - from - LISTED} more`)));
  return h("table", {}, ...rows);
}

export interface Card {
  readonly element: HTMLElement;
  /** The pointer has come to a token, or to none. */
  point(span: HTMLElement | null): void;
  /** A token was chosen by keys. */
  show(span: HTMLElement): void;
  /** Takes it away; whether it was there because of the pointer. */
  hide(): boolean;
  /** The text has moved, or another token stands where the one it tells of stood. */
  moved(): void;
  close(): void;
}

/** `more`: what else is known of a token just now. */
export function card(store: Store, id: string, more: (node: number) => readonly Fact[]): Card {
  // In the top layer nothing clips it; where there is none, it stays within the widget.
  const element = h("div", { class: "card", role: "tooltip", id, popover: "manual", "data-testid": "card" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let about: HTMLElement | null = null;
  let pointed = false;
  let opened = false;
  let told = -1; // node that it tells of, and where its token stood
  let stood = "";

  function fill(node: number): void {
    const unit = store.unitOf[store.depth[node]];
    const [from, to] = store.unitSpan(unit);
    const facts = [...factsOf(store, node), ...more(node)].map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value)),
    );
    const name = label(store.unitText(unit));
    const head = h("p", {}, h("code", {}, name || "(no bytes)"), ` token ${whole(store.depth[node])}`);
    element.replaceChildren(head, h("dl", {}, ...facts));
    if (to - from === 1) return;
    const joint = jointProbability(store, unit);
    const sum = Number.isNaN(joint)
      ? "no joint probability"
      : `joint probability ${percent(joint)}, ${nats(-Math.log(joint))} nats`;
    element.replaceChildren(
      head,
      h("p", { class: "card-joint" }, `one character of ${to - from} tokens, ${sum}`),
      parts(store, unit, pointed ? -1 : node),
    );
  }

  /** Above the token, below where there is no room; never on it. */
  function place(span: HTMLElement): void {
    const boxes = span.getClientRects();
    const box = boxes[boxes.length - 1];
    if (!box) return;
    stood = standing(boxes[0]);
    const { offsetWidth: width, offsetHeight: height } = element;
    const wide = document.documentElement.clientWidth;
    const above = boxes[0].top - GAP - height;
    const top = above >= GAP ? above : box.bottom + GAP;
    const left = Math.max(GAP, Math.min((box.left + box.right) / 2 - width / 2, wide - width - GAP));
    element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  function open(span: HTMLElement): void {
    const node = Number(span.dataset.node);
    if (!span.isConnected || !store.onPath(node)) return;
    fill(node);
    told = node;
    if (!opened) element.showPopover?.();
    opened = true;
    element.classList.add("open");
    if (about !== span) about?.removeAttribute("aria-describedby");
    about = span;
    span.setAttribute("aria-describedby", id);
    place(span);
  }

  function hide(): boolean {
    clearTimeout(timer);
    timer = undefined;
    if (!opened) return false;
    about?.removeAttribute("aria-describedby");
    about = null;
    opened = false;
    element.classList.remove("open");
    element.hidePopover?.();
    return pointed;
  }

  const standing = (box: DOMRect | undefined): string => (box ? `${box.left} ${box.top}` : "");

  const later = (act: () => void, ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  };

  // One may go to it, to copy what it says.
  element.addEventListener("pointerenter", () => clearTimeout(timer));
  element.addEventListener("pointerleave", () => later(hide, LEAVE_MS));

  return {
    element,
    point(span) {
      if (span && span === about) return clearTimeout(timer);
      if (!span) return opened && !pointed ? undefined : later(hide, LEAVE_MS);
      const act = (): void => {
        pointed = true;
        open(span);
      };
      later(act, opened ? LEAVE_MS : DELAY_MS);
    },
    show(span) {
      if (span === about) return;
      const act = (): void => {
        pointed = false;
        open(span);
      };
      if (opened) act();
      else later(act, DELAY_MS);
    },
    hide,
    moved() {
      if (!opened || !about) return;
      const known = about.isConnected && Number(about.dataset.node) === told && store.onPath(told);
      if (!known) hide();
      else if (standing(about.getClientRects()[0]) === stood) return;
      else if (pointed) hide();
      else place(about);
    },
    close: hide,
  };
}
