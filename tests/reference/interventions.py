"""Surgery on a run: each says where it works, and what becomes of the array there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Place = Literal["heads", "residual"]
"""The outputs of a block's heads [head, position, head_size] before the projection; the residual stream
[position, n_embd] after the block.
"""


@dataclass(frozen=True)
class Ablate:
    """A head's output becomes `to`: 0, or a row [head_size], such as its mean over other texts."""

    place: ClassVar[Place] = "heads"
    layer: int
    head: int
    to: ArrayLike = 0.0
    positions: Sequence[int] | None = None

    def change(self, heads: Array) -> None:
        heads[self.head, where(self.positions)] = self.to


@dataclass(frozen=True)
class Scale:
    """A head's output is multiplied by `factor`."""

    place: ClassVar[Place] = "heads"
    layer: int
    head: int
    factor: float
    positions: Sequence[int] | None = None

    def change(self, heads: Array) -> None:
        heads[self.head, where(self.positions)] *= self.factor


@dataclass(frozen=True)
class Steer:
    """`strength` times `vector` [n_embd] is added to the residual stream after the block."""

    place: ClassVar[Place] = "residual"
    layer: int
    vector: ArrayLike
    strength: float = 1.0
    positions: Sequence[int] | None = None

    def change(self, residual: Array) -> None:
        residual[where(self.positions)] += self.strength * np.asarray(self.vector)


@dataclass(frozen=True)
class Patch:
    """The residual stream after the block, at one position, becomes `row` [n_embd]."""

    place: ClassVar[Place] = "residual"
    layer: int
    position: int
    row: ArrayLike

    def change(self, residual: Array) -> None:
        residual[self.position] = self.row


Intervention = Ablate | Scale | Steer | Patch


def where(positions: Sequence[int] | None) -> slice | list[int]:
    return slice(None) if positions is None else list(positions)


def changed(array: Array, place: Place, layer: int, interventions: Sequence[Intervention]) -> Array:
    """A copy of what is at a place of a layer, after all interventions there, in their order."""
    array = array.copy()
    for each in interventions:
        if (each.place, each.layer) == (place, layer):
            each.change(array)
    return array
