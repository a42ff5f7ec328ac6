"""llama.cpp's log: the only place where it says why a load failed, and what its cache takes."""

from __future__ import annotations

import re
import sys

from inferno_widget.errors import quoted

INFO, WARN, ERROR, CONTINUED = 2, 3, 4, 5
MARKS = {INFO: "[info] ", WARN: "[warn] ", ERROR: ""}
"""Of levels that are printed."""
_CACHE = re.compile(r"(?:KV|RS) buffer size = +([\d.]+) MiB")


class Log:
    """The last lines.

    Parameters
    ----------
    echo : whether they are printed too, which is all that is left of them if the process ends there

    Attributes
    ----------
    lines : (level, text) of the last 200
    cache_bytes : size of all KV caches so far, from what was said when each was made
    """

    def __init__(self, *, echo: bool = True) -> None:
        self._echo = echo
        self.lines: list[tuple[int, str]] = []
        self.cache_bytes = 0
        self._mark: str | None = None

    def note(self, level: int, text: bytes, _: object) -> None:
        """What llama.cpp calls; it must not raise."""
        line = text.decode(errors="replace")
        if self._echo:
            self._print(level, line)
        if "buffer size" in line and (said := _CACHE.search(line)):
            self.cache_bytes += int(float(said[1]) * 2**20)
        if level == CONTINUED and self.lines:
            level, begun = self.lines.pop()
            line = begun + line
        self.lines = [*self.lines[-199:], (level, line)]

    def _print(self, level: int, line: str) -> None:
        if level != CONTINUED:
            self._mark = MARKS.get(level)
        if self._mark is not None:
            shown = quoted(line.removesuffix("\n")) + "\n" * line.endswith("\n")  # it may hold any text of a file
            sys.stderr.write(shown if level == CONTINUED else self._mark + shown)

    def reason(self) -> str:
        """The last things it complained about."""
        worst = [line.strip() for level, line in self.lines if level >= WARN]
        return quoted("; ".join(worst[-3:])) or "no reason was given"
