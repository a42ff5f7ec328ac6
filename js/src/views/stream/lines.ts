/** Where lines of drawn text begin: asked of the page, so only where it was laid out anyway. */

/** The box of a token's end: where its space was left on the line above, that of the word. */
export function lastBox(span: Element | null | undefined): DOMRect | undefined {
  const boxes = span?.getClientRects();
  return boxes?.[boxes.length - 1];
}

/** The box of the first character of a token that can be seen. */
function inkBox(span: Element): DOMRect | undefined {
  const walker = document.createTreeWalker(span, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const at = (node as Text).data.search(/\S/);
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return range.getClientRects()[0];
  }
  return undefined;
}

const sameLine = (a: DOMRect, b: DOMRect): boolean => Math.abs(a.top - b.top) < Math.max(a.height, b.height) / 2;

/** Which child of a block begins its last line that any child begins; 0 where there is none but the first. */
export function lastLineStart(block: Element): number {
  const spans = block.children;
  let line = lastBox(spans[spans.length - 1]);
  for (let i = spans.length - 1; line && i > 0; i--) {
    const before = lastBox(spans[i - 1]);
    if (!before || sameLine(before, line)) continue;
    const ink = inkBox(spans[i]);
    // A long token may be broken itself: then no token begins that line.
    if (ink && sameLine(ink, line)) return i;
    line = before;
  }
  return 0;
}
