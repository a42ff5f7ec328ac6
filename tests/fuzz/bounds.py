"""What a process that is given such files may take of the machine that others work on too."""

from __future__ import annotations

import contextlib

BYTES = 8 << 30
"""Of address space: a file that wants all memory of the machine does not get it."""


def bound_this_process() -> None:
    """Also its children, where the system has such bounds."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
