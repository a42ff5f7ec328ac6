"""A session: a text under way, and the roads that it did not take."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from .arguments import count, index, predicted, token_id
from .engine import Finish
from .engine.stop import Stop, interruptible
from .errors import Cancelled, InfernoError, brief, check_text, counted, hint_unknown_keywords
from .inside import Inside
from .lookahead import Continuation, as_forced, forced
from .record import Kind, StepRecord, WatchedRecord
from .running import changing
from .stats import describe, mass
from .tree import BranchInfo, branches_of, end_of, found, hidden_nodes, stays, walked
from .window import Window


@hint_unknown_keywords
class Session(Inside):
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
    replayed : position at which the latest `replay` left the path; None where nothing differed
    error : what ended the last run with an exception, or None
    progress : finished fraction of a prefill, or None
    """

    # --- the road not taken ---------------------------------------------------------------------------

    @changing
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
        predicted("at", at, len(path))
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

    def stores(self, node: int, token: int) -> bool:
        """Whether the record of `token` in place of `node` is stored, so that a fork to it needs no computing."""
        return self.recorded_alike(node) and token in self.trace.record(node).top_ids

    @changing
    def goto(self, node: int | str) -> Session:
        """Make the path to `node` the current one; what is still in the KV cache is used again.

        -1 is the empty path, from which the prompt is scored anew. A branch that has a name may be called by it; one
        that was pruned is shown again.
        """
        self._settle()
        node = end_of(self.trace, node)
        self.trace.goto(node)
        self._unscored = [] if node >= 0 else list(self.prompt_ids)
        self._set("ready", None)
        return self

    # --- the tree ---------------------------------------------------------------------------------------

    @changing
    def rewind(self, n: int = 1) -> Session:
        """Go back by `n` tokens. What was there stays in the trace, and `goto` leads there again."""
        n, path = count("n", n), self.trace.path()
        if n > len(path):
            raise IndexError(f"n: the path has {counted(len(path), 'token')}: it cannot be rewound by {brief(n)}")
        return self.goto(int(path[-1 - n]) if n < len(path) else -1)

    @changing
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
        return self.trace.path(None if node is None else end_of(self.trace, node))

    def name_branch(self, name: str, node: int | str | None = None) -> None:
        """Call the branch through `node` (the head when None) by a name; the name goes on with it when it grows.

        A later fork from it has no name. A name that another branch has is taken from it. An empty name takes away the
        one that the branch has.
        """
        with self._changed:
            self.trace.name_branch(name, node)
            self._notify()

    def prune(self, node: int | str) -> None:
        """Hide the branch through `node`, from where it left the others; `restore`, or going there, shows it again.

        Going back is a record: nothing is deleted. Its KV cache is let go of.
        """
        with self._changed:
            self._check_idle()
            self.trace.prune(node)
            self._notify()
        self._branches.forget(set(np.flatnonzero(hidden_nodes(self.trace)).tolist()))

    def restore(self, node: int | str) -> None:
        """Show a branch again that `prune` hid."""
        with self._changed:
            self.trace.restore(node)
            self._notify()

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
        self._note_changes(window)
        scoring = self.engine.prefill(branch, ids, k=self.k, watch=self._watch, cancel=cancel, progress=self._report)
        try:
            with interruptible(cancel):
                finish = self._record(branch, window, _typed(scoring, window))
        except BaseException:
            self._branches.release()  # the engine may have gone further than the trace
            raise
        if finish == "cancelled":
            raise Cancelled("stopped before all of the new text was read")

    @changing
    def take(self, way: Continuation, n: int | None = None) -> Session:
        """Go the way that a look-ahead or a resample of this session showed: its first `n` tokens join the trace.

        They are recorded as they were shown, and nothing is computed. A token that the path goes through already is
        not recorded again. All its tokens when `n` is None.
        """
        if not isinstance(way, Continuation):
            raise TypeError(f"way must be a continuation, such as lookahead()[0], not {brief(way)}")
        if way.place.trace is not self.trace:
            raise ValueError("this way was shown by another session, and its numbers hold for that text alone")
        if way.place.interventions != self.in_force:
            raise InfernoError(
                "this way was shown under other interventions than are in force now, and its numbers hold for these "
                "alone: look ahead again, or take it inside the same `with`"
            )
        self._settle()
        records = way.records[: len(way.records) if n is None else count("n", n)]
        self.trace.goto(way.place.node)
        for record in records:
            node = self.trace.child(self.trace.head, record.token_id)
            if node is not None and self.recorded_alike(node):
                self.trace.goto(node)
                continue
            self._note_settings(way.place.window, way.sampler)
            self._add(record)
        self._rescore(self.trace.watches)
        self._set("ready", None)
        return self

    # --- small things -----------------------------------------------------------------------------------

    def _forced_ids(self, token: str | int) -> list[int]:
        if isinstance(token, str):
            check_text("token", token)
            ids = self.model.continued(token)
            if not ids:
                raise ValueError("token is empty: name a token to fork to")
            return ids
        return [token_id("token", token, self.model.info.n_vocab)]

    def _force(self, token: int, window: Window, instead_of: int = -1) -> None:
        """Put `token` at the end of the path, as what `window` shows of it predicts it.

        That is known already if the token is among the stored alternatives to the node `instead_of`.
        """
        known = instead_of >= 0 and self.stores(instead_of, token)
        record = self._alternative(instead_of, token) if known else self._forced(token, window)
        self._note_changes(window)
        self._add(record)

    def _alternative(self, node: int, token: int) -> StepRecord:
        """The record that `token`, which is among the stored alternatives, would have had instead of `node`."""
        record = self.trace.record(node)
        at = int(np.flatnonzero(record.top_ids == token)[0])
        alternative = as_forced(record, token, float(record.top_logprobs[at]), at + 1)
        if not self.trace.watches:
            return alternative
        same = [self.trace.watched(name, tree=True)[node] for name in self.trace.watches]  # the row is the same
        return WatchedRecord.of(alternative, np.array(same, np.float32))

    def _forced(self, token: int, window: Window) -> StepRecord:
        """The record of `token` at the end of the current path, from the whole row."""
        position = self.trace.length
        branch = self._branches.at_head(window, cancel=Stop(), progress=self._report)
        row = self.engine.logits(branch, window.size(position))
        record = forced(describe(row, token, self.k), token, position, window.left_out)
        return WatchedRecord.of(record, mass(row, self._watch)) if self._watch else record


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
