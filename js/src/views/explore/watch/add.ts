/** The line in which a person says what is to be watched, and the ways in which it stands in the vocabulary. */

import type { Named } from "../../../answers/text.js";
import { h, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import { label } from "../../../text.js";
import { later } from "../../parts/later.js";
import { question } from "../../parts/question.js";
import { nameOfId, pieceOf, quoted } from "../../parts/words.js";
import { meant, read } from "./wanted.js";

/** Milliseconds without a key before the kernel is asked. */
const WAIT_MS = 180;

/** A way to stand in the vocabulary that can be ticked: a text, or a token by its number. */
interface Offer {
  token: string | number;
  text: string;
  id: number;
  ticked: boolean;
}

export function addWatch(link: Link) {
  const input = h("input", {
    class: "entry",
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    "data-field": "watch",
    "aria-label": "What to watch: a word, several under a name, or a token by its number",
    placeholder: "king   or   good end: happy, merry   or   #1234",
  });
  const chips = h("div", { class: "line watch-ways", role: "group", "aria-label": "Ways in the vocabulary" });
  const note = h("p", { class: "note", role: "status" });
  let offers: Offer[] = [];
  let looked = ""; // what the offers are of

  const adding = question<null, number>(
    link,
    {
      text: "Watch",
      title: "Draw its probability at every token. Those that were made already are read again, in batches",
      name: "watch",
      primary: true,
      able: () => input.value.trim() !== "",
    },
    async () => {
      ask.cancel();
      if (!(await look())) return null;
      const tokens = offers.filter(({ ticked }) => ticked).map(({ token }) => token);
      if (!tokens.length && offers.length)
        setText(note, "Tick at least one of the ways in which it stands in the vocabulary.");
      const name = read(input.value)?.name;
      return tokens.length && name ? watching(name, tokens, empty) : null;
    },
  );
  const taking = question<null, number>(
    link,
    { text: "", title: "Watch the token that is selected", name: "watch-token" },
    () => {
      const node = link.selection;
      return node < 0 ? null : watching(pieceOf(link.store, node), [link.store.columns.token_id[node]]);
    },
  );
  const element = h(
    "div",
    { class: "watch-add" },
    h("div", { class: "line" }, input, adding.buttons, taking.buttons),
    chips,
    note,
    adding.below,
    taking.below,
  );

  const watching = (name: string, tokens: (string | number)[], done = () => {}) => ({
    command: { kind: "watch" as const, name, tokens, variants: false },
    told: (read: number) => read / Math.max(1, link.store.size - 1),
    done,
  });

  /** Asks the vocabulary for what is written; whether the offers are of it now. */
  async function look(): Promise<boolean> {
    const written = input.value;
    const wanted = read(written);
    if (!wanted || written === looked) return wanted !== null;
    const found: Offer[] = wanted.ids.map((id) => ({ token: id, text: nameOfId(link.store, id), id, ticked: true }));
    const missing: string[] = [];
    for (const word of wanted.words) {
      const answer = await link.ask<Named[]>({ kind: "variants", text: word });
      if (input.value !== written) return false; // more was written meanwhile
      if (!answer.ok) {
        adding.refuse(answer.error.message, answer.error.type);
        return false;
      }
      if (!answer.value.length) missing.push(word);
      for (const { id, text } of answer.value)
        if (!found.some((offer) => offer.id === id))
          found.push({ token: text, text: label([text]), id, ticked: meant(word, text) });
    }
    looked = written;
    show(found, missing);
    return true;
  }

  function show(found: Offer[], missing: readonly string[]): void {
    offers = found;
    adding.forgive();
    setText(note, missing.map(absent).join(" "));
    chips.replaceChildren(...found.map(chip));
    adding.draw();
  }

  function chip(offer: Offer): HTMLElement {
    const box = h("input", { type: "checkbox", "data-token-id": offer.id });
    box.checked = offer.ticked;
    box.addEventListener("change", () => {
      offer.ticked = box.checked;
    });
    return h("label", { class: "watch-way", title: `token ${offer.id}` }, box, h("code", {}, offer.text));
  }

  function empty(): void {
    ask.cancel();
    input.value = looked = "";
    show([], []);
  }

  const ask = later(() => void look(), WAIT_MS);

  input.addEventListener("input", () => {
    adding.draw();
    if (input.value.trim()) ask();
    else empty();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void adding.ask();
    else if (event.key === "Escape" && input.value) empty();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw(): void {
      const node = link.selection;
      adding.draw();
      taking.draw();
      taking.buttons.hidden = node < 0 && !taking.busy;
      if (node >= 0) taking.rename(`Watch ‘${pieceOf(link.store, node)}’`);
      input.disabled = !link.reachable || !link.status.model;
    },
  };
}

const absent = (word: string): string =>
  word.includes(",")
    ? `No token is ${quoted(word)}: to watch several, give them a name, as in “name: ${word.trim()}”.`
    : `No single token is ${quoted(word)}: longer words are made of several. Watch its first one.`;
