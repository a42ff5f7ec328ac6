/** The messages of a conversation: who says what, in which order. */
import { h, setAttribute } from "../../../dom.js";
import { button } from "../../parts/button.js";
import { keyedList } from "../../parts/list.js";

const ROLES = ["system", "user", "assistant"] as const;
export type Role = (typeof ROLES)[number];

/** As chat templates want it. */
export interface Message {
  role: Role;
  content: string;
}

interface Held extends Message {
  id: number;
}

/** `changed` is called after every change, `send` on Ctrl+Enter. */
export function messages(changed: () => void, send: () => void) {
  const list = keyedList<Held>("Messages", ({ id }) => id, makeRow);
  let next = 0;
  let held: Held[] = [];

  function makeRow(message: Held) {
    const options = ROLES.map((role) => h("option", { value: role }, role));
    const role = h("select", { class: "entry message-role", "aria-label": "Role" }, ...options);
    const text = h("textarea", { class: "entry message-text", rows: 2, "aria-label": "Message" });
    const up = button("↑", () => move(message, -1, up), {
      class: "quiet",
      "data-action": "up",
      title: "Move up (Alt+↑)",
    });
    const down = button("↓", () => move(message, 1, down), { class: "quiet", title: "Move down (Alt+↓)" });
    const away = button("✕", () => remove(message), { class: "quiet", title: "Remove this message" });
    for (const one of [up, down, away]) setAttribute(one, "aria-label", one.title);
    const order = h("div", { class: "message-order" }, up, down, away);
    const element = h("li", { class: "message" }, role, text, order);

    role.addEventListener("change", () => {
      message.role = role.value as Role;
      changed();
    });
    text.addEventListener("input", () => {
      message.content = text.value;
      changed();
    });
    text.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
      else if (by && event.altKey) move(message, by, text);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return {
      element,
      draw({ role: who, content }: Held): void {
        const at = held.indexOf(message);
        role.value = who;
        if (text.value !== content) text.value = content;
        setAttribute(text, "placeholder", who === "system" ? "How the assistant is to be" : `What the ${who} says`);
        setAttribute(element, "data-role", who);
        up.disabled = at === 0;
        down.disabled = at === held.length - 1;
        away.disabled = held.length === 1;
      },
    };
  }

  function move(message: Held, by: number, focus: HTMLElement): void {
    const at = held.indexOf(message);
    if (at + by < 0 || at + by >= held.length) return;
    held.splice(at, 1);
    held.splice(at + by, 0, message);
    update();
    focus.focus(); // what moves in the page loses it
  }

  function remove(message: Held): void {
    const at = held.indexOf(message);
    held = held.filter((one) => one !== message);
    update();
    focus(Math.min(at, held.length - 1));
  }

  function update(): void {
    list.draw(held);
    changed();
  }

  const focus = (at: number): void => list.element.querySelectorAll<HTMLElement>("textarea")[at]?.focus();

  function add(role: Role, content = "", at = held.length): void {
    held.splice(at, 0, { id: next++, role, content });
    update();
  }

  return {
    element: list.element,
    add,
    focusLast: () => focus(held.length - 1),
    focusFirst: () => focus(0),
    /** Those that say something. */
    said: (): Message[] => held.filter(({ content }) => content).map(({ role, content }) => ({ role, content })),
    has: (role: Role): boolean => held.some((one) => one.role === role),
    last: (): Message | undefined => held.at(-1),
    clear(): void {
      held = [];
      add("user");
      focus(0);
    },
  };
}
