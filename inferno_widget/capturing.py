"""What goes on inside the model at the steps to come, kept until somebody looks."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import numpy as np

from .arguments import count, whole
from .engine.inside import Asked, Look, Wanted
from .engine.inside import What as Tensor
from .engine.second import SecondClient
from .engine.stop import Stop, interruptible
from .errors import InfernoError, brief
from .inspection import Inspection, What, inspection_of, layer_numbers, whats

if TYPE_CHECKING:
    from .inside import Inside

FOR_EVER = 1 << 31
"""Stands for the end of a text that goes on."""


class Capture:
    """What a session keeps of the inside of the model while it runs: on from the start until `stop`, or a ``with``.

    Made by `Session.capture`. The arrays stay in the engine's process until `take` fetches them.

    Attributes
    ----------
    what : what is kept
    on : whether it still is
    """

    def __init__(
        self,
        session: Inside,
        what: What | Sequence[What],
        layers: int | Sequence[int] | None,
        positions: range | None,
        k: int,
        limit: int,
    ) -> None:
        self.what, self.on = whats(what), True
        self._session, self._k = session, count("k", k)
        self._taken: Inspection | InfernoError | None = None  # what there was when it was stopped, or why nothing
        tensors = cast("tuple[Tensor, ...]", tuple(name for name in self.what if name != "lens"))
        chosen = None if layers is None else layer_numbers(layers)
        self._asked = Asked(tensors, chosen, count("limit", limit, 1 << 60))
        self._positions = _checked(positions)
        if session.capturing is not None:
            raise InfernoError(
                f"of this session {', '.join(session.capturing.what)} is captured already, by another capture or by "
                "*live* on the page: stop that first, and name in `what` all that is to be kept"
            )
        self._own = not isinstance(session.engine, SecondClient)
        self._engine = session.model.second() if self._own else session.taps
        try:
            self._engine.capture(self._wanted())
        except BaseException:
            if self._own:
                self._engine.close()
            raise
        self._before = session.work_in(self._engine) if self._own else None
        session.capturing = self

    def __repr__(self) -> str:
        return f"<Capture of {', '.join(self.what)}: {'on' if self.on else 'off'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _wanted(self) -> Wanted:
        """What is to be kept from now on."""
        start = max(0, self._session.trace.length - 1)
        positions = range(start, FOR_EVER) if self._positions is None else self._positions
        return Wanted(self._asked, positions, "lens" in self.what)

    def take(self, since: int = 0) -> Inspection:
        """What was captured of the tokens on the current path; of those where it stood then, once it is off.

        Parameters
        ----------
        since : position of the first token that is meant; once it is off, all are

        Raises
        ------
        InfernoError
            If nothing was captured there.
        """
        if isinstance(self._taken, InfernoError):
            raise self._taken
        if self._taken is not None:
            return self._taken
        since = whole("since", since, 0)
        session, cancel = self._session, Stop()
        sight = session.sight()
        seen, ids = sight.seen, sight.path[sight.seen].tolist()
        rows = tuple(np.flatnonzero(seen >= since).tolist()) if since else ()  # none named: all
        if since and not rows:
            raise InfernoError(f"there is no token at position {since:,} or behind it")
        look = Look(ids, rows, self._asked, self._k if "lens" in self.what else 0)
        with interruptible(cancel):
            arrays = self._engine.captured(look, cancel=cancel)
        kept = arrays.pop("positions")
        if not len(kept):
            raise InfernoError(
                "nothing was captured of the path: generate something first. What is generated under interventions is "
                "kept by a capture that begins inside their `with`"
            )
        return inspection_of(session, sight, self.what, self._asked.layers, kept, arrays)

    def clear(self) -> None:
        """Forget what was captured so far, and go on."""
        if self.on:
            self._engine.capture(self._wanted())

    def stop(self) -> None:
        """Capture nothing more; `take` still gives what was captured of the path."""
        if not self.on:
            return
        self._session.check_innermost(self._engine)
        with self._session.idle():
            try:
                self._taken = self.take()
            except InfernoError as error:  # nothing was captured, or the process died: whoever takes it is told
                self._taken = error
            self.on, self._session.capturing = False, None
            if self._before is not None:
                self._session.work_back(self._engine, self._before)
            elif self._engine.pid is not None:
                self._engine.capture(None)


def _checked(positions: object) -> range | None:
    """The same, if it can be those of tokens."""
    if positions is not None and not isinstance(positions, range):
        raise TypeError(f"positions must be a range or None, not {brief(positions)}")
    if positions is not None and (not positions or min(positions[0], positions[-1]) < 0):
        raise ValueError(f"positions must be those of tokens, counted from 0, not {brief(positions)}")
    return positions
