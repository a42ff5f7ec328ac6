"""A text under way: runs the engine in a worker thread and records what it says."""

from __future__ import annotations

import asyncio
import math
import platform
import textwrap
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from . import __version__
from .arguments import count, index, stop_strings, token_ids
from .branches import Branches
from .dice import mu_of
from .engine import Branch, Finish, Processor, Request, Watch
from .engine.client import Stop, interruptible
from .errors import Cancelled, ContextFullError, InfernoError, check_text, hint_unknown_keywords
from .lookahead import Continuation, Each, Lookahead, as_forced, forced, look_ahead
from .record import MAX_K, Kind, StepRecord, WatchedRecord
from .resample import By, Commitment, Resample, commitment, resample
from .sampling import Sampler
from .shown import Shown
from .stats import describe, mass
from .trace import Trace
from .tree import BranchInfo, branches_of, found, hidden_nodes, start_of, stays, walked
from .watching import Watchable, rescored, sets_of
from .window import Window

if TYPE_CHECKING:
    from .model import Model
    from .plot import Plot

State = Literal["ready", "prefill", "generating", "paused", "error", "closed"]
OnFull = Literal["stop", "slide", "error"]

ON_FULL: tuple[OnFull, ...] = get_args(OnFull)
HEAR_SECONDS = 0.1
"""How long a wait lasts at most before Ctrl-C is heard, where a lock cannot be interrupted (Windows)."""


@dataclass
class _Run:
    """One run of the worker thread.

    Attributes
    ----------
    left : tokens still to generate
    stop : strings that end it
    first : position of its first token; a stop string begins there or later
    cancel : ends it
    pausing : whether that is a pause
    """

    left: int
    stop: tuple[str, ...]
    first: int
    cancel: Stop = field(default_factory=Stop)
    pausing: bool = False


@hint_unknown_keywords
class Session(Shown):
    """A prompt, what the model made of it, and how it goes on.

    Nothing is computed before it is asked for: the prompt is scored by the first step.

    Parameters
    ----------
    model : a loaded `Model`
    prompt : text, or token ids; or a `Trace` that this model made, to go on with a copy of it
    sampler : how tokens are chosen; a seed is taken here if it has none, and recorded. A trace's last one when None
    k : alternatives to record for each token; a trace has its own
    logits_processor : ``fn(ids, logits) -> logits``, one more stage before the sampler's; int32 [n] and
        float32 [n_vocab]
    on_full : what to do when the context is full: "stop" ends the run with ``finish == "context"``, "error" raises
        `ContextFullError`, "slide" leaves out the older half of what comes after the first `keep` tokens and goes on
    keep : tokens at the beginning that a slide keeps, at most n_ctx - 2. Many models write badly without their very
        first token; ``keep=1`` keeps that

    Notes
    -----
    After a slide the model has read what is left as if nothing else had been there: it is a new branch with a cache
    of its own, made by a prefill. The trace goes on counting the whole text, and the dice with it; `left_out` of each
    record says how much the model did not see. Penalties and a logits processor look at what the model sees. A prompt
    is read whole: one that is longer than the context raises `ContextFullError` in any case.

    Attributes
    ----------
    sampler, logits_processor, on_full, keep : as above; they may be changed between two runs
    prompt, prompt_ids : what it began with, as text (without control tokens) and as ids
    name : for lists of sessions; the beginning of the prompt until it is set
    started : when it was made, in seconds since 1970
    trace : everything recorded so far
    state : "ready", "prefill", "generating", "paused", "error" or "closed"
    finish : why the last run ended: "length", "eog", "stop", "context", "cancelled", or None
    error : what ended the last run with an exception, or None
    progress : finished fraction of a prefill, or None
    """

    def __init__(
        self,
        model: Model,
        prompt: str | Sequence[int] | Trace = "",
        sampler: Sampler | None = None,
        *,
        k: int = 20,
        logits_processor: Processor | None = None,
        on_full: OnFull = "stop",
        keep: int = 0,
    ) -> None:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MAX_K:
            raise ValueError(f"k must be between 1 and {MAX_K}, not {k!r}")
        if sampler is not None:
            _check_sampler(sampler)
        self.model = model
        if isinstance(prompt, Trace):
            self.trace, sampler = _continued(prompt, model), sampler or _last_sampler(prompt)
            prompt = _prompt_of(self.trace)
        else:
            self.trace = Trace(k, model=model.card, control=model.control)
        self.prompt_ids = model.tokenize(prompt) if isinstance(prompt, str) else token_ids(prompt, model.info.n_vocab)
        if not self.prompt_ids:
            raise ValueError("the prompt is empty, and this model has no token to begin with: give it some text")
        self.prompt = prompt if isinstance(prompt, str) else _text(model, self.prompt_ids)
        self._unscored = [] if self.trace.length else list(self.prompt_ids)
        self.sampler = (sampler or Sampler()).seeded()
        self.k = self.trace.k
        self.logits_processor = logits_processor
        self.on_full = on_full
        self.keep = keep
        self.name = textwrap.shorten(self.prompt, 40, placeholder="…") or "no prompt"
        self.started = time.time()
        self.state: State = "ready"
        self.finish: Finish | None = None
        self.error: BaseException | None = None
        self.progress: float | None = None
        self._changed = Condition()
        self._listeners: list[Callable[[], None]] = []
        self._run: _Run | None = None
        self._paused: _Run | None = None
        self._branches = Branches(model.engine, self.trace)

    def __repr__(self) -> str:
        return f"<Session {self.model.info.name!r}, {self.trace.length} tokens, {self.state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def text(self) -> str:
        """Prompt and what followed, as far as characters are whole."""
        return self.trace.text

    @property
    def on_full(self) -> OnFull:
        """What to do when the context is full: "stop", "slide" or "error"."""
        return self._on_full

    @on_full.setter
    def on_full(self, value: OnFull) -> None:
        if value not in ON_FULL:
            raise ValueError(f"on_full must be one of {', '.join(ON_FULL)}, not {value!r}")
        self._on_full = value

    @property
    def keep(self) -> int:
        """Tokens at the beginning that a slide keeps."""
        return self._keep

    @keep.setter
    def keep(self, value: int) -> None:
        most = self.model.n_ctx - 2  # a slide needs two others: one to leave out and one to go on from
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= most:
            raise ValueError(f"keep must be a whole number between 0 and n_ctx - 2, which is {most:,}, not {value!r}")
        self._keep = int(value)

    @property
    def held_tokens(self) -> int:
        """Tokens that this session has in the KV cache now; what its branches share counts once."""
        return self._branches.cells()

    @property
    def plot(self) -> Plot:
        """Figures of the trace: ``session.plot.surprisal()``."""
        return self.trace.plot

    # --- running --------------------------------------------------------------------------------------

    def score(self) -> Trace:
        """Score the prompt, if that is still to do, and generate nothing."""
        if self._unscored:
            with self._changed:
                self._check_idle()
                run = self._begin(_Run(0, (), len(self.prompt_ids)))
            self._end_of(run)
        return self.trace

    def step(self) -> StepRecord:
        """Generate one token (and score the prompt first, if that is still to do)."""
        run = self._launch(1)
        self._end_of(run)
        if run.left:
            raise self._full() if self.finish == "context" else Cancelled("stopped before a token came")
        return self.trace.record(self.trace.head)

    @hint_unknown_keywords
    def generate(self, max_tokens: int = 64, *, stop: str | Sequence[str] = ()) -> str:
        """Generate up to `max_tokens` tokens and return their text.

        Ctrl-C ends it cleanly and keeps what was made. `finish` says why it ended.
        """
        run = self._launch(max_tokens, stop)
        self._end_of(run)
        return "".join(self.trace.texts(self.trace.path())[run.first :])

    @hint_unknown_keywords
    def stream(self, max_tokens: int = 64, *, stop: str | Sequence[str] = ()) -> Generator[StepRecord, None, None]:
        """Generate up to `max_tokens` tokens and yield each record as it comes.

        Leaving the loop early stops the run.
        """
        seen = len(self.trace)
        run = self._launch(max_tokens, stop)
        try:
            while self._news(run, seen):
                record = self.trace.record(seen)
                seen += 1
                if record.kind is Kind.GENERATED:
                    yield record
        finally:
            if self._run is run:
                self.stop()
            self._join(run)
        self._raise()

    @hint_unknown_keywords
    def start(self, max_tokens: int = 64, *, stop: str | Sequence[str] = ()) -> None:
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
        with self._changed:
            self._check_idle()
            if self.state != "paused" or not self._paused:
                raise InfernoError(f"the session is {self.state}, not paused")
            self._begin(replace(self._paused, cancel=Stop(), pausing=False))

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
        return self._end_of(self._run, timeout)

    def __await__(self) -> Generator[Any, None, bool]:
        """``await session`` is `wait` that leaves the event loop free; being cancelled stops the run."""
        return self._waited().__await__()

    async def _waited(self) -> bool:
        try:
            return await asyncio.to_thread(self.wait)
        except asyncio.CancelledError:
            self.stop()
            raise

    def close(self) -> None:
        """Stop, and let go of the KV cache. The trace stays."""
        self.stop()
        self._join(self._run)
        if self.state != "closed":
            self._set("closed", self.finish)
            self._branches.release()

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
        at, ids = index("at", at), self._forced_ids(token)
        self.score()
        path = self.trace.path().tolist()
        if not 1 <= at <= len(path):
            raise IndexError(f"at must be between 1 and {len(path)}, not {at}: nothing predicts the first token")
        window = self.trace.window(path[min(at, len(path) - 1)])
        if self.on_full != "slide" and window.size(at) + len(ids) > self.model.n_ctx:
            raise self._full()
        self.trace.goto(path[at - 1])
        try:
            if at < len(path):
                self._force(ids.pop(0), window, instead_of=path[at])
            for token_id in ids:
                self._force(token_id, self._window() or window)
        except BaseException:
            self.trace.goto(path[-1])
            raise
        self._set("ready", None)
        return self

    def goto(self, node: int | str) -> Session:
        """Make the path to `node` the current one; what is still in the KV cache is used again.

        -1 is the empty path, from which the prompt is scored anew. A branch that has a name may be called by it.
        """
        node = self._node(node)
        self._settle()
        self.trace.goto(node)
        self._unscored = [] if node >= 0 else list(self.prompt_ids)
        self._set("ready", None)
        return self

    def rewind(self, n: int = 1) -> Session:
        """Go back by `n` tokens. What was there stays in the trace, and `goto` leads there again."""
        n, path = count("n", n), self.trace.path()
        if n > len(path):
            raise IndexError(f"the path has {len(path)} tokens: it cannot be rewound by {n}")
        return self.goto(int(path[-1 - n]) if n < len(path) else -1)

    def edit(self, text: str) -> Session:
        """Make `text` the text of the path: a fork at the first token whose text differs.

        What stays is not computed again; the new tokens are scored as "forced", all at once. If a branch has that
        text already, the session goes there. What was there stays in the trace.
        """
        check_text("text", text)
        self._settle()
        self.score()
        path = self.trace.path()
        n, new = stays(self.trace, text)
        if not n and not new:
            raise ValueError("the text is empty: give it some")
        start = int(path[n - 1]) if n else -1
        known = found(self.trace, start, new)
        if known is None:
            known = found(self.trace, -1, text)
        self.trace.goto(start if known is None else known)
        try:
            if known is None:
                self._write(walked(self.trace, self.model.continued(new)))
        except BaseException:
            self.trace.goto(int(path[-1]))
            raise
        self._set("ready", None)
        return self

    @property
    def branches(self) -> list[BranchInfo]:
        """The branches of the tree, in the order in which they ended, with names, lengths and logprobs."""
        return branches_of(self.trace)

    def path(self, node: int | str | None = None) -> NDArray[np.int32]:
        """Nodes from the root to `node`, or to the end of the branch of that name; of the current path when None."""
        return self.trace.path(None if node is None else self._node(node))

    def name_branch(self, name: str, node: int | None = None) -> None:
        """Call the branch through `node` (the head when None) by a name; the name goes on with it when it grows.

        A later fork from it has no name. A name that another branch has is taken from it.
        """
        node = self.trace.head if node is None else self._node(node)
        check_text("name", name)
        if not name or node < 0:
            raise ValueError("there is no token to name" if name else "name is empty")
        with self._changed:
            kept = {other: at for other, at in self.trace.names.items() if at != node}
            self.trace.names = {**kept, name: node}
            self._notify()

    def prune(self, node: int | str) -> None:
        """Hide the branch through `node`, from where it left the others; `restore` shows it again.

        Going back is a record: nothing is deleted. Its KV cache is let go of.
        """
        start = start_of(self.trace, self._node(node))
        if start in self.trace.path():
            raise ValueError("the session stands on this branch: goto() another before it is pruned")
        with self._changed:
            self._check_idle()
            self.trace.pruned |= {start}
            self._notify()
        self._branches.forget(set(np.flatnonzero(hidden_nodes(self.trace)).tolist()))

    def restore(self, node: int | str) -> None:
        """Show a branch again that `prune` hid."""
        path = self.trace.path(self._node(node)).tolist()
        with self._changed:
            self.trace.pruned -= set(path)
            self._notify()

    def _node(self, node: int | str) -> int:
        """The node itself, or the end of the branch of that name."""
        if not isinstance(node, str):
            return index("node", node)
        if node not in self.trace.names:
            raise KeyError(
                f"no branch is called {node!r}; these are: {', '.join(map(repr, self.trace.names)) or 'none'}"
            )
        ends = [branch.node for branch in branches_of(self.trace, pruned=True) if branch.name == node]
        return ends[0] if ends else self.trace.names[node]

    def _write(self, ids: list[int]) -> None:
        """Add forced tokens to the path, scored in one prefill where the context has room for all."""
        if not ids:
            return
        window = self.room()
        if window.size(self.trace.length) + len(ids) > self.model.n_ctx:
            if self.on_full != "slide":
                raise self._full()
            for token in ids:
                self._force(token, self.room())
            return
        cancel = Stop()
        branch = self._branches.at_head(window, cancel=cancel, progress=self._report)
        if window.left_out:
            self._note_settings(window)
        scoring = self.model.engine.prefill(
            branch, ids, k=self.k, watch=self._watch, cancel=cancel, progress=self._report
        )
        try:
            with interruptible(cancel):
                self._record(branch, window, _typed(scoring, window))
        except BaseException:
            self._branches.release()  # the engine may have gone further than the trace
            raise

    @hint_unknown_keywords
    def lookahead(
        self,
        k: int = 5,
        depth: int = 12,
        at: int | None = None,
        sampler: Sampler | None = None,
        *,
        each: Each | None = None,
    ) -> Lookahead:
        """The `k` most likely tokens at a position, each with what would follow it; all are decoded in one batch.

        It is a preview: path, state and trace stay as they are (only a prompt that was not scored yet is scored),
        and nothing of it is recorded until `take` is told to.

        Parameters
        ----------
        k : alternatives, the most likely under the raw model
        depth : tokens to follow each; fewer where a text ends or the context is full
        at : position of the alternatives on the current path, from 1; its end, the next token, when None
        sampler : what chooses the tokens that follow; the most likely ones when None. One without a seed throws the
            session's own dice, so that ``lookahead(sampler=session.sampler)`` shows what `fork` and `generate` would
            make of each alternative
        each : called with (index of the alternative, record) for every token as it comes, from this thread; the
            look-ahead ends early, with what it has, if that returns False
        """
        k, depth = count("k", k), count("depth", depth)
        self._look()
        chosen = self._seeded(sampler or Sampler(temperature=0))
        return look_ahead(self, min(k, self.model.info.n_vocab), depth, at, chosen, each)

    def take(self, way: Continuation, n: int | None = None) -> Session:
        """Go the way that a look-ahead or a resample of this session showed: its first `n` tokens join the trace.

        They are recorded as they were shown, and nothing is computed. A token that the path goes through already is
        not recorded again. All its tokens when `n` is None.
        """
        self._settle()
        records = way.records[: len(way.records) if n is None else count("n", n)]
        self.trace.goto(way.place.node)
        for record in records:
            node = self.trace.child(self.trace.head, record.token_id)
            if node is not None:
                self.trace.goto(node)
                continue
            self._note_settings(way.place.window, way.sampler)
            self._add(record)
        self._rescore(self.trace.watches)
        self._set("ready", None)
        return self

    @hint_unknown_keywords
    def resample(
        self,
        at: int | None = None,
        n: int = 32,
        max_tokens: int = 16,
        *,
        by: By = None,
        stop: str | Sequence[str] = (),
        sampler: Sampler | None = None,
        each: Each | None = None,
    ) -> Resample:
        """`n` continuations from one point, and how often which answer comes out. Nothing of it is recorded.

        Parameters
        ----------
        at : position of their first token on the current path, from 1; its end when None
        n : how many; they are decoded in batches
        max_tokens : of each, at most
        by : what an answer is of a continuation's text: the first match of a regular expression (its first group,
            where it has one), or what a function of the text returns; the first word when None
        stop : strings that end a continuation
        sampler : what chooses the tokens; the session's when None. The i-th continuation has dice of its own, whose
            seed follows from the sampler's (the session's, where that has none) and i: the same call gives the same
        each : called with (index, record) for every token as it comes; it all ends early if that returns False
        """
        n, max_tokens, strings = count("n", n), count("max_tokens", max_tokens), stop_strings(stop)
        self._look()
        chosen = self._seeded(sampler or self.sampler)
        return resample(self, at, n, max_tokens, by=by, stop=strings, sampler=chosen, each=each)

    @hint_unknown_keywords
    def commitment(
        self,
        start: int | None = None,
        n: int = 16,
        max_tokens: int | None = None,
        *,
        by: By = None,
        stop: str | Sequence[str] = (),
        every: int = 1,
    ) -> Commitment:
        """From which token on was the answer decided? Resamples the rest of the text from each of its prefixes.

        Parameters
        ----------
        start : position where the answer's text begins; behind the prompt when None
        n : continuations from each prefix
        max_tokens : length of the text that an answer is read from, counted from `start`; what the path has when None
        by, stop : as in `resample`; the answer is read from the prefix (from `start` on) and its continuation
        every : take only each so manieth prefix
        """
        n, every, strings = count("n", n), count("every", every), stop_strings(stop)
        self._look()
        first = len(self.prompt_ids) if start is None else index("start", start)
        length = self.trace.length
        if not 1 <= first < length:
            raise IndexError(f"start must be between 1 and {length - 1}, a token of the text, not {first}")
        most = length - first if max_tokens is None else count("max_tokens", max_tokens)
        positions = range(first, min(length, first + most), every)
        return commitment(self, positions, n, most, by=by, stop=strings)

    @hint_unknown_keywords
    def watch(self, *tokens: Watchable, variants: bool = False) -> dict[str, tuple[int, ...]]:
        """Note the exact probability of tokens, over the whole vocabulary, at every step past and future.

        ``session.watch("yes", {"positive": ["good", "great"]}, 1234)``. `trace.watched(name)` has the numbers, and
        ``to_pandas()`` a column for each. Steps that were recorded already, on every branch, are scored again now, in
        batches. Runs that watch nothing do not pay for this.

        Parameters
        ----------
        tokens : the exact text of a token (``"yes"`` and ``" yes"`` are two), its id, or names with several of them,
            whose probabilities are added up
        variants : let each text stand for all of `Model.variants`: with and without a space, in lower and upper case

        Returns
        -------
        everything that is watched now : name -> ids of its tokens
        """
        sets = sets_of(self.model, tokens, variants=variants)
        with self._changed:
            self._check_idle()
            self.trace.watch(sets)
        self._rescore(sets)
        with self._changed:
            self._notify()
        return dict(self.trace.watches)

    def unwatch(self, name: str) -> None:
        """End what `watch` began, and forget its numbers."""
        with self._changed:
            self._check_idle()
            if name not in self.trace.watches:
                raise KeyError(f"{name!r} is not watched; these are: {', '.join(map(repr, self.trace.watches))}")
            self.trace.unwatch(name)
            self._notify()

    @property
    def _watch(self) -> Watch:
        return tuple(self.trace.watches.values())

    def _rescore(self, sets: Mapping[str, tuple[int, ...]]) -> None:
        """Note the probabilities of `sets` at every node that lacks them."""
        if not sets:
            return
        missing = np.any([np.isnan(self.trace.watched(name, tree=True)) for name in sets], axis=0)
        for node, values in rescored(self, np.flatnonzero(missing).tolist(), tuple(sets.values())):
            self.trace.note_watched(node, list(sets), values)

    def _look(self) -> None:
        """Make sure that there is a path to look at, and that nobody is changing it."""
        with self._changed:
            self._check_idle()
            if self._unscored and self.state == "paused":
                raise InfernoError("the prompt is not read yet: resume() or stop() first")
        self.score()

    def _seeded(self, sampler: Sampler) -> Sampler:
        _check_sampler(sampler)
        return sampler if sampler.seed is not None else replace(sampler, seed=self.sampler.seed)

    def _forced_ids(self, token: str | int) -> list[int]:
        if isinstance(token, str):
            ids = self.model.continued(token)
            if not ids:
                raise ValueError("token is empty: name a token to fork to")
            return ids
        return token_ids([token], self.model.info.n_vocab)

    def _force(self, token: int, window: Window, instead_of: int = -1) -> None:
        """Put `token` at the end of the path, as what `window` shows of it predicts it.

        That is known already if the token is among the stored alternatives to the node `instead_of`.
        """
        record = self._alternative(instead_of, token) if instead_of >= 0 else None
        record = record or self._forced(token, window)
        if window.left_out:
            self._note_settings(window)
        self._add(record)

    def _alternative(self, node: int, token: int) -> StepRecord | None:
        """The record that `token` would have had instead of `node`, if it is among the stored alternatives."""
        record = self.trace.record(node)
        found = np.flatnonzero(record.top_ids == token)
        if not len(found):
            return None
        at = int(found[0])
        alternative = as_forced(record, token, float(record.top_logprobs[at]), at + 1)
        if not self.trace.watches:
            return alternative
        same = [self.trace.watched(name, tree=True)[node] for name in self.trace.watches]  # the row is the same
        return WatchedRecord.of(alternative, np.array(same, np.float32))

    def _forced(self, token: int, window: Window) -> StepRecord:
        """The record of `token` at the end of the current path, from the whole row."""
        position = self.trace.length
        branch = self._branches.at_head(window, cancel=Stop(), progress=self._report)
        row = self.model.engine.logits(branch, window.size(position))
        record = forced(describe(row, token, self.k), token, position, window.left_out)
        return WatchedRecord.of(record, mass(row, self._watch)) if self._watch else record

    # --- the worker thread ----------------------------------------------------------------------------

    def _launch(self, max_tokens: int, stop: str | Sequence[str] = ()) -> _Run:
        left = count("max_tokens", max_tokens)
        strings = stop_strings(stop)
        with self._changed:
            self._check_idle()
            first = len(self.prompt_ids) if self._unscored else self.trace.length
            return self._begin(_Run(left, strings, first))

    def _begin(self, run: _Run) -> _Run:
        with self._changed:
            self._run, self._paused = run, None
            self._set("prefill" if self._unscored else "generating", None)
        Thread(target=self._work, args=(run,), name="inferno-session", daemon=True).start()
        return run

    def _work(self, run: _Run) -> None:
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

    def _advance(self, run: _Run) -> Finish:
        if self._unscored:
            finish = self._read_prompt(run)
            if finish == "cancelled" or not run.left:
                return finish
            self._set("generating", None)
        while True:
            window = self._window()
            if window is None:
                return "context"
            finish = self._generate(run, window)
            if finish != "context":
                return finish

    def _read_prompt(self, run: _Run) -> Finish:
        """Score the prompt, or what is left of it."""
        window, engine = Window(), self.model.engine
        branch = self._branches.at_head(window, cancel=run.cancel, progress=self._report)
        if len(self.prompt_ids) > engine.n_ctx:
            raise ContextFullError(
                f"the prompt's {len(self.prompt_ids):,} tokens do not fit into a context of {engine.n_ctx:,}, and a "
                'prompt is read whole, also with on_full="slide"; shorten it or load the model with a larger n_ctx'
            )
        self._note_settings(window)
        scoring = engine.prefill(
            branch, self._unscored, k=self.k, watch=self._watch, cancel=run.cancel, progress=self._report
        )
        try:
            return self._record(branch, window, scoring)
        finally:
            self._unscored = self.prompt_ids[self.trace.length :]

    def _window(self) -> Window | None:
        """What the model may see of the path and predict a token behind it; None where `on_full` says to stop."""
        now, length, n_ctx = self.trace.window(), self.trace.length, self.model.engine.n_ctx
        if now.size(length) < n_ctx:
            return now
        if self.on_full == "error":
            raise self._full()
        return Window.slid(length, self.keep, n_ctx) if self.on_full == "slide" else None

    def _generate(self, run: _Run, window: Window) -> Finish:
        """Generate as far as there is room in `window`."""
        branch = self._branches.at_head(window, cancel=run.cancel, progress=self._report)
        self._note_settings(window)
        begun = b"".join(self.trace.pieces[int(token)] for token in self.trace.column("token_id")[run.first :])
        mu = mu_of(self.trace, self.sampler) if self.sampler.mirostat_mode else None
        steps = self.model.engine.generate(
            branch,
            Request(self.sampler, run.left, self.k, run.stop, begun, window.left_out, mu=mu, watch=self._watch),
            cancel=run.cancel,
            progress=self._report,
            processor=self.logits_processor,
        )
        return self._record(branch, window, steps, run)

    def _record(
        self, branch: Branch, window: Window, steps: Generator[StepRecord, None, Finish], run: _Run | None = None
    ) -> Finish:
        with closing(steps):
            while True:
                try:
                    record = next(steps)
                except StopIteration as end:
                    finish: Finish = end.value
                    return finish
                self._branches.grown(branch, self._add(record), window)
                if run:
                    run.left -= 1

    def _add(self, record: StepRecord) -> int:
        ids = [record.token_id, *record.top_ids.tolist()]
        pieces = dict(zip(ids, self.model.engine.pieces(ids), strict=True))
        with self._changed:
            node = self.trace.append(record, pieces)
            self._notify()
        return node

    def _note_settings(self, window: Window, sampler: Sampler | None = None) -> None:
        """Begin a row of `trace.runs`, unless the latest has the same settings: a thousand steps are one run."""
        keep = window.keep if window.left_out else self.keep
        card, runs = {**self._card(sampler or self.sampler), "on_full": self.on_full, "keep": keep}, self.trace.runs
        if not runs or runs[-1] | {"started": card["started"]} != card:
            runs.append(card)

    def _card(self, sampler: Sampler) -> dict[str, Any]:
        return {
            "sampler": sampler.to_dict(),
            "started": time.time(),
            "versions": _versions(),
            **asdict(self.model.options),
            "n_ctx": self.model.engine.n_ctx,  # as llama.cpp rounded it
        }

    def observe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change, from whichever thread made it; it must only take note.

        Returns a function that ends this.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- beside the path ------------------------------------------------------------------------------------

    def beside(self, node: int, window: Window) -> Branch:
        """A branch of the engine, for whoever looks at what might come behind `node`; he lets go of it."""
        return self._branches.beside(node, window, cancel=Stop(), progress=self._report)

    def let_go(self, branches: Sequence[Branch]) -> None:
        """Drop branches that `beside` made, or copies of them."""
        self._branches.let_go(branches)

    def room(self) -> Window:
        """What the model sees of the path when it predicts what follows. Raises ContextFullError when it is full."""
        window = self._window()
        if window is None:
            raise self._full()
        return window

    # --- small things ---------------------------------------------------------------------------------

    def _report(self, fraction: float) -> None:
        with self._changed:
            self.progress = fraction if fraction < 1 else None
            self._notify()

    def _set(self, state: State, finish: Finish | None, error: BaseException | None = None) -> None:
        with self._changed:
            self.finish, self.error, self.progress = finish, error, None
            self.state = state  # the last: who sees it sees the rest too
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener()

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

    def _news(self, run: _Run, seen: int) -> bool:
        """Wait for more nodes than `seen`; False when the run ended without."""
        self._until(lambda: len(self.trace) > seen or self._run is not run)
        return len(self.trace) > seen

    def _join(self, run: _Run | None) -> None:
        """Wait until `run` is no more under way."""
        self._until(lambda: run is None or self._run is not run)

    def _end_of(self, run: _Run | None, timeout: float | None = None) -> bool:
        """Wait for the end of `run` and raise what went wrong; Ctrl-C ends it. False when `timeout` passes first."""
        try:
            if not self._until(lambda: run is None or self._run is not run, timeout):
                return False
        except KeyboardInterrupt:
            self.stop()
            self._join(run)
            raise
        self._raise()
        return True

    def _settle(self) -> None:
        """End whatever runs, so that the path can be changed."""
        self.stop()
        self._check_idle()

    def _check_idle(self) -> None:
        """Wait for a run that was told to end; raise if one goes on, or if the session is closed."""
        if self._run and not self._run.cancel.is_set():
            raise InfernoError("the session is already running; stop() or wait() first")
        self._join(self._run)
        if self.state == "closed":
            raise InfernoError("the session is closed; its trace can still be read")

    def _raise(self) -> None:
        if self.error:
            raise self.error

    def _full(self) -> ContextFullError:
        return ContextFullError(
            f"the context of {self.model.engine.n_ctx:,} tokens is full; load the model with a larger n_ctx, or go on "
            'with on_full="slide"'
        )


def _check_sampler(sampler: object) -> None:
    if not isinstance(sampler, Sampler):
        raise TypeError(f"sampler must be a Sampler, such as Sampler(temperature=0.8), not {sampler!r}")


@cache
def _versions() -> dict[str, str]:
    installed = {name: version(name) for name in ("llama-cpp-python", "numpy")}
    return {
        "inferno_widget": __version__,
        **installed,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _continued(trace: Trace, model: Model) -> Trace:
    """A copy of `trace` for `model` to go on with."""
    if not len(trace):
        raise InfernoError("the trace is empty: there is nothing to go on with")
    made_by = trace.model.get("fingerprint")
    if made_by != model.card["fingerprint"]:
        raise InfernoError(
            f"the trace was made by {trace.model.get('name', 'a model')} ({trace.model.get('file', 'no file')}), and "
            f"{model.card['file']} holds another model: go on with the one that made it"
        )
    return trace.copy()


def _last_sampler(trace: Trace) -> Sampler | None:
    settings = trace.runs[-1].get("sampler") if trace.runs else None
    return Sampler.from_dict(settings) if settings else None


def _prompt_of(trace: Trace) -> list[int]:
    """Token ids of the prompt, as far as it was scored."""
    nodes = np.flatnonzero(trace.column("kind", tree=True) == Kind.PROMPT)
    if not len(nodes):
        raise InfernoError("the trace has no prompt: there is nothing to go on with")
    last = nodes[trace.column("position", tree=True)[nodes].argmax()]
    ids: list[int] = trace.column("token_id", tree=True)[trace.path(int(last))].tolist()
    return ids


def _typed(steps: Generator[StepRecord, None, Finish], window: Window) -> Generator[StepRecord, None, Finish]:
    """Records of tokens that the person wrote."""
    with closing(steps):
        while True:
            try:
                record = next(steps)
            except StopIteration as end:
                finish: Finish = end.value
                return finish
            position = record.position + window.left_out
            yield record._replace(position=position, kind=Kind.FORCED, left_out=window.left_out)


def _text(model: Model, ids: Sequence[int]) -> str:
    return model.detokenize([token for token in ids if token not in model.control]).decode(errors="backslashreplace")
