/** What went wrong, whole, where it went wrong. */
import { h, setText } from "../../dom.js";
import type { Failure } from "../../protocol.js";

export function failureBox() {
  const type = h("strong");
  const message = h("span");
  const element = h("div", { class: "failure", role: "alert", hidden: true }, type, " ", message);
  return {
    element,
    show(failure: Failure | null): void {
      element.hidden = !failure;
      setText(type, failure?.type ?? "");
      setText(message, failure?.message ?? "");
    },
  };
}
