// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { frame, key, openPage, type Page, run } from "./open.js";

const CARD = { name: "q", architecture: "qwen2", parameters: 1, quantisation: "F16", n_ctx_train: 512, n_vocab: 5 };
const READY = { state: "ready", n_ctx: 512, model: CARD, chat: true };

let page: Page;
beforeEach(async () => {
  page = openPage({ status: READY }, "chat");
  await frame();
});
afterEach(() => page.close());

const texts = () => page.all(".message-text") as HTMLTextAreaElement[];
const roles = () => (page.all(".message-role") as HTMLSelectElement[]).map(({ value }) => value);
const said = () => roles().map((role, i) => `${role}: ${texts()[i].value}`);
const write = (at: number, text: string): void => {
  texts()[at].value = text;
  texts()[at].dispatchEvent(new Event("input"));
};
const send = () => page.get<HTMLButtonElement>("[data-action=send]");

it("sends what is written, in order, with its roles", async () => {
  expect(send().disabled).toBe(true);
  write(0, "Tell me a story.");
  page.get("[data-action=system]").click();
  expect(document.activeElement).toBe(texts()[0]);
  write(0, "You are brief.");
  send().click();
  expect(page.sent("chat")).toMatchObject([
    {
      messages: [
        { role: "system", content: "You are brief." },
        { role: "user", content: "Tell me a story." },
      ],
    },
  ]);
  await page.refuse("chat", "the context is full");
  expect(page.texts(".tool-chat .failure")).toEqual(["InfernoError the context is full"]);
});

it("sends on Ctrl+Enter, and not what says nothing", async () => {
  key(texts()[0], "Enter", { ctrlKey: true });
  expect(page.sent("chat")).toEqual([]);
  write(0, "Hello");
  page.get("[data-action=add]").click();
  key(texts()[0], "Enter", { ctrlKey: true });
  expect(page.sent("chat")).toMatchObject([{ messages: [{ role: "user", content: "Hello" }] }]);
  key(texts()[0], "Enter", { ctrlKey: true });
  expect(page.sent("chat")).toHaveLength(1);
});

it("adds, moves and removes messages, and keeps the focus with them", () => {
  write(0, "one");
  page.get("[data-action=add]").click();
  write(1, "two");
  expect(said()).toEqual(["user: one", "assistant: two"]);
  texts()[1].focus();
  key(texts()[1], "ArrowUp", { altKey: true });
  expect(said()).toEqual(["assistant: two", "user: one"]);
  expect(document.activeElement).toBe(texts()[0]);
  page.all('.message [title="Remove this message"]')[0].click();
  expect(said()).toEqual(["user: one"]);
  expect(document.activeElement).toBe(texts()[0]);
  expect(page.get<HTMLButtonElement>('.message [title="Remove this message"]').disabled).toBe(true);
});

it("shows the prompt that the template makes, its special tokens as chips, once the writing rests", async () => {
  for (const text of ["H", "He", "Hello"]) write(0, text);
  expect(page.sent("render")).toEqual([]);
  await vi.waitFor(() => expect(page.sent("render")).toHaveLength(1));
  expect(page.sent("render")[0]).toMatchObject({ messages: [{ role: "user", content: "Hello" }] });
  const tokens = [
    { id: 7, text: "<|im_start|>", special: true },
    { id: 8, text: "user\n", special: false },
    { id: 9, text: "<|im_start|>", special: false },
  ];
  await page.answer("render", { text: "<|im_start|>user\n<|im_start|>", tokens });
  expect(page.get(".chat-prompt").textContent).toBe("<|im_start|>user\n<|im_start|>");
  expect(page.texts(".chat-prompt .special")).toEqual(["<|im_start|>"]); // the other one was typed
  expect(page.get(".chat-rendered .note").textContent).toBe("3 tokens");
});

it("shows no prompt of messages that have changed since, and why the template refused them", async () => {
  write(0, "a");
  await vi.waitFor(() => expect(page.sent("render")).toHaveLength(1));
  write(0, "ab");
  await page.answer("render", { text: "a", tokens: [{ id: 1, text: "a", special: false }] });
  expect(page.get(".chat-prompt").textContent).toBe("");
  await vi.waitFor(() => expect(page.sent("render")).toHaveLength(2));
  await page.refuse("render", "roles must alternate");
  expect(page.texts(".chat-rendered .failure")).toEqual(["InfernoError roles must alternate"]);
});

it("takes the answer as the next message, without the token that ended it", async () => {
  const answer = page.get("[data-action=answer]");
  write(0, "Who are you?");
  page.model.rows(run(["<|user|>", "Who"], [" I", " am", " zwölf", "<|end|>"]));
  page.model.status({ finish: "eog" });
  await frame();
  expect(answer.hidden, "this was another run").toBe(true);
  send().click();
  page.model.put("prompt", "<|user|>Who");
  await page.answer("chat");
  expect(answer.hidden).toBe(false);
  write(0, "Who was that?");
  expect(answer.hidden, "which was not asked").toBe(true);
  write(0, "Who are you?");
  answer.click();
  expect(said()).toEqual(["user: Who are you?", "assistant: I am zwölf", "user: "]);
  expect(document.activeElement).toBe(texts()[2]);
  expect(page.get("[data-action=answer]").hidden).toBe(true);
});

it("offers neither sending nor the answer while the model is busy", async () => {
  write(0, "Who are you?");
  page.model.rows(run(["Who"], [" I"]));
  page.model.status({ state: "generating" });
  await frame();
  expect([send().disabled, page.get("[data-action=answer]").hidden]).toEqual([true, true]);
});

it("says that a base model has no template, and that no model is loaded", async () => {
  page.model.status({ chat: false });
  await frame();
  expect(page.texts(".tool-chat .note")[0]).toContain("q is a base model: its file has no chat template.");
  expect(page.get(".chat-columns").hidden).toBe(true);
  page.model.status({ model: null });
  await frame();
  expect(page.texts(".tool-chat .note")[0]).toContain("none is loaded");
  page.get(".tool-chat > .line .small").click();
  expect(page.get("[data-tool=model]").getAttribute("aria-selected")).toBe("true");
});
