/** The kernel's file system, a folder at a time: what can be loaded or opened there. */

import type { FoundFile, Listing, Place, Places } from "../../../answers/files.js";
import { h, setAttribute, setText } from "../../../dom.js";
import { bytes } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { button } from "../../parts/button.js";
import { failureBox } from "../../parts/failure.js";
import { keyedList } from "../../parts/list.js";
import { longName } from "../../parts/name.js";
import { failed, type Headers, headerFacts } from "./headers.js";

export interface BrowserOptions {
  /** What is listed beside folders. */
  kinds: readonly FoundFile["kind"][];
  /** How what is listed is called, where there is none. */
  wanted: string;
  headers: Headers | null;
  /** What stands before the places. */
  lead?: HTMLElement;
  pick(file: FoundFile): void;
}

type Entry = { kind: "folder"; name: string; path: string } | FoundFile;

export function browser(link: Link, { kinds, wanted, headers, lead, pick }: BrowserOptions) {
  const places = h("div", { class: "line browser-places", role: "group", "aria-label": "Places" });
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Folder" });
  const filter = h("input", { class: "entry", type: "search", placeholder: "Filter", "aria-label": "Filter" });
  const hidden = h("input", { type: "checkbox", "data-field": "hidden" });
  const failure = failureBox();
  const note = h("p", { class: "note", role: "status" });
  const again = button("Try again", () => void open(path), { hidden: true });
  const list = keyedList<Entry>("Files", ({ path }) => path, makeRow);
  const scroll = h("div", { class: "browser-list" }, list.element, note, failure.element, again);
  const bar = h("div", { class: "line" }, filter, h("label", { class: "check" }, hidden, "hidden files"));
  const element = h("div", { class: "browser" }, places, crumbs, bar, scroll);

  if (lead) places.append(lead);
  let path = "";
  let listing: Listing | null = null;
  let chosen = "";
  let turn = 0;

  const rowsInView = globalThis.IntersectionObserver
    ? new IntersectionObserver(
        (seen) => {
          for (const { isIntersecting, target } of seen) if (isIntersecting) inspect(target as HTMLElement);
        },
        { root: scroll, rootMargin: "80px" },
      )
    : { observe: inspect, unobserve() {}, disconnect() {} };
  const looks = new WeakMap<HTMLElement, () => void>();

  function inspect(row: HTMLElement): void {
    rowsInView.unobserve(row);
    looks.get(row)?.();
  }

  function makeRow(first: Entry) {
    const name = longName({ class: "long-name entry-name" });
    const facts = h("span", { class: "entry-facts" });
    const size = h("span", { class: "entry-size" });
    const main = h("button", { type: "button", class: "browser-row", "data-row": true, "data-kind": first.kind });
    main.append(name.element);
    if (first.kind !== "folder") main.append(facts, size);
    const row = h("li", {}, main);
    let item = first;
    let looked = -1; // bytes of the file whose header was asked for
    main.addEventListener("click", () => (item.kind === "folder" ? void open(item.path) : pick(item)));

    function draw(now: Entry): void {
      item = now;
      name.draw(item.kind === "folder" ? `${item.name}/` : item.name, item.path);
      setAttribute(main, "aria-current", item.path === chosen ? "true" : null);
      if (item.kind === "folder") return;
      const known = headers?.known(item);
      const parts = item.parts > 1 ? `${item.parts} parts` : "";
      setText(facts, [known && headerFacts(known), parts].filter(Boolean).join(" · "));
      facts.classList.toggle("bad", known !== undefined && "message" in known);
      const read = known && !failed(known) ? known.bytes : 0; // of recent files nobody listed the size
      setText(size, item.bytes || read ? bytes(item.bytes || read) : "");
      if (!headers || known || item.kind !== "gguf" || looked === item.bytes) return;
      looked = item.bytes;
      looks.set(row, () => void headers.ask(now as FoundFile).then(() => draw(item)));
      rowsInView.observe(row);
    }
    return { element: row, draw };
  }

  async function open(to: string): Promise<void> {
    const mine = ++turn;
    const focused = scroll.contains(document.activeElement) || crumbs.contains(document.activeElement);
    path = to;
    setText(note, listing ? "" : "Reading the folder…");
    scroll.setAttribute("aria-busy", "true");
    const answer = await link.ask<Listing>({ kind: "browse", path, hidden: hidden.checked });
    if (mine !== turn) return; // another folder was asked for meanwhile
    show(answer.ok ? answer.value : null);
    failure.show(answer.ok ? null : answer.error);
    again.hidden = answer.ok;
    if (focused) (scroll.querySelector<HTMLElement>("[data-row]") ?? filter).focus();
  }

  function show(next: Listing | null): void {
    scroll.removeAttribute("aria-busy");
    // Where a folder cannot be read, the way back stays.
    if (next) drawCrumbs(next.crumbs);
    listing = next;
    filter.value = "";
    scroll.scrollTop = 0;
    draw();
  }

  function drawCrumbs(way: readonly Place[]): void {
    const last = way.length - 1;
    crumbs.replaceChildren(
      ...way.flatMap(({ name, path: to }, i) => {
        const crumb = button(name, () => void open(to), { class: "quiet", "aria-current": i === last && "page" });
        return i < last ? [crumb, "/"] : [crumb];
      }),
    );
  }

  function draw(): void {
    const files = listing?.files.filter(({ kind }) => kinds.includes(kind)) ?? [];
    const all: Entry[] = [
      ...(listing?.folders ?? []).map((folder) => ({ kind: "folder" as const, ...folder })),
      ...files,
    ];
    const sought = filter.value.trim().toLowerCase();
    const found = all.filter(({ name }) => name.toLowerCase().includes(sought));
    list.draw(found);
    if (!listing) setText(note, "");
    else if (sought && !found.length) setText(note, `Nothing here is called “${filter.value.trim()}”.`);
    else setText(note, files.length || sought ? "" : `No ${wanted} here.`);
  }

  async function readPlaces(): Promise<void> {
    const answer = await link.ask<Places>({ kind: "places" });
    if (!answer.ok) return;
    const { root, caches } = answer.value;
    const tell = ({ name, path: to }: Place): HTMLElement =>
      button(name, () => void open(to), { class: "quiet", title: to });
    for (const old of [...places.children]) if (old !== lead) old.remove(); // which may have the focus
    places.append(
      tell(root),
      button("Recent", () => void showRecent(), { class: "quiet" }),
      ...caches.map(tell),
    );
  }

  /** What was used lately, as if it were a folder. */
  async function showRecent(): Promise<void> {
    const mine = ++turn;
    const answer = await link.ask<Places>({ kind: "places" }); // a model may have been loaded since the last time
    if (mine !== turn) return;
    failure.show(answer.ok ? null : answer.error);
    again.hidden = true;
    const file = ({ name, path: at }: Place): FoundFile => {
      const kind = at.endsWith(".inferno") ? ("inferno" as const) : ("gguf" as const);
      return { name, path: at, kind, bytes: 0, parts: 1 };
    };
    const files = answer.ok ? answer.value.recent.map(file) : [];
    show({ path, crumbs: [{ name: "Recent", path }], folders: [], files });
  }

  function up(): void {
    const way = listing?.crumbs ?? [];
    if (way.length > 1) void open(way[way.length - 2].path);
  }

  filter.addEventListener("input", draw);
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && filter.value) {
      filter.value = "";
      draw();
    } else if (event.key === "ArrowDown") scroll.querySelector<HTMLElement>("[data-row]")?.focus();
    else return;
    event.preventDefault();
  });
  scroll.addEventListener("keydown", (event) => {
    if (event.key !== "Backspace") return;
    event.preventDefault();
    up();
  });
  hidden.addEventListener("change", () => void open(path));

  return {
    element,
    /** Reads the folder anew; the first time the root. */
    refresh(): void {
      void readPlaces();
      void open(path);
    },
    /** Marks the file that is looked at. */
    choose(file: string): void {
      chosen = file;
      draw();
    },
    /** Where the reader was; false where nothing is listed. */
    focus(): boolean {
      const row = scroll.querySelector<HTMLElement>('[aria-current="true"], [data-row][tabindex="0"]');
      row?.focus();
      return row !== null;
    },
    close: () => rowsInView.disconnect(),
  };
}
