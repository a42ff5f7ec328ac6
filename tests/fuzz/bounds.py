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


def peaks() -> dict[str, int]:
    """Most memory that this process and its children have had, in MB, where the system counts it in kB."""
    if sys.platform != "linux":
        return {}
    import resource

    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"kernel_mb": own // 1024, "child_mb": children // 1024}
