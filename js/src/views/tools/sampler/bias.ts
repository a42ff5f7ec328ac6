/** Tokens made likelier or unlikelier by hand: found in the vocabulary, then weighed. */
import { h, setAttribute, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import { label } from "../../../text.js";
import { button } from "../../parts/button.js";
import { keyedList, type Row } from "../../parts/list.js";
import { nameOfId } from "../../parts/words.js";
import { mark, type Part, resetButton } from "./field.js";
import { vocabulary } from "./vocabulary.js";

/** What a token gets that was just picked, and what the slider offers either way. */
const PICKED = 5;
const MOST = 10;

/** Token id, as text -> what is added to its logit; null stands for minus infinity, which JSON cannot write. */
type Biases = Record<string, number | null>;

export function logitBias(link: Link): Part {
  const names = new Map<string, string>(); // what the search said of tokens that the run has not met
  let model = -1; // whose vocabulary it was
  const search = vocabulary(link, ({ id, text }) => {
    names.set(String(id), label([text]));
    if (!(id in biases())) void set({ ...biases(), [id]: PICKED });
  });
  const list = keyedList<[string, number | null]>("Biased tokens", ([id]) => id, row);
  const undo = resetButton("logit bias", "none", () => void set({}));
  const error = h("span", { class: "field-error", role: "alert" });
  const element = h(
    "div",
    { class: "field wide", "data-setting": "logit_bias" },
    h("span", { class: "field-name" }, "logit bias"),
    search.element,
    undo,
    h("p", { class: "field-help" }, "Added to the token's logit before anything else; +1 makes it 2.7 times as likely"),
    list.element,
    error,
  );

  const biases = (): Biases => (link.settings.logit_bias as Biases | undefined) ?? {};
  const nameOf = (id: string): string => names.get(id) ?? nameOfId(link.store, Number(id));

  async function set(value: Biases): Promise<void> {
    const failure = await link.command({ kind: "set", name: "logit_bias", value });
    setText(error, failure?.message ?? "");
  }

  function row([id]: [string, number | null]): Row<[string, number | null]> {
    const name = h("code", { class: "bias-token", title: `token ${id}` });
    const slider = h("input", { type: "range", min: -MOST, max: MOST, step: 0.5, "data-slider": `bias-${id}` });
    const number = h("input", { type: "text", inputmode: "decimal", class: "entry", "data-row": true });
    const never = button("never", () => give(biases()[id] === null ? -PICKED : null), {
      "data-action": "never",
      title: "Forbid it: minus infinity",
    });
    const remove = button("✕", () => drop(id), { class: "quiet", "aria-label": `Remove the bias of token ${id}` });
    const give = (value: number | null): void => void set({ ...biases(), [id]: value });

    function commit(): void {
      const value = Number(number.value.replace("−", "-"));
      if (number.value.trim() === "" || Number.isNaN(value)) setText(error, "a bias is a number");
      else if (value !== biases()[id]) give(value);
    }
    const written = (): string => (biases()[id] === null ? "" : String(biases()[id] ?? 0));
    slider.addEventListener("input", () => give(Number(slider.value)));
    number.addEventListener("change", commit);
    number.addEventListener("keydown", (event) => {
      if (event.key === "Enter") commit();
      else if (event.key === "Escape" && (number.value !== written() || error.textContent)) {
        number.value = written();
        setText(error, "");
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });

    return {
      element: h("li", { class: "bias-row", "data-token-id": id }, name, slider, number, never, remove),
      draw([, value]) {
        const piece = nameOf(id);
        setText(name, piece);
        setAttribute(slider, "aria-label", `Bias of ${piece}`);
        setAttribute(number, "aria-label", `Bias of ${piece}`);
        setAttribute(number, "placeholder", value === null ? "-∞" : "0");
        setAttribute(never, "aria-pressed", String(value === null));
        slider.value = String(value ?? -MOST);
        if (document.activeElement !== number) number.value = written();
        for (const one of [slider, number, never, remove]) one.disabled = !link.reachable;
      },
    };
  }

  function drop(id: string): void {
    const { [id]: _, ...rest } = biases();
    void set(rest);
    search.focus();
  }

  return {
    element,
    draw() {
      const now = link.library.models.find(({ current }) => current)?.id ?? -1;
      if (now !== model) names.clear(); // another model's token of that number is another one
      model = now;
      list.draw(Object.entries(biases()));
      search.draw();
      mark(element, undo, link, "logit_bias");
    },
  };
}
