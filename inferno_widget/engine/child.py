"""One child process: what is asked of it, what it answers, and how its end is noticed."""

from __future__ import annotations

import atexit
import collections
import contextlib
import ctypes
import functools
import itertools
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from inferno_widget.errors import EngineDiedError, InfernoError
from inferno_widget.forks import left_behind, tell
from inferno_widget.source import Source

from .channel import CALLS, Channel, Flag, SharedMemory
from .death import Witness, last_words, reason_of
from .parcel import Receiver
from .patience import Patience
from .process import Process
from .stop import Stop

COMMAND = (sys.executable, "-P", "-m", "inferno_widget.engine.worker")
LOG_LINES, LOG_LINE = 200, 1 << 14
"""Of a child's log: lines that are kept, and bytes of one."""
LOG_ENDS = b"\0 the process has ended \0\n"
HANG_SECONDS = 120.0
"""A child that makes no progress for so long is ended."""
GRACE_SECONDS, CLOSE_SECONDS, LAST_WORDS_SECONDS = 1.0, 2.0, 0.2
PASSING = {"holdings"}
"""Calls that are no work: what the child is doing is something else."""

Handlers = dict[str, Callable[[Any], None]]
"""What is done with each kind of message that comes before the answer."""


class Caller(Protocol):
    """What answers an engine's calls."""

    memory: SharedMemory

    def call(
        self,
        name: str,
        *arguments: object,
        cancel: Stop,
        handlers: Handlers | None = None,
    ) -> Any: ...

    def stream(self, name: str, *arguments: object, cancel: Stop, handlers: Handlers) -> Generator[Any, None, Any]: ...

    def send(self, request: int, slot: int, name: str, arguments: tuple[object, ...]) -> None: ...


@dataclass
class _Asked:
    """A call that the child has not answered yet.

    Attributes
    ----------
    stage : what it is about, for an error
    slot, flag : its flag, and the number of that
    answers : where the answers go
    left : whether nobody waits for them any more
    """

    stage: str
    slot: int
    flag: Flag
    answers: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)
    left: bool = False


class Child:
    """One child process, its pipe and its shared memory.

    Parameters
    ----------
    n_vocab : size of the model's vocabulary
    limit : seconds without progress after which it is ended; None for never
    """

    def __init__(self, n_vocab: int, limit: float | None = None, source: Source | None = None) -> None:
        self._source, self._decoded = source, False
        self.stage = "start"
        self.exited = threading.Event()
        self._limit = limit
        self._slots = list(range(CALLS))
        self._asked: dict[int, _Asked] = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._tail: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self._verdict, self._closing = "", False
        with contextlib.ExitStack() as made:
            try:
                self._begin(n_vocab, made)
            except (OSError, RuntimeError, InfernoError) as error:  # no memory, no descriptor, no process, no thread
                raise EngineDiedError("start", None, f"the system does not let it begin: {error}") from error
            made.pop_all()
        tell(self)

    def _begin(self, n_vocab: int, made: contextlib.ExitStack) -> None:
        """Have what it needs, itself, and the threads that watch it; `made` takes all of them back."""
        self.memory = SharedMemory(n_vocab)
        made.callback(self.memory.release)
        self.parcels = Receiver()
        made.callback(self.parcels.release)
        self.process, log = self._started(n_vocab)
        for undo in (log.close, functools.partial(os.close, self._log), self.process.end, self.exited.set):
            made.callback(undo)
        self._witness = Witness(self.process.pid)
        self._channel = Channel(self.process.stdout, self.process.stdin)
        self._log_reader = threading.Thread(target=self._read_log, args=(log,), name="inferno-log", daemon=True)
        watching = threading.Thread(target=self._watch, name="inferno-watch", daemon=True)
        reading = threading.Thread(target=self._read, args=(self.process.stdout,), name="inferno-engine", daemon=True)
        for thread in (self._log_reader, watching, reading):  # which takes over, is the last
            thread.start()

    def _started(self, n_vocab: int) -> tuple[Process, IO[bytes]]:
        """The process, and what it writes.

        This end of the log is kept as well: what is written here behind the last words says that they were the last,
        even if somebody that the process began still has the pipe.
        """
        log, self._log = os.pipe()
        try:
            process = Process(
                [*COMMAND, str(n_vocab), self.memory.handle, self.parcels.handle],
                stderr=self._log,
                pass_fds=self.memory.descriptors + self.parcels.descriptors,
            )
        except BaseException:
            os.close(log)
            os.close(self._log)
            raise
        return process, os.fdopen(log, "rb")

    def call(
        self,
        name: str,
        *arguments: object,
        cancel: Stop,
        handlers: Handlers | None = None,
    ) -> Any:
        """Ask, serve what comes meanwhile with `handlers`, and return the answer."""
        steps = self.stream(name, *arguments, cancel=cancel, handlers=handlers or {})
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    def stream(self, name: str, *arguments: object, cancel: Stop, handlers: Handlers) -> Generator[Any, None, Any]:
        """Like `call`, and yields every batch of records."""
        request, asked = self._enter(str(arguments[1]) if name == "second" else name)
        try:
            with cancel.reaching(asked.flag.set):
                self.send(request, asked.slot, name, arguments)
                while True:
                    kind, value = asked.answers.get()
                    if kind == "done":
                        return value
                    if kind == "error":
                        raise value
                    if kind == "records":
                        self._decoded = True
                        yield value
                    elif kind in handlers:
                        handlers[kind](value)
        finally:
            self._leave(request, asked)

    @property
    def busy(self) -> bool:
        """Whether anything is asked of it."""
        return bool(self._asked)

    def forked(self) -> None:
        """See `forks.Forkable`. The pipe is let go of: the child is to notice when the first process ends."""
        self._lock, self.exited = threading.Lock(), threading.Event()
        self.exited.set()
        self.process.returncode = 0  # whose child it is not
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream and not stream.closed:
                os.dup2(nothing, stream.fileno(), inheritable=False)
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))  # closing it waits for a thread that is not here
        os.close(nothing)
        for asked in self._asked.values():
            asked.flag.forget()
            asked.answers.put(("error", left_behind()))
        self._asked.clear()

    def send(self, request: int, slot: int, name: str, arguments: tuple[object, ...]) -> None:
        try:
            self._channel.send((request, slot, name, arguments))
        except (OSError, ValueError):
            self.exited.wait()
            asked = self._asked.get(request)
            raise self.death(asked.stage if asked else None) from None

    def _enter(self, stage: str) -> tuple[int, _Asked]:
        """A new call."""
        with self._lock:
            if self.exited.is_set():
                raise self.death()
            if not self._slots:
                raise InfernoError(f"{CALLS:,} calls to the model are under way already: wait for some of them")
            request, slot = next(self._ids), self._slots.pop()
            asked = self._asked[request] = _Asked(stage, slot, self.memory.flag(slot))
            asked.flag.clear()
            if stage not in PASSING:
                self.stage = stage
        return request, asked

    def _leave(self, request: int, asked: _Asked) -> None:
        """Nobody waits any more: what goes on is to end. A flag is free when neither side knows it any more."""
        with self._lock:
            if request in self._asked:
                asked.left = True
                asked.flag.set()
            else:
                self._slots.append(asked.slot)

    def _answered(self, request: int, kind: str, value: object) -> None:
        asked = self._asked.get(request)
        if asked is None:
            return
        if kind in ("done", "error"):
            with self._lock:
                del self._asked[request]
                if asked.left:
                    self._slots.append(asked.slot)
        asked.answers.put((kind, value))

    # --- its end ------------------------------------------------------------------------------------------

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            try:
                while True:
                    self._answered(*self._channel.receive())
            except (EOFError, OSError):
                self._wait_for_end("it closed its pipe, and was ended for it")
            except Exception as error:  # noqa: BLE001  whatever it was, nothing behind it can be understood
                self._end_it(f"what it sent makes no sense ({error}), and it was ended for it")
        self._finish()

    def _wait_for_end(self, otherwise: str) -> None:
        """A process's pipe closes a moment before it has ended; one that stays is told to go."""
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._end_it(otherwise)

    def _end_it(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a disk that does not answer holds it even now
            self.process.wait(GRACE_SECONDS)

    def _finish(self) -> None:
        """Everybody who waits hears of the death."""
        with contextlib.suppress(OSError):
            os.write(self._log, b"\n" + LOG_ENDS)
        os.close(self._log)
        self._log_reader.join()
        with self._lock:
            self.exited.set()
            waiting = [] if _leaving.is_set() else list(self._asked.values())
            self._asked.clear()
        for asked in waiting:
            asked.answers.put(("error", self.death(asked.stage)))

    def _read_log(self, stream: IO[bytes]) -> None:
        with stream:
            within = False
            for line in iter(lambda: stream.readline(LOG_LINE), b""):
                if line == LOG_ENDS:
                    return
                if not within:  # the rest of a line that is too long would look like a complaint
                    self._tail.append(line.decode(errors="replace").strip())
                within = not line.endswith(b"\n")

    def _watch(self) -> None:
        """Note what it holds, and end it when it makes no progress with anything that was asked."""
        patience = Patience(self._limit or math.inf)
        self._witness.look()
        while not self.exited.wait(patience.tick):
            self._witness.look()
            if patience.over(self._looks(), time.monotonic()):
                self._end_hung(patience.waited)

    def _looks(self) -> dict[int, tuple[int, int]]:
        """What shows progress, for each call. Calls in passing count only if there are no others: the thread that
        answers them does not hang with the one that works.
        """
        with self._lock:
            works = {request: asked for request, asked in self._asked.items() if asked.stage not in PASSING}
            return {request: asked.flag.looks for request, asked in (works or self._asked).items()}

    def _end_hung(self, waited: float) -> None:
        state = self._witness.state()
        self._verdict = (
            f"it made no progress for {waited:.3g} seconds ({f'{state}; ' if state else ''}the limit is the model's "
            f"hang_seconds, {self._limit:g}), and was ended"
        )
        if hasattr(signal, "SIGUSR1"):
            self.process.send_signal(signal.SIGUSR1)  # it writes where it is into the log
            self.exited.wait(LAST_WORDS_SECONDS)
        self.process.kill()
        self.exited.wait(GRACE_SECONDS)

    def death(self, stage: str | None = None) -> InfernoError:
        """The error for a call; of the latest if none is named."""
        if _leaving.is_set() and threading.current_thread().daemon:
            threading.Event().wait()  # it would complain while nobody listens; the interpreter does not wait for it
        code = self.process.returncode
        if self._closing and not (code or self._verdict):  # which may be on its way out still
            return InfernoError("the model was closed while it was at work: load it again to go on")
        log = list(self._tail)
        reason = self._verdict or reason_of(code, self._witness)
        said = last_words(log)
        hint = self.explanation("; ".join([reason, *said]), code)
        return EngineDiedError(stage or self.stage, code, reason, said, log, hint)

    def explanation(self, said: str, code: int | None) -> str:
        """What in the model's file is the likely reason for what it `said`, or for its end with this exit code."""
        return self._source.explain(said, code, decoded=self._decoded) if self._source else ""

    def end(self) -> None:
        """End the process; it ends at once when its pipe does."""
        self._closing = True
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.close()
        try:
            self.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._end_it("it did not end when it was told to")
        self._release()

    def _release(self) -> None:
        self.memory.release()
        self.parcels.release()


_leaving = threading.Event()
"""The interpreter ends: its daemon threads are not told of a child's end, which they would only complain about."""


@functools.cache
def tell_of_leaving() -> None:
    """Take note when the interpreter ends, once; after what is to be done then was said."""
    atexit.register(_leaving.set)  # behind weakref's own: what comes last is called first
