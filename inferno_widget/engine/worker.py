"""The child process that hosts the native engine; ends when its pipe does.

One thread reads the pipe, the main one works: it answers calls between two tokens and runs all generations
that are under way in turn, a token each, so that two sessions of one model share it fairly. Where their branches do not
fit into the cache together, they take longer turns.
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inferno_widget.errors import Cancelled, InfernoError, ModelLoadError
from inferno_widget.record import Floats, Ids, StepRecord
from inferno_widget.window import Window

from . import Branch, Finish, Holdings, Options, Processor, Request, Watch
from .batch import Batch
from .bounds import bound
from .capturing import Capture
from .causal import causal_map, heads_of
from .channel import Channel, Flag, SharedMemory
from .grammar import Grammar
from .inside import Edit, Look, Wanted
from .inspecting import attribute, captured, inspect
from .llama import LlamaEngine
from .parcel import Sender, Sent
from .taps import Tapped

FLUSH_SECONDS = 0.01
FLUSH_RECORDS = 256
LOOK_SECONDS = 0.5
"""How often a child that waits for the kernel shows that it lives."""
LONG_TURN = 3
"""A generation that had to be brought back into the cache goes on for this many times as long as that took."""
AT_ONCE = {"holdings"}
"""Calls that the thread that reads the pipe answers: they only look, and would else wait for a long prefill."""


@dataclass
class Job:
    """A generation under way, and its records that have not been sent yet.

    Attributes
    ----------
    steps : what makes the records; of several branches (index of the branch, record)
    owners : of the records, their branches' indices, where there are several
    number : of the second context that it decodes in; 0 is the live one
    """

    steps: Generator[StepRecord, None, Finish] | Generator[tuple[int, StepRecord], None, list[Finish]]
    k: int
    cancel: Flag
    records: list[StepRecord] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    sent: float = 0.0
    number: int = 0

    def add(self, made: StepRecord | tuple[int, StepRecord]) -> None:
        if isinstance(made, StepRecord):
            self.records.append(made)
        else:
            self.owners.append(made[0])
            self.records.append(made[1])

    def tokens(self) -> set[int]:
        """Ids that occur in them."""
        ids = {record.token_id for record in self.records}
        return ids.union(*(record.top_ids.tolist() for record in self.records))

    def take(self) -> Batch:
        """The records that have not been sent yet."""
        batch = Batch.of(self.records, self.k, self.owners)
        self.records, self.owners = [], []
        return batch


class RowsJob(Job):
    """Whole rows under way: `steps` makes (index, row), which cross as they are."""

    def add(self, made: Any) -> None:
        self.records.append(made)

    def tokens(self) -> set[int]:
        return set()

    def take(self) -> Any:
        rows, self.records = self.records, []
        return rows


class Worker:
    """Answers messages ``(request, slot, name, arguments)``.

    Answers are ``(request, kind, value)`` with kind "progress", "records", "process", "done" or "error".
    """

    def __init__(self, channel: Channel, memory: SharedMemory, sender: Sender) -> None:
        self._channel, self._memory, self._sender = channel, memory, sender
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs: dict[int, Job] = {}
        self._known: set[int] = set()
        self._engine: LlamaEngine
        self._seconds: dict[int, Worker] = {}

    def run(self) -> None:
        threading.Thread(target=self._read, name="pipe", daemon=True).start()
        while True:
            while not self._jobs or not self._inbox.empty():
                self._answer(*self._inbox.get())
            for request, job in list(self._jobs.items()):
                self._take_turn(request, job)

    def _read(self) -> None:
        code = 1
        try:
            while True:
                message = self._channel.receive()
                if message[2] in AT_ONCE or (message[2] == "second" and message[3][1] in AT_ONCE):
                    self._answer(*message)
                else:
                    self._inbox.put(message)
        except (EOFError, OSError):
            code = 0
        except Exception:  # noqa: BLE001  nothing behind it can be understood
            traceback.print_exc()
        finally:
            os._exit(code)  # whatever the main thread is doing: nobody is left to hear of it

    def _answer(self, request: int, slot: int, name: str, arguments: tuple[Any, ...]) -> None:
        flag = self._memory.flag(slot)
        with self._reporting(request):
            if name not in AT_ONCE:
                bound(name)
            value = getattr(self, f"_do_{name}")(request, flag, *arguments)
            if not isinstance(value, Job):
                self._send(request, "done", value)
            else:
                self._jobs[request] = value

    def _take_turn(self, request: int, job: Job) -> None:
        """A token; or several, where the pool is too small for all, so that bringing a branch back pays."""
        started, before = time.monotonic(), self._engine.pool.evictions
        self._advance(request, job)
        if self._engine.pool.evictions == before:
            return
        now = time.monotonic()
        end = now + LONG_TURN * (now - started)
        while request in self._jobs and self._inbox.empty() and time.monotonic() < end:
            if any(other.cancel.is_set() for other in self._jobs.values()):
                return
            self._advance(request, job)

    def _advance(self, request: int, job: Job) -> None:
        with self._reporting(request):
            try:
                made: Any = next(job.steps)
            except StopIteration as end:
                self._flush(request, job)
                del self._jobs[request]
                self._send(request, "done", end.value)
                return
            except BaseException:
                del self._jobs[request]
                self._flush(request, job)
                raise
            job.add(made)
            if time.monotonic() - job.sent > FLUSH_SECONDS or len(job.records) >= FLUSH_RECORDS:
                self._flush(request, job)

    def _flush(self, request: int, job: Job) -> None:
        if job.records:
            pieces = self._new_pieces(job.tokens())
            self._send(request, "records", (job.take(), pieces))
        job.sent = time.monotonic()

    def _new_pieces(self, ids: set[int]) -> dict[int, bytes]:
        """Bytes of the tokens that the kernel has not met yet."""
        new = list(ids - self._known)
        self._known.update(new)
        return dict(zip(new, self._engine.pieces(new), strict=True))

    @contextlib.contextmanager
    def _reporting(self, request: int) -> Generator[None]:
        try:
            yield
        except InfernoError as error:
            self._send(request, "error", error)
        except MemoryError as error:
            problem = f"there is no memory left for this ({error or 'nothing more is known'}): ask for less of it"
            self._send(request, "error", InfernoError(f"in the engine's process {problem}, or free some"))
        except Exception as error:  # noqa: BLE001  whatever went wrong, the caller is waiting to hear of it
            self._send(request, "error", InfernoError(f"{type(error).__name__}: {error}"))

    def _send(self, request: int, kind: str, value: object) -> None:
        self._channel.send((request, kind, value))

    def _progress(self, request: int) -> Callable[[float], None]:
        return lambda fraction: self._send(request, "progress", fraction)

    # --- what can be asked ----------------------------------------------------------------------------

    def _do_load(self, request: int, flag: Flag, path: str, options: Options, first: int) -> int:
        self._engine = LlamaEngine(path, options, first=first, cancel=flag, progress=self._progress(request))
        known = len(self._memory.answer)
        if self._engine.n_vocab != known:
            raise ModelLoadError(
                f"llama.cpp finds {self._engine.n_vocab:,} tokens in the model's vocabulary, and the file's header "
                f"{known:,}: get the file again"
            )
        return self._engine.n_ctx

    def _do_tokenize(self, _: int, __: Flag, text: str, special: bool) -> list[int]:
        return self._engine.tokenize(text, special=special)

    def _do_pieces(self, _: int, __: Flag, ids: list[int]) -> list[bytes]:
        return self._engine.pieces(ids)

    def _do_branch(self, _: int, __: Flag, parent: Branch | None, keep: int) -> Branch:
        return self._engine.branch(parent, keep)

    def _do_append(self, _: int, __: Flag, branch: Branch, ids: list[int]) -> None:
        self._engine.append(branch, ids)

    def _do_drop(self, _: int, __: Flag, branch: Branch) -> None:
        self._engine.drop(branch)

    def _do_holdings(self, _: int, __: Flag) -> Holdings:
        return self._engine.holdings()

    def _do_logits(self, _: int, flag: Flag, branch: Branch, at: int) -> None:
        self._memory.answer[:] = self._engine.logits(branch, at, cancel=flag)

    def _do_allowed(self, _: int, flag: Flag, grammar: Grammar, said: list[int], first: int) -> bytes:
        return np.packbits(self._engine.allowed(grammar, said, first=first, cancel=flag)).tobytes()

    def _do_prefill(self, request: int, flag: Flag, branch: Branch, ids: list[int], k: int, watch: Watch) -> Job:
        steps = self._engine.prefill(branch, ids, k=k, watch=watch, cancel=flag, progress=self._progress(request))
        return Job(steps, k, flag)

    def _do_prefill_many(
        self, request: int, flag: Flag, branches: list[Branch], ids: list[list[int]], k: int, watch: Watch
    ) -> Job:
        progress = self._progress(request)
        steps = self._engine.prefill_many(branches, ids, k=k, watch=watch, cancel=flag, progress=progress)
        return Job(steps, k, flag)

    def _do_rows(self, _: int, flag: Flag, branch: Branch, ids: list[int], wanted: list[int]) -> Job:
        steps: Any = self._engine.rows(branch, ids, wanted, cancel=flag)
        return RowsJob(steps, 0, flag)

    def _do_generate(self, request: int, flag: Flag, branch: Branch, asked: Request, processed: bool) -> Job:
        progress, processor = self._progress(request), self._processor(request, processed)
        steps = self._engine.generate(branch, asked, cancel=flag, progress=progress, processor=processor)
        return Job(steps, asked.k, flag)

    def _do_generate_many(
        self, request: int, flag: Flag, branches: list[Branch], asked: list[Request], processed: bool
    ) -> Job:
        progress, processor = self._progress(request), self._processor(request, processed)
        steps = self._engine.generate_many(branches, asked, cancel=flag, progress=progress, processor=processor)
        return Job(steps, max((each.k for each in asked), default=1), flag)

    # --- a second context -------------------------------------------------------------------------------

    def _do_open(self, _: int, flag: Flag, number: int, first: int, edits: list[Edit]) -> int:
        """Make another context of the model; the same worker with that engine answers what it is asked."""
        engine = Tapped(self._engine, edits, first=first, cancel=flag)
        if flag.is_set():  # nobody would ever shut it
            engine.close()
            raise Cancelled("making a second context was cancelled")
        self._seconds[number] = self._over(engine)
        return engine.n_ctx

    def _over(self, engine: LlamaEngine) -> Worker:
        """This worker, with another engine."""
        other = copy.copy(self)
        other._engine = engine  # noqa: SLF001
        return other

    def _do_shut(self, _: int, __: Flag, number: int) -> None:
        for request, job in list(self._jobs.items()):
            if job.number == number:
                del self._jobs[request]
                job.steps.close()
                self._send(request, "error", InfernoError("what it was to be decoded under has ended"))
        self._seconds.pop(number)._tapped.close()  # noqa: SLF001

    def _do_second(self, request: int, flag: Flag, number: int, name: str, *arguments: Any) -> Any:
        value = getattr(self._seconds[number], f"_do_{name}")(request, flag, *arguments)
        if isinstance(value, Job):
            value.number = number
        return value

    @property
    def _tapped(self) -> Tapped:
        assert isinstance(self._engine, Tapped)
        return self._engine

    def _do_see_through(self, _: int, __: Flag, branch: Branch, window: Window) -> None:
        self._tapped.pool[branch].window = window

    def _do_inspect(self, request: int, flag: Flag, look: Look) -> Sent:
        return inspect(self._tapped, look, self._sender, cancel=flag, progress=self._progress(request))

    def _do_capture(self, _: int, __: Flag, wanted: Wanted | None) -> None:
        self._tapped.capture = None if wanted is None else Capture(self._tapped, wanted)

    def _do_captured(self, _: int, flag: Flag, look: Look) -> Sent:
        return captured(self._tapped, look, self._sender, cancel=flag)

    def _do_causal_map(
        self,
        request: int,
        flag: Flag,
        ids: list[int],
        layers: tuple[int, ...] | None,
        token: int,
        window: Window,
        last: bool,
    ) -> Sent:
        heads, progress = heads_of(self._tapped, layers), self._progress(request)
        found = causal_map(self._tapped, ids, heads, token, window, last=last, cancel=flag, progress=progress)
        n_layer = len({layer for layer, _ in heads})
        return self._sender.send(
            {name: each.reshape(n_layer, -1) for name, each in zip(("kl", "change"), found, strict=True)}
        )

    def _do_attribute(self, request: int, flag: Flag, ids: list[int], token: int, window: Window) -> Sent:
        progress = self._progress(request)
        return attribute(self._tapped, ids, token, window, self._sender, cancel=flag, progress=progress)

    # --- the kernel's part of a step ----------------------------------------------------------------------

    def _processor(self, request: int, processed: bool) -> Processor | None:
        """What lets the kernel change a row, where it wants to."""

        def process(ids: Ids, logits: Floats) -> Floats:
            return self._process(request, ids, logits)

        return process if processed else None

    def _process(self, request: int, ids: Ids, logits: Floats) -> Floats:
        """Let the kernel's logits processor change a row."""
        self._flush(request, self._jobs[request])  # it may look at the trace
        self._memory.processed[:] = logits
        self._send(request, "process", ids)
        flag = self._jobs[request].cancel
        while True:
            try:
                message = self._inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                flag.is_set()  # a look: what takes so long is the kernel's work, and this process no hung one
                continue
            if message[2] == "processed":
                break
            self._answer(*message)  # the processor itself may ask for something
        (problem,) = message[3]
        if problem:
            raise InfernoError(problem)
        return np.array(self._memory.processed)


def main() -> None:
    """``python -m inferno_widget.engine.worker N_VOCAB MEMORY SENDER``, with the pipe on standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the kernel tells us what to do
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)  # what the kernel sends before it ends a child that hangs
    _die_first()
    _die_fast()
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native code that prints must not write into the pipe
    sys.stdout = sys.stderr
    n_vocab, handle, sender = sys.argv[1:]
    Worker(Channel(reader, writer), SharedMemory(int(n_vocab), handle), Sender(sender)).run()


def _die_first() -> None:
    """Ask the system to end this process, and not the kernel, when memory runs out."""
    with contextlib.suppress(OSError), Path("/proc/self/oom_score_adj").open("w") as file:
        file.write("500")


def _die_fast() -> None:
    """Have no core written after a crash: it may be gigabytes, and before it is written nobody hears of the crash."""
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()
