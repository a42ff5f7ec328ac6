"""A text under way: runs the engine in a worker thread and records what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import __version__
from .engine import Branch, Finish, Processor, Request
from .engine.client import Stop
from .errors import ContextFullError, InfernoError
from .record import Kind, StepRecord
from .sampling import Sampler
from .stats import describe
from .trace import Trace

if TYPE_CHECKING:
    from .model import Model

State = Literal["ready", "prefill", "generating", "paused", "error", "closed"]

HELD_BRANCHES = 16
"""Branches of one session that keep their KV cache."""


@dataclass
class _Run:
    """One run of the worker thread."""

    left: int
    stop: tuple[str, ...]
    cancel: Stop
    pausing: bool = False


class Session:
    """A prompt, what the model made of it, and how it goes on.

    Nothing is computed before it is asked for: the prompt is scored by the first step.

    Parameters
    ----------
    model : a loaded `Model`
    prompt : text, or token ids
    sampler : how tokens are chosen; a seed is taken here if it has none, and recorded
    k : alternatives to record for each token
    logits_processor : ``fn(ids, logits) -> logits``, one more stage before the sampler's; int32 [n] and
        float32 [n_vocab]

    Attributes
    ----------
    trace : everything recorded so far
    state : "ready", "prefill", "generating", "paused", "error" or "closed"
    finish : why the last run ended: "length", "eog", "stop", "context", "cancelled", or None
    error : what ended the last run with an exception, or None
    progress : finished fraction of a prefill, or None
    """

    def __init__(
        self,
        model: Model,
        prompt: str | Sequence[int] = "",
        sampler: Sampler | None = None,
        *,
        k: int = 20,
        logits_processor: Processor | None = None,
    ) -> None:
        if not 1 <= k <= 32:  # noqa: PLR2004  the wire's bit mask
            raise ValueError(f"k must be between 1 and 32, not {k!r}")
        self.model = model
        self.prompt_ids = model.tokenize(prompt) if isinstance(prompt, str) else _checked(prompt, model.info.n_vocab)
        if not self.prompt_ids:
            raise ValueError("the prompt is empty, and this model has no token to begin with: give it some text")
        self.prompt = prompt if isinstance(prompt, str) else None
        self._unscored = list(self.prompt_ids)
        self.sampler = (sampler or Sampler()).seeded()
        self.k = k
        self.logits_processor = logits_processor
        self.trace = Trace(k, model=model.card, control=model.control)
        self.state: State = "ready"
        self.finish: Finish | None = None
        self.error: BaseException | None = None
        self.progress: float | None = None
        self._changed = Condition()
        self._listeners: list[Callable[[], None]] = []
        self._run: _Run | None = None
        self._paused: tuple[int, tuple[str, ...]] = (0, ())
        self._held: dict[Branch, int] = {}  # engine branches and the node each ends with, oldest first
        self._generation = -1

    def __repr__(self) -> str:
        return f"<Session {self.model.info.name!r}, {len(self.trace.path())} tokens, {self.state}>"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .widget import Inferno  # noqa: PLC0415  drawn only when asked

        return Inferno(self)._repr_mimebundle_(**kwargs)

    @property
    def text(self) -> str:
        """Prompt and what followed, as far as characters are whole."""
        return self.trace.text

    # --- running --------------------------------------------------------------------------------------

    def score(self) -> Trace:
        """Score the prompt, if that is still to do, and generate nothing."""
        if self._unscored:
            with self._changed:
                self._check_idle()
                self._begin(_Run(0, (), Stop()))
            self.wait()
        return self.trace

    def step(self) -> StepRecord:
        """Generate one token (and score the prompt first, if that is still to do)."""
        self.start(max_tokens=1)
        self.wait()
        if self.finish == "context":
            raise self._full()
        return self.trace.record(self.trace.head)

    def generate(self, max_tokens: int = 64, *, stop: str | Sequence[str] = ()) -> str:
        """Generate up to `max_tokens` tokens and return their text.

        Ctrl-C ends it cleanly and keeps what was made. `finish` says why it ended.
        """
        before = max(len(self.trace.path()), len(self.prompt_ids))
        self.start(max_tokens, stop=stop)
        self.wait()
        return "".join(self.trace.texts(self.trace.path()[before:]))

    def stream(self, max_tokens: int = 64, *, stop: str | Sequence[str] = ()) -> Generator[StepRecord, None, None]:
        """Generate up to `max_tokens` tokens and yield each record as it comes.

        Leaving the loop early stops the run.
        """
        self.start(max_tokens, stop=stop)
        seen = len(self.trace)
        run = self._run
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: len(self.trace) > seen or self._run is not run)
                    n = len(self.trace)
                for node in range(seen, n):
                    record = self.trace.record(node)
                    if record.kind is Kind.GENERATED:
                        yield record
                seen = n
                if self._run is not run and len(self.trace) == seen:
                    break
        finally:
            if self._run is run:
                self.stop()
            self._join()
        self._raise()

    def start(self, max_tokens: int = 64, *, stop: str | Sequence[str] = ()) -> None:
        """Generate up to `max_tokens` tokens in the background and return at once."""
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise ValueError(f"max_tokens must be a whole number of at least 1, not {max_tokens!r}")
        with self._changed:
            self._check_idle()
            self._begin(_Run(max_tokens, (stop,) if isinstance(stop, str) else tuple(stop), Stop()))

    def pause(self) -> None:
        """Stop after the current token; `resume` goes on as if nothing had happened."""
        with self._changed:
            if self._run:
                self._run.pausing = True
                self._run.cancel.set()

    def resume(self) -> None:
        """Go on with what `pause` left to do."""
        self._join()
        with self._changed:
            self._check_open()
            if self.state != "paused":
                raise InfernoError(f"the session is {self.state}, not paused")
            left, stop = self._paused
            self._begin(_Run(left, stop, Stop()))

    def stop(self) -> None:
        """End the run after the current token and keep what was made."""
        with self._changed:
            if self._run:
                self._run.pausing = False
                self._run.cancel.set()
            elif self.state == "paused":
                self.state, self.finish = "ready", "cancelled"
                self._notify()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs and raise what went wrong; False when `timeout` seconds pass first."""
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: self._run is None, timeout):
                    return False
        except KeyboardInterrupt:
            self.stop()
            self._join()
            raise
        self._raise()
        return True

    def __await__(self) -> Generator[Any, None, bool]:
        """``await session`` is `wait` that leaves the event loop free."""
        return asyncio.to_thread(self.wait).__await__()

    def close(self) -> None:
        """Stop, and let go of the KV cache. The trace stays."""
        self.stop()
        self._join()
        with self._changed:
            if self.state == "closed":
                return
            self.state = "closed"
            self._notify()
        engine = self.model.engine
        if engine.pid is not None and engine.generation == self._generation:
            for branch in self._held:
                engine.drop(branch)
        self._held.clear()

    # --- the road not taken ---------------------------------------------------------------------------

    def fork(self, at: int, token: str | int) -> Session:
        """Replace the token at position `at` of the current path and continue from there.

        A stored alternative needs no computing at all; any other token is scored first. What was there
        stays in the trace.

        Parameters
        ----------
        at : position, from 1 to the length of the path (which appends)
        token : its text (one token or several) or its id
        """
        self._settle()
        self.score()
        path = self.trace.path()
        if not 1 <= at <= len(path):
            raise IndexError(f"at must be between 1 and {len(path)}, not {at}: nothing predicts the first token")
        ids = self._forced_ids(token)
        first = self._alternative(int(path[at]), ids[0]) if at < len(path) else None
        self.trace.goto(int(path[at - 1]))
        for i, token_id in enumerate(ids):
            self._add(first if first and i == 0 else self._forced(token_id))
        with self._changed:
            self.state, self.finish, self.error = "ready", None, None
            self._notify()
        return self

    def goto(self, node: int) -> Session:
        """Make the path to `node` the current one; what is still in the KV cache is used again."""
        self._settle()
        self.trace.goto(node)
        self._unscored = []
        with self._changed:
            self.state, self.finish = "ready", None
            self._notify()
        return self

    def _forced_ids(self, token: str | int) -> list[int]:
        if isinstance(token, str):
            ids = self.model.tokenize(token, special=False)
            if not ids:
                raise ValueError("token is empty: name a token to fork to")
            return ids
        return _checked([token], self.model.info.n_vocab)

    def _alternative(self, node: int, token: int) -> StepRecord | None:
        """The record that `token` would have had instead of `node`, if it is among the stored alternatives."""
        record = self.trace.record(node)
        found = np.flatnonzero(record.top_ids == token)
        if not len(found):
            return None
        at = int(found[0])
        return _as_forced(record, token, float(record.top_logprobs[at]), at + 1)

    def _forced(self, token: int) -> StepRecord:
        """The record of `token` at the end of the current path, from the whole row."""
        position = len(self.trace.path())
        branch = self._branch(Stop())
        d = describe(self.model.engine.logits(branch, position), token, self.k)
        record = StepRecord(position, token, Kind.FORCED, d.logprob, d.entropy, d.rank, tail=d.tail)
        return record._replace(top_ids=d.top_ids, top_logprobs=d.top_logprobs, top_kept=np.zeros(len(d.top_ids), bool))

    # --- the worker thread ----------------------------------------------------------------------------

    def _begin(self, run: _Run) -> None:
        self._run, self.error, self.finish = run, None, None
        self.state = "prefill" if self._unscored else "generating"
        self._notify()
        Thread(target=self._work, args=(run,), name="inferno-session", daemon=True).start()

    def _work(self, run: _Run) -> None:
        state: State = "ready"
        try:
            self.finish = self._advance(run)
            if run.pausing and self.finish == "cancelled":
                state, self.finish, self._paused = "paused", None, (run.left, run.stop)
        except BaseException as error:  # noqa: BLE001  raised again where the session is waited for
            self.error, state = error, "error"
            self._held.clear()  # the engine may have gone further than the trace
        with self._changed:
            self._run, self.progress, self.state = None, None, state
            self._notify()

    def _advance(self, run: _Run) -> Finish:
        self.trace.runs.append(self._card())
        branch = self._branch(run.cancel)
        if self._unscored:
            scoring = self.model.engine.prefill(
                branch, self._unscored, k=self.k, cancel=run.cancel, progress=self._report
            )
            finish = self._record(branch, scoring)
            self._unscored = self.prompt_ids[len(self.trace.path()) :]
            if finish == "cancelled":
                return finish
        with self._changed:
            self.state, self.progress = "generating", None
            self._notify()
        request = Request(self.sampler, run.left, self.k, run.stop)
        steps = self.model.engine.generate(
            branch, request, cancel=run.cancel, progress=self._report, processor=self.logits_processor
        )
        return self._record(branch, steps, run)

    def _record(self, branch: Branch, steps: Generator[StepRecord, None, Finish], run: _Run | None = None) -> Finish:
        while True:
            try:
                record = next(steps)
            except StopIteration as end:
                finish: Finish = end.value
                return finish
            self._held[branch] = self._add(record)
            if run:
                run.left -= 1

    def _add(self, record: StepRecord) -> int:
        ids = [record.token_id, *record.top_ids.tolist()]
        pieces = dict(zip(ids, self.model.engine.pieces(ids), strict=True))
        with self._changed:
            node = self.trace.append(record, pieces)
            self._notify()
        return node

    def _branch(self, cancel: Stop) -> Branch:
        """An engine branch that holds the current path, sharing the cache of the nearest one there is."""
        engine = self.model.engine
        engine.start(cancel=cancel, progress=self._report)
        if engine.generation != self._generation:  # a new process: its cache is empty
            self._held.clear()
            self._generation = engine.generation
        path = self.trace.path()
        parent, keep = self._nearest(path)
        if parent is not None and self._held[parent] == (path[keep - 1] if keep else -1):
            branch = parent  # it ends on the path
        else:
            branch = engine.branch(parent, keep)
        if keep < len(path):
            engine.append(branch, self.trace.column("token_id")[keep:].tolist())
        self._held.pop(branch, None)
        self._held[branch] = self.trace.head
        while len(self._held) > HELD_BRANCHES:
            oldest = next(iter(self._held))
            del self._held[oldest]
            engine.drop(oldest)
        return branch

    def _nearest(self, path: np.ndarray[Any, np.dtype[np.int32]]) -> tuple[Branch | None, int]:
        """The held branch that shares most of `path`, and how much."""
        best, most = None, 0
        for branch, tip in reversed(self._held.items()):
            if len(path) and tip == path[-1]:
                return branch, len(path)
            other = self.trace.path(tip)
            n = min(len(path), len(other))
            differing = np.flatnonzero(path[:n] != other[:n])
            shared = int(differing[0]) if len(differing) else n
            if shared > most:
                best, most = branch, shared
        return best, most

    def _card(self) -> dict[str, Any]:
        return {
            "sampler": self.sampler.to_dict(),
            "started": time.time(),
            "versions": _versions(),
            "n_ctx": self.model.engine.n_ctx,
            "n_threads": self.model.options.n_threads,
        }

    def observe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change, from whichever thread made it; it must only take note.

        Returns a function that ends this.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- small things ---------------------------------------------------------------------------------

    def _report(self, fraction: float) -> None:
        with self._changed:
            self.progress = fraction if fraction < 1 else None
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener()

    def _settle(self) -> None:
        """End whatever runs, so that the path can be changed."""
        self.stop()
        self._join()
        self._check_open()

    def _join(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._run is None)

    def _raise(self) -> None:
        if self.error:
            raise self.error

    def _check_idle(self) -> None:
        self._check_open()
        if self._run:
            raise InfernoError("the session is already running; stop() or wait() first")

    def _check_open(self) -> None:
        if self.state == "closed":
            raise InfernoError("the session is closed; its trace can still be read")

    def _full(self) -> ContextFullError:
        return ContextFullError(
            f"the context of {self.model.engine.n_ctx:,} tokens is full; load the model with a larger n_ctx"
        )


@cache
def _versions() -> dict[str, str]:
    return {"inferno_widget": __version__, "llama-cpp-python": version("llama-cpp-python")}


def _as_forced(record: StepRecord, token: int, logprob: float, rank: int) -> StepRecord:
    fresh = StepRecord(record.position, token, Kind.FORCED)
    return record._replace(
        token_id=token, kind=Kind.FORCED, logprob=logprob, rank=rank, sampled_prob=fresh.sampled_prob, kept=0,
        draw=fresh.draw, ms=0.0,
    )


def _checked(ids: Sequence[int], n_vocab: int) -> list[int]:
    for token in ids:
        if isinstance(token, bool) or not isinstance(token, int | np.integer) or not 0 <= token < n_vocab:
            raise ValueError(f"{token!r} is not a token id of this model (0 to {n_vocab - 1})")
    return [int(token) for token in ids]
