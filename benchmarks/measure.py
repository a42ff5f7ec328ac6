"""What every benchmark uses: a figure with its reach, and the comparison of two rates under the same load."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Rate = Callable[[], float]
"""Does some work and returns how much of it went by in a second; what it prepares first is not timed."""


@dataclass(frozen=True)
class Setting:
    """What a benchmark is given.

    Attributes
    ----------
    model_h : path of model H
    rounds : how often things are measured in turn
    """

    model_h: Path
    rounds: int


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    what: str
    value: float
    reach: float
    detail: str
    at_least: bool = True
    form: str = ".3g"

    @property
    def met(self) -> bool:
        return self.value >= self.reach if self.at_least else self.value <= self.reach

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        bound = f"{'>=' if self.at_least else '<='} {self.reach:g}"
        return self.what, format(self.value, self.form), bound, "yes" if self.met else "**no**", self.detail


@dataclass(frozen=True)
class Comparison:
    """Medians: of the ratio of neighbouring measurements, and of both rates."""

    ratio: float
    ours: float
    theirs: float

    def __str__(self) -> str:
        return f"{self.ours:,.3g} against {self.theirs:,.3g} tokens/s"


def compare(ours: Rate, theirs: Rate, rounds: int) -> Comparison:
    """Measure both in turn, A B B A A B ..., after one run of each that does not count.

    Whatever else the machine does meets both; a ratio is taken within each pair, so that a slow drift cancels.
    """
    ours(), theirs()
    pairs = []
    for i in range(rounds):
        if i % 2:
            b, a = theirs(), ours()
        else:
            a, b = ours(), theirs()
        pairs.append((a, b))
    rates = [statistics.median(rates) for rates in zip(*pairs, strict=True)]
    return Comparison(statistics.median(a / b for a, b in pairs), *rates)


def run(name: str, setting: Setting) -> list[Figure]:
    """The figures of the benchmark in the module `name`."""
    figures: list[Figure] = importlib.import_module(f"benchmarks.{name}").run(setting)
    return figures


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def table(figures: list[Figure]) -> str:
    """As Markdown that can be read as it stands."""
    rows = [("figure", "measured", "reach", "met", "in this run"), *(figure.cells for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
