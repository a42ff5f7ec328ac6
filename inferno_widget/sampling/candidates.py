"""What the stages hand on: the tokens that may still come, and the moment at which one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..record import Floats, Ids
from ..stats import leading


class Candidates(NamedTuple):
    """Tokens that may still come.

    Attributes
    ----------
    ids : int32 [n]
    logits : float32 [n], as the stages so far left them
    """

    ids: Ids
    logits: Floats

    def take(self, index: Any) -> Candidates:
        return Candidates(self.ids[index], self.logits[index])


class Moment(NamedTuple):
    """When a token is chosen.

    Attributes
    ----------
    history : token ids that the model saw
    position : of the token to come; the dice belong to it
    n_vocab : tokens there are
    mu : mirostat's state, bits; see `mirostat`
    said : token ids behind the prompt, up to the position: what a grammar goes by, also where the model does not see
        them any more
    """

    history: Sequence[int]
    position: int
    n_vocab: int
    mu: float
    said: Sequence[int] = ()


Apply = Callable[[Candidates, Moment], Candidates]
"""What a stage does: candidates, moment -> candidates."""


def softmax(logits: Floats) -> NDArray[np.float64]:
    """float64 [n], summing to 1."""
    weights = np.exp(logits - logits.max()).astype(np.float64)
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def fewest(keys: NDArray[Any], probabilities: NDArray[Any], mass: float, *, beyond: bool = False) -> Ids:
    """Indices by falling key, as few as it takes until their probability reaches (or goes beyond) `mass`.

    Sorts only as much of a large vocabulary as it needs.
    """
    n = 1024
    while True:
        order = leading(keys, n)
        reached = probabilities[order].cumsum()
        count = int(reached.searchsorted(mass, side="right" if beyond else "left")) + 1
        if count <= len(order) or len(order) == len(keys):
            return order[:count]
        n *= 8
