"""What a page has been sent of a trace, and what is due."""

from __future__ import annotations

import time
from collections import deque

from .trace import Trace
from .wire import PROTOCOL, ROWS_PER_FRAME, Encoder


class Feed:
    """Numbered frames of the trace on display, each with all that is new.

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
        self._at = 0.0
        self._history: deque[tuple[int, int]] = deque(maxlen=1000)

    def show(self, trace: Trace | None) -> bool:
        """Send `trace` from now on, or an empty page for None. False where it is on display already."""
        if trace is self.trace:
            return False
        self.trace = trace
        self.epoch += 1
        self._encoder = Encoder(Trace(PROTOCOL["limits"]["top_k"]) if trace is None else trace, self.epoch)
        self._sent, self._head = 0, -2  # even an empty trace is news
        self._history.clear()
        return True

    def rewind(self, node: int) -> None:
        """Send again from `node` on."""
        self._sent, self._head = min(self._sent, max(0, node)), -2

    def known_at(self, seq: int) -> int:
        """Nodes that a page which saw frame `seq` has."""
        return next((nodes for number, nodes in reversed(self._history) if number <= seq), 0)

    def quiet(self) -> bool:
        """Whether the last frame has long arrived, if it ever will."""
        return time.monotonic() - self._at > 1

    @property
    def complete(self) -> bool:
        """Whether everything has been sent."""
        encoder = self._encoder
        return encoder is None or (encoder.trace.head, len(encoder.trace)) == (self._head, self._sent)

    def frame(self) -> bytes | None:
        """The next frame; None when everything has been sent."""
        if self._encoder is None or self.complete:
            return None
        head, n = self._encoder.trace.head, len(self._encoder.trace)  # in this order: the nodes hold the head
        start, stop = self._sent, min(n, self._sent + ROWS_PER_FRAME)
        self.seq, self._sent, self._head, self._at = self.seq + 1, stop, head, time.monotonic()
        self._history.append((self.seq, stop))
        return self._encoder.frame(start, stop, seq=self.seq, head=head)
