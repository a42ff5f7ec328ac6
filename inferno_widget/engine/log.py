"""llama.cpp's log: the only place where it says why a load failed, and what its cache takes."""

from __future__ import annotations

import re
import sys

from inferno_widget.errors import quoted

WARN, ERROR, CONTINUED = 3, 4, 5
_CACHE = re.compile(r"(?:KV|RS) buffer size = +([\d.]+) MiB")


class Log:
    """The last lines.

    Parameters
    ----------
    echo : whether errors are printed too, which is all that is left of them if the process ends there

    Attributes
    ----------
    lines : (level, text) of the last 200
    cache_bytes : size of the KV cache, from what was said when it was made
    """

    def __init__(self, *, echo: bool = True) -> None:
        self._echo = echo
        self.lines: list[tuple[int, str]] = []
        self.cache_bytes = 0

    def note(self, level: int, text: bytes, _: object) -> None:
        """What llama.cpp calls; it must not raise."""
        line = text.decode(errors="replace")
        if level == ERROR and self._echo:
            sys.stderr.write(line)
        if "buffer size" in line and (said := _CACHE.search(line)):
            self.cache_bytes += int(float(said[1]) * 2**20)
        if level == CONTINUED and self.lines:
            level, begun = self.lines.pop()
            line = begun + line
        self.lines = [*self.lines[-199:], (level, line)]

    def reason(self) -> str:
        """The last things it complained about."""
        worst = [line.strip() for level, line in self.lines if level >= WARN]
        return quoted("; ".join(worst[-3:])) or "no reason was given"
