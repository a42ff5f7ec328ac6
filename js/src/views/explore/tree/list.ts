/** The branches as a list: what each says, how likely it was, and what can be done with it. */
import type { Branch } from "../../../branches.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { nats, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { button } from "../../parts/button.js";
import { keyedList } from "../../parts/list.js";
import { textOf } from "../road.js";

/** Branches listed unless all are asked for. */
export const LISTED = 24;
/** Tokens of a branch's own text that are shown. */
const WORDS = 24;

export interface Acts {
  go: (branch: Branch) => void;
  name: (branch: Branch, name: string) => void;
  prune: (branch: Branch) => void;
  restore: (branch: Branch) => void;
  /** The pointer or the focus is on a branch, or on none. */
  point: (branch: Branch | null) => void;
}

/** A branch, and whether it is the one that is shown. */
export interface Listed extends Branch {
  current: boolean;
}

const keyOf = ({ lane, hidden }: Branch): string => `${lane.id}${hidden ? " hidden" : ""}`;

export function branchList(link: Link, acts: Acts) {
  const rows = new Map<string, ReturnType<typeof branchRow>>();
  const list = keyedList<Listed>("Branches", keyOf, (first) => {
    const row = branchRow(link, acts);
    rows.set(keyOf(first), row);
    return row;
  });
  const more = button("", () => showAll(), { "data-action": "show-all", hidden: true });
  const element = h("div", { class: "branches" }, list.element, more);
  let all = false;
  let listed: readonly Listed[] = [];

  function showAll(): void {
    all = true;
    draw(listed);
    list.element.querySelector<HTMLElement>("[data-row]")?.focus();
  }

  function draw(branches: readonly Listed[]): void {
    listed = branches;
    const shown = all ? branches : firstOf(branches);
    list.draw(shown);
    more.hidden = shown.length === branches.length;
    setText(more, `Show all ${whole(branches.length)}`);
  }

  return {
    element,
    draw,
    /** Opens the field for a branch's name. */
    edit(branch: Branch): void {
      if (!rows.get(keyOf(branch))?.element.isConnected) showAll();
      rows.get(keyOf(branch))?.edit();
    },
  };
}

/** Those that a person asked for by name or stands on, and the newest; in the order they began. */
function firstOf(branches: readonly Listed[]): readonly Listed[] {
  if (branches.length <= LISTED) return branches;
  const wanted = branches.filter(({ current, name }) => current || name !== null).slice(0, LISTED);
  const newest = branches.filter((branch) => !wanted.includes(branch)).slice(wanted.length - LISTED || branches.length);
  const chosen = new Set([...wanted, ...newest]);
  return branches.filter((branch) => chosen.has(branch));
}

function branchRow(link: Link, acts: Acts) {
  const name = h("b", { class: "branch-name" });
  const entry = h("input", {
    class: "entry branch-entry",
    "aria-label": "Name of the branch",
    title: "Empty: it has no name",
    hidden: true,
  });
  const text = h("span", { class: "branch-text" });
  const length = h("span", { class: "note branch-length" });
  const logprob = h("span", { class: "note branch-logprob" });
  const mine = (act: (branch: Branch) => void) => () => branch && act(branch);
  const go = button("Go", () => branch && !branch.current && acts.go(branch), { class: "quiet", "data-action": "go" });
  const rename = button("Name", edit, { class: "quiet", "data-action": "name" });
  const prune = button("Prune", mine(acts.prune), { class: "quiet", "data-action": "prune" });
  const restore = button("Restore", mine(acts.restore), { class: "quiet", "data-action": "restore" });
  const buttons = h("span", { class: "branch-actions" }, go, rename, prune, restore);
  const title = h("span", { class: "branch-title" }, name, entry, text);
  const element = h("li", { class: "branch" }, title, length, logprob, buttons);
  let branch: Listed | null = null;

  function edit(): void {
    entry.value = branch?.name ?? "";
    entry.hidden = false;
    name.hidden = true;
    entry.focus();
    entry.select();
  }

  function leave(keep: boolean): void {
    if (entry.hidden) return;
    const wanted = entry.value.trim();
    const focused = document.activeElement === entry;
    entry.hidden = true;
    name.hidden = !branch?.name;
    if (focused) rename.focus();
    if (keep && branch && wanted !== (branch.name ?? "")) acts.name(branch, wanted);
  }

  entry.addEventListener("blur", () => leave(true));
  entry.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    leave(event.key === "Enter");
    event.preventDefault();
    event.stopPropagation();
  });
  text.addEventListener("click", () => branch && acts.go(branch));
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, () => acts.point(branch));
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, () => acts.point(null));

  return {
    element,
    edit,
    draw(next: Listed): void {
      branch = next;
      const { current, hidden } = next;
      const own = next.lane.nodes.slice(next.start - next.lane.start, next.length - next.lane.start);
      const said = textOf(link, own.slice(0, WORDS));
      const called = next.name ?? `${said.slice(0, 40)}`;
      setAttribute(element, "aria-current", current ? "true" : null);
      element.classList.toggle("hidden-branch", hidden);
      setText(name, next.name ?? "");
      name.hidden = !next.name || !entry.hidden;
      setText(text, said + (own.length > WORDS ? "…" : ""));
      setText(length, `${whole(next.length)} tokens`);
      setAttribute(length, "title", `${whole(own.length)} of them its own, from token ${whole(next.start)} on`);
      setText(logprob, `${nats(next.logprob)} nats`);
      setAttribute(logprob, "title", `log-probability; ${nats(next.logprob / Math.max(1, next.length - 1))} a token`);
      drawButtons(called, current, hidden);
    },
  };

  function drawButtons(called: string, current: boolean, hidden: boolean): void {
    const { reachable, recorded } = link;
    const alive = reachable && !recorded;
    setAttribute(go, "aria-disabled", String(current));
    go.hidden = hidden;
    // What the arrow keys of the list stop at.
    setAttribute(go, "data-row", hidden ? null : "");
    setAttribute(restore, "data-row", hidden ? "" : null);
    prune.hidden = hidden || !alive;
    prune.disabled = current;
    rename.hidden = hidden || !alive;
    restore.hidden = !hidden || !alive;
    const why = current ? "You are on this branch: go to another before you prune it" : null;
    setAttribute(prune, "title", why ?? "Hide this branch; nothing is deleted (Delete)");
    setAttribute(go, "title", current ? "You are here" : "Show this branch to its end");
    for (const [one, verb] of [
      [go, "Go to"],
      [rename, "Name"],
      [prune, "Prune"],
      [restore, "Restore"],
    ] as const)
      setAttribute(one, "aria-label", `${verb} ${called}`);
  }
}
