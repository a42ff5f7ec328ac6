/** Light or dark: what the notebook says, else what the system prefers. */
import type { Theme } from "./colour.js";

const system = (): MediaQueryList | undefined => globalThis.matchMedia?.("(prefers-color-scheme: dark)");

export function themeOf(page: Document): Theme {
  const { body, documentElement: root } = page;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter) return jupyter === "false" ? "dark" : "light";
  const told = body.dataset.vscodeThemeKind ?? root.getAttribute("theme") ?? root.dataset.theme ?? body.className;
  if (/\b(\w+-)?dark\b/.test(told)) return "dark";
  if (/\b(\w+-)?light\b/.test(told)) return "light";
  return system()?.matches ? "dark" : "light";
}

/** Calls back when the theme may have changed. Returns what ends that. */
export function onTheme(page: Document, listener: () => void): () => void {
  const observer = new MutationObserver(listener);
  const attributeFilter = ["data-jp-theme-light", "data-vscode-theme-kind", "theme", "data-theme", "class"];
  for (const node of [page.body, page.documentElement]) observer.observe(node, { attributes: true, attributeFilter });
  const query = system();
  query?.addEventListener("change", listener);
  return () => {
    observer.disconnect();
    query?.removeEventListener("change", listener);
  };
}
