/** A conversation through the model's own chat template; the answers appear in the stream. */
import { h, setText, type View } from "../../dom.js";
import type { Link } from "../../link.js";
import { KINDS, type State } from "../../protocol.js";
import { decodeText } from "../../text.js";
import { button, openTool } from "../parts/button.js";
import { failureBox } from "../parts/failure.js";
import { messages } from "./chat/messages.js";
import { rendered } from "./chat/rendered.js";

const BUSY: readonly State[] = ["loading", "prefill", "generating"];
const PROMPT = KINDS.indexOf("prompt");

export function chat(link: Link): View {
  const prompt = rendered(link);
  const talk = messages(changed, () => void send());
  const failure = failureBox();
  const go = button("Send", () => void send(), { class: "small primary", "data-action": "send", title: "Ctrl+Enter" });
  const add = button("Add a message", addMessage, { "data-action": "add" });
  const system = button("Add a system message", addSystem, { "data-action": "system" });
  const answer = button("Add the answer as a message", addAnswer, { "data-action": "answer" });
  const fresh = button("Clear", talk.clear, { class: "quiet", title: "Begin another conversation" });
  const actions = h("div", { class: "line" }, go, answer, add, system, h("span", { class: "push" }), fresh);
  const write = h("section", { class: "chat-write" }, talk.element, failure.element, actions);
  const columns = h("div", { class: "chat-columns" }, write, prompt.element);
  const words = h("p", { class: "note" });
  const models = button("Open the models", () => openTool(element, "model"));
  const missing = h("div", { class: "line" }, words, models);
  const element = h("div", { class: "tool-chat" }, missing, columns);
  let shown = ""; // the model whose template made the prompt
  let asked = { said: "", prompt: "" }; // what was sent last, and the prompt that it became
  talk.add("user");

  function changed(): void {
    if (link.status.chat) prompt.show(talk.said());
    drawActions();
  }

  function addMessage(): void {
    talk.add(talk.last()?.role === "user" ? "assistant" : "user");
    talk.focusLast();
  }

  function addSystem(): void {
    talk.add("system", "", 0);
    talk.focusFirst();
  }

  /** The next turn: the answer as it stands in the stream, and room for what is said to it. */
  function addAnswer(): void {
    talk.add("assistant", generated(link));
    talk.add("user");
    talk.focusLast();
  }

  async function send(): Promise<void> {
    if (go.disabled) return;
    go.disabled = true;
    const messages = talk.said();
    const refused = await link.command({ kind: "chat", messages });
    if (!refused) asked = { said: JSON.stringify(messages), prompt: link.prompt };
    failure.show(refused);
    drawActions();
  }

  function drawActions(): void {
    const { state } = link.status;
    const able = link.reachable && !BUSY.includes(state);
    go.disabled = !able || !talk.said().length;
    system.hidden = talk.has("system");
    // What is shown may be another run, and what is written another question.
    const answered = asked.said === JSON.stringify(talk.said()) && asked.prompt === link.prompt;
    answer.hidden = !able || !answered || talk.last()?.role !== "user" || !hasGenerated(link);
  }

  return {
    element,
    draw() {
      const { model, chat: able } = link.status;
      columns.hidden = !able;
      missing.hidden = able;
      models.hidden = able;
      setText(
        words,
        model
          ? `${model.name} is a base model: its file has no chat template. Write the beginning of a text as its prompt instead, or take another model.`
          : "A conversation needs a model, and none is loaded.",
      );
      if (able && shown !== model?.name) prompt.show(talk.said());
      shown = able ? (model?.name ?? "") : "";
      drawActions();
    },
    close: prompt.close,
  };
}

function hasGenerated({ store }: Link): boolean {
  return store.length > 0 && store.columns.kind[store.path[store.length - 1]] !== PROMPT;
}

/** What was generated after the prompt, without the token that ended it. */
function generated({ store, status }: Link): string {
  const { kind, token_id } = store.columns;
  let from = store.length;
  while (from > 0 && kind[store.path[from - 1]] !== PROMPT) from--;
  const to = store.length - (status.finish === "eog" ? 1 : 0);
  const bytes: number[] = [];
  for (let at = from; at < to; at++) bytes.push(...store.bytes(token_id[store.path[at]]));
  const { parts } = decodeText(Uint8Array.from(bytes));
  return parts
    .filter((part) => typeof part === "string")
    .join("")
    .trim();
}
