/** Bars: how far something has come, and who takes how much of one thing. */
import { h, setAttribute, setShare } from "../../dom.js";

export function progressBar(label: string) {
  const element = h("div", { class: "bar-track", role: "progressbar", "aria-label": label }, h("span"));
  return {
    element,
    /** 0 to 1; null where nobody knows. */
    draw(progress: number | null): void {
      element.classList.toggle("unknown", progress === null);
      setShare(element, progress ?? 0);
      setAttribute(element, "aria-valuenow", progress === null ? null : String(Math.round(100 * progress)));
    },
  };
}

export interface Part {
  name: string;
  value: number;
  /** For the style sheet: how its stretch is painted. */
  paint: "strong" | "middle" | "weak" | "held" | "free" | "over" | "other";
}

/** Stretches of one bar, and below it what each stands for. */
export function stackedBar(label: string, format: (value: number) => string) {
  const track = h("div", { class: "stack-track", "aria-hidden": "true" });
  const key = h("ul", { class: "stack-key", "aria-label": label });
  const element = h("div", { class: "stack" }, track, key);
  let drawn = "";
  return {
    element,
    draw(all: readonly Part[]): void {
      const now = JSON.stringify(all);
      if (now === drawn) return;
      const parts = all.filter(({ value }) => value > 0);
      drawn = now;
      const total = parts.reduce((sum, { value }) => sum + value, 0) || 1;
      track.replaceChildren(...parts.map((part) => stretch(part, part.value / total)));
      key.replaceChildren(
        ...parts.map(({ name, value, paint }) =>
          h("li", {}, h("i", { class: paint }), `${name} `, h("b", {}, format(value))),
        ),
      );
    },
  };
}

function stretch({ paint }: Part, share: number): HTMLElement {
  const element = h("span", { class: paint });
  setShare(element, share);
  return element;
}
