/** The little that a page of our own size needs instead of a framework. */

type Child = Node | string;

/** An element with attributes; `true` sets an empty one, `false` and null leave it out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number | boolean | null> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** An id that nothing else in the page has: two views of a widget may be in one. */
export const uniqueId = (name: string): string => `inferno-${name}-${crypto.getRandomValues(new Uint32Array(1))[0]}`;

/** Sets what differs, so that an unchanged page costs nothing and a selection in it survives. */
export function setText(element: Element, text: string): void {
  const only = element.firstChild;
  // Another text in the node that stands costs less than another node.
  if (only instanceof Text && !only.nextSibling) {
    if (only.data !== text) only.data = text;
  } else if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string | null): void {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** How much of something there is, 0 to 1, for the style sheet. */
export function setShare(element: HTMLElement, share: number): void {
  const value = share.toFixed(4);
  if (element.style.getPropertyValue("--p") !== value) element.style.setProperty("--p", value);
}

/**
 * One part of the widget. The model computes on the same cores as the page draws, so drawing has to be cheap:
 * `draw` writes what has changed and asks the page for no measures.
 */
export interface View {
  readonly element: HTMLElement;
  /** Brings it up to date. `streaming`: the next tokens are on their way, and so is the next drawing. */
  draw(streaming: boolean): void;
  /** Follows when all views have written: what needs the layout asks for it here, once. */
  settle?(): void;
  /** Nobody reads it as fast as it changes: it skips most drawings while it streams. */
  readonly restful?: boolean;
  /** It is shown no more, until it is drawn again. */
  leave?(): void;
  close?(): void;
}
