"""Bytes of tokens -> what a reader sees; the twin of ``js/src/text.ts``. No byte is ever shown as U+FFFD."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

# Characters without a shape of their own: C0 and C1 controls, zero-width and direction marks, line separators, tags;
# what XML does not allow; and bytes that are no text, which `decoded` leaves as lone surrogates.
_SPECIAL = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff\udc80-\udcff]"
    "|[ \u00a0]"
)
_GLYPHS = {"space": "·", "tab": "⇥", "newline": "⏎"}
_NAMES = {" ": "space", "\u00a0": "space", "\t": "tab", "\n": "newline"}


class Run(NamedTuple):
    """A stretch of a token as it is drawn.

    Attributes
    ----------
    kind : "chip" is something unseen: its text names it
    text : the characters themselves, or the chip's name
    """

    kind: Literal["text", "space", "tab", "newline", "chip"]
    text: str


def runs(piece: bytes) -> list[Run]:
    """Words stay whole, what cannot be seen becomes a glyph or a chip."""
    return list(_runs(piece.decode(errors="surrogateescape")))


def _runs(text: str) -> Iterator[Run]:
    begin = 0
    for match in _SPECIAL.finditer(text):
        if match.start() > begin:
            yield Run("text", text[begin : match.start()])
        char, begin = match[0], match.end()
        kind = _NAMES.get(char, "chip")
        yield Run(kind, chip(char) if kind == "chip" else char)  # type: ignore[arg-type]
    if begin < len(text):
        yield Run("text", text[begin:])


def chip(char: str) -> str:
    """Name of a character that has no shape, or of a byte that is no character."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"{code:02X}" if code < 0x100 else f"U+{code:X}"


def label(piece: bytes) -> str:
    """One line for a list or a table: spaces as dots, line breaks as arrows, everything visible."""
    return "".join(_GLYPHS.get(kind) or (f"<{text}>" if kind == "chip" else text) for kind, text in runs(piece))


def visible(text: str) -> str:
    r"""Text that may be printed anywhere: tabs and line breaks stay, other controls are written as ``\u202e``."""
    return "".join(text if kind != "chip" else f"\\u{_code(text):04x}" for kind, text in _runs(text))


def _code(name: str) -> int:
    return int(name.removeprefix("U+"), 16)


def units(pieces: Sequence[bytes]) -> list[tuple[int, int]]:
    """What is drawn as one: (from, behind the last) of each token by itself, or of tokens that share a character."""
    spans: list[tuple[int, int]] = []
    open_ = b""  # the character that the tokens so far leave unfinished
    for at, piece in enumerate(pieces):
        text, left = _begun(open_ + piece)
        joins = bool(open_ and piece) and (not text or not "\udc80" <= text[0] <= "\udcff")
        if joins:
            spans[-1] = (spans[-1][0], at + 1)
        else:
            text, left = _begun(piece)
            spans.append((at, at + 1))
        open_ = left
    return spans


def _begun(data: bytes) -> tuple[str, bytes]:
    """Text, and the bytes at its end that may yet become a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    return decoder.decode(data), decoder.getstate()[0]
