"""What of a text the model sees, when the text is longer than its context."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """The first `keep` tokens of a text, and all that come behind the `left_out` after them.

    ``Window()`` is the whole text.
    """

    keep: int = 0
    left_out: int = 0

    @classmethod
    def slid(cls, length: int, keep: int, n_ctx: int) -> Window:
        """The window that makes room behind `length` tokens in a full context of `n_ctx`.

        The first `keep` tokens and the newer half of what else fits.
        """
        rest = n_ctx - keep
        return cls(keep, length - keep - (rest - rest // 2))

    def size(self, length: int) -> int:
        """How many of the first `length` tokens it shows."""
        return max(min(length, self.keep), length - self.left_out)

    def of(self, path: NDArray[Any]) -> NDArray[Any]:
        """What it shows of an array that has an element a token."""
        if not self.left_out:
            return path
        return np.concatenate([path[: self.keep], path[self.keep + self.left_out :]])

    def back(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Positions in the text of what stands at these places of what it shows."""
        return seen + np.where(seen < self.keep, 0, self.left_out) if self.left_out else seen

    def shared(self, other: Window, length: int) -> int:
        """How many tokens both show alike, from the first on, where the first `length` of two texts are the same."""
        return self.size(length) if self == other else self.same(other, length)

    def same(self, other: Window, n: int) -> int:
        """How many of the first `n` tokens that both show, where these are alike, are the same ones of the text."""
        return n if self == other else min(n, *(window.keep for window in (self, other) if window.left_out))


WHOLE = Window()
"""All of a text."""
