"""The end of a generated text, where a stop string may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Tail:
    """The end of a generated text, as far as a stop string can reach back.

    Parameters
    ----------
    stop : strings to look for
    begun : what was generated before
    """

    def __init__(self, stop: Sequence[str], begun: bytes) -> None:
        self._stop = [text.encode() for text in stop if text]
        self._reach = max(map(len, self._stop), default=1) - 1
        self._bytes = self._end(begun)

    def stops(self, piece: Callable[[int], bytes], token: int) -> bool:
        """Whether the text holds a stop string once `token` has come, also one across tokens."""
        if not self._stop:
            return False
        text = self._bytes + piece(token)
        self._bytes = self._end(text)
        return any(stop in text for stop in self._stop)

    def _end(self, text: bytes) -> bytes:
        return text[max(0, len(text) - self._reach) :]
