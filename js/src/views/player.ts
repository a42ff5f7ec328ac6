/** Plays a recorded run again: the text as far as it had come, with a slider over the whole of it. */

import { h, setAttribute, setText, type View } from "../dom.js";
import { whole } from "../draw/format.js";
import type { Link } from "../link.js";
import { KINDS } from "../protocol.js";

/** Tokens a second; as recorded where there is none. */
const SPEEDS: readonly { name: string; rate?: number }[] = [
  { name: "4 tokens/s", rate: 4 },
  { name: "15 tokens/s", rate: 15 },
  { name: "60 tokens/s", rate: 60 },
  { name: "as recorded" },
];
const USUAL = 1;
/** Milliseconds between two steps while it plays. */
const TICK_MS = 50;
/** The same for whoever wants little to move. */
const CALM_MS = 1_000;
/** What answers to the keys itself. */
const OWN_KEYS = "button, input, select, textarea, summary, a, [role=slider], [role=tab]";

export function player(link: Link): View {
  const { store } = link;
  const glyph = h("span", { "aria-hidden": "true" });
  const name = h("span", {});
  const play = h("button", { type: "button", class: "play", "data-action": "play" }, glyph, " ", name);
  const slider = h("input", {
    type: "range",
    min: 1,
    step: 1,
    title: "Drag, or use the arrow keys, Home and End; space plays and pauses",
    "aria-label": "Place in the recorded run",
    "data-testid": "player",
  });
  const place = h("span", { class: "fact player-place" });
  const speed = h(
    "select",
    { class: "player-speed", "aria-label": "Speed", title: "How fast it plays" },
    ...SPEEDS.map((one, i) => h("option", { value: i, selected: i === USUAL }, one.name)),
  );
  const element = h("div", { class: "player", role: "group", "aria-label": "Recording" }, play, slider, place, speed);
  const calm = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)");
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0; // when time was looked at last, and
  let unspent = 0; // the milliseconds of it that no token has taken yet

  const end = (): number => store.total;
  const playing = (): boolean => timer !== undefined;

  function firstAfterPrompt(): number {
    let at = 0;
    while (at < end() && KINDS[store.columns.kind[store.path[at]]] === "prompt") at++;
    return Math.max(1, at);
  }

  /** Milliseconds that the token at a position takes. */
  function cost(position: number): number {
    const { rate } = SPEEDS[Number(speed.value)];
    return rate ? 1_000 / rate : store.columns.ms[store.path[position]] || 0;
  }

  function seek(length: number): void {
    link.show(Math.min(end(), Math.max(1, length)), playing());
  }

  function tick(): void {
    const now = performance.now();
    unspent += now - last;
    last = now;
    let length = store.length;
    while (length < end() && cost(length) <= unspent) unspent -= cost(length++);
    if (length >= end()) {
      stop(Number.POSITIVE_INFINITY); // nothing is held back any more
      return;
    }
    timer = setTimeout(tick, calm?.matches ? CALM_MS : TICK_MS);
    if (length > store.length) seek(length);
  }

  function start(): void {
    link.select(-1); // so that the newest token is looked at
    if (store.length >= end()) seek(firstAfterPrompt());
    last = performance.now();
    unspent = 0;
    timer = setTimeout(tick, 0);
    seek(store.length);
  }

  function stop(length: number): void {
    clearTimeout(timer);
    timer = undefined;
    link.show(length, false);
  }

  const toggle = (): void => (playing() ? stop(store.length) : start());

  function scrub(length: number): void {
    if (link.selection >= 0) link.select(-1);
    seek(length);
  }

  const KEYS: Record<string, () => void> = {
    " ": toggle,
    ArrowLeft: () => scrub(store.length - 1),
    ArrowRight: () => scrub(store.length + 1),
    Home: () => scrub(1),
    End: () => scrub(end()),
  };

  function onKey(event: KeyboardEvent): void {
    const inside = element.contains(event.target as Node);
    const taken = (event.target as Element).closest?.(OWN_KEYS) && event.target !== slider;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || taken) return;
    // Home and End of a page that is not the player's go to its top and bottom.
    if (!KEYS[event.key] || !end() || (!inside && (event.key === "Home" || event.key === "End"))) return;
    KEYS[event.key]();
    event.preventDefault();
  }

  play.addEventListener("click", toggle);
  slider.addEventListener("input", () => scrub(Number(slider.value)));
  // A recording has the page to itself; in a notebook the keys are the player's where it has the focus.
  const keyboard: HTMLElement | Document = link.recorded ? document : element;
  keyboard.addEventListener("keydown", onKey as EventListener);

  return {
    element,
    draw() {
      setText(glyph, playing() ? "❚❚" : "▶");
      setText(name, playing() ? "Pause" : "Play");
      play.disabled = slider.disabled = end() < 2;
      setAttribute(slider, "max", String(Math.max(1, end())));
      if (slider.valueAsNumber !== store.length) slider.value = String(store.length);
      setText(place, `${whole(store.length)} / ${whole(end())}`);
      setAttribute(slider, "aria-valuetext", `token ${store.length} of ${end()}`);
    },
    close() {
      clearTimeout(timer);
      keyboard.removeEventListener("keydown", onKey as EventListener);
    },
  };
}
