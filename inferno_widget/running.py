"""A text under way: a worker thread that can be begun, paused, stopped and waited for."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import wraps
from threading import Thread, current_thread
from typing import Any, Self, TypeVar, cast

from .arguments import count, number, stop_strings
from .engine import Finish
from .engine.stop import Stop
from .errors import Cancelled, InfernoError, hint_unknown_keywords, quoted
from .forks import left_behind
from .growing import Growing, Run
from .record import Kind, StepRecord
from .trace import Trace

HEAR_SECONDS = 0.1
"""How long a wait lasts at most before Ctrl-C is heard, where a lock cannot be interrupted (Windows)."""


class Running(Growing):
    """What every session can do with its path: run, pause, stop, wait; see `Session` for parameters and attributes."""

    _run: Run | None = None
    _paused: Run | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def score(self) -> Trace:
        """Score the prompt, if that is still to do, and generate nothing."""
        if self._unscored:
            with self._interruptible():
                with self._changing, self._changed:
                    self._check_idle()
                    run = self._begin(Run(0, (), len(self.prompt_ids)))
                self._end_of(run)
        if self._unscored:
            raise Cancelled("stopped before all of the prompt was read")
        return self.trace

    def step(self) -> StepRecord:
        """Generate one token (and score the prompt first, if that is still to do)."""
        with self._interruptible():
            run = self._launch(1)
            self._end_of(run)
        if run.left:
            raise self._full() if self.finish == "context" else Cancelled("stopped before a token came")
        return self.trace.record(self.trace.head)

    @hint_unknown_keywords
    def generate(self, max_tokens: int = 64, *, stop: str | Sequence[str] | None = ()) -> str:
        """Generate up to `max_tokens` tokens and return their text.

        Ctrl-C ends it cleanly and keeps what was made. `finish` says why it ended: one of the strings `stop` does that
        too, across tokens as well, and stands at the end of the text, for it was said.
        """
        with self._interruptible():
            run = self._launch(max_tokens, stop)
            self._end_of(run)
        return "".join(self.trace.texts(self.trace.path())[run.first :])

    @hint_unknown_keywords
    def stream(
        self, max_tokens: int = 64, *, stop: str | Sequence[str] | None = ()
    ) -> Generator[StepRecord, None, None]:
        """Generate up to `max_tokens` tokens and yield each record as it comes.

        Leaving the loop early stops the run.
        """
        return self._streamed(count("max_tokens", max_tokens), stop_strings(stop))

    def _streamed(self, max_tokens: int, stop: tuple[str, ...]) -> Generator[StepRecord, None, None]:
        seen = len(self.trace.nodes)
        with self._interruptible():
            run = self._launch(max_tokens, stop)
            try:
                with Stop().reaching(run.cancel.set):
                    while self._news(run, seen):
                        record = self.trace.record(seen)
                        seen += 1
                        if record.kind is Kind.GENERATED:
                            yield record
            finally:
                self._ended(run)
        self._raise()

    @hint_unknown_keywords
    def start(self, max_tokens: int = 64, *, stop: str | Sequence[str] | None = ()) -> None:
        """Generate up to `max_tokens` tokens in the background and return at once."""
        self._launch(max_tokens, stop)

    def pause(self) -> None:
        """Hold after the current token; `resume` goes on as if nothing had happened."""
        with self._changed:
            if self._run and not self._run.cancel.is_set():
                self._run.pausing = True
                self._run.cancel.set()

    @property
    def resumable(self) -> bool:
        """Whether `pause` left something to do, or is about to."""
        run = self._run
        return run.pausing if run else self.state == "paused"

    def resume(self) -> None:
        """Go on with what `pause` left to do."""
        with self._changing, self._changed:
            self._check_idle()
            if self.state != "paused" or not self._paused:
                raise InfernoError(f"the session is {self.state}, not paused")
            self._begin(replace(self._paused, cancel=Stop(own=True), pausing=False))

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold a run for as long as the block lasts, which may end it; then it goes on, or stays paused if it was."""
        with self._changed:
            run = self._run
            goes_on = run is not None and not run.cancel.is_set()
        self.pause()
        self._join(run)
        paused = self._paused if self.state == "paused" else None
        try:
            yield
        finally:
            with self._changed:
                if paused and self.state == "ready":
                    self._paused = paused
                    self._set("paused", None)
            if paused and goes_on and self.state == "paused":
                self.resume()

    def stop(self) -> None:
        """End the run after the current token and keep what was made."""
        with self._changed:
            if self._run:
                self._run.pausing = False
                self._run.cancel.set()
            elif self.state == "paused":
                self._set("ready", "cancelled")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs and raise what went wrong; False when `timeout` seconds pass first."""
        return self._end_of(self._run, None if timeout is None else number("timeout", timeout, 0, math.inf))

    def __await__(self) -> Generator[Any, None, bool]:
        """``await session`` is `wait` that leaves the event loop free; being cancelled stops the run."""
        return self._waited().__await__()

    async def _waited(self) -> bool:
        run, ended = self._run, False
        try:
            while not ended:  # Ctrl-C does not wake a kernel's loop: it is heard when something else does
                ended = await asyncio.to_thread(self._end_of, run, HEAR_SECONDS)
        except asyncio.CancelledError:
            self.stop()
            raise
        return True

    def close(self) -> None:
        """Stop, and let go of the KV cache. The trace stays."""
        self.stop()
        self._join(self._run)
        if self.state != "closed":
            self._set("closed", self.finish)
            self._branches.release()

    def forked(self) -> None:
        """See `forks.Forkable`."""
        super().forked()
        if self._run:
            self.error, self.state = left_behind(), "error"
        self._run = self._paused = None

    # --- the worker thread ----------------------------------------------------------------------------

    def _launch(self, max_tokens: int, stop: str | Sequence[str] | None = ()) -> Run:
        left = count("max_tokens", max_tokens)
        strings = stop_strings(stop)
        with self._changing, self._changed:
            self._check_idle()
            first = len(self.prompt_ids) if self._unscored else self.trace.length
            return self._begin(Run(left, strings, first))

    def _begin(self, run: Run) -> Run:
        self.engine.check_free()
        run.beginner = current_thread()
        run.worker = Thread(target=self._work, args=(run,), name="inferno-session", daemon=True)
        with self._changed:
            try:
                self._run, self._paused = run, None
                self._set("prefill" if self._unscored else "generating", None)
                run.worker.start()
            except BaseException as error:
                self._run = None  # its thread may have begun before somebody's signal handler raised this
                no_thread = isinstance(error, RuntimeError) and "new thread" in str(error)
                self._set("ready", None if no_thread else "cancelled")
                if no_thread:
                    raise InfernoError(f"no run can begin: {error}; close what is not needed") from error
                raise
        return run

    def _work(self, run: Run) -> None:
        with self._changed:
            if self._run is not run:
                return
        finish: Finish | None = None
        error: BaseException | None = None
        try:
            finish = self._advance(run)
        except Cancelled:
            finish = "cancelled"
        except BaseException as problem:  # noqa: BLE001  raised again where the session is waited for
            error = problem
            self._branches.release()  # the engine may have gone further than the trace
        with self._changed:
            self._run = None
            if error:
                self._set("error", None, error)
            elif run.pausing and finish == "cancelled":
                self._paused = run
                self._set("paused", None)
            else:
                self._set("ready", finish)

    # --- waiting --------------------------------------------------------------------------------------------

    def _until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait for a change after which `done`; False when `timeout` seconds pass first."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not done():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, HEAR_SECONDS))
        return True

    def _news(self, run: Run, seen: int) -> bool:
        """Wait for more nodes than `seen`; False when the run ended without."""
        self._until(lambda: len(self.trace.nodes) > seen or self._run is not run)
        return len(self.trace.nodes) > seen

    def _join(self, run: Run | None, timeout: float | None = None) -> bool:
        """Wait until `run` is no more under way; False when `timeout` seconds pass first."""
        if run is not None and run.worker is current_thread() and self._run is run:
            raise InfernoError(
                "what a run calls, such as a logits processor or a listener, cannot wait for the run to end: do this "
                "when it has ended"
            )
        return self._until(lambda: run is None or self._run is not run, timeout)

    def _end_of(self, run: Run | None, timeout: float | None = None) -> bool:
        """Wait for the end of `run` and raise what went wrong. False when `timeout` passes first.

        Ctrl-C ends it, and so does whatever else a signal's handler raises.
        """
        with self._interruptible(run), Stop().reaching(run.cancel.set) if run else nullcontext():
            if not self._join(run, timeout):
                return False
        self._raise()
        return True

    @contextmanager
    def _interruptible(self, waited: Run | None = None) -> Generator[None]:
        """Let Ctrl-C end what runs, and any error the run that is `waited` for or was begun in the block.

        A signal's handler may raise any, at any line.
        """
        before = self._run
        try:
            yield
        except BaseException as error:
            run = self._run
            begun = run is not None and run is not before and run.beginner is current_thread()
            if run and (begun or run is waited or isinstance(error, KeyboardInterrupt)):
                self._ended(run)
            raise

    def _ended(self, run: Run) -> None:
        """End it, unless something else runs by now, and wait for that."""
        if sys.is_finalizing():  # its thread stands still, whatever that holds
            return
        if self._run is run:
            self.stop()
        self._join(run)

    def _settle(self) -> None:
        """End whatever runs, so that the path can be changed."""
        self.stop()
        self._check_idle()

    def _check_idle(self) -> None:
        """Wait for a run that was told to end; raise if one goes on, or if the session is closed."""
        if self._run and not self._run.cancel.is_set():
            raise InfernoError("the session is already running; stop() or wait() first")
        self._join(self._run)
        self.check_open()

    def check_open(self) -> None:
        """Raise InfernoError if the session is closed, perhaps by another thread."""
        if self.state == "closed":
            raise InfernoError("the session is closed; its trace can still be read")

    def _raise(self) -> None:
        if self.error:
            raise self.error
        deaf, self._deaf = self._deaf, None
        if deaf:
            raise InfernoError(
                f"a listener of the session failed, and is not called any more: {quoted(repr(deaf))}"
            ) from deaf


_M = TypeVar("_M", bound=Callable[..., Any])


def changing(method: _M) -> _M:
    """A method that changes the path: one thread after the other, and no run begins meanwhile."""

    @wraps(method)
    def alone(self: Running, *args: Any, **kwargs: Any) -> Any:
        with self._changing:
            return method(self, *args, **kwargs)

    return cast("_M", alone)
