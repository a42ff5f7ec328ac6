"""What a fork of this process must not touch: it has copies of all objects, and none of the threads behind them.

A kernel is forked by ``os.fork``, and by `multiprocessing` where that is its way. In the fork a model's process is
still the first kernel's: whoever uses it is told so in words, and neither its pipe nor its memory is written to. A
model that is loaded in the fork is the fork's own.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from .errors import InfernoError


class Forkable(Protocol):
    """Something that works with threads, locks or processes."""

    def forked(self) -> None:
        """Take note that this is the copy in a fork: what was locked or running is so no more."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def tell(thing: Forkable) -> None:
    """Have `thing` told when its copy finds itself in a fork."""
    _known.add(thing)


def left_behind() -> InfernoError:
    """The error of whoever uses in a fork what belongs to the process that was forked."""
    return InfernoError(
        "this process is a fork of the one that loaded the model, and cannot use it: load the model here too, with "
        'Model(...), or start processes with multiprocessing.get_context("spawn")'
    )


def _forget() -> None:
    for thing in list(_known):
        thing.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
