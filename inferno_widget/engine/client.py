"""The engine as the kernel sees it: the same calls, answered by a child process that may die and be replaced."""

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
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import Cancelled, EngineDiedError, InfernoError, ModelLoadError
from inferno_widget.forks import left_behind, tell
from inferno_widget.record import Floats, Ids, StepRecord
from inferno_widget.sampling.grammar import text_of
from inferno_widget.source import Source

from . import Branch, Finish, Holdings, Options, Processor, Progress, Request, Watch
from .batch import Batch
from .channel import CALLS, Channel, Flag, SharedMemory, surroundings
from .death import Witness, last_words, reason_of
from .grammar import Grammar
from .parcel import Receiver
from .patience import Patience

COMMAND = (sys.executable, "-P", "-m", "inferno_widget.engine.worker")
LOG_LINES, LOG_LINE = 200, 1 << 14
"""Of a child's log: lines that are kept, and bytes of one."""
LOG_ENDS = b"\0 the process has ended \0\n"
HANG_SECONDS = 120.0
"""A child that makes no progress for so long is ended."""
GRACE_SECONDS, CLOSE_SECONDS, LAST_WORDS_SECONDS = 1.0, 2.0, 0.2
PASSING = {"holdings"}
"""Calls that are no work: what the child is doing is something else."""
MASKS = 16
"""Of grammars, that are kept."""


Handlers = dict[str, Callable[[Any], None]]
"""What is done with each kind of message that comes before the answer."""


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
        self.memory = SharedMemory(n_vocab)
        self._source, self._decoded = source, False
        self.parcels = Receiver()
        self.stage = "start"
        self.exited = threading.Event()
        self._limit = limit
        self._slots = list(range(CALLS))
        self._asked: dict[int, _Asked] = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._tail: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self._verdict = ""
        try:
            self.process, log = self._started(n_vocab)
        except OSError as error:
            self._release()
            raise EngineDiedError("start", None, f"the system does not let it begin: {error}") from error
        self._witness = Witness(self.process.pid)
        assert self.process.stdin
        assert self.process.stdout
        self._channel = Channel(self.process.stdout, self.process.stdin)
        self._log_reader = threading.Thread(target=self._read_log, args=(log,), name="inferno-log", daemon=True)
        self._log_reader.start()
        threading.Thread(target=self._read, args=(self.process.stdout,), name="inferno-engine", daemon=True).start()
        threading.Thread(target=self._watch, name="inferno-watch", daemon=True).start()
        tell(self)

    def _started(self, n_vocab: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        """The process, and what it writes.

        This end of the log is kept as well: what is written here behind the last words says that they were the last,
        even if somebody that the process began still has the pipe.
        """
        log, self._log = os.pipe()
        try:
            process = subprocess.Popen(
                [*COMMAND, str(n_vocab), self.memory.handle, self.parcels.handle],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                pass_fds=self.memory.descriptors + self.parcels.descriptors,
                env=surroundings(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
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
            for line in iter(lambda: stream.readline(LOG_LINE), b""):
                if line == LOG_ENDS:
                    return
                self._tail.append(line.decode(errors="replace").strip())

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

    def death(self, stage: str | None = None) -> EngineDiedError:
        """The error for a call; of the latest if none is named."""
        if _leaving.is_set() and threading.current_thread().daemon:
            threading.Event().wait()  # it would complain while nobody listens; the interpreter does not wait for it
        code = self.process.returncode
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
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._end_it("it did not end when it was told to")
        self._release()

    def _release(self) -> None:
        self.memory.release()
        self.parcels.release()


class EngineClient:
    """An `Engine` in a child process.

    Parameters
    ----------
    path : a GGUF file
    options : how to load it
    n_vocab : size of its vocabulary
    hang_seconds : a child that makes no progress for so long, while something is asked of it, is ended; None for never
    source : the file as it was when its header was read, which may explain the end of a child

    Notes
    -----
    When the child has died, calls raise `EngineDiedError` once; the next `start` makes a new one, and
    `generation` counts them: a branch belongs to the generation that made it.
    """

    def __init__(
        self,
        path: str,
        options: Options,
        n_vocab: int,
        source: Source | None = None,
        *,
        hang_seconds: float | None = HANG_SECONDS,
    ) -> None:
        self.path, self.options, self.n_ctx = path, options, options.n_ctx
        self._source = source
        self.generation = 0
        self.n_vocab = n_vocab
        self.hang_seconds = hang_seconds
        self._first = 0  # the first branch that the living child can have made
        self._died: EngineDiedError | None = None  # what ended the child before
        self._closed = False
        self._child: Child | None = None
        self._end: Callable[[], object] = lambda: None
        self._starting = threading.Lock()
        self._answering = threading.Lock()
        self._pieces: dict[int, bytes] = {}
        self._masks: dict[tuple[str, bool, tuple[int, ...]], NDArray[np.bool_]] = {}  # the same place is asked again
        self._left_behind = False
        tell(self)

    # --- the process ----------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Of the child, while it lives."""
        child = self._child
        return child.process.pid if child and not child.exited.is_set() else None

    def start(self, *, cancel: Stop | None = None, progress: Progress | None = None) -> None:
        """Have a living child with the model loaded; start one if there is none.

        Raises
        ------
        ModelLoadError, Cancelled, EngineDiedError
        """
        with self._starting:
            if self._closed:
                raise InfernoError("the model is closed: load it again to go on")
            if self._left_behind:
                raise left_behind()
            if self.pid is not None:
                return
            if self._child:
                self._died = self._child.death()
            self._end()
            if self._source and self.generation:
                self._source.require_same()
            child = Child(self.n_vocab, self.hang_seconds, self._source)
            self._end = weakref.finalize(self, child.end)
            _tell_of_leaving()
            cancel = cancel or Stop()
            try:
                with cancel.reaching(child.process.kill), interruptible(cancel):  # it has nothing to lose yet
                    handlers = {"progress": progress or _ignore}
                    self._first = self.generation << 32
                    arguments = (self.path, self.options, self._first)
                    self.n_ctx = child.call("load", *arguments, cancel=cancel, handlers=handlers)
            except BaseException as error:
                self._end()
                if isinstance(error, EngineDiedError) and cancel.is_set():
                    raise Cancelled("loading was cancelled") from None
                if isinstance(error, ModelLoadError):
                    raise ModelLoadError(f"{error}{child.explanation(str(error), None)}") from None
                raise
            self._child = child
            self.generation += 1

    def close(self) -> None:
        with self._starting:
            self._closed = True
            self._child = None
            self._end()

    def rest(self) -> None:
        """End the process, unless somebody waits for it; the next `start` makes another."""
        with self._starting:
            if self._child and not self._child.busy:
                self._end()
                self._child = None  # and its memory with it

    def forked(self) -> None:
        """See `forks.Forkable`."""
        self._starting, self._answering = threading.Lock(), threading.Lock()
        self._left_behind = True
        if isinstance(self._end, weakref.finalize):
            self._end.detach()  # the child is not ours to end

    def _living(self, *branches: Branch | None) -> Caller:
        """What answers calls about these branches; EngineDiedError where they went with a child that died."""
        child = self.child()
        self._check_made_here(branches)
        return child

    def _check_made_here(self, branches: Iterable[Branch | None]) -> None:
        """A child that died may have been replaced already, on behalf of another session."""
        if any(branch is not None and branch < self._first for branch in branches):
            raise self.died

    @property
    def died(self) -> InfernoError:
        """What ended the child before this one."""
        return self._died or InfernoError("the engine's process is another one now: start this again")

    def child(self) -> Child:
        """The living process; EngineDiedError if it is none any more."""
        child = self._child
        if self._left_behind:
            raise left_behind()
        if child is None:
            self.start()  # it rested
            return self.child()
        if child.exited.is_set():
            raise child.death()
        return child

    @property
    def shared(self) -> tuple[dict[int, bytes], threading.Lock]:
        """What every engine of the child needs: the bytes of tokens that are known, and who waits for a row."""
        return self._pieces, self._answering

    # --- Engine ---------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = self._living().call("tokenize", text, special, cancel=Stop())
        return ids

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        missing = [token for token in ids if token not in self._pieces]
        if missing:
            found = self._living().call("pieces", missing, cancel=Stop())
            self._pieces.update(zip(missing, found, strict=True))
        return [self._pieces[token] for token in ids]

    def branch(self, parent: Branch | None, keep: int) -> Branch:
        branch: Branch = self._living(parent).call("branch", parent, keep, cancel=Stop())
        return branch

    def append(self, branch: Branch, ids: Sequence[int]) -> None:
        self._living(branch).call("append", branch, list(ids), cancel=Stop())

    def prefill(
        self,
        branch: Branch,
        ids: Sequence[int],
        *,
        k: int,
        watch: Watch = (),
        cancel: Stop,
        progress: Progress,
    ) -> Generator[StepRecord, None, Finish]:
        handlers = {"progress": progress}
        return self._records("prefill", branch, list(ids), k, watch, cancel=cancel, handlers=handlers)

    def prefill_many(
        self,
        branches: Sequence[Branch],
        ids: Sequence[Sequence[int]],
        *,
        k: int,
        watch: Watch = (),
        cancel: Stop,
        progress: Progress,
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        arguments = ([list(each) for each in ids], k, watch)
        handlers = {"progress": progress}
        return self._records_of_many("prefill_many", list(branches), *arguments, cancel=cancel, handlers=handlers)

    def generate(
        self, branch: Branch, request: Request, *, cancel: Stop, progress: Progress, processor: Processor | None = None
    ) -> Generator[StepRecord, None, Finish]:
        with self._processing(processor) as process:
            handlers = {"progress": progress, "process": process}
            arguments = (request, processor is not None)
            return (yield from self._records("generate", branch, *arguments, cancel=cancel, handlers=handlers))

    def generate_many(
        self,
        branches: Sequence[Branch],
        requests: Sequence[Request],
        *,
        cancel: Stop,
        progress: Progress,
        processor: Processor | None = None,
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        with self._processing(processor) as process:
            handlers = {"progress": progress, "process": process}
            arguments = ("generate_many", list(branches), list(requests), processor is not None)
            return (yield from self._records_of_many(*arguments, cancel=cancel, handlers=handlers))

    @contextlib.contextmanager
    def _processing(self, processor: Processor | None) -> Generator[Callable[[Any], None]]:
        """What answers the child when it wants a row to be processed; its errors have the processor's as a cause."""
        child = self._living()
        broken: list[BaseException] = []

        def process(ids: Any) -> None:
            problem = None
            try:
                row = np.asarray(processor(ids, child.memory.processed.copy()))  # type: ignore[misc]
                child.memory.processed[:] = row.reshape(child.memory.processed.shape)
            except BaseException as error:  # noqa: BLE001  raised again below, once the child has stopped
                broken.append(error)
                problem = f"the logits processor failed: {error!r}"
            child.send(-1, 0, "processed", (problem,))

        try:
            yield process
        except InfernoError as error:
            raise error from (broken[0] if broken else None)

    def rows(
        self, branch: Branch, ids: Sequence[int], wanted: Iterable[int], *, cancel: Stop
    ) -> Generator[tuple[int, Floats], None, Finish]:
        arguments = ("rows", branch, list(ids), list(wanted))
        messages = self._living(branch).stream(*arguments, cancel=cancel, handlers={})
        while True:
            try:
                found, _ = next(messages)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield from found

    def logits(self, branch: Branch, at: int) -> Floats:
        child = self._living(branch)
        with self._answering:
            child.call("logits", branch, at, cancel=Stop())
            return child.memory.answer.copy()

    def allowed(
        self, grammar: Grammar, said: Sequence[int], ids: Ids | None = None, *, first: int = 0
    ) -> NDArray[np.bool_]:
        known = text_of(grammar), isinstance(grammar, str), tuple(said)
        if known not in self._masks:
            packed = self._living().call("allowed", grammar, list(said), first, cancel=Stop())
            self._masks[known] = np.unpackbits(np.frombuffer(packed, np.uint8), count=self.n_vocab).astype(np.bool_)
            for oldest in list(self._masks)[:-MASKS]:
                self._masks.pop(oldest, None)
        return self._masks[known] if ids is None else self._masks[known][ids]

    def drop(self, branch: Branch) -> None:
        self._living(branch).call("drop", branch, cancel=Stop())

    def holdings(self) -> Holdings:
        held: Holdings = self._living().call("holdings", cancel=Stop())
        return held

    def _records(
        self, name: str, branch: Branch, *arguments: object, cancel: Stop, handlers: Handlers
    ) -> Generator[StepRecord, None, Finish]:
        batches = self._batches([branch], name, branch, *arguments, cancel=cancel, handlers=handlers)
        while True:
            try:
                batch = next(batches)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield from batch.records()

    def _records_of_many(
        self, name: str, branches: list[Branch], *arguments: object, cancel: Stop, handlers: Handlers
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        batches = self._batches(branches, name, branches, *arguments, cancel=cancel, handlers=handlers)
        while True:
            try:
                batch = next(batches)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield from zip(batch.owners, batch.records(), strict=True)

    def _batches(
        self, branches: list[Branch], name: str, *arguments: object, cancel: Stop, handlers: Handlers
    ) -> Generator[Batch, None, Any]:
        messages = self._living(*branches).stream(name, *arguments, cancel=cancel, handlers=handlers)
        while True:
            try:
                batch, pieces = next(messages)
            except StopIteration as end:
                return end.value
            self._pieces.update(pieces)
            yield batch


_leaving = threading.Event()
"""The interpreter ends: its daemon threads are not told of a child's end, which they would only complain about."""


@functools.cache
def _tell_of_leaving() -> None:
    atexit.register(_leaving.set)  # behind weakref's own: what comes last is called first


@contextlib.contextmanager
def interruptible(cancel: Stop) -> Generator[None]:
    """Make Ctrl-C end the work in the child too, before it goes on as KeyboardInterrupt."""
    try:
        yield
    except KeyboardInterrupt:
        cancel.set()
        raise


def _ignore(_: float) -> None: ...
