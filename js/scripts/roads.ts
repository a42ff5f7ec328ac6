/** A pretended tree: branches of a run, what a person noted on it, and the gestures that go elsewhere. */
import type { ToKernel } from "../src/protocol.js";
import { MARKS, type Marks } from "../src/state.js";
import type { Row } from "../test/encode.js";
import type { FakeModel } from "../test/fake.js";
import type { Outcome } from "./pretend.js";

const PROMPT = 12;
/** Tokens of a branch at least, and by how many a branch may be longer. */
const SHORTEST = 8;
const SPREAD = 70;

/** Adds branches to a run, at any place behind its prompt; `add` makes a token behind a node and returns its node. */
export function branch(rows: Row[], count: number, random: () => number, add: (parent: number) => number): Marks {
  const starts: number[] = [];
  for (let i = 0; i < count; i++) {
    let node = PROMPT + Math.floor(random() * random() * (rows.length - PROMPT));
    starts.push(rows.length);
    for (let left = SHORTEST + Math.floor(random() * SPREAD); left; left--) node = add(node);
  }
  if (count < 5) return MARKS;
  const names = { "the daughters": starts[0], "the old woman": starts[3] };
  return { ...MARKS, names, pruned: [starts[4]], diverged: [starts[2]] };
}

/** What such a gesture does; undefined for any other. `show` makes the path to a node the one that is shown. */
export function travelled(
  message: ToKernel,
  model: FakeModel,
  {
    head,
    parent,
    text,
    show,
  }: { head: number; parent: (n: number) => number; text: string; show: (n: number) => void },
): Outcome | undefined {
  const marks = { ...MARKS, ...(model.get("marks") as Partial<Marks>) };
  switch (message.kind) {
    case "goto":
      show(message.node);
      return {};
    case "rewind":
      show(Array.from({ length: message.n }).reduce<number>(parent, head));
      return {};
    case "text":
      return { value: text };
    case "edit":
      return { error: { type: "InfernoError", message: "the preview has no model that could read this text" } };
    case "name_branch":
      model.put("marks", { ...marks, names: { ...marks.names, [message.name]: message.node } });
      return {};
    case "prune":
      model.put("marks", { ...marks, pruned: [...marks.pruned, message.node] });
      return {};
    case "restore":
      model.put("marks", { ...marks, pruned: [] });
      return {};
    default:
      return undefined;
  }
}
