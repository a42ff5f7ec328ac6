"""The little of SVG that pictures need: tags, and text whose width is known wherever it is drawn.

Text is set in a grid of a monospaced font's cells. Each piece of text is told how many cells it takes
(``textLength``), so that a picture looks the same whichever font draws it.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape

from .text import clusters, is_flag

FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', 'Noto Sans Mono CJK SC', monospace"
SIZE = 15
"""Of the text, in pixels."""
CELL = 9.0
"""Width of a cell: 0.6 of the size, as in most monospaced fonts."""

_ILLEGAL = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff\ufffe\uffff]")
_EMOJI_STYLE = "\ufe0f"


def tag(name: str, *children: str, **attributes: object) -> str:
    """An element; ``stroke_width=2`` is written ``stroke-width="2"``, None not at all."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{xml(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(children)
    return f"<{name}{given}>{inside}</{name}>" if inside else f"<{name}{given}/>"


def xml(text: str) -> str:
    """Text that may stand anywhere in a document; what XML forbids is named instead."""
    return escape(_ILLEGAL.sub(lambda match: f"<U+{ord(match[0]):04X}>", text))


def _short(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text(
    content: str, x: float, y: float, *, cells: int | None = None, cell: float = CELL, **attributes: object
) -> str:
    """Text that takes so many cells."""
    length = None if cells is None else cells * cell
    fit = {"textLength": length, "lengthAdjust": "spacingAndGlyphs"} if length else {}
    return tag("text", xml(content), x=x, y=y, **fit, **attributes)


def cells(cluster: str) -> int:
    """Cells that a cluster takes: 2 for what is wide (Chinese, Japanese, Korean, emoji), else 1."""
    if cluster.isascii():
        return 1
    wide = unicodedata.east_asian_width(cluster[0]) in ("W", "F") or _EMOJI_STYLE in cluster or is_flag(cluster[0])
    return 2 if wide else 1


def width(string: str) -> int:
    """Cells that a text takes."""
    return sum(map(cells, clusters(string)))


def cut(string: str, most: int) -> str:
    """As much of a text as fits into so many cells, with an ellipsis where that is not all."""
    if width(string) <= most:
        return string
    kept, used = "", 1
    for cluster in clusters(string):
        used += cells(cluster)
        if used > most:
            break
        kept += cluster
    return kept + "…"
