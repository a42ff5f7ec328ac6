"""What a notebook's cell made when it ran before.

A notebook keeps whatever a cell has shown, so that nothing of it ends by itself.

Nothing here loads IPython: where it is not loaded, no cell runs.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import Any, TypeVar

T = TypeVar("T")

_made: dict[tuple[str, str], dict[str, weakref.WeakSet[Any]]] = {}
"""Cell and name of a class -> what each run of it made."""


def made_earlier(thing: T) -> list[T]:
    """What earlier runs of the cell that runs now made of the same class; `thing` is noted as made by this one."""
    cell, execution = running_cell()
    if not cell:
        return []
    runs = _made.setdefault((cell, type(thing).__qualname__), {})  # a widget's class is its own
    runs.setdefault(execution, weakref.WeakSet()).add(thing)
    earlier = [each for run, things in runs.items() if run != execution for each in things]
    for run in [run for run, things in runs.items() if not things]:
        del runs[run]
    return earlier


def running_cell() -> tuple[str, str]:
    """Ids of the notebook cell that runs and of this run of it; empty outside a notebook, and in threads of its own."""
    if threading.current_thread() is not threading.main_thread():
        return "", ""  # the kernel would name whichever cell runs by now
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython.get_ipython(), "kernel", None) if ipython else None
    parent = (kernel.get_parent() if kernel else None) or {}
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")
