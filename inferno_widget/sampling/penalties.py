"""Stages that move logits because a person says so, or because a token has come before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .candidates import Candidates

if TYPE_CHECKING:
    from .sampler import Sampler


def bias(c: Candidates, biases: Mapping[int, float]) -> Candidates:
    """Add to the logits of single tokens. `c` is the whole vocabulary, in order."""
    logits = c.logits.copy()
    for token, value in biases.items():
        if token >= len(logits):
            raise ValueError(f"logit_bias names token {token}, but the vocabulary ends at {len(logits) - 1}")
        logits[token] += value
    if logits.max() == -math.inf:
        raise ValueError("logit_bias forbids every token: leave one that can come")
    return Candidates(c.ids, logits)


def counts(history: Sequence[int], s: Sampler) -> Counter[int]:
    """How often each token came where the penalties look."""
    return Counter(history if s.penalty_last_n < 0 else history[-s.penalty_last_n :])


def penalties(c: Candidates, history: Sequence[int], s: Sampler) -> Candidates:
    """Make recent tokens less likely. `c` is the whole vocabulary, in order.

    The repeat penalty is that of Keskar et al., 2019, "CTRL", section 4.1; a logit of 0 or less is multiplied instead,
    since a division would favour it. A token that came n times loses n * frequency_penalty + presence_penalty.
    """
    logits = c.logits.copy()
    for token, count in counts(history, s).items():
        value = logits[token]
        value = value * s.repeat_penalty if value <= 0 else value / s.repeat_penalty
        logits[token] = value - count * s.frequency_penalty - s.presence_penalty
    return Candidates(c.ids, logits)
