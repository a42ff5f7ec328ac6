/** The same dice once more, under the present settings: what asks for it, and what came of it. */
import { h, setText } from "../../../dom.js";
import { whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { question } from "../../parts/question.js";
import { samplerCode } from "../../parts/samplercode.js";
import { obstacle, pieceOf, selected, tokenWords, unasked } from "../../parts/words.js";

interface Replayed {
  /** The path that it was made of. */
  nodes: Int32Array;
  /** Where replays had differed before. */
  known: ReadonlySet<number>;
  epoch: number;
}

export function replay(link: Link) {
  const { store } = link;
  const said = h("p", { class: "said", role: "status", "data-testid": "replayed" });
  const settings = h("code", { class: "dice-settings" });
  const note = h("p", { class: "note" });
  let replayed: Replayed | null = null;

  const asking = question<unknown>(
    link,
    {
      text: "Replay with the present settings",
      title: "The same prompt and the same dice under the settings that hold now: a new branch where a token differs",
      name: "same-dice",
    },
    () => {
      const before = {
        nodes: store.path.slice(0, store.length),
        known: new Set(link.marks.diverged),
        epoch: store.epoch,
      };
      return {
        command: { kind: "same_dice", node: link.selection },
        done: () => {
          replayed = before;
          draw();
        },
      };
    },
  );

  const element = h(
    "section",
    { class: "dice-replay", "aria-label": "Replay" },
    h("div", { class: "asked" }, asking.buttons, settings),
    note,
    said,
    asking.below,
  );

  /** Position at which the path left that of before; -1: nowhere. */
  function parted({ nodes }: Replayed): number {
    const end = Math.min(nodes.length, store.length);
    for (let at = 0; at < end; at++) if (nodes[at] !== store.path[at]) return at;
    return -1;
  }

  function outcome(run: Replayed): string {
    const going = link.able === "generating" || link.able === "prefill";
    const at = parted(run);
    if (at >= 0) {
      const [now, before] = [store.path[at], run.nodes[at]];
      const words = `The first different token is at ${whole(at)}: ‘${pieceOf(store, now)}’ instead of ‘${pieceOf(store, before)}’.`;
      return going ? `${words} The new branch goes on.` : words;
    }
    if (going) return `The same so far: ${whole(store.length)} tokens.`;
    if (link.marks.diverged.some((node) => !run.known.has(node))) return ""; // its rows are on their way
    return store.length < run.nodes.length
      ? `The same up to token ${whole(store.length - 1)}, where it ended.`
      : "Nothing differs: the same tokens, to the last one.";
  }

  function draw(): void {
    const at = selected(link);
    asking.draw();
    asking.rename(
      at < 0
        ? "Replay with the present settings"
        : `Replay from ${tokenWords(store, store.path[at])} with the present settings`,
    );
    setText(note, unasked(link) ? "" : obstacle(link));
    setText(settings, samplerCode(link.settings));
    if (replayed && replayed.epoch !== store.epoch) replayed = null;
    setText(said, replayed ? outcome(replayed) : "");
  }

  return { element, draw };
}
