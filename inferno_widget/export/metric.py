"""What a token is coloured by, and where that lies on the metric's scale; the twin of ``js/src/draw/metric.ts``."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..record import Kind
from .format import percent, whole

if TYPE_CHECKING:
    from ..trace import Trace

Metric = Literal["probability", "surprisal", "entropy", "rank", "time"]
METRICS: tuple[Metric, ...] = get_args(Metric)
STEPS = 36
"""Steps of a scale. Step 0 is what was expected: it has no colour."""

_ENDS = [float(f"{digit}e{power}") for power in range(-3, 7) for digit in (1, 2, 5)][:28]
"""Milliseconds at which the scale of time may end."""
_SLOW = 3
"""A usual token lies at a third of the scale of time or below, so that slow ones stand out."""


class Scale(NamedTuple):
    """How a metric becomes a colour.

    Attributes
    ----------
    end : value at the hot end, and beyond
    share : (value, end) -> share of the scale, 0 to 1 and beyond
    format : the value with its unit
    ends : end -> what stands at the two ends of a legend
    """

    end: float
    share: Callable[[float, float], float]
    format: Callable[[float], str]
    ends: Callable[[float], tuple[str, str]]


def _linear(value: float, end: float) -> float:
    return value / end


def _nats(value: float) -> str:
    return f"{value:.2f} nats"


def _number(value: float) -> str:
    return whole(value) if value >= 100 else f"{value:.3g}"


def _logarithmic(value: float, end: float) -> float:
    return math.log10(value) / math.log10(end)


SCALES: dict[Metric, Scale] = {
    "probability": Scale(0, lambda value, _: 1 - value, percent, lambda _: ("100%", "0%")),
    "surprisal": Scale(9, _linear, _nats, lambda end: ("0", f"{end:g} nats")),
    "entropy": Scale(6, _linear, _nats, lambda end: ("0", f"{end:g} nats")),
    "rank": Scale(1000, _logarithmic, whole, lambda end: ("1", whole(end))),
    "time": Scale(100, _linear, lambda value: f"{_number(value)} ms", lambda end: ("0", f"{_number(end)} ms")),
}


def step_of(metric: Metric, value: float, end: float | None = None) -> int:
    """Where on a metric's scale a value lies: 0 (expected, or no prediction) to STEPS."""
    if math.isnan(value):
        return 0
    scale = SCALES[metric]
    share = scale.share(value, scale.end if end is None else end)
    return min(STEPS, math.floor(min(1.0, share) * STEPS + 0.5)) if share > 0 else 0


def values(rows: NDArray[np.void], metric: Metric) -> NDArray[np.float64]:
    """A value for each row of a trace; NaN where there was no prediction, or nobody took the time."""
    column: dict[str, Callable[[], NDArray[Any]]] = {
        "probability": lambda: np.exp(rows["logprob"].astype(np.float64)),
        "surprisal": lambda: -rows["logprob"].astype(np.float64),
        "entropy": lambda: rows["entropy"].astype(np.float64),
        "rank": lambda: np.where(rows["rank"] > 0, rows["rank"], np.nan),
        "time": lambda: np.where(rows["ms"] > 0, rows["ms"].astype(np.float64), np.nan),
    }
    return column[metric]()


def joint(parts: Sequence[float], metric: Metric) -> float:
    """The value of tokens that share a character, as if it had come at once.

    Probabilities multiply, surprisals, entropies and times add (the chain rule); of ranks the worst counts.
    """
    if metric == "rank":
        return math.nan if any(map(math.isnan, parts)) else max(parts)
    return math.prod(parts) if metric == "probability" else math.fsum(parts)


def end_of(trace: Trace, metric: Metric) -> float:
    """Where the scale of a metric ends for this trace. That of time follows the run.

    It ends at the 1, 2 or 5 times a power of ten that is no less than three times the median of what was generated.
    """
    if metric != "time":
        return SCALES[metric].end
    rows = trace.nodes
    asked = sorted(rows["ms"][(rows["kind"] != Kind.PROMPT) & (rows["ms"] > 0)].astype(float).tolist())
    if not asked:
        return SCALES["time"].end
    usual = asked[(len(asked) - 1) // 2]
    return _ENDS[min(bisect_left(_ENDS, _SLOW * usual), len(_ENDS) - 1)]
