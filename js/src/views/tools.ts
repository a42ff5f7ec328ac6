/** What is done to the whole: models, sessions, settings. */

import type { View } from "../dom.js";
import type { Link } from "../link.js";
import { type Tab, tabbed } from "./parts/tabs.js";
import { chat } from "./tools/chat.js";
import { exports } from "./tools/exports.js";
import { look } from "./tools/look.js";
import { model } from "./tools/model.js";
import { sampler } from "./tools/sampler.js";
import { sessions } from "./tools/sessions.js";

const TOOLS: Record<string, Tab> = {
  model: { text: "Model", title: "Find, load and inspect models", make: model },
  chat: { text: "Chat", title: "Talk through the model's chat template", make: chat },
  sampler: { text: "Sampler", title: "How the next token is chosen", make: sampler },
  sessions: { text: "Sessions", title: "What was generated so far", make: sessions },
  exports: { text: "Export", title: "Keep the result, and hand it on", make: exports },
  look: { text: "Look", title: "Colours, metric, font", make: look },
};

export function tools(link: Link): View {
  const offered = Object.entries(TOOLS).filter(([name]) => !link.recorded || name === "look"); // needs no kernel
  return tabbed(link, "tools", "Tools", offered);
}
