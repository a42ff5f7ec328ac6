"""What a page has been sent of a trace, and what is due."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .record import Floats
from .trace import Trace
from .wire import PROTOCOL, ROWS_PER_FRAME, Encoder, watched_columns, watched_rows

LAST = 2**30
"""Number of a frame or a trace that no page takes."""


class Frame(NamedTuple):
    """A message of the kind "rows".

    Attributes
    ----------
    content : what it says in JSON
    buffers : the rows; and, where something is watched, float32 [watches, rows], row by row
    """

    content: dict[str, Any]
    buffers: list[bytes]


class Feed:
    """Numbered frames of the trace on display, each with all that is new.

    A node is new when it came, and once more when the probability of what is watched there was worked out later.

    Attributes
    ----------
    trace : what is on display; None before there was anything
    epoch : number of the trace; the page starts afresh when it changes
    seq : number of the latest frame
    """

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.epoch = self.seq = 0
        self._encoder: Encoder | None = None
        self._sent, self._head = 0, -1
        self._watched: dict[str, Floats] = {}  # name -> values that were sent, a node each
        self._at = 0.0
        self._history: deque[_Sent] = deque(maxlen=1000)

    def show(self, trace: Trace | None) -> bool:
        """Send `trace` from now on, or an empty page for None. False where it is on display already."""
        if trace is self.trace:
            return False
        self._begin(trace)
        return True

    def _begin(self, trace: Trace | None) -> None:
        self.trace = trace
        self.epoch += 1
        self._encoder = Encoder(Trace(PROTOCOL["limits"]["top_k"]) if trace is None else trace, self.epoch)
        self._sent, self._head = 0, -2  # even an empty trace is news
        self._watched.clear()
        self._history.clear()

    def rewind(self, node: int) -> None:
        """Send again from `node` on."""
        self._sent, self._head = min(self._sent, max(0, node)), -2

    def replay(self, epoch: int, have: int, seq: int) -> None:
        """Send what a page lacks that has `have` nodes and saw frame `seq`.

        A page that saw what was never sent would pass over all that comes: the numbers go on from where it is.
        """
        if self.epoch < epoch < LAST or self.seq < seq < LAST:
            self.epoch, self.seq = max(self.epoch, min(epoch, LAST)), max(self.seq, min(seq, LAST))
            self._begin(self.trace)
            return
        again = [sent.start for sent in self._history if sent.again and sent.seq > seq]
        self.rewind(min([have, *again]) if epoch == self.epoch else 0)

    def known_at(self, seq: int) -> int:
        """Nodes of which a page that saw frame `seq` has all."""
        if not self._history or seq < self._history[0].seq - 1:
            return 0
        return min((sent.start for sent in self._history if sent.seq > seq), default=self._sent)

    def quiet(self) -> bool:
        """Whether the last frame has long arrived, if it ever will."""
        return time.monotonic() - self._at > 1

    @property
    def complete(self) -> bool:
        """Whether everything has been sent."""
        return self._due() is None

    def frame(self) -> Frame | None:
        """The next frame; None when everything has been sent."""
        due = self._due()
        if due is None or self._encoder is None:
            return None
        trace = self._encoder.trace
        self.seq, self._at = self.seq + 1, time.monotonic()
        self._history.append(_Sent(self.seq, due.start, due.again))
        if not due.again:
            self._sent, self._head = due.stop, due.head
        rows = self._encoder.frame(due.start, due.stop, seq=self.seq, head=due.head)
        watched = watched_columns(trace)
        if not watched:
            return Frame({"kind": "rows"}, [rows])
        for name, values in watched.items():
            self._note(name, due.start, values[due.start : due.stop])
        return Frame({"kind": "rows", "watched": list(watched)}, [rows, watched_rows(watched, due.start, due.stop)])

    def _due(self) -> _Due | None:
        """What is to be sent next: new nodes, or those whose watched values are others than were sent."""
        if self._encoder is None:
            return None
        trace = self._encoder.trace
        head, n = trace.head, len(trace.nodes)  # in this order: the nodes hold the head
        if (head, n) != (self._head, self._sent):
            return _Due(self._sent, min(n, self._sent + ROWS_PER_FRAME), head, again=False)
        changed = [_changed(column[:n], self._watched.get(name)) for name, column in watched_columns(trace).items()]
        nodes = np.concatenate(changed) if changed else _NONE
        if not len(nodes):
            return None
        start = int(nodes.min())
        return _Due(start, min(int(nodes.max()) + 1, start + ROWS_PER_FRAME), head, again=True)

    def _note(self, name: str, start: int, values: Floats) -> None:
        """Take note of what was sent."""
        sent, stop = self._watched.get(name, np.empty(0, np.float32)), start + len(values)
        if stop > len(sent):
            more = max(stop, 2 * len(sent)) - len(sent)
            sent = self._watched[name] = np.concatenate([sent, np.full(more, np.nan, np.float32)])
        sent[start:stop] = values


class _Due(NamedTuple):
    """The nodes of a frame, from and up to; `again`: they were sent before."""

    start: int
    stop: int
    head: int
    again: bool


class _Sent(NamedTuple):
    """A frame that was sent, and the first node in it."""

    seq: int
    start: int
    again: bool


_NONE = np.empty(0, np.int64)


def _changed(now: Floats, sent: Floats | None) -> NDArray[np.int64]:
    """Nodes whose value is known now and is not the one that was sent."""
    before = np.full(len(now), np.nan, np.float32)
    if sent is not None:
        before[: len(sent)] = sent[: len(now)]
    return np.flatnonzero(~np.isnan(now) & (now != before))
