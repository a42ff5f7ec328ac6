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


FEW = 1024


def fewest(keys: NDArray[Any], probabilities: NDArray[Any], mass: float, *, beyond: bool = False) -> Ids:
    """Indices of the largest keys, as few as it takes until their probability reaches (or goes beyond) `mass`.

    The last is the one that does it. Up to `FEW` are in falling order, ties by index. More are in no order but for the
    last: to sort a large vocabulary takes ten times as long as to find where to cut it.
    """
    order = leading(keys, FEW)
    count = _needed(probabilities[order].cumsum(), mass, beyond=beyond)
    if count <= len(order) or len(order) == len(keys):
        return order[:count]
    return _fewest_of_many(keys, probabilities, mass, beyond=beyond)


def _fewest_of_many(keys: NDArray[Any], probabilities: NDArray[Any], mass: float, *, beyond: bool) -> Ids:
    """By halves: the upper half is either needed as a whole, or holds the cut."""
    needed, reached = [], 0.0
    rest = np.arange(len(keys), dtype=np.int32)
    while len(rest) > FEW:
        mine = keys[rest]
        sample = np.sort(mine[:: len(mine) // 256])
        upper = mine > sample[len(sample) // 2]
        if not upper.any():
            upper = mine == mine.max()
            if upper.all():
                break
        half = rest[upper.nonzero()[0]]  # twice as quick as by the mask itself
        more = reached + float(probabilities[half].sum())
        if more > mass if beyond else more >= mass:
            rest = half
        else:
            needed.append(half)
            reached, rest = more, rest[(~upper).nonzero()[0]]
    order = rest[(-keys[rest]).argsort(kind="stable")]
    count = _needed(reached + probabilities[order].cumsum(), mass, beyond=beyond)
    return np.concatenate([*needed, order[:count]])


def _needed(reached: NDArray[Any], mass: float, *, beyond: bool) -> int:
    return int(reached.searchsorted(mass, side="right" if beyond else "left")) + 1
