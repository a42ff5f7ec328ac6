/** A model of the Hugging Face hub, fetched by its name and only then. */
import { h } from "../../../dom.js";
import type { Link } from "../../../link.js";
import { failureBox } from "../../parts/failure.js";

const REPOSITORY = /^[\w.-]+\/[\w.-]+$/;

export function hub(link: Link) {
  const repo = h("input", { class: "entry", placeholder: "owner/repo-GGUF", "aria-label": "Repository" });
  const pattern = h("input", { class: "entry", value: "*Q8_0.gguf", "aria-label": "File pattern" });
  for (const input of [repo, pattern]) input.spellcheck = false;
  repo.dataset.field = "repo";
  pattern.dataset.field = "pattern";
  const go = h("button", { type: "submit", class: "small" }, "Download from Hugging Face");
  const failure = failureBox();
  const element = h("form", { class: "hub", "aria-label": "Hugging Face" });
  element.append(h("h3", {}, "From the hub"), h("div", { class: "line" }, repo, pattern, go), failure.element);

  async function download(): Promise<void> {
    const name = repo.value.trim();
    if (!REPOSITORY.test(name)) {
      const got = name ? `“${name}” is not a repository` : "no repository was named";
      failure.show({ type: "Repository", message: `${got}: write owner/name, for instance owner/repo-GGUF` });
      repo.focus();
      return;
    }
    failure.show(null);
    go.disabled = true;
    failure.show(await link.command({ kind: "download", repo: name, pattern: pattern.value.trim() || "*.gguf" }));
    go.disabled = false;
  }

  element.addEventListener("submit", (event) => {
    event.preventDefault();
    void download();
  });
  return { element };
}
