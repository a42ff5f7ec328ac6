"""Files from elsewhere: opened without waiting for what is no file, and parsed without taking more than they may."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

MAX_VALUES = 1 << 23
"""Most values in a text that is JSON: a byte of it may become 70 bytes of Python."""
DEPTH = 100
"""How deep they may be nested: what is deeper cannot be written, compared or shown without a RecursionError."""


class NotAFileError(OSError):
    """What lies there is no file: it might be waited for or read for ever. `strerror` says what it is."""

    strerror: str


def open_regular(path: Path) -> IO[bytes]:
    """A file, open for reading.

    Raises
    ------
    NotAFileError
        If it is a folder, a pipe, a device or a socket.
    OSError
        If there is none, or it may not be read.
    """
    try:
        return open(path, "rb", opener=_regular)
    except NotAFileError:
        raise
    except OSError:
        if os.path.exists(path):  # noqa: PTH110  it raises nothing
            _check_regular(path.stat().st_mode, path)  # Windows opens no folder, Unix no socket; neither says why
        raise


def _regular(path: str, flags: int) -> int:
    """Looked at when it is open: before, another could be put in its place."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(mode: int, path: object) -> None:
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
        raise NotAFileError(errno.EINVAL, f"this is {what}, not a file", str(path))


def parsed_json(data: bytes) -> dict[str, Any]:
    """The object that a text is. Anything else is a ValueError in words, and takes little memory to find out."""
    if (count := sum(map(data.count, (b",", b"[", b"{")))) > MAX_VALUES:
        raise ValueError(f"it holds about {count:,} values, where {MAX_VALUES:,} are allowed")
    try:
        found = json.loads(data)
        shallow = _within(found, DEPTH)
    except RecursionError:
        shallow = False
    if not shallow:
        raise ValueError(f"it is nested deeper than {DEPTH} levels")
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004  as damaged as what is no JSON at all
    return found


def _within(value: object, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_within(part, levels - 1) for part in parts if isinstance(part, dict | list))
