"""What every session can do beside its path: look ahead, resample, watch, and ask why and what if."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import count, flag, function, index, stop_strings
from .dice import WhatIf, one_parameter, what_if
from .engine.stop import Stop
from .errors import InfernoError, brief, check_text, hint_unknown_keywords
from .lookahead import Each, Lookahead, beside, look_ahead, place_at
from .record import Floats
from .replay import Replaying
from .resample import By, Commitment, EachCurve, Resample, commitment, resample
from .rows import Rows, Told
from .sampling import Sampler
from .settings import check_sampler
from .watching import Watchable, rescored, sets_of
from .xray import xray

if TYPE_CHECKING:
    from .sampling.explain import Stage


class Looking(Replaying):
    """What every session can do beside its path; nothing here moves it."""

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
        sampler : what chooses the tokens that follow; when None the most likely ones that the session's grammar, if it
            has one, allows. One without a seed throws the
            session's own dice, so that ``lookahead(sampler=session.sampler)`` shows what `fork` and `generate` would
            make of each alternative
        each : called with (index of the alternative, record) for every token as it comes, from this thread; the
            look-ahead ends early, with what it has, if that returns False
        """
        k, depth, each = count("k", k), count("depth", depth), function("each", each)
        self._look()
        chosen = self._seeded(Sampler(temperature=0, grammar=self.sampler.grammar) if sampler is None else sampler)
        return look_ahead(self, min(k, self.model.info.n_vocab), depth, at, chosen, each)

    @hint_unknown_keywords
    def resample(
        self,
        at: int | None = None,
        n: int = 32,
        max_tokens: int = 16,
        *,
        by: By = None,
        stop: str | Sequence[str] | None = (),
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
        each = function("each", each)
        self._look()
        chosen = self._seeded(self.sampler if sampler is None else sampler)
        return resample(self, at, n, max_tokens, by=by, stop=strings, sampler=chosen, each=each)

    @hint_unknown_keywords
    def commitment(
        self,
        start: int | None = None,
        n: int = 16,
        max_tokens: int | None = None,
        *,
        by: By = None,
        stop: str | Sequence[str] | None = (),
        every: int = 1,
        sampler: Sampler | None = None,
        each: EachCurve | None = None,
    ) -> Commitment:
        """From which token on was the answer decided? Resamples the rest of the text from each of its prefixes.

        Parameters
        ----------
        start : position where the answer's text begins; behind the prompt when None
        n : continuations from each prefix
        max_tokens : length of the text that an answer is read from, counted from `start`; what the path has when None
        by, stop : as in `resample`; the answer is read from the prefix (from `start` on) and its continuation
        every : take only each so manieth prefix
        sampler : as in `resample`
        each : called with the curve so far for every token that is made, from this thread; the work ends early, with
            the positions that are done, if that returns False
        """
        n, every, strings, each = count("n", n), count("every", every), stop_strings(stop), function("each", each)
        self._look()
        chosen = self._seeded(self.sampler if sampler is None else sampler)
        first = len(self.prompt_ids) if start is None else index("start", start)
        length = self.trace.length
        if not 1 <= first < length:
            raise IndexError(f"start must be between 1 and {length - 1}, a token of the text, not {brief(first)}")
        most = length - first if max_tokens is None else count("max_tokens", max_tokens)
        positions = range(first, min(length, first + most), every)
        return commitment(self, positions, n, most, by=by, stop=strings, sampler=chosen, each=each)

    @hint_unknown_keywords
    def watch(
        self, *tokens: Watchable, variants: bool = False, each: Callable[[int], object] | None = None
    ) -> dict[str, tuple[int, ...]]:
        """Note the exact probability of tokens, over the whole vocabulary, at every step past and future.

        ``session.watch("yes", {"positive": ["good", "great"]}, 1234)``. `trace.watched(name)` has the numbers, and
        ``to_pandas()`` a column for each. Steps that were recorded already, on every branch, are scored again now, in
        batches. Runs that watch nothing do not pay for this.

        Parameters
        ----------
        tokens : the exact text of a token (``"yes"`` and ``" yes"`` are two), its id, or names with several of them,
            whose probabilities are added up
        variants : let each text stand for all of `Model.variants`: with and without a space, in lower and upper case
        each : called with every node that was scored again, from this thread; the others are left to the next `watch`
            if that returns False

        Returns
        -------
        everything that is watched now : name -> ids of its tokens
        """
        each, sets = function("each", each), sets_of(self.model, tokens, variants=flag("variants", variants))
        with self._changed:
            self._check_idle()
            self.trace.watch(sets)
        self._rescore(self.trace.watches, each)  # also what an earlier watch has left
        with self._changed:
            self._notify()
        return dict(self.trace.watches)

    def unwatch(self, name: str) -> None:
        """End what `watch` began, and forget its numbers."""
        check_text("name", name)
        with self._changed:
            self._check_idle()
            if name not in self.trace.watches:
                known = ", ".join(map(repr, self.trace.watches)) or "none"
                raise KeyError(f"{brief(name)} is not watched; these are: {known}")
            self.trace.unwatch(name)
            self._notify()

    # --- why, and what if -----------------------------------------------------------------------------------

    def row(self, at: int) -> Floats:
        """The raw row of logits that predicts the token at position `at`: float32 [n_vocab], a copy.

        It is computed beside the path: trace, state and the branches under way stay as they are.

        Parameters
        ----------
        at : position on the current path, from 1 to its length, which is the next token
        """
        self.check_open()
        place = place_at(self, at)
        with beside(self, place) as branch:
            return self.engine.logits(branch, place.size)

    def recorded_row(self, at: int) -> Floats:
        """The same, of a token that was predicted as it would be now. Raises InfernoError where it was not."""
        if not self.recorded_alike(self.trace.node_at(at)):
            raise InfernoError(
                f"the token at position {at:,} was predicted under other interventions than are in force now, and its "
                "record does not say it: ask inside the same `with`, or for as few candidates as the record has"
            )
        return self.row(at)

    @hint_unknown_keywords
    def explain(self, at: int | None = None, sampler: Sampler | None = None, top: int = 20) -> list[Stage]:
        """What every stage of the sampler did to the prediction of a token, and why; the last stage is the draw.

        The token's record is read where that suffices; else the whole row is computed, as by `row`. History, window,
        dice and mirostat's state are those of the token.

        Parameters
        ----------
        at : position on the current path; counts from the end when negative, the newest token when None
        sampler : other settings to explain it with; without a seed, with the recorded dice. Those that the token was
            chosen with when None (or would have been, where it was forced)
        top : candidates to list in each part

        Notes
        -----
        A logits processor is no stage: where there was one, the token may be another than the draw's.
        """
        if sampler is not None:
            check_sampler(sampler, self.model)
        place = None if at is None else index("at", at)
        engine = self.engine
        return xray(self.trace, place, sampler, count("top", top), vocabulary=engine, row=self.recorded_row).stages

    def what_if(self, *, progress: Told | None = None, **parameter: Any) -> WhatIf:
        """Where the path would first differ if one parameter had had another value, with the same dice.

        ``session.what_if(temperature=[0.2, 0.5, 1])``. The stored candidates answer most of it; where they do not
        suffice, whole rows are computed beside the path, in batches: not of tokens that were predicted under other
        interventions than are in force now, which stay unknown. See `dice.what_if`, which asks a trace alone.

        Parameters
        ----------
        progress : told the fraction of the rows that were needed at most, from this thread. If it returns False, no
            more are computed: what is not known then is marked as `FirstChange.unknown`
        **parameter : one parameter of `Sampler` and the values to try
        """
        progress = function("progress", progress)
        values: dict[str, Any] = dict([one_parameter(parameter)])
        node, engine = self.trace.head, self.engine
        blind = what_if(self.trace, node=node, vocabulary=engine, **values)
        if not blind.unknown:
            return blind
        path = self.trace.path(node)
        alike = [at for at in blind.unknown if self.recorded_alike(int(path[at]))]
        rows = Rows(self, path, alike, cancel=Stop(), progress=progress)
        return what_if(self.trace, rows, node=node, vocabulary=engine, **values)

    # --- small things -----------------------------------------------------------------------------------

    def _rescore(self, sets: Mapping[str, tuple[int, ...]], each: Callable[[int], object] | None = None) -> None:
        """Note the probabilities of `sets` at every node that lacks them; a run may go on meanwhile."""
        if not sets:
            return
        missing = np.any([np.isnan(self.trace.watched(name, tree=True)) for name in sets], axis=0)
        nodes = [node for node in np.flatnonzero(missing).tolist() if self.recorded_alike(node)]
        with closing(rescored(self, nodes, tuple(sets.values()))) as found:
            for node, values in found:
                with self._changed:  # which is held where the trace grows
                    self.trace.note_watched(node, list(sets), values)
                if each and each(node) is False:
                    return

    def _look(self) -> None:
        """Make sure that there is a path to look at, and that nobody is changing it."""
        self._rest()
        self.score()

    def _rest(self) -> None:
        """Make sure that nobody is changing the path."""
        with self._changed:
            self._check_idle()
            if self._unscored and self.state == "paused":
                raise InfernoError("the prompt is not read yet: resume() or stop() first")

    def _seeded(self, sampler: Sampler) -> Sampler:
        check_sampler(sampler, self.model)
        return sampler if sampler.seed is not None else replace(sampler, seed=self.sampler.seed)
