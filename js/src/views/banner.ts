/** What went wrong, said where the reader looks. */
import { h, setText, type View } from "../dom.js";
import type { Link } from "../link.js";
import { button } from "./parts/button.js";

export function banner(link: Link): View {
  const type = h("strong", { class: "error-type" });
  const message = h("span", { class: "error-message" });
  const dismiss = button("✕", () => link.dismiss(), {
    class: "quiet",
    "data-action": "dismiss",
    "aria-label": "Dismiss",
  });
  const element = h("div", { class: "error-banner", role: "alert", "data-testid": "error" }, type, message, dismiss);

  return {
    element,
    draw() {
      const failure = link.reachable
        ? (link.status.error ?? link.failure)
        : { type: link.saved ? "Saved view" : "No kernel", message: link.silence };
      element.hidden = !failure;
      element.classList.toggle("note", link.saved);
      setText(type, failure?.type ?? "");
      setText(message, failure?.message ?? "");
      // What the kernel holds against its state goes away with that state.
      dismiss.hidden = failure !== link.failure;
    },
  };
}
