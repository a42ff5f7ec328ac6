/** The prompt that the model's template makes of the messages, its special tokens as chips. */

import type { Rendered } from "../../../answers/text.js";
import { h, setText } from "../../../dom.js";
import { whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { copyButton } from "../../parts/copy.js";
import { failureBox } from "../../parts/failure.js";
import { later } from "../../parts/later.js";
import type { Message } from "./messages.js";

const WAIT_MS = 300;

export function rendered(link: Link) {
  const size = h("span", { class: "note", role: "status" });
  const text = h("div", { class: "chat-prompt", tabindex: 0, role: "region", "aria-label": "Rendered prompt" });
  const failure = failureBox();
  let copied = "";
  let turn = 0;
  const copy = copyButton(() => copied, "Copy the rendered prompt");
  const head = h(
    "div",
    { class: "line" },
    h("h3", {}, "What the model reads"),
    size,
    h("span", { class: "push" }),
    copy,
  );
  const element = h("section", { class: "chat-rendered" }, head, text, failure.element);

  async function ask(messages: Message[]): Promise<void> {
    const mine = ++turn;
    const answer = await link.ask<Rendered>({ kind: "render", messages });
    if (mine !== turn) return;
    failure.show(answer.ok ? null : answer.error);
    if (answer.ok) draw(answer.value);
  }

  function draw({ text: prompt, tokens }: Rendered): void {
    copied = prompt;
    setText(size, `${whole(tokens.length)} tokens`);
    text.replaceChildren(
      ...tokens.map(({ id, text: piece, special }) =>
        special ? h("span", { class: "special", title: `special token ${id}` }, piece) : piece,
      ),
    );
  }

  const askSoon = later((messages: Message[]) => void ask(messages), WAIT_MS);
  return {
    element,
    show(messages: Message[]): void {
      turn++; // what is still on its way is of other messages
      if (messages.length) {
        askSoon(messages);
        return;
      }
      askSoon.cancel();
      failure.show(null);
      draw({ text: "", tokens: [] });
      setText(size, "nothing yet");
    },
    close: askSoon.cancel,
  };
}
