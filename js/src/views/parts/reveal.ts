/** Brings what was opened into view. */

/** As long as this it may grow, because what it shows had to be asked for. */
const GROWS_MS = 1_000;
/** Whoever does one of these goes elsewhere. */
const ELSEWHERE = ["wheel", "pointerdown", "touchstart", "keydown"];

/**
 * Scrolls no further than it takes to see all of an element, or its beginning where it is higher than the window, and
 * again while it grows at first.
 */
export function reveal(element: Element): void {
  const calm = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches;
  const show = (): void =>
    element.scrollIntoView?.({ block: "nearest", inline: "nearest", behavior: calm ? "auto" : "smooth" });
  if (!globalThis.ResizeObserver) {
    show();
    return;
  }
  const observer = new ResizeObserver(show); // which calls at once, too
  const over = new AbortController();
  over.signal.addEventListener("abort", () => observer.disconnect());
  for (const event of ELSEWHERE)
    addEventListener(event, () => over.abort(), { signal: over.signal, capture: true, passive: true });
  setTimeout(() => over.abort(), GROWS_MS);
  observer.observe(element);
}
