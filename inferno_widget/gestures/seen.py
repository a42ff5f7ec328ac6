"""What has been seen inside the model, kept so that another look at it is there at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

KEPT_BYTES = 64 << 20
ENTRY_BYTES = 1024
"""What an entry counts beside its arrays."""


class Seen:
    """What has been seen inside, the latest used of it within so many bytes; for several threads."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._found: OrderedDict[Hashable, Any] = OrderedDict()
        self.nbytes = 0

    def get(self, key: Hashable) -> Any:
        """What is kept under a key; None where nothing is."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def keep(self, key: Hashable, found: Any) -> None:
        """Keep it, and let go of what was not asked for the longest time."""
        with self._lock:
            self.nbytes += size_of(found) - (size_of(self._found.pop(key)) if key in self._found else 0)
            self._found[key] = found
            while self.nbytes > self._limit and self._found:
                self.nbytes -= size_of(self._found.popitem(last=False)[1])


def size_of(found: object) -> int:
    """Bytes of what was seen."""
    return ENTRY_BYTES + arrays_of(found)


def arrays_of(found: object) -> int:
    """Bytes of the arrays in it."""
    if isinstance(found, tuple | list):
        return sum(map(arrays_of, found))
    return len(found) if isinstance(found, bytes) else int(getattr(found, "nbytes", 0))
