"""XTC, "exclude top choices": now and then, all that is likely enough goes, but for the least likely of it.

By p-e-w, 2024 (oobabooga/text-generation-webui, pull request 6335), as llama.cpp has it.
"""

from __future__ import annotations

import numpy as np

from ..stats import leading
from .candidates import Candidates, softmax


def excluded(c: Candidates, threshold: float) -> int:
    """How many of the most likely candidates go: all of at least `threshold`, but for the last of them.

    One that was forbidden before is no choice, also where the threshold is 0.
    """
    return max(0, int(np.count_nonzero((softmax(c.logits) >= threshold) & (c.logits > -np.inf))) - 1)


def xtc(c: Candidates, probability: float, threshold: float, chance: float) -> Candidates:
    """Exclude the top choices if `chance`, a uniform number, is below `probability`."""
    if chance >= probability:
        return c
    n = excluded(c, threshold)
    return c.take(np.setdiff1d(np.arange(len(c.ids)), leading(c.logits, n))) if n else c
