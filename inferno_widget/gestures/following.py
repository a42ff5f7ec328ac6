"""Attention as it happens: the row of each token, while the session on display reads it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..capturing import Capture
from ..errors import InfernoError
from ..inspection import Ended
from ..jobs import Job
from .base import Base, alone
from .inside import ALL_LAYERS, OVER, check_head, check_layer

if TYPE_CHECKING:
    from ..inspection import Inspection
    from ..session import Session

CLEAR_BYTES = 64 << 20
"""What was told of a session is forgotten whenever it comes to this."""
DIGITS = 5
"""Decimals of the weights in a part."""


class Following(Base):
    """Follow."""

    @alone
    def follow(self, layer: int, head: int, over: str) -> Job[dict[str, Any] | None]:
        """Tell what the newest token looked at, and each that is read from now on, until it is enough: `AttentionRow`.

        While it lasts the session on display is decoded where it can be looked at, and so is one that Run begins. It
        ends with Stop, and when another session is shown.
        """
        if over not in OVER:
            raise ValueError(f"over must be one of {', '.join(OVER)} to be followed, not {over!r}")
        session = self._awake()
        check_layer(layer, session.model.info.n_layer)
        self._end_following()
        follower = Follower(layer, head, over)
        follower.attach(session)
        self._follower = follower
        self.code = f'capture = session.capture("attention"{"" if over in ALL_LAYERS else f", layers={layer}"})'
        return self._crew.run(follower.job)

    def _follow_on(self, session: Session) -> None:
        """Follow a session that is about to run, if anybody follows."""
        if self._follower:
            self._follower.attach(session)

    def _end_following(self) -> None:
        follower, self._follower = self._follower, None
        if follower:
            follower.job.enough()
            follower.detach()


class Follower:
    """Somebody who is told of each token that is read, of one session after the other.

    Attributes
    ----------
    job : tells the rows; when it is enough, the session is decoded as before
    """

    def __init__(self, layer: int, head: int, over: str) -> None:
        self._layer, self._head, self._over = layer, head, over
        self._layers = None if over in ALL_LAYERS else layer
        self._lock = threading.RLock()  # gestures attach and detach, the job takes
        self._news = threading.Event()
        self._session: Session | None = None
        self._capture: Capture | None = None
        self._told: set[int] = set()
        self._nbytes = 0
        self._ended = Ended()  # by which whoever attaches or detaches ends a look that takes long
        self._forget: Callable[[], None] = lambda: None
        self.job: Job[dict[str, Any] | None] = Job(self._work)
        self.job.at_enough(self._end)

    def _end(self) -> None:
        self._ended.cancel.set()
        self._news.set()

    def attach(self, session: Session) -> None:
        """Follow this session from now on, and no other."""
        if session is self._session:
            return
        self._ended.cancel.set()
        with self._lock:
            if self.job.done() or not self.job.wanted:
                return
            self.detach()
            with session.held():
                self._capture = session.capture("attention", self._layers)
            self._session, self._told, self._nbytes = session, set(), 0
            self._forget = session.observe(self._news.set)
        self._news.set()

    def detach(self) -> None:
        """Have the session decoded where it was before; a run goes on there."""
        self._ended.cancel.set()
        with self._lock:
            session, capture = self._session, self._capture
            self._session = self._capture = None
            if session is None or capture is None:
                return
            self._forget()
            with session.held(), suppress(InfernoError):  # its process may have ended
                capture.clear()
                capture.stop()

    def _work(self, job: Job[dict[str, Any] | None]) -> dict[str, Any] | None:
        row: dict[str, Any] | None = None
        try:
            while job.wanted:
                self._news.wait()
                self._news.clear()
                for row in self._rows():
                    job.tell(row)
        finally:
            self.detach()
        return row

    def _rows(self) -> Iterator[dict[str, Any]]:
        """What was not told yet of the path; of a session that rests, of its newest token too."""
        with self._lock:
            session, capture = self._session, self._capture
            if session is None or capture is None or session.state == "closed" or not session.trace.length:
                return
            path: list[int] = session.trace.path().tolist()
            since = next((i + 1 for i in reversed(range(len(path))) if path[i] in self._told), 0)
            found: list[Inspection] = []
            if since < len(path):
                with suppress(InfernoError):  # nothing was read yet
                    found.append(capture.take(since))
                    self._nbytes += found[-1].nbytes
            if self._nbytes > CLEAR_BYTES:
                capture.clear()
                self._nbytes = 0
            read = {int(position) for seen in found for position in seen.positions}
            if self._rests(session) and path[-1] not in self._told and len(path) - 1 not in read:
                self._ended = Ended()
                if not self.job.wanted:
                    return
                with suppress(InfernoError, IndexError):  # a run has begun just now
                    found.append(session.inspect(-1, "attention", self._layers, progress=self._ended))
            if session.trace.path().tolist()[: len(path)] != path:
                return  # somebody went elsewhere meanwhile, and says so
        for seen in found:
            for i, position in enumerate(seen.positions.tolist()):
                if position >= len(path):
                    break  # its record is still on its way
                self._told.add(path[position])
                yield self._row(seen, i, path[position], position + 1)

    def _rests(self, session: Session) -> bool:
        return session.state in ("ready", "paused") and session.trace.length >= len(session.prompt_ids)

    def _row(self, seen: Inspection, i: int, node: int, length: int) -> dict[str, Any]:
        """`AttentionRow`, of the `i`-th position."""
        rows = seen.attention[:, :, i]
        check_head(rows, self._head)
        at = self._layer if self._layers is None else 0
        row = OVER[self._over](rows, at, self._head)
        weights = [0.0] * length
        for key, weight in zip(seen.keys.tolist(), row.tolist(), strict=True):
            if key < length:
                weights[key] = round(weight, DIGITS)
        return {
            "node": node,
            "layer": self._layer,
            "head": self._head,
            "over": self._over,
            "length": length,
            "weights": weights,
        }
