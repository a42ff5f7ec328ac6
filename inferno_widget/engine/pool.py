"""The KV cache as one pool for all branches: who stands in it, who shares what, and who gives way first.

llama.cpp keeps the keys and values of a token in a *cell*; a cell may belong to several sequences. Which one
cannot be asked, so it is kept account of here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from inferno_widget.engine import Branch
from inferno_widget.record import Floats
from inferno_widget.window import WHOLE, Window


class Cells(Protocol):
    """What the cache itself can do; sequences are numbered from 0."""

    def copy(self, source: int, target: int, n: int) -> None:
        """Make the first `n` cells of `source` those of `target` too."""

    def clear(self) -> None:
        """Forget all cells, and what is written in them."""

    def cut(self, seq: int, start: int) -> None:
        """Take the cells from position `start` on from a sequence; nobody's cells are free."""

    def holds(self, seq: int, n: int) -> bool:
        """Whether a sequence still has all that the first `n` tokens need to be gone on from.

        Layers that look at the latest tokens alone may have given the cells of older ones away; recurrent ones have
        the state behind the last token alone.
        """


@dataclass
class Entry:
    """A branch, and how much of it stands in the cache.

    Attributes
    ----------
    tokens : all of them, decoded or not
    decoded : how many are in the cache
    row : float32 [n_vocab], the raw logits after the last token, or None where they are not at hand
    row_ms : what decoding that row took
    seq : its number in the cache, or None while nothing is there
    used : when it was last used, by the pool's clock
    stretches : (number, first position) of each stretch of cells that were decoded in one go; branches that
        share cells share the numbers
    grows : whether the last stretch is its own, to be made longer
    window : what these tokens are of the text, where the engine was told
    """

    tokens: list[int] = field(default_factory=list)
    decoded: int = 0
    row: Floats | None = None
    row_ms: float = 0.0
    seq: int | None = None
    used: int = 0
    stretches: list[tuple[int, int]] = field(default_factory=list)
    grows: bool = False
    window: Window = WHOLE


class Pool:
    """Branches by number.

    Parameters
    ----------
    cells : the cache
    n_seq : sequences that may stand in it at once
    first : number of the first branch

    Attributes
    ----------
    evictions : how often a branch gave way to another
    """

    def __init__(self, cells: Cells, n_seq: int, first: int = 0) -> None:
        self.evictions = 0
        self._cells = cells
        self._free = list(range(n_seq))
        self._entries: dict[Branch, Entry] = {}
        self._numbers = count(first)
        self._stretches = count()
        self._clock = count(1)

    def __getitem__(self, branch: Branch) -> Entry:
        return self._entries[branch]

    def use(self, branch: Branch) -> Entry:
        """The sequence of a branch, which is the latest used now."""
        entry = self._entries[branch]
        entry.used = next(self._clock)
        return entry

    def branch(self, parent: Branch | None, keep: int) -> Branch:
        """A new branch with the first `keep` tokens of `parent`, and their cells."""
        branch = Branch(next(self._numbers))
        entry = self._entries[branch] = Entry(used=next(self._clock))
        if parent is not None:
            source = self._entries[parent]
            entry.tokens, entry.window = source.tokens[:keep], source.window
            self._share(entry, source, min(keep, source.decoded))
            if entry.tokens == source.tokens and entry.decoded == source.decoded:  # else it is decoded again anyway
                entry.row, entry.row_ms = source.row, source.row_ms
        return branch

    def drop(self, branch: Branch) -> None:
        """Forget a branch; the cells that others share stay."""
        self._evict(self._entries.pop(branch))

    def enter(self, entry: Entry, besides: Sequence[Entry] = ()) -> int:
        """Give `entry` a place in the cache, with the cells of the branch that begins with most of the same tokens.

        All but the last token: somebody wants what follows it. Those `besides` do not give way to it.
        """
        shared, source = 0, entry
        for other in self._entries.values():
            if other.decoded > shared:
                same = entry.window.same(other.window, _common(entry.tokens, other.tokens))
                n = min(same, other.decoded, len(entry.tokens) - 1)
                if n > shared and other.seq is not None and self._cells.holds(other.seq, n):
                    shared, source = n, other
        if shared:
            self._share(entry, source, shared, besides)
        if entry.seq is None:
            entry.seq = self._take(entry, *besides)
        return entry.seq

    def alone(self, entry: Entry, besides: Sequence[Entry] = ()) -> None:
        """Give `entry` a place in the cache with no cells of others, which may have been made otherwise."""
        entry.seq = self._take(entry, *besides)

    def grown(self, entry: Entry, n: int) -> None:
        """Take note that `n` more tokens were decoded."""
        if not entry.grows:
            entry.stretches.append((next(self._stretches), entry.decoded))
            entry.grows = True
        entry.decoded += n
        entry.used = next(self._clock)

    def shorten(self, entry: Entry, n: int) -> None:
        """Take all but the first `n` tokens out of the cache, or all where they would not do."""
        if entry.seq is None or not self._cells.holds(entry.seq, n):
            self._evict(entry)
            return
        self._cells.cut(entry.seq, n)
        entry.decoded, entry.grows = n, False
        entry.stretches = [(number, start) for number, start in entry.stretches if start < n]

    def give_way(self, besides: Entry, *others: Entry) -> bool:
        """Evict the least recently used branch; False when only those `besides` are left."""
        kept = set(map(id, (besides, *others)))
        rest = [entry for entry in self._entries.values() if entry.seq is not None and id(entry) not in kept]
        if not rest:
            return False
        self._evict(min(rest, key=lambda entry: entry.used))
        self.evictions += 1
        return True

    def empty(self) -> None:
        """Evict all branches, and wipe the cells."""
        for entry in self._entries.values():
            self._evict(entry)
        self._cells.clear()

    def held(self) -> dict[Branch, list[tuple[int, int, int]]]:
        """The cells of each branch, as `Holdings.branches` has them; any thread may ask."""
        return {branch: list(_stretches(entry)) for branch, entry in list(self._entries.items()) if entry.decoded}

    def _share(self, entry: Entry, source: Entry, n: int, besides: Sequence[Entry] = ()) -> None:
        if not n or source.seq is None or not self._cells.holds(source.seq, n):
            return
        source.used = next(self._clock)  # it may not give way to its own child
        entry.seq = self._take(entry, *besides)
        self._cells.copy(source.seq, entry.seq, n)
        entry.stretches = [(number, start) for number, start in source.stretches if start < n]
        entry.decoded, entry.grows = n, False

    def _take(self, entry: Entry, *besides: Entry) -> int:
        if not self._free:
            self.give_way(entry, *besides)
        return self._free.pop()

    def _evict(self, entry: Entry) -> None:
        """Take a sequence out of the cache; its tokens stay, and are decoded again when it is used."""
        if entry.seq is not None:
            self._cells.cut(entry.seq, 0)
            self._free.append(entry.seq)
        entry.seq, entry.decoded, entry.row, entry.stretches, entry.grows = None, 0, None, [], False


def _stretches(entry: Entry) -> Iterator[tuple[int, int, int]]:
    """(number, first position, behind the last) of each stretch."""
    stretches, end = entry.stretches.copy(), entry.decoded
    starts = [start for _, start in stretches]
    for (number, start), stop in zip(stretches, [*starts[1:], end], strict=False):
        yield number, start, stop


def _common(left: list[int], right: list[int]) -> int:
    """How many tokens both begin with."""
    for n, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return n
    return min(len(left), len(right))
