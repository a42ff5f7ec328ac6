"""The engine as the kernel sees it: the same calls, answered by a child process that may die and be replaced."""

from __future__ import annotations

import collections
import contextlib
import itertools
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from contextvars import ContextVar
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import Cancelled, EngineDiedError, InfernoError, ModelLoadError
from inferno_widget.record import Floats, Ids, StepRecord
from inferno_widget.sampling.grammar import text_of
from inferno_widget.source import Source

from . import Branch, Finish, Holdings, Options, Processor, Progress, Request, Watch
from .batch import Batch
from .channel import FLAGS, Channel, Flag, SharedMemory, surroundings
from .grammar import Grammar
from .parcel import Receiver

LOG_LINES = 200
MASKS = 16
"""Of grammars, that are kept."""


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
        handlers: dict[str, Callable[[Any], None]] | None = None,
    ) -> Any: ...

    def stream(
        self, name: str, *arguments: object, cancel: Stop, handlers: dict[str, Callable[[Any], None]]
    ) -> Generator[Any, None, Any]: ...

    def send(self, request: int, slot: int, name: str, arguments: tuple[object, ...]) -> None: ...


class Child:
    """One child process, its pipe and its shared memory."""

    def __init__(self, n_vocab: int, source: Source | None = None) -> None:
        self.memory = SharedMemory(n_vocab)
        self._source, self._decoded = source, False
        self.parcels = Receiver()
        self.stage = "start"
        self.exited = threading.Event()
        self._slots = list(range(FLAGS // 2))
        self._answers: dict[int, queue.SimpleQueue[tuple[str, Any]]] = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._tail: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "inferno_widget.engine.worker"),
                *(str(n_vocab), self.memory.handle, self.parcels.handle),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=self.memory.descriptors + self.parcels.descriptors,
            env=surroundings(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self._channel = Channel(self.process.stdout, self.process.stdin)
        self._log_reader = threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True)
        self._log_reader.start()
        threading.Thread(target=self._read, args=(self.process.stdout,), name="inferno-engine", daemon=True).start()

    def call(
        self,
        name: str,
        *arguments: object,
        cancel: Stop,
        handlers: dict[str, Callable[[Any], None]] | None = None,
    ) -> Any:
        """Ask, serve what comes meanwhile with `handlers`, and return the answer."""
        steps = self.stream(name, *arguments, cancel=cancel, handlers=handlers or {})
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    def stream(
        self, name: str, *arguments: object, cancel: Stop, handlers: dict[str, Callable[[Any], None]]
    ) -> Generator[Any, None, Any]:
        """Like `call`, and yields every batch of records."""
        answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        with self._lock:
            request, slot = next(self._ids), self._slots.pop()
            self._answers[request] = answers
        flag = Flag(self.memory, slot)
        flag.clear()
        try:
            with cancel.reaching(flag.set):
                stage = str(arguments[1]) if name == "second" else name
                if stage != "holdings":  # asked in passing: what it works at is something else
                    self.stage = stage
                self.send(request, slot, name, arguments)
                while True:
                    kind, value = answers.get()
                    if kind == "done":
                        return value
                    if kind == "error":
                        raise value
                    if kind == "records":
                        self._decoded = True
                        yield value
                    elif kind in handlers:
                        self.stage = stage
                        handlers[kind](value)
        finally:
            flag.set()  # ends the work if the caller lost interest
            with self._lock:
                self._answers.pop(request, None)
                self._slots.insert(0, slot)

    def send(self, request: int, slot: int, name: str, arguments: tuple[object, ...]) -> None:
        try:
            self._channel.send((request, slot, name, arguments))
        except (OSError, ValueError):
            self.exited.wait()
            raise self.death() from None

    def _read(self, stream: IO[bytes]) -> None:
        with stream, contextlib.suppress(EOFError, OSError, ValueError):
            while True:
                request, kind, value = self._channel.receive()
                answers = self._answers.get(request)
                if answers:
                    answers.put((kind, value))
        self.process.wait()
        self._log_reader.join(1)
        self.exited.set()
        with self._lock:
            for answers in self._answers.values():
                answers.put(("error", self.death()))

    def _read_log(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._tail.append(line.decode(errors="replace").strip())

    def death(self) -> EngineDiedError:
        code = self.process.returncode
        reason = f"exit code {code}"
        if code is not None and code < 0:
            reason = f"killed by signal {-code}"
            with contextlib.suppress(ValueError):
                reason += f" ({signal.Signals(-code).name})"
        said = self._last_words()
        if said:
            reason += "; it last said: " + " | ".join(said)
        reason += self.explanation(reason, code)
        return EngineDiedError(self.stage, code, reason)

    def explanation(self, said: str, code: int | None) -> str:
        """What in the model's file is the likely reason for what it `said`, or for its end with this exit code."""
        return self._source.explain(said, code, decoded=self._decoded) if self._source else ""

    def _last_words(self) -> list[str]:
        """What was printed before faulthandler's dump, and the top of the stack that it blames."""
        said = [line for line in self._tail if line]
        dump, stack = (
            next((i for i, line in enumerate(said) if line.startswith(mark)), len(said))
            for mark in ("Fatal Python error", "Current thread")
        )
        return said[max(0, dump - 4) : dump + 1] + said[stack + 1 : stack + 3]

    def end(self) -> None:
        """End the process; it ends at once when its pipe does."""
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.memory.release()
        self.parcels.release()


class EngineClient:
    """An `Engine` in a child process.

    Parameters
    ----------
    path : a GGUF file
    options : how to load it
    n_vocab : size of its vocabulary
    source : the file as it was when its header was read, which may explain the end of a child

    Notes
    -----
    When the child has died, calls raise `EngineDiedError` once; the next `start` makes a new one, and
    `generation` counts them: a branch belongs to the generation that made it.
    """

    def __init__(self, path: str, options: Options, n_vocab: int, source: Source | None = None) -> None:
        self.path, self.options, self.n_ctx = path, options, options.n_ctx
        self._source = source
        self.generation = 0
        self.n_vocab = n_vocab
        self._closed = False
        self._child: Child | None = None
        self._end: Callable[[], object] = lambda: None
        self._starting = threading.Lock()
        self._answering = threading.Lock()
        self._pieces: dict[int, bytes] = {}
        self._masks: dict[tuple[str, bool, tuple[int, ...]], NDArray[np.bool_]] = {}  # the same place is asked again

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
            if self.pid is not None:
                return
            self._end()
            if self._source and self.generation:
                self._source.require_same()
            child = Child(self.n_vocab, self._source)
            self._end = weakref.finalize(self, child.end)
            cancel = cancel or Stop()
            try:
                with cancel.reaching(child.process.kill), interruptible(cancel):  # it has nothing to lose yet
                    handlers = {"progress": progress or _ignore}
                    first = self.generation << 32
                    arguments = (self.path, self.options, first)
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

    def _living(self) -> Caller:
        return self.child()

    def child(self) -> Child:
        """The living process; EngineDiedError if it is none any more."""
        child = self._child
        if child is None:
            raise InfernoError("the model is closed: load it again to go on")
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
        branch: Branch = self._living().call("branch", parent, keep, cancel=Stop())
        return branch

    def append(self, branch: Branch, ids: Sequence[int]) -> None:
        self._living().call("append", branch, list(ids), cancel=Stop())

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
        arguments = ("prefill_many", list(branches), [list(each) for each in ids], k, watch)
        return self._records_of_many(*arguments, cancel=cancel, handlers={"progress": progress})

    def generate(
        self, branch: Branch, request: Request, *, cancel: Stop, progress: Progress, processor: Processor | None = None
    ) -> Generator[StepRecord, None, Finish]:
        with self._processing(processor) as process:
            handlers = {"progress": progress, "process": process}
            arguments = ("generate", branch, request, processor is not None)
            return (yield from self._records(*arguments, cancel=cancel, handlers=handlers))

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
        messages = self._living().stream(*arguments, cancel=cancel, handlers={})
        while True:
            try:
                found, _ = next(messages)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield from found

    def logits(self, branch: Branch, at: int) -> Floats:
        child = self._living()
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
        self._living().call("drop", branch, cancel=Stop())

    def holdings(self) -> Holdings:
        held: Holdings = self._living().call("holdings", cancel=Stop())
        return held

    def _records(
        self, name: str, *arguments: object, cancel: Stop, handlers: dict[str, Callable[[Any], None]]
    ) -> Generator[StepRecord, None, Finish]:
        batches = self._batches(name, *arguments, cancel=cancel, handlers=handlers)
        while True:
            try:
                batch = next(batches)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield from batch.records()

    def _records_of_many(
        self, name: str, *arguments: object, cancel: Stop, handlers: dict[str, Callable[[Any], None]]
    ) -> Generator[tuple[int, StepRecord], None, list[Finish]]:
        batches = self._batches(name, *arguments, cancel=cancel, handlers=handlers)
        while True:
            try:
                batch = next(batches)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield from zip(batch.owners, batch.records(), strict=True)

    def _batches(
        self, name: str, *arguments: object, cancel: Stop, handlers: dict[str, Callable[[Any], None]]
    ) -> Generator[Batch, None, Any]:
        messages = self._living().stream(name, *arguments, cancel=cancel, handlers=handlers)
        while True:
            try:
                batch, pieces = next(messages)
            except StopIteration as end:
                return end.value
            self._pieces.update(pieces)
            yield batch


@contextlib.contextmanager
def interruptible(cancel: Stop) -> Generator[None]:
    """Make Ctrl-C end the work in the child too, before it goes on as KeyboardInterrupt."""
    try:
        yield
    except KeyboardInterrupt:
        cancel.set()
        raise


def _ignore(_: float) -> None: ...
