/** Every panel of the widget, with the tabs that ask the kernel. */
import { controls } from "./controls.js";
import { dice } from "./explore/dice.js";
import { resample } from "./explore/resample.js";
import { xray } from "./explore/xray.js";
import { attention } from "./inside/attention.js";
import { lens } from "./inside/lens.js";
import { surgery } from "./inside/surgery.js";
import type { Panels } from "./panels.js";
import { type Tab, tabbed } from "./parts/tabs.js";
import { explore, RECORDED, tools, WATCH } from "./recorded.js";
import { chat } from "./tools/chat.js";
import { exports } from "./tools/exports.js";
import { model } from "./tools/model.js";
import { sampler } from "./tools/sampler.js";
import { sessions } from "./tools/sessions.js";

const TOOLS: Record<string, Tab> = {
  model: { text: "Model", title: "Find, load and inspect models", make: model },
  chat: { text: "Chat", title: "Talk through the model's chat template", make: chat },
  sampler: { text: "Sampler", title: "How the next token is chosen", make: sampler },
  sessions: { text: "Sessions", title: "What was generated so far", make: sessions },
  exports: { text: "Export", title: "Keep the result, and hand it on", make: exports },
};
const ROADS: Record<string, Tab> = {
  xray: { text: "X-ray", title: "What each stage of the sampler did at the token", make: xray },
  dice: { text: "Same dice", title: "The same run under other settings, thrown with the same dice", make: dice },
  resample: {
    text: "Resample",
    title: "What else comes out, how often, and from where on it was decided",
    make: resample,
  },
  watch: WATCH,
};
const INSIDE: Record<string, Tab> = {
  attention: { text: "Attention", title: "Which tokens it read: by layer and head", make: attention },
  lens: { text: "Logit lens", title: "What it would say if it stopped behind a layer", make: lens },
  surgery: {
    text: "Interventions",
    title: "Switch heads off, make them louder, steer: what becomes of the text",
    make: surgery,
  },
};

export const LIVE: Panels = {
  ...RECORDED,
  controls,
  tools: (link) => tools(link, TOOLS),
  explore: (link) => explore(link, ROADS),
  inside: (link) => tabbed(link, "inside", "Inside the model", INSIDE, true),
};
