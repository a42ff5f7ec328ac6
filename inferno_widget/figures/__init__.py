"""Figures, drawn by plotly: each one function from what was recorded or found to a ``go.Figure``.

Those of a trace show its current path. Their ground is transparent and their ink a grey that is read on light and dark
pages; with ``theme="light"`` or ``"dark"`` they bring a page of their own.
"""

from __future__ import annotations

from .inside import attention, attribution, causal_map, lens
from .roads import commitment, what_if
from .tokens import distribution, entropy, entropy_histogram, rank, surprisal, time

__all__ = [
    "attention",
    "attribution",
    "causal_map",
    "commitment",
    "distribution",
    "entropy",
    "entropy_histogram",
    "lens",
    "rank",
    "surprisal",
    "time",
    "what_if",
]
