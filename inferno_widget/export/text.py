"""Bytes of tokens -> what a reader sees; the twin of ``js/src/text.ts``. No byte is ever shown as U+FFFD."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

# Characters without a shape of their own: C0 and C1 controls, zero-width and direction marks, line separators, tags;
# what XML does not allow; and bytes that are no text, which `decoded` leaves as lone surrogates.
_SPECIAL = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff\udc80-\udcff]"
    "|[ \u00a0]"
)
_JOINER, _NO_JOINER = "\u200d", "\u200c"
_JOINER_END = _JOINER.encode()[-1:]
_LEAD = b"\xcc"
"""The lowest first byte of what goes on with the character before it."""
_LONGEST = 64
"""Tokens of a character, at most."""
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
    """What is drawn as one: (from, behind the last) of each token by itself, or of tokens that share a character.

    A character is what a reader takes for one: the bytes of an emoji, a letter with its marks, a family, a flag.
    """
    spans: list[tuple[int, int]] = []
    for start, stop in _characters(pieces):
        if spans and start - spans[-1][0] < _LONGEST and _goes_on(pieces, spans[-1], start, stop):
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    return spans


def _goes_on(pieces: Sequence[bytes], before: tuple[int, int], start: int, stop: int) -> bool:
    """Whether the tokens from `start` on go on with the last character of those before them."""
    if pieces[start][:1] < _LEAD and not pieces[start - 1].endswith(_JOINER_END):
        return False  # as nearly always
    text, left = (b"".join(pieces[a:b]).decode(errors="surrogateescape") for a, b in ((start, stop), before))
    if not text or not left or _is_byte(text[0]) or _is_byte(left[-1]):
        return False
    *_, cluster = clusters(left)
    return _joins(cluster, text[0])


def _is_byte(char: str) -> bool:
    """Whether it stands for a byte that is no text."""
    return "\udc80" <= char <= "\udcff"


def _characters(pieces: Sequence[bytes]) -> list[tuple[int, int]]:
    """Each token by itself, or the tokens that share a character of Unicode."""
    spans: list[tuple[int, int]] = []
    open_ = b""  # the character that the tokens so far leave unfinished
    for at, piece in enumerate(pieces):
        text, left = _begun(open_ + piece)
        joins = bool(open_ and piece) and (not text or not _is_byte(text[0]))
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


def clusters(string: str) -> Iterator[str]:
    """The characters as readers count them: with their accents, and emoji as one. An approximation of UAX 29."""
    if string.isascii():
        yield from string
        return
    cluster = ""
    for char in string:
        if cluster and _joins(cluster, char):
            cluster += char
            continue
        if cluster:
            yield cluster
        cluster = char
    if cluster:
        yield cluster


def _joins(cluster: str, char: str) -> bool:
    if char in (_JOINER, _NO_JOINER) or unicodedata.category(char) in ("Mn", "Me", "Mc"):
        return True
    code, last = ord(char), ord(cluster[-1])
    if 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F:  # tones of skin; tags of flags
        return True
    if 0x1160 <= code <= 0x11A7:  # a vowel of a Korean syllable, behind its beginning
        return 0x1100 <= last <= 0x11A7 or (0xAC00 <= last <= 0xD7A3 and (last - 0xAC00) % 28 == 0)
    if 0x11A8 <= code <= 0x11FF:  # its end
        return 0x1160 <= last <= 0x11FF or 0xAC00 <= last <= 0xD7A3
    if cluster[-1] == _JOINER:
        return cluster[-2:-1] != _JOINER and _is_picture(cluster[0]) and _is_picture(char)
    return is_flag(char) and len(cluster) == 1 and is_flag(cluster)


def _is_picture(char: str) -> bool:
    return unicodedata.category(char) == "So" and not is_flag(char)


def is_flag(char: str) -> bool:
    """Whether it is one of the two letters that make a flag."""
    return 0x1F1E6 <= ord(char) <= 0x1F1FF
