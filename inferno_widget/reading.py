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


def open_regular(path: Path) -> IO[bytes]:
    """A file, open for reading.

    Raises
    ------
    OSError
        If there is none, or it may not be read; or if it is a pipe, a device or a socket, which might be waited for or
        read for ever.
    """
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115  the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "this is a pipe, a device or a socket, not a file", str(path))
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


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
