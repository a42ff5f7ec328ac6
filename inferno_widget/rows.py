"""Whole rows of a path's tokens, fetched in batches where the stored candidates do not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .engine.stop import Stop, interruptible
from .record import Floats
from .sampling.stored import NeedsRow

if TYPE_CHECKING:
    from .running import Running

AT_FIRST, AT_ONCE = 4, 64
"""Rows that are fetched together: few at first, since a run that goes another way needs none behind that."""

Told = Callable[[float], object]
"""Told the finished fraction, 0 to 1. If it returns False, the work ends there, with what there is."""


class Rows:
    """The rows that predict the tokens of a path: position -> float32 [n_vocab].

    A row that is not there yet is fetched, and the next that may be needed with it, from one prefill. They are asked
    for in the order of the text.

    Parameters
    ----------
    session : has the path; its own branches are left alone
    path : nodes, int32 [n]
    positions : that may be needed, in order
    cancel : when it is set, no more are fetched and `NeedsRow` is raised
    progress : told of what is fetched
    """

    def __init__(
        self,
        session: Running,
        path: NDArray[np.int32],
        positions: Sequence[int],
        *,
        cancel: Stop,
        progress: Told | None = None,
    ) -> None:
        self._session, self._path, self._positions, self._meant = session, path, list(positions), set(positions)
        self._cancel, self._progress = cancel, progress
        self._rows: dict[int, Floats] = {}
        self._done, self._next = 0, AT_FIRST

    def __call__(self, position: int) -> Floats:
        """The row that predicts the token at `position`. Raises `NeedsRow` where it is not to be had, or no more."""
        if position not in self._rows and position in self._meant and not self._cancel.is_set():
            self._fetch(position)
        if position not in self._rows:
            raise NeedsRow
        return self._rows[position]

    def _fetch(self, position: int) -> None:
        now = [position, *(later for later in self._positions if later > position)][: self._next]
        self._next, self._rows = min(2 * self._next, AT_ONCE), {}
        for at, row in rows_of(self._session, self._path, now, cancel=self._cancel):
            self._rows[at] = row
            self._done += 1
            if self._progress and self._progress(self._done / len(self._positions)) is False:
                self._cancel.set()


def rows_of(
    session: Running, path: NDArray[np.int32], positions: Sequence[int], *, cancel: Stop
) -> Iterator[tuple[int, Floats]]:
    """(position, raw row that predicts the token there), of a path's `positions` in order.

    One prefill a window, from the first of them to the last.
    """
    trace, engine = session.trace, session.engine
    ids = trace.nodes["token_id"][path]
    for window, group in groupby(positions, lambda at: trace.window(int(path[at]))):
        mine = list(group)
        first, last = mine[0], mine[-1]
        branch = session.beside(int(path[first - 1]), window)
        try:
            wanted = [at - first for at in mine]
            found = engine.rows(branch, ids[first : last + 1].tolist(), wanted, cancel=cancel)
            with interruptible(cancel), closing(found):
                for i, row in found:
                    session.check_open()
                    yield first + i, row
        finally:
            session.let_go([branch])
