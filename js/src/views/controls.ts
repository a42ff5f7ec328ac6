/** One row of actions, one row of settings. */
import { h, setAttribute, setText, type View } from "../dom.js";
import type { Link } from "../link.js";
import type { State } from "../protocol.js";
import { button, openTool } from "./parts/button.js";
import { changed, fieldOf, isChanged, type NumberName } from "./parts/sampling.js";
import { settingInput } from "./parts/setting.js";

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

/** The settings that are always at hand; the others are in the sampler drawer. */
const QUICK: readonly NumberName[] = ["temperature", "top_k", "top_p", "min_p", "seed", "max_tokens"];

export function controls(link: Link): View {
  const prompt = promptBox(link);
  const actions = buttons(link, () => prompt.value());
  const fields = QUICK.map((name) => settingField(link, name));
  const more = moreSettings(link);
  const settings = h("div", { class: "settings", role: "group", "aria-label": "Sampler" });
  settings.append(...fields.map(({ element }) => element), more.element);
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
      more.draw();
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
    if (!link.reachable || !ENABLED[action].includes(link.able)) return false;
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

function settingField(link: Link, name: NumberName) {
  const field = fieldOf(name);
  const number = settingInput(link, field);
  const element = h(
    "label",
    { class: "setting", title: field.help },
    h("span", { class: "setting-name" }, field.label),
    number.input,
    number.error,
  );
  return {
    element,
    draw() {
      number.draw();
      element.classList.toggle("changed", isChanged(link.settings, name));
    },
  };
}

/** The way to all settings; it tells how many of those that are not at hand differ from their defaults. */
function moreSettings(link: Link) {
  const element = button("", () => openTool(element, "sampler"), {
    class: "quiet more-settings",
    "data-action": "more",
  });
  return {
    element,
    draw() {
      const others = changed(link.settings).filter((name) => !QUICK.includes(name as NumberName));
      const openable = link.panels.includes("tools") && !link.recorded;
      element.hidden = !openable && !others.length;
      element.disabled = !openable;
      element.classList.toggle("changed", others.length > 0);
      setText(element, others.length ? `+${others.length} more` : "all settings");
      const names = others.map((name) => name.replaceAll("_", " ")).join(", ");
      setAttribute(element, "title", names ? `Also changed: ${names}` : "Every setting of the sampler, with presets");
    },
  };
}
