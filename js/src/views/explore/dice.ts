/** The same run under other settings, thrown with the same dice. */

import type { WhatIf } from "../../answers/roads.js";
import { h, setText, type View } from "../../dom.js";
import { plot } from "../../draw/plot.js";
import type { Link } from "../../link.js";
import { question } from "../parts/question.js";
import { fieldOf } from "../parts/sampling.js";
import { STALE, selected, unasked } from "../parts/words.js";
import { earliest, picture, readingOf } from "./dice/points.js";
import { PARAMETERS, type Parameter, usual, valuesOf, wrong } from "./dice/range.js";
import { replay } from "./dice/replay.js";

const HEIGHT = 270;
const ABOUT =
  "Every token's dice are recorded. So it can be told at which token the run would first have become another one, had " +
  "one setting been different: mostly from what was recorded, without the model.";

/** An answer, and the path that it is about. */
interface Told {
  answer: WhatIf;
  nodes: Int32Array;
  epoch: number;
}

export function dice(link: Link): View {
  const { store } = link;
  const parameter = h(
    "select",
    { class: "entry", "data-field": "parameter" },
    ...PARAMETERS.map((name) => h("option", { value: name }, fieldOf(name).label)),
  );
  const [from, to] = ["from", "to"].map((name) =>
    h("input", { class: "entry", type: "text", inputmode: "decimal", "data-field": name, "aria-label": name }),
  );
  const note = h("p", { class: "note" });
  const said = h("p", { class: "said", role: "status", "data-testid": "what-if" });
  const again = replay(link);
  let told: Told | null = null;

  const chosen = (): Parameter => parameter.value as Parameter;
  const ask = (rows: boolean) => () => {
    const [low, high] = [from, to].map(({ value }) => (value.trim() ? Number(value.replace(",", ".")) : Number.NaN));
    const refused = wrong(chosen(), low, high);
    if (refused) {
      asking.refuse(refused);
      return null;
    }
    const values = valuesOf(chosen(), low, high, link.settings);
    const [nodes, { epoch }] = [store.path.slice(0, store.length), store];
    const take = (answer: WhatIf): void => {
      told = { answer, nodes, epoch };
      draw();
    };
    return {
      command: { kind: "what_if" as const, parameter: chosen(), values, rows },
      told: (share: number) => share,
      done: take,
    };
  };
  const asking = question<WhatIf, number>(
    link,
    {
      text: "Where would it differ?",
      title: "Ask for each value of the range at which token the run would first have been another",
      name: "what-if",
      primary: true,
      hindrance: unasked, // the trace alone answers
    },
    ask(false),
  );
  const fetching = question<WhatIf, number>(
    link,
    {
      text: "Fetch what is missing",
      title: "Have the model predict the tokens again of which too few candidates were recorded",
      name: "what-if-rows",
    },
    ask(true),
  );
  const points = plot({
    name: "dice-plot",
    label: "",
    height: HEIGHT,
    read: (stop) => readingOf(store, (told as Told).nodes, (told as Told).answer, stop),
    choose: (stop) => {
      const at = told && earliest(told.answer.changes[stop]);
      if (told && at !== null) link.select(told.nodes[at] ?? -1);
    },
  });
  const element = h(
    "div",
    { class: "explore-dice" },
    h("p", { class: "note dice-about" }, ABOUT),
    h(
      "div",
      { class: "asked" },
      h("label", {}, "setting", parameter),
      h("label", {}, "from", from),
      h("label", {}, "to", to),
      asking.buttons,
      fetching.buttons,
    ),
    note,
    asking.below,
    fetching.below,
    said,
    points.element,
    again.element,
  );

  function reset(): void {
    [from.value, to.value] = usual(chosen(), link.settings).map(String);
  }

  parameter.addEventListener("change", () => {
    reset();
    void asking.ask();
  });
  for (const field of [from, to])
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      void asking.ask();
      event.preventDefault();
      event.stopPropagation();
    });
  reset();

  function draw(): void {
    asking.draw();
    fetching.draw();
    again.draw();
    setText(note, unasked(link));
    note.hidden = !note.textContent;
    if (told && told.epoch !== store.epoch) told = null;
    points.element.hidden = !told?.answer.changes.length;
    const open = told?.answer.changes.filter(({ unknown }) => unknown !== null).length ?? 0;
    fetching.buttons.hidden = !open && !fetching.busy;
    setText(said, told ? summary(told) : "");
    if (!told?.answer.changes.length) return;
    const { label } = fieldOf(told.answer.parameter as Parameter);
    points.name(`First token that differs, by ${label}. Arrow keys read, Enter selects the token.`);
    points.draw(picture(told.answer, selected(link)));
  }

  /** The answer in words, and whether the run has changed since. */
  function summary({ answer, nodes }: Told): string {
    const { changes, current } = answer;
    const same = changes.filter((change) => earliest(change) === null).length;
    const open = changes.filter(({ unknown }) => unknown !== null).length;
    const { label } = fieldOf(answer.parameter as Parameter);
    const parts = [
      current === null ? `The run had several values of ${label}.` : `The run had ${label} ${current}.`,
      `${same} of ${changes.length} values give the same run.`,
      ...(open ? [`Of ${open} it is not certain: the recorded candidates do not suffice (hollow).`] : []),
    ];
    const old = nodes.length !== store.length || nodes[nodes.length - 1] !== store.at(store.length - 1);
    return [...parts, ...(old ? [STALE] : [])].join(" ");
  }

  return { element, draw, close: points.close };
}
