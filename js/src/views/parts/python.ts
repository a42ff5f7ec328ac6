/** A line of Python that does what was done here, and a way to copy it. */
import { h, setAttribute, setText } from "../../dom.js";
import { copyButton } from "./copy.js";

export function pythonLine(name: string) {
  const code = h("code", { "data-testid": name });
  const copy = copyButton(() => code.textContent, "Copy this line of Python");
  const element = h("div", { class: "python-line" }, code, copy);
  return {
    element,
    /** "": there is nothing to do again. */
    draw(line: string): void {
      element.hidden = !line;
      setText(code, line);
      setAttribute(code, "title", line);
    },
  };
}
