/** Two branches token by token, a position a line; a click on a token leads there. */
import type { Comparison } from "../../../comparison.js";
import { h } from "../../../dom.js";
import { endOf, stepOf, tokenValue, valueText } from "../../../draw/colour.js";
import { nats, whole } from "../../../draw/format.js";
import type { Link } from "../../../link.js";
import { KINDS } from "../../../protocol.js";
import { pieceOf } from "../../parts/words.js";

const SAME = { class: "same", title: "The same token in both", role: "img", "aria-label": "the same" };

export function body(link: Link, visit: (node: number) => void) {
  const { store } = link;
  const heads = ["position", "A", "nats", "B", "nats"].map((name) => h("th", { scope: "col" }, name));
  const lines = h("tbody");
  const table = h(
    "table",
    { class: "compare-tokens", "aria-label": "Token by token" },
    h("thead", {}, h("tr", {}, ...heads)),
    lines,
  );
  const element = h("div", { class: "compare-scroll" }, table);

  lines.addEventListener("click", (event) => {
    const token = (event.target as Element).closest<HTMLElement>("[data-node]");
    if (token) visit(Number(token.dataset.node));
  });
  lines.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const cell = (event.target as Element).closest("td");
    if (!by || !cell) return;
    const line = by > 0 ? cell.parentElement?.nextElementSibling : cell.parentElement?.previousElementSibling;
    line?.children[cell.cellIndex]?.querySelector<HTMLElement>("button")?.focus();
    event.preventDefault();
  });

  function token(node: number | undefined, end: number): HTMLElement[] {
    if (node === undefined) return [h("td", { class: "none" }, "ended"), h("td")];
    const { metric } = link.look;
    const { kind, rank, logprob } = store.columns;
    const number = tokenValue(store, node, metric);
    const name = KINDS[kind[node]];
    const step = name === "prompt" ? "" : ` s${stepOf(metric, number, end)}`;
    const attributes = {
      type: "button",
      class: `t ${name}${step}${node === link.selection ? " selected" : ""}`,
      title: `${valueText(metric, number)}. Go there`,
      "data-node": node,
    };
    const said = rank[node] ? nats(logprob[node]) : "–";
    return [h("td", {}, h("button", attributes, pieceOf(store, node))), h("td", { class: "value" }, said)];
  }

  return {
    element,
    draw({ sides, shared }: Comparison, count: number): void {
      const end = endOf(store, link.look.metric);
      const { token_id } = store.columns;
      lines.replaceChildren(
        ...Array.from({ length: count }, (_, i) => {
          const at = shared + i;
          const nodes = sides.map(({ path }) => path[at] as number | undefined);
          const [a, b] = nodes;
          const same = a !== undefined && b !== undefined && token_id[a] === token_id[b];
          const place = h("th", { scope: "row" }, whole(at), ...(same ? [h("span", SAME, " =")] : []));
          return h("tr", {}, place, ...nodes.flatMap((node) => token(node, end)));
        }),
      );
    },
  };
}
