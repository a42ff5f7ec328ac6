"""Where things are in a grammar, so that llama.cpp's complaints can be told with a place. It judges, this reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_WORD = re.compile(
    r"""
      (?P<space>   [ \t\r\n]+ | \#[^\r\n]* )
    | (?P<literal> "(?:\\.|[^"\\])*" | \[(?:\\.|[^\]\\])*\] | !?<[^>]*> )
    | (?P<rule>    [A-Za-z0-9-]+ (?=[ \t]*::=) )
    | (?P<name>    [A-Za-z0-9-]+ )
    | (?P<sign>    ::= | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_UNDEFINED = re.compile(r"Undefined rule identifier '(.*)'")
_NO_TOKEN = re.compile(r"invalid token '(.*)'")

Place = tuple[int, int]
"""Line and column, from 1; the column counts characters."""


def place_of(text: str, offset: int) -> Place:
    """Of the character at `offset`."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def place_in_bytes(text: str, n: int) -> Place:
    """Of what follows the first `n` bytes of the text in UTF-8."""
    return place_of(text, len(text.encode()[:n].decode(errors="ignore")))


def place_of_complaint(text: str, said: str) -> Place | None:
    """Where a grammar is wrong of which llama.cpp said something that holds no place; None where nobody knows."""
    offset = None
    if found := _UNDEFINED.search(said):
        offset = _first(text, "name", found[1])
    elif found := _NO_TOKEN.search(said):
        offset = _first(text, "literal", found[1])
    elif "unexpected end of input" in said:
        offset = next((word.start() for word in _words(text) if word["sign"] in ('"', "[")), None)
    return None if offset is None else place_of(text, offset)


def with_exclusions(text: str, characters: str) -> str:
    """A grammar whose negated sets (``[^...]``) exclude these characters too."""
    return _WORD.sub(lambda word: word[0].replace("[^", f"[^{characters}", 1) if word[0][:2] == "[^" else word[0], text)


def rules_of(text: str) -> list[tuple[str, int, int]]:
    """Name of each rule, where it begins and where the next does, in characters."""
    heads = [word for word in _words(text) if word["rule"]]
    starts = [*(word.start() for word in heads), len(text)]
    return [(word["rule"], *span) for word, span in zip(heads, pairwise(starts), strict=True)]


def _words(text: str) -> Iterator[re.Match[str]]:
    return (word for word in _WORD.finditer(text) if not word["space"])


def _first(text: str, kind: str, name: str) -> int | None:
    return next((word.start() for word in _words(text) if word[kind] == name), None)
