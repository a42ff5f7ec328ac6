"""The training text: one style of quotation marks, no shouting, and what is held out.

The corpus is a folder with one book a file, one paragraph a line and an empty line between stories
(or chapters), plus ``SOURCES.tsv``. Everything here is deterministic: the same folder gives the same
split.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_BOOK = "7439"
"""Gutenberg number of the book that is never trained on (English Fairy Tales, Joseph Jacobs)."""

HELD_OUT_ONE_IN = 60
STORY_BYTES = (1_500, 60_000)
"""A story shorter or longer than this is never held out: it would say little, or cost a whole book."""

ELISIONS = ("tis", "twas", "twere", "twill", "twould", "em", "til", "cause", "bout", "neath", "gainst", "ware", "ere")


@dataclass(frozen=True)
class Story:
    """One story or chapter.

    Attributes
    ----------
    book : Gutenberg number, as text
    index : position within the book, from 0
    text : paragraphs joined by newlines
    """

    book: str
    index: int
    text: str

    @property
    def held_out(self) -> bool:
        low, high = STORY_BYTES
        if not low <= len(self.text) <= high:
            return False
        digest = hashlib.sha256(f"{self.book}/{self.index}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0


@dataclass(frozen=True)
class Split:
    train: list[Story]
    stories: list[Story]
    book: list[Story]


def load(folder: Path) -> Split:
    """Read, clean and split the corpus in `folder`."""
    books = {path.name.split("-")[0]: path.read_text() for path in sorted(folder.glob("*.txt"))}
    names = proper_names(books.values())
    split = Split([], [], [])
    for number, text in books.items():
        for index, story in enumerate(stories(text)):
            cleaned = Story(number, index, clean(story, names, single_quoted=uses_single_quotes(text)))
            if number == HELD_OUT_BOOK:
                split.book.append(cleaned)
            elif cleaned.held_out:
                split.stories.append(cleaned)
            else:
                split.train.append(cleaned)
    return split


def stories(text: str) -> list[str]:
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if part]


def clean(story: str, names: frozenset[str], *, single_quoted: bool) -> str:
    paragraphs = (re.sub(r"[ \t]+", " ", line).strip() for line in story.split("\n"))
    paragraphs = (double_quotes(line) if single_quoted else line for line in paragraphs)
    return "\n".join(quieten(line, names) for line in paragraphs if line)


def uses_single_quotes(book: str) -> bool:
    """Whether the book's dialogue stands in '...' rather than "..."."""
    return len(re.findall(r"(?:^|\s)'[A-Z]", book)) > book.count('"') / 2


_NOT_ELIDED = r"(?!(?:" + "|".join(ELISIONS) + r")\b)"
_OPENING = re.compile(r"(?<![\w'\"])'" + _NOT_ELIDED + r"(?=[\"a-z])", re.IGNORECASE)
_CLOSING = re.compile(r"(?<=[,.!?;:\-\"])'(?![A-Za-z])|'(?=[;:,.!?])")


def double_quotes(paragraph: str) -> str:
    """Turn '...' dialogue into "..." and what was quoted inside it into '...'."""
    inner = paragraph.replace('"', "\x00")
    return _CLOSING.sub('"', _OPENING.sub('"', inner)).replace("\x00", "'")


_SHOUTED = re.compile(r"\b[A-Z]{2,}(?:'[A-Z]+)?\b")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]['\"]?\s+|^['\"]|\s['\"])$")


def quieten(paragraph: str, names: frozenset[str]) -> str:
    """Lower ALL-CAPS words, keeping a capital where a sentence starts or a name stands."""

    def lower(match: re.Match[str]) -> str:
        word = match[0].lower()
        starts = _SENTENCE_START.search(paragraph[max(0, match.start() - 4) : match.start()])
        return word.capitalize() if starts or word in names else word

    return _SHOUTED.sub(lower, paragraph)


def proper_names(books: object) -> frozenset[str]:
    """Words that stand with a capital inside sentences more often than without one."""
    capital: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    for text in books:  # type: ignore[attr-defined]
        capital.update(word.lower() for word in re.findall(r"(?<=[a-z,;] )[A-Z][a-z]+\b", text))
        plain.update(re.findall(r"(?<=[a-z,;] )[a-z]+\b", text))
    return frozenset(word for word, n in capital.items() if n > plain[word])
