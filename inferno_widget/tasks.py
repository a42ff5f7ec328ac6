"""Work beside a run that goes on: a few threads for what takes long, and tasks that tell how far they are."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from .engine.stop import Stop
from .errors import Cancelled, told
from .jobs import Job

T = TypeVar("T")
F = TypeVar("F", bound=Future[Any])


class Crew:
    """A few threads that do what they are handed, in the order in which it came.

    They start with the first work, end with `close`, and hold up no process that wants to end, which those
    of `concurrent.futures` would.
    """

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have `function` called by a thread; the future holds what it returns or raises."""
        return self._take(Future[T](), function)

    def run(self, job: Job[T]) -> Job[T]:
        """Have a job done by a thread."""
        return self._take(job, job)

    def _take(self, future: F, function: Callable[[], object]) -> F:
        if self._closed:
            future.cancel()
            return future
        self._work.put((future, function))
        if len(self._threads) < self._size:
            thread = threading.Thread(target=self._run, name="inferno-widget-crew", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """Begin nothing more; what is under way comes to its end."""
        self._closed = True
        for _ in self._threads:
            self._work.put(None)

    def _run(self) -> None:
        while work := self._work.get():
            future, function = work
            if self._closed:
                future.cancel()
            if future.set_running_or_notify_cancel():
                _settle(future, function)


def _settle(future: Future[T], function: Callable[[], T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
        future.set_exception(error)


class Task:
    """One model on its way, in a thread of its own.

    Parameters
    ----------
    number : its id
    kind : what it does
    name : of the model
    work : called in the thread, with the task; `Cancelled` ends it quietly
    changed : called after every change, from that thread

    Attributes
    ----------
    stage : what it does now, in words
    progress : finished fraction, or None where nobody knows
    error : why it failed, or None
    over : whether the thread has done its work
    """

    def __init__(
        self,
        number: int,
        kind: Literal["load", "download"],
        name: str,
        work: Callable[[Task], object],
        changed: Callable[[], object],
    ) -> None:
        self.number, self.kind, self.name = number, kind, name
        self.stage, self.progress, self.error = "waiting", None, None
        self.over = False
        self._work, self._changed = work, changed
        self._cancelled = Stop()
        self._thread = threading.Thread(target=self._run, name=f"inferno-widget-{kind}", daemon=True)

    stage: str
    progress: float | None
    error: BaseException | None

    def start(self) -> Task:
        self._thread.start()
        return self

    def at(self, stage: str) -> None:
        """Say what comes now; nobody knows yet how far it is."""
        self.stage, self.progress = stage, None
        self.check()
        self._changed()

    def report(self, fraction: float | None) -> bool:
        """Take note of progress. False: whoever reports shall give up."""
        self.progress = fraction
        self._changed()
        return not self._cancelled.is_set()

    def check(self) -> None:
        """Raise Cancelled if the task was."""
        if self._cancelled.is_set():
            raise Cancelled(f"{self.kind}ing was cancelled")

    def cancel(self) -> None:
        self._cancelled.set()

    def join(self, seconds: float) -> None:
        """Wait for the end, at most so long."""
        self._thread.join(seconds)

    def outline(self) -> tuple[object, ...]:
        """What is told as soon as it changes: progress by the twentieth."""
        return self.number, self.stage, round((self.progress or 0) * 20), self.error is None

    def to_dict(self) -> dict[str, Any]:
        """As the page gets it."""
        return {
            "id": self.number,
            "kind": self.kind,
            "name": self.name,
            "stage": self.stage,
            "progress": None if self.progress is None else round(self.progress, 2),
            "error": told(self.error) if self.error else None,
        }

    def _run(self) -> None:
        try:
            with self._cancelled.stopping():
                self._work(self)
        except Exception as error:  # noqa: BLE001  shown where the person looks
            self.error = error
        self.over = True
        self._changed()
