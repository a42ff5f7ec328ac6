"""Searching by a regular expression in a process of its own.

Some take for ever, ``(a+)+b`` in a row of a's among them, and Python lets no other thread run meanwhile: that would be
the end of the kernel.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import IO, NoReturn

from inferno_widget.errors import brief

from .process import Process

SECONDS = 2.0
"""That a search may take."""
_SCRIPT = """
import json, re, sys
pattern = re.compile(*json.loads(sys.stdin.readline()))
for line in sys.stdin:
    found = pattern.search(json.loads(line))
    print(json.dumps(found and found[1 if pattern.groups else 0]), flush=True)
"""


class Searcher:
    """Finds the first match of a pattern in a text: its first group, where it has one; None without a match.

    The process starts with the first text, and ends with this object.
    """

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._end: Callable[[], object] = lambda: None
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def __call__(self, text: str) -> str | None:
        """Raises ValueError where that takes too long."""
        with self._lock:
            try:
                if self._process is None:
                    self._process = self._started()
                    self._say([self._pattern.pattern, self._pattern.flags])
                self._say(text)
                answer = self._answers.get(timeout=SECONDS)
            except (queue.Empty, OSError):
                answer = b""
            except BaseException:  # Ctrl-C: what comes of this text would be taken for the next one's
                self._forget()
                raise
            found: str | None = json.loads(answer or self._give_up(len(text)))
            return found

    def _started(self) -> Process:
        process = Process([sys.executable, "-I", "-S", "-c", _SCRIPT], stderr=subprocess.DEVNULL)
        self._answers = queue.SimpleQueue()
        self._end = weakref.finalize(self, process.end)
        threading.Thread(target=_read, args=(process.stdout, self._answers), name="inferno-search", daemon=True).start()
        return process

    def _say(self, value: object) -> None:
        assert self._process
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        self._process.stdin.flush()

    def _give_up(self, length: int) -> NoReturn:
        self._forget()
        raise ValueError(
            f"by took longer than {SECONDS:g} s in a text of {length:,} characters, and was stopped: "
            f"{brief(self._pattern.pattern)}. A repetition within a repetition, such as (a+)+, tries all ways to "
            "divide the text: make it simpler"
        )

    def _forget(self) -> None:
        self._end()
        self._process = None


def _read(stream: IO[bytes], answers: queue.SimpleQueue[bytes]) -> None:
    with suppress(OSError, ValueError):
        for line in stream:
            answers.put(line)
    answers.put(b"")
