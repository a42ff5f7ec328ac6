"""The engine as the kernel sees it: the same calls, answered by a child process that may die and be replaced."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_widget.errors import Cancelled, EngineDiedError, InfernoError, ModelLoadError, brief
from inferno_widget.forks import left_behind, tell
from inferno_widget.record import Floats, Ids, StepRecord
from inferno_widget.sampling.grammar import text_of
from inferno_widget.source import Source
from inferno_widget.window import Window

from . import Branch, Finish, Holdings, Options, Processor, Progress, Request, Watch, unheard
from .batch import Batch
from .child import HANG_SECONDS, Caller, Child, Handlers, tell_of_leaving
from .grammar import Grammar
from .stop import Stop, interruptible


class _Waiting(threading.local):
    """For which engines this thread runs a logits processor, by the lock that all engines of a child share."""

    engines: tuple[object, ...] = ()


_waiting = _Waiting()
MASKS = 16
"""Of grammars, that are kept."""


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
        self._died: InfernoError | None = None  # what ended the child before
        self.closed = False
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
            if self.closed:
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
            tell_of_leaving()
            cancel = cancel or Stop()
            try:
                with cancel.reaching(child.process.kill), interruptible(cancel):  # it has nothing to lose yet
                    handlers = {"progress": progress or unheard}
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
            self.closed = True
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

    def tokenize(self, text: str | bytes, *, special: bool) -> list[int]:
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

    def see_through(self, branch: Branch, window: Window) -> None:
        """What the tokens of a branch are of the text, where that matters: to interventions and captures."""

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
            problem, outer = None, _waiting.engines
            _waiting.engines = (*outer, self._answering)
            try:
                row = child.memory.processed
                row[:] = _logits_of(processor(ids, row.copy()), len(row))  # type: ignore[misc]
            except BaseException as error:  # noqa: BLE001  raised again below, once the child has stopped
                broken.append(error)
                problem = f"the logits processor failed: {error!r}"
            finally:
                _waiting.engines = outer
            child.send(-1, 0, "processed", (problem,))

        try:
            yield process
        except InfernoError as error:
            raise error from (broken[0] if broken else None)

    def check_free(self) -> None:
        """Raise InfernoError where the child waits for this very thread, which runs a logits processor for it."""
        if any(each is self._answering for each in _waiting.engines):
            raise InfernoError(
                "a logits processor cannot have its own model read or write a text, since the model waits for it: ask "
                "another Model, or do it when the run has ended"
            )

    def rows(
        self, branch: Branch, ids: Sequence[int], wanted: Iterable[int], *, cancel: Stop
    ) -> Generator[tuple[int, Floats], None, Finish]:
        self.check_free()
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
        self.check_free()
        messages = self._living(*branches).stream(name, *arguments, cancel=cancel, handlers=handlers)
        while True:
            try:
                batch, pieces = next(messages)
            except StopIteration as end:
                return end.value
            self._pieces.update(pieces)
            yield batch


def _logits_of(answer: object, n: int) -> NDArray[Any]:
    """What a logits processor returned, as a row of `n`."""
    row = np.asarray(answer)
    if row.size != n or row.dtype.kind not in "fiub":
        found = f"{row.dtype} {list(row.shape)}" if row.ndim else brief(answer)
        raise TypeError(f"it must return the logits, float32 [{n}], not {found}")
    return row.reshape(n)
