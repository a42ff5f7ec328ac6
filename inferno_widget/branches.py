"""The engine's branches of one session: which part of which path each holds."""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .engine import Branch, Progress
from .errors import InfernoError

if TYPE_CHECKING:
    from .engine.client import EngineClient
    from .engine.stop import Stop
    from .trace import Trace
    from .window import Window

HELD_BRANCHES = 16
"""Branches of one session that keep their KV cache."""


class Branches:
    """Branches of an engine that hold paths of a trace, as seen through windows.

    Parameters
    ----------
    engine : where they are; its process may be replaced by another
    trace : whose paths they hold
    """

    def __init__(self, engine: EngineClient, trace: Trace) -> None:
        self._engine, self._trace = engine, trace
        self._held: dict[Branch, tuple[int, Window]] = {}  # each ends with a node; the latest used comes last
        self._generation = -1
        self._lock = RLock()  # what is made beside a path is made in other threads than the path

    def forked(self) -> None:
        """See `forks.Forkable`."""
        self._lock = RLock()
        self._held.clear()

    def at_head(self, window: Window, *, cancel: Stop, progress: Progress) -> Branch:
        """A branch that holds what `window` shows of the current path, with the cache of the nearest one there is."""
        with self._lock:
            self._start(cancel, progress)
            path = self._trace.path()
            parent, shared, whole = self._nearest(path, window)
            branch = parent if parent is not None and whole else self._engine.branch(parent, shared)
            self._held.pop(branch, None)  # if what follows fails, nobody knows what it holds
            self._append(branch, path, window, shared)
            self.grown(branch, self._trace.head, window)
            while len(self._held) > HELD_BRANCHES:
                self._drop(next(iter(self._held)))
            return branch

    def beside(self, node: int, window: Window, *, cancel: Stop, progress: Progress) -> Branch:
        """A branch that holds what `window` shows of the path to `node`; the caller's own, to be let go of."""
        with self._lock:
            self._start(cancel, progress)
            path = self._trace.path(node)
            parent, shared, _ = self._nearest(path, window)
            branch = self._engine.branch(parent, shared)
            self._append(branch, path, window, shared)
            return branch

    def let_go(self, branches: Sequence[Branch]) -> None:
        """Drop branches that `beside` made, or copies of them."""
        for branch in branches:
            self._drop(branch)

    def forget(self, nodes: Container[int]) -> None:
        """Drop the branches that end with one of `nodes`."""
        with self._lock:
            for branch, (end, _) in list(self._held.items()):
                if end in nodes:
                    self._drop(branch)

    def grown(self, branch: Branch, node: int, window: Window) -> None:
        """Take note that a branch ends with `node` now."""
        self._held[branch] = (node, window)

    def release(self) -> None:
        """Drop all."""
        for branch in list(self._held):
            self._drop(branch)

    def cells(self) -> int:
        """Cells of the KV cache that these branches hold; what they share counts once. 0 without a process."""
        if not self._held or not self._alive:
            return 0
        with suppress(InfernoError):
            return self._engine.holdings().cells(tuple(self._held))
        return 0

    @property
    def _alive(self) -> bool:
        """Whether the process that made these branches is still there."""
        return self._engine.pid is not None and self._engine.generation == self._generation

    def _start(self, cancel: Stop, progress: Progress) -> None:
        self._engine.start(cancel=cancel, progress=progress)
        if self._engine.generation != self._generation:  # a new process: its cache is empty
            self._held.clear()
            self._generation = self._engine.generation

    def _append(self, branch: Branch, path: NDArray[np.int32], window: Window, shared: int) -> None:
        """Add what a branch lacks of a path, which are all but the first `shared` tokens that `window` shows."""
        tokens = window.of(self._trace.column("token_id", tree=True)[path])[shared:].tolist()
        try:
            self._engine.see_through(branch, window)
            if tokens:
                self._engine.append(branch, tokens)
        except InfernoError:
            self._drop(branch)
            raise

    def _drop(self, branch: Branch) -> None:
        self._held.pop(branch, None)
        if self._alive:
            with suppress(InfernoError):  # the process ended just now, and the cache with it
                self._engine.drop(branch)

    def _nearest(self, path: NDArray[np.int32], window: Window) -> tuple[Branch | None, int, bool]:
        """The branch that shares most of a path, how many of its tokens that is, and whether it is all of them."""
        parents, positions = (self._trace.column(name, tree=True) for name in ("parent", "position"))
        best, most, whole = None, 0, False
        for branch, (end, shown) in reversed(self._held.items()):
            node = end
            while node >= 0 and not (positions[node] < len(path) and path[positions[node]] == node):
                node = int(parents[node])
            shared = window.shared(shown, int(positions[node]) + 1) if node >= 0 else 0
            if shared > most:
                best, most, whole = branch, shared, shared == shown.size(int(positions[end]) + 1)
        return best, most, whole
