"""When something that makes no progress has had enough time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Patience:
    """Counts the seconds in which nothing that was asked made progress.

    Time in which nobody could look does not count: then this machine slept, or this process was stopped, and so was
    perhaps the other.

    Parameters
    ----------
    limit : seconds

    Attributes
    ----------
    tick : seconds from one look to the next
    waited : seconds without progress so far
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.tick = min(1.0, limit / 8)
        self.waited = 0.0
        self._looks: Mapping[int, Sequence[int]] = {}
        self._at: float | None = None

    def over(self, looks: Mapping[int, Sequence[int]], now: float) -> bool:
        """Whether the time is over.

        Parameters
        ----------
        looks : for each thing that was asked for and has not come, something that changes with its progress
        now : seconds, by any clock
        """
        before, at = self._looks, now if self._at is None else self._at
        self._looks, self._at = looks, now
        if not looks or not before or any(looks.get(number) != said for number, said in before.items()):
            self.waited = 0.0
        else:
            self.waited += min(now - at, 2 * self.tick)
        return self.waited > self.limit
