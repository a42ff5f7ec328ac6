"""What a process that is given such files may take of the machine that others work on too."""

from __future__ import annotations

import contextlib
import sys

BYTES = 8 << 30
"""Of address space: a file that wants all memory of the machine does not get it."""


def bound_this_process() -> None:
    """Also its children, where the system has such bounds."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def peak() -> int:
    """Most memory that this process has had, in MB, where the system counts it in kB; else 0."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
