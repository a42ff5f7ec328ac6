"""Cases: which files there are, and how one is made again from its name."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.bases import BASES, base
from tests.fuzz.draft import Draft
from tests.fuzz.mutations import MUTATIONS

MIXED = "mixed"
"""Two to four of the others, one over the other."""
GOOD = "good"
"""Nothing is changed: the file must work, or be refused for what it is."""


@dataclass(frozen=True)
class Case:
    """A file by its name: ``gemma2/offsets-overlap/17``."""

    architecture: str
    mutation: str
    seed: int

    def __str__(self) -> str:
        return f"{self.architecture}/{self.mutation}/{self.seed}"

    @classmethod
    def named(cls, name: str) -> Case:
        architecture, mutation, seed = name.split("/")
        if architecture not in BASES or mutation not in {*MUTATIONS, MIXED, GOOD}:
            raise ValueError(f"no such case: {name}")
        return cls(architecture, mutation, int(seed))

    def draft(self) -> Draft:
        dice, draft = random.Random(str(self)), base(self.architecture)
        if self.mutation == MIXED:
            for name in dice.sample(sorted(MUTATIONS), dice.choice([2, 3, 4])):
                _try(name, draft, dice)
        elif self.mutation != GOOD:
            MUTATIONS[self.mutation](draft, dice)
        return draft

    def write(self, folder: Path) -> Path:
        """Make the file, and what lies beside it, in an empty folder; the path to load."""
        return self.draft().write(folder)


def _try(name: str, draft: Draft, dice: random.Random) -> None:
    """A mutation that may find nothing left to change."""
    try:
        MUTATIONS[name](draft, dice)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """The first `count` cases of a seed: every mutation in turn, each time of another architecture."""
    names, architectures = [*sorted(MUTATIONS), MIXED, MIXED, MIXED, GOOD], list(BASES)
    for i in range(count):
        turn, which = divmod(i, len(names))
        yield Case(architectures[(which + 5 * turn + seed) % len(architectures)], names[which], seed * 1_000_000 + i)
