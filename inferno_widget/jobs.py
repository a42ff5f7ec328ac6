"""Work that tells of its result as it grows, and that can be ended early with what there is by then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from .engine.stop import Stop
from .errors import Cancelled

T = TypeVar("T")


class Job(Future[T]):
    """The future of something whose parts come one by one; `tasks.Crew` runs it.

    Parameters
    ----------
    work : called with the job; it tells parts, and soon after `tell` was False (or `wanted` is) it returns the result
        as far as it goes. What it asks of an engine then ends too
    """

    def __init__(self, work: Callable[[Job[T]], T]) -> None:
        super().__init__()
        self._work = work
        self._stop = Stop()
        self._lock = threading.RLock()  # a part may be told by what another one brought about
        self._untold: list[Any] = []
        self._listener: Callable[[Any], object] | None = None

    @property
    def wanted(self) -> bool:
        """Whether more than there is now is asked for."""
        return not self._stop.is_set()

    def tell(self, part: Any) -> bool:
        """Tell the listener a part of the result. False: that was enough."""
        with self._lock:
            if self._listener:
                self._listener(part)
            else:
                self._untold.append(part)
        return self.wanted

    def listen(self, listener: Callable[[Any], object]) -> None:
        """Have `listener` called with every part, those that came already included, from the thread that works."""
        with self._lock:
            for part in self._untold:
                listener(part)
            self._untold.clear()
            self._listener = listener

    def enough(self) -> None:
        """Have it end soon, with what there is. If it has not begun there is nothing, and it ends with `Cancelled`."""
        self._stop.set()

    def at_enough(self, ending: Callable[[], object]) -> None:
        """Have `ending` called as soon as it is enough, from the thread that says so; now if it is already."""
        self._stop.at_set(ending)

    def end(self, seconds: float) -> bool:
        """`enough`, and wait for the end. False if it is still under way after so many seconds."""
        self.enough()
        if self.running():  # what is not will not begin any more
            wait([self], seconds)
        return not self.running()

    def __call__(self) -> T:
        """Do the work."""
        if not self.wanted:
            raise Cancelled("it was ended before it had begun")
        with self._stop.stopping():
            return self._work(self)
