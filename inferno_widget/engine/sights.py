"""Which positions have the tokens whose keys stand in the cells of the cache, as a stretch of a batch sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferno_widget.record import Floats

from . import ggml
from .pool import Entry


class Rows(NamedTuple):
    """A stretch of the batch that is being decoded.

    Attributes
    ----------
    entry : its branch
    at : where it stands in the batch
    positions : of its tokens in the cache, int64
    """

    entry: Entry
    at: slice
    positions: NDArray[np.int64]

    @property
    def in_text(self) -> NDArray[np.int64]:
        """Positions of its tokens in the text, of which the cache may have a part: int64."""
        return self.entry.window.back(self.positions)


class Sight(NamedTuple):
    """Which cells of the cache a stretch sees, and the positions of the tokens in them."""

    cells: slice | NDArray[np.int64]
    positions: slice | NDArray[np.int64]


class Sights:
    """What is seen of the cache while a batch is decoded.

    Parameters
    ----------
    room : cells there are
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._sights: dict[tuple[int, str, int], Sight] = {}
        self._positions: dict[str, NDArray[np.int64]] = {}

    def clear(self) -> None:
        """Another batch sees something else."""
        self._sights.clear()

    def noting(self, name: str, stretches: Sequence[Rows]) -> Callable[[int], None]:
        """What takes note of the cells that a batch puts its keys into, by the input of that name which says so."""

        def note(address: int) -> None:
            cells = ggml.read(ggml.Tensor.at(address).src[1]).ravel()
            known = self._positions.setdefault(name, np.full(self._room, -1, np.int64))
            for rows in stretches:
                known[cells[rows.at]] = rows.positions

        return note

    def by_position(self, values: Floats, address: int, mask: NDArray[Any], cells: str, rows: Rows) -> Floats:
        """Weights [head, row, cell] of a stretch as [head, row, key], the key a position.

        The mask is told by its address: one serves many blocks.
        """
        sight = self._sight(address, mask, cells, rows)
        whole = slice(0, int(rows.positions[-1]) + 1)
        if isinstance(sight.cells, slice) and isinstance(sight.positions, slice) and sight.positions == whole:
            return values[:, :, sight.cells]
        by = np.zeros((*values.shape[:2], int(rows.positions[-1]) + 1), np.float32)
        by[:, :, sight.positions] = values[:, :, sight.cells]
        return by

    def _sight(self, address: int, mask: NDArray[Any], cells: str, rows: Rows) -> Sight:
        key = (address, cells, rows.at.start)
        if key not in self._sights:
            shown = np.flatnonzero((mask.reshape(-1, mask.shape[-1])[rows.at] > -np.inf).any(axis=0))
            positions = self._positions[cells][shown] if cells in self._positions else shown
            self._sights[key] = Sight(as_slice(shown), as_slice(positions))
        return self._sights[key]


def as_slice(indices: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """The same as a slice, which numpy copies quicker, where they follow one another."""
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1 and np.all(np.diff(indices) == 1):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
