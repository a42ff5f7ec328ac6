"""The dice: numbers that depend on the seed and the position alone, so that a run can be played again."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_BLOCK = 64


def draw(seed: int, position: int, which: int = 0) -> float:
    """Uniform number in [0, 1) that belongs to a position of a run.

    Philox 4x64 with the seed as its key and the position as its counter (Salmon et al., 2011, "Parallel random
    numbers: as easy as 1, 2, 3"). A counter yields four numbers.

    Parameters
    ----------
    seed : 0 to 2**64 - 1
    position : of the token to come
    which : 0 is the final draw's; 1 is XTC's
    """
    block, at = divmod(position, _BLOCK)
    return float(_draws(seed, block)[at, which])


@lru_cache(maxsize=16)
def _draws(seed: int, block: int) -> NDArray[np.float64]:
    """The numbers of `_BLOCK` positions in a row: making the generator takes thirty times as long as drawing."""
    generator = np.random.Generator(np.random.Philox(key=seed, counter=block * _BLOCK))
    return generator.random(4 * _BLOCK).reshape(_BLOCK, 4)
