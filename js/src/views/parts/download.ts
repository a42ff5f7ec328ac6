/** Bytes from the kernel -> a file in the browser's downloads. */

import type { Exported } from "../../answers/files.js";
import { h } from "../../dom.js";
import { bytes } from "../../draw/format.js";

function download(name: string, mime: string, data: DataView): void {
  const url = URL.createObjectURL(new Blob([data as DataView<ArrayBuffer>], { type: mime }));
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link); // some browsers follow only what is in the page
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A name that every file system takes. */
export const fileName = (name: string): string =>
  [...name.replace(/[\p{Cc}"*/:<>?\\|]+/gu, "-")].slice(0, 80).join("").trim() || "session";

/** What became of a file, in words; where its bytes came along, they are downloaded. */
export function wrote({ name, mime, path }: Exported, data: DataView | undefined): string {
  if (path || !data) return `Written to ${path}`;
  download(name, mime, data);
  return `${name}, ${bytes(data.byteLength)}: in the browser's downloads`;
}
