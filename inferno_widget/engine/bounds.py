"""How much memory native code may take for one thing that it is asked, where the system can bound it.

A file can make it want any: a tokeniser that never ends, a cache for a number of heads that nobody counted. Where it
gets an error in time, the process says so, or ends alone; else the machine stands still until the system ends one.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import llama_cpp.llama_cpp as C

OF_TEXT = frozenset({"tokenize", "pieces"})
"""Calls that need a few bytes for each of a text."""
ROOM_OF_TEXT = 1 << 30

_PAGES = Path("/proc/self/statm")
_MEMORY = Path("/proc/meminfo")


def bound(name: str) -> None:
    """Let this process take what is free, and for a call of that name no more than it can need.

    Nothing is bounded where memory is mapped that is no main memory, as GPUs' drivers do.
    """
    if sys.platform != "linux" or C.llama_supports_gpu_offload():
        return
    import resource

    with suppress(OSError, ValueError, KeyError):
        room = min(ROOM_OF_TEXT, _free()) if name in OF_TEXT else _free()
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = _taken() + room
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _taken() -> int:
    """Bytes of address space of this process that the bound is held against."""
    return int(_PAGES.read_bytes().split()[5]) * os.sysconf("SC_PAGE_SIZE")


def _free() -> int:
    """Bytes of main memory and swap that can be had."""
    said = dict(line.split(b":") for line in _MEMORY.read_bytes().splitlines())
    return sum(int(said[key].split()[0]) << 10 for key in (b"MemAvailable", b"SwapFree"))
