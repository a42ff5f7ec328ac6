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

/** Sets what differs, so that an unchanged page costs nothing and a selection in it survives. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string | null): void {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** One part of the widget. `draw` brings it up to date, at most once an animation frame. */
export interface View {
  readonly element: HTMLElement;
  draw(): void;
  close?(): void;
}
