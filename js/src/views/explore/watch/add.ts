/** The line in which a person says what is to be watched, and the ways in which it stands in the vocabulary. */
import { h, setAttribute, setText } from "../../../dom.js";
import type { Link } from "../../../link.js";
import type { Variants } from "../../../state.js";
import { label } from "../../../text.js";
import { button } from "../../parts/button.js";
import { failureBox } from "../../parts/failure.js";
import { later } from "../../parts/later.js";
import { obstacle, pieceOf, quoted } from "../words.js";
import { meant, read, type Wanted } from "./wanted.js";

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
  const add = button("Watch", () => void submit(), { "data-action": "watch", class: "small primary" });
  const chosen = button("", () => void take(), { "data-action": "watch-token", hidden: true });
  const chips = h("div", { class: "line watch-ways", role: "group", "aria-label": "Ways in the vocabulary" });
  const note = h("p", { class: "note", role: "status" });
  const failure = failureBox();
  const element = h(
    "div",
    { class: "watch-add" },
    h("div", { class: "line" }, input, add, chosen),
    chips,
    note,
    failure.element,
  );
  let offers: Offer[] = [];
  let looked = ""; // what the offers are of
  let sending = false;

  /** Asks the vocabulary for what is written; whether the offers are of it now. */
  async function look(): Promise<boolean> {
    const written = input.value;
    const wanted = read(written);
    if (written === looked) return wanted !== null;
    const found: Offer[] = (wanted?.ids ?? []).map((id) => ({ token: id, text: textOf(id), id, ticked: true }));
    const missing: string[] = [];
    for (const word of wanted?.words ?? []) {
      const answer = await link.ask<Variants>({ kind: "variants", text: word });
      if (input.value !== written) return false; // more was written meanwhile
      if (!answer.ok) {
        failure.show(answer.error);
        return false;
      }
      if (!answer.value.length) missing.push(word);
      for (const { id, text } of answer.value)
        if (!found.some((offer) => offer.id === id))
          found.push({ token: text, text: label([text]), id, ticked: meant(word, text) });
    }
    looked = written;
    show(found, missing);
    return wanted !== null;
  }

  const textOf = (id: number): string => label(link.store.piece(id)) || `#${id}`;

  function show(found: Offer[], missing: readonly string[]): void {
    offers = found;
    failure.show(null);
    setText(note, missing.map(absent).join(" "));
    chips.replaceChildren(
      ...found.map((offer) => {
        const box = h("input", { type: "checkbox", "data-token-id": offer.id });
        box.checked = offer.ticked;
        box.addEventListener("change", () => {
          offer.ticked = box.checked;
          enable();
        });
        return h("label", { class: "watch-way", title: `token ${offer.id}` }, box, h("code", {}, offer.text));
      }),
    );
    enable();
  }

  const ask = later(() => void look(), WAIT_MS);

  async function submit(): Promise<void> {
    ask.cancel();
    if (add.disabled || !(await look())) return;
    const tokens = offers.filter(({ ticked }) => ticked).map(({ token }) => token);
    if (!tokens.length) {
      if (offers.length) setText(note, "Tick at least one of the ways in which it stands in the vocabulary.");
      return;
    }
    if (await send((read(input.value) as Wanted).name, tokens)) {
      input.value = looked = "";
      show([], []);
    }
    input.focus();
  }

  /** Watches the token that is selected. */
  async function take(): Promise<void> {
    const node = link.selection;
    if (node < 0) return;
    await send(pieceOf(link.store, node), [link.store.columns.token_id[node]]);
  }

  async function send(name: string, tokens: (string | number)[]): Promise<boolean> {
    sending = true;
    setText(note, "The text so far is read again, in one batch…");
    enable();
    const refused = await link.command({ kind: "watch", name, tokens, variants: false });
    sending = false;
    setText(note, "");
    failure.show(refused);
    enable();
    return !refused;
  }

  function enable(): void {
    const hindered = sending || obstacle(link) !== "";
    add.disabled = hindered || !input.value.trim();
    chosen.disabled = hindered;
  }

  input.addEventListener("input", () => {
    enable();
    if (input.value.trim()) return ask();
    ask.cancel();
    looked = "";
    show([], []);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void submit();
    else if (event.key === "Escape" && input.value) {
      input.value = looked = "";
      ask.cancel();
      show([], []);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw(): void {
      const node = link.selection;
      chosen.hidden = node < 0;
      if (node >= 0) setText(chosen, `Watch ‘${pieceOf(link.store, node)}’`);
      input.disabled = !link.reachable || !link.status.model;
      setAttribute(chosen, "title", "Watch the token that is selected");
      enable();
    },
  };
}

const absent = (word: string): string =>
  word.includes(",")
    ? `No token is ${quoted(word)}: to watch several, give them a name, as in “name: ${word.trim()}”.`
    : `No single token is ${quoted(word)}: longer words are made of several. Watch its first one.`;
