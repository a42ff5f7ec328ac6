/** One row of actions, one row of settings. */
import { h, setAttribute, setText, type View } from "../dom.js";
import type { Link } from "../link.js";
import type { State } from "../protocol.js";

type Action = "run" | "pause" | "resume" | "step" | "stop";

const ENABLED: Record<Action, readonly State[]> = {
  run: ["empty", "paused", "ready", "error"],
  pause: ["prefill", "generating"],
  resume: ["paused", "ready", "error"],
  step: ["empty", "paused", "ready", "error"],
  stop: ["loading", "prefill", "generating", "paused"],
};

const BUTTONS: Record<Action, { glyph: string; text: string; title: string }> = {
  run: { glyph: "▶\ufe0e", text: "Run", title: "Generate from the prompt, afresh (Ctrl+Enter in the prompt)" },
  pause: { glyph: "❚❚", text: "Pause", title: "Hold after the next token" },
  resume: { glyph: "▶\ufe0e", text: "Resume", title: "Go on from the last token" },
  step: { glyph: "⇥", text: "Step", title: "Generate one token" },
  stop: { glyph: "■", text: "", title: "Stop" },
};

interface Field {
  label: string;
  /** llama-cpp-python's default; undefined where there is none to differ from. */
  usual?: number | null;
  step: number;
  help: string;
}

/** The settings that are always at hand; the others are in the sampler drawer. */
type Quick = "temperature" | "top_k" | "top_p" | "min_p" | "seed" | "max_tokens";

const FIELDS: Record<Quick, Field> = {
  temperature: {
    label: "temperature",
    usual: 0.8,
    step: 0.05,
    help: "0 always takes the most likely token; higher is more adventurous",
  },
  top_k: { label: "top-k", usual: 40, step: 1, help: "Keep the k most likely tokens; 0 keeps all" },
  top_p: {
    label: "top-p",
    usual: 0.95,
    step: 0.01,
    help: "Keep the most likely tokens that have this much probability together; 1 keeps all",
  },
  min_p: {
    label: "min-p",
    usual: 0.05,
    step: 0.01,
    help: "Drop tokens less likely than this share of the most likely one; 0 drops none",
  },
  seed: { label: "seed", usual: null, step: 1, help: "The same seed throws the same dice; empty: chance" },
  max_tokens: { label: "max tokens", step: 10, help: "How many tokens Run generates" },
};

export function controls(link: Link): View {
  const prompt = promptBox(link);
  const actions = buttons(link, () => prompt.value());
  const fields = Object.keys(FIELDS).map((name) => settingField(link, name as Quick));
  const settings = h("div", { class: "settings", role: "group", "aria-label": "Sampler" });
  settings.append(...fields.map(({ element }) => element));
  const row = h("div", { class: "actions" }, prompt.element, actions.element);
  const element = h("div", { class: "controls" }, row, settings);

  prompt.element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    actions.act("run");
  });

  return {
    element,
    draw() {
      prompt.draw();
      actions.draw();
      for (const field of fields) field.draw();
    },
    close: prompt.close,
  };
}

function promptBox(link: Link) {
  const element = h("textarea", {
    class: "prompt-box",
    rows: 1,
    "data-field": "prompt",
    "aria-label": "Prompt",
    placeholder: "Write the beginning of a text…",
    spellcheck: "false",
  });
  let held: string | null = null; // the kernel's prompt, as last shown

  const resize = (): void => {
    element.style.height = "auto";
    const border = element.offsetHeight - element.clientHeight;
    element.style.height = `${element.scrollHeight + border}px`;
  };
  element.addEventListener("input", resize);
  // Its width decides how many lines it needs; it is 0 until the widget is in the page.
  const observer = globalThis.ResizeObserver && new ResizeObserver(resize);
  observer?.observe(element);

  return {
    element,
    value: () => element.value,
    close: () => observer?.disconnect(),
    draw() {
      // A prompt that is being written is the reader's until the kernel has another one.
      if (held === link.prompt) return;
      held = link.prompt;
      element.value = held;
      resize();
    },
  };
}

function buttons(link: Link, prompt: () => string) {
  const make = (action: Action): HTMLButtonElement => {
    const { glyph, text, title } = BUTTONS[action];
    const button = h("button", {
      type: "button",
      class: action === "run" ? "primary" : null,
      "data-action": action,
      title,
    });
    button.append(h("span", { class: "glyph", "aria-hidden": "true" }, glyph));
    if (text) button.append(` ${text}`);
    else button.setAttribute("aria-label", title);
    button.addEventListener("click", () => act(action));
    return button;
  };
  const made = Object.keys(BUTTONS).map((action) => [action as Action, make(action as Action)] as const);
  const element = h("div", { class: "buttons", role: "group", "aria-label": "Actions" });
  element.append(...made.map(([, button]) => button));

  const can = (action: Action): boolean => {
    if (!link.reachable || !ENABLED[action].includes(link.status.state)) return false;
    return action !== "resume" || link.store.length > 0;
  };

  function act(action: Action): void {
    if (!can(action)) return;
    void link.order(action === "run" || action === "step" ? { kind: action, prompt: prompt() } : { kind: action });
  }

  return {
    element,
    act,
    draw() {
      const resumes = can("resume");
      const focused = document.activeElement;
      for (const [action, button] of made) {
        button.disabled = !can(action);
        // Pause and Resume share a place: the one that can be done is shown.
        if (action === "pause") button.hidden = resumes;
        if (action === "resume") button.hidden = !resumes;
      }
      // Whoever pauses by keyboard resumes by the same key.
      if (focused instanceof HTMLButtonElement && focused.hidden && element.contains(focused))
        made
          .find(
            ([, button]) =>
              !button.hidden &&
              !button.disabled &&
              button !== focused &&
              /pause|resume/.test(button.dataset.action ?? ""),
          )?.[1]
          .focus();
    },
  };
}

function settingField(link: Link, name: Quick) {
  const { label, usual, step, help } = FIELDS[name];
  const input = h("input", {
    type: "text",
    inputmode: "decimal",
    autocomplete: "off",
    "data-field": name,
    "aria-label": label,
    placeholder: name === "seed" ? "any" : "",
  });
  const error = h("span", { class: "field-error", role: "alert" });
  const element = h(
    "label",
    { class: "setting", title: help },
    h("span", { class: "setting-name" }, label),
    input,
    error,
  );
  let sent: string | null = null; // on its way to the kernel, or refused by it

  const show = (value: unknown): string => (value === null || value === undefined ? "" : String(value));
  const trait = (): string => show(link.settings[name]);
  const say = (message: string): void => {
    setText(error, message);
    setAttribute(input, "aria-invalid", message ? "true" : null);
  };
  const resize = (): void =>
    input.style.setProperty("--width", `${Math.max(input.value.length || input.placeholder.length, 2) + 0.5}ch`);

  function revert(): void {
    sent = null;
    input.value = trait();
    say("");
    resize();
  }

  async function commit(): Promise<void> {
    const text = input.value.trim();
    if (text === (sent ?? trait())) return;
    const value = text === "" && name === "seed" ? null : Number(text);
    if (value !== null && (text === "" || Number.isNaN(value))) return say(`${label} is a number`);
    if (Math.abs(value ?? 0) > Number.MAX_SAFE_INTEGER) return say(`${label} is too large to be exact here`);
    sent = text;
    const failure = await link.command({ kind: "set", name, value });
    if (sent !== text) return; // another value was given meanwhile
    say(failure?.message ?? "");
    if (!failure) sent = null;
  }

  function nudge(direction: number): void {
    const value = Number(input.value || 0) + direction * step;
    input.value = String(Number(Math.max(0, value).toFixed(4)));
    resize();
  }

  input.addEventListener("input", resize);
  input.addEventListener("blur", () => void commit());
  input.addEventListener("focus", () => input.select());
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void commit();
    else if (event.key === "Escape") revert();
    else if (event.key === "ArrowUp") nudge(1);
    else if (event.key === "ArrowDown") nudge(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    element,
    draw() {
      input.disabled = !link.reachable;
      const editing = document.activeElement === input || sent !== null || error.textContent !== "";
      if (!editing && input.value !== trait()) {
        input.value = trait();
        resize();
      }
      const value = link.settings[name];
      element.classList.toggle("changed", usual !== undefined && value !== undefined && value !== usual);
    },
  };
}
