"""A stop that reaches whatever works, in this process and in others."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Generator
from contextvars import ContextVar


class Stop:
    """A cancel flag of the kernel that reaches into the child while it works.

    One that is made where another is `stopping` is set with that one, unless it is for something that goes on when
    whoever began it is done: then it is its `own`.
    """

    def __init__(self, *, own: bool = False) -> None:
        self._event = threading.Event()
        self._lock = threading.RLock()
        self._endings: list[Callable[[], object]] = []
        self._inner: weakref.WeakSet[Stop] = weakref.WeakSet()
        outer = _in_force.get()
        if outer is not None and not own:
            outer._reach(self)  # noqa: SLF001  it is one of them

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        with self._lock:
            if self.is_set():
                return
            self._event.set()
            for ending in [*self._endings, *(inner.set for inner in self._inner)]:
                ending()

    def _reach(self, inner: Stop) -> None:
        with self._lock:
            self._inner.add(inner)
            if self.is_set():
                inner.set()

    def at_set(self, ending: Callable[[], object]) -> None:
        """Have `ending` called when this is set, by whoever sets it; now if it is already."""
        with self._lock:
            self._endings.append(ending)
            if self.is_set():
                ending()

    @contextlib.contextmanager
    def reaching(self, ending: Callable[[], object]) -> Generator[None]:
        """Call `ending` if this is set, now or while the block runs."""
        self.at_set(ending)
        try:
            yield
        finally:
            with self._lock:
                self._endings.remove(ending)

    @contextlib.contextmanager
    def stopping(self) -> Generator[None]:
        """Let this end all that is asked of engines in this thread while the block runs."""
        before = _in_force.set(self)
        try:
            yield
        finally:
            _in_force.reset(before)


_in_force: ContextVar[Stop | None] = ContextVar("the stop of this thread", default=None)


@contextlib.contextmanager
def interruptible(cancel: Stop) -> Generator[None]:
    """Make Ctrl-C end the work in the child too, before it goes on as KeyboardInterrupt."""
    try:
        yield
    except KeyboardInterrupt:
        cancel.set()
        raise
