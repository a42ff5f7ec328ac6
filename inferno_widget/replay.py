"""The same dice under other settings, played: the way on from the first token that differs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from .arguments import count, index
from .dice import World, mu_of, sampler_of, steps
from .engine import Finish
from .errors import Cancelled, InfernoError, brief, hint_unknown_keywords
from .growing import Run
from .record import Kind
from .rows import Rows
from .running import Running
from .sampling import Sampler
from .settings import check_sampler


@dataclass(kw_only=True)
class Replay(Run):
    """A path that is played again.

    Attributes
    ----------
    path : its nodes, int32 [n]
    settings : how tokens are chosen now; without a seed, the dice are those of each recorded run
    seeds : of the dice at each position of the path, [n]; behind it the last go on
    begun : position from which it is played again
    most : tokens to generate at most; as many as the path has when None
    at : position at which it left the path, or tries to
    diverged : whether it did
    edges : positions at which the model, asked again, chose the recorded token after all: the draw falls on an edge
    """

    path: NDArray[np.int32] = field(repr=False)
    settings: Sampler
    seeds: list[int] = field(repr=False)
    begun: int
    most: int | None
    at: int = -1
    diverged: bool = False
    edges: set[int] = field(default_factory=set)

    def with_dice(self, seed: int | None) -> Sampler:
        """The settings with these dice, unless they have their own."""
        return self.settings if self.settings.seed is not None else replace(self.settings, seed=seed)

    def sampler_at(self, position: int) -> Sampler:
        """What chooses the token at a position."""
        return self.with_dice(self.seeds[min(position, len(self.seeds) - 1)])

    def stretch(self, position: int) -> int:
        """How many tokens are still to be generated from a position on, with the same dice."""
        seeds, left = self.seeds[position:], self.end - position
        return min(left, next((n for n, seed in enumerate(seeds) if seed != seeds[0]), left))

    @property
    def end(self) -> int:
        """Length of the path when it is done."""
        return len(self.path) if self.most is None else self.at + self.most


class Replaying(Running):
    """Playing a path again.

    Attributes
    ----------
    replayed : position of the first token at which the latest `replay` took another; None where nothing differed
    """

    replayed: int | None = None

    @hint_unknown_keywords
    def replay(self, sampler: Sampler | None = None, from_: int = 0, max_tokens: int | None = None) -> Self:
        """The same prompt and the same dice under other settings: what would have come?

        Walks along the generated tokens of the current path behind position `from_`. As long as the token stays the
        same nothing is decoded, and the records stay as they are: the stored candidates decide, and where they do not
        suffice the whole rows are fetched, in batches. At the first token that differs a new branch begins;
        `replayed` is its position then, and its node is in ``trace.diverged``. If nothing differs, `replayed` is None
        and the session stays where it was. Forced tokens stay up to there. What was predicted under other interventions
        than are in force now is predicted anew: inside `intervene` it is the same dice on the changed model.

        Like any run it can be paused and stopped (Ctrl-C too); before another token came, the session then stays on
        its path.

        Parameters
        ----------
        sampler : how tokens are chosen now. Without a seed it takes the dice that were recorded; with one it takes
            its own, and if that is another, so are the dice. The session's settings with the recorded dice when None.
            The session's own sampler stays as it is
        from_ : position from which on tokens may differ
        max_tokens : tokens to generate at most, from the first that differs on; until the path is as long as it was
            when None

        Raises
        ------
        IndexError
            If `from_` is not on the path.
        InfernoError
            If nothing was generated behind it, or the session has a logits processor: the recorded predictions do not
            have what that changes.

        Notes
        -----
        A row that is computed anew equals the recorded one up to rounding. A draw that falls within that of an edge
        may go the other way.
        """
        with self._interruptible():
            self._end_of(self._launch_replay(sampler, from_, max_tokens))
        return self

    @hint_unknown_keywords
    def start_replay(self, sampler: Sampler | None = None, from_: int = 0, max_tokens: int | None = None) -> None:
        """`replay` in the background: returns at once."""
        self._launch_replay(sampler, from_, max_tokens)

    def _launch_replay(self, sampler: Sampler | None, from_: int, most: int | None) -> Run:
        if sampler is not None:
            check_sampler(sampler, self.model)
        from_ = index("from_", from_)
        most = None if most is None else count("max_tokens", most)
        with self._changing, self._changed:
            self._check_idle()
            self._check_replay(from_)
            path, settings = self.trace.path(), sampler or replace(self.sampler, seed=None)
            run = Replay(
                left=0,
                stop=(),
                first=self.trace.length,
                path=path,
                settings=settings,
                seeds=self._seeds(path) if settings.seed is None else [settings.seed] * len(path),
                begun=from_,
                most=most,
            )
            self.replayed = None
            return self._begin(run)

    def _check_replay(self, from_: int) -> None:
        if self.logits_processor:
            raise InfernoError(
                "a replay chooses from the recorded predictions, and a logits processor changes them: set "
                "session.logits_processor = None to play without it, or goto() the prompt and generate() with it"
            )
        length, kinds = self.trace.length, self.trace.column("kind")
        if length and not 0 <= from_ < length:
            raise IndexError(f"from_ must be between 0 and {length - 1:,}, a position of the path, not {brief(from_)}")
        if not np.any(kinds[from_:] == Kind.GENERATED):
            raise InfernoError(
                f"no token behind position {from_:,} of this path was generated: there is nothing to play again"
            )

    def _seeds(self, path: NDArray[np.int32]) -> list[int]:
        """Of the dice at each position of a path, as recorded."""
        runs = self.trace.nodes["run"][path].tolist()
        seeds = {run: cast("int", sampler_of(self.trace, run).seed) for run in set(runs)}
        return [seeds[run] for run in runs]

    # --- in the worker thread -------------------------------------------------------------------------------

    def _advance(self, run: Run) -> Finish:
        if not isinstance(run, Replay):
            return super()._advance(run)
        if not run.diverged:
            finish = self._diverge(run)
            if finish != "length" or not run.diverged:
                return finish
        while self.trace.length < run.end:
            finish = self._play(run, run.stretch(self.trace.length))
            if finish != "length":
                return finish
        return "length"

    def _diverge(self, run: Replay) -> Finish:
        """Go on to the first token that differs and choose that, or find that none does."""
        home = int(run.path[-1])
        while (world := self._first_difference(run)).at is not None:
            run.at = world.at
            run.replay = {"of": home, "from": run.begun, "at": run.at}
            if run.sampler_at(run.at).mirostat_mode:
                run.replay["mu"] = world.mu
            self.trace.goto(int(run.path[run.at - 1]))
            try:
                finish = self._play(run, 1)
            finally:
                came = self.trace.length > run.at
                if not came:
                    self.trace.goto(home)
            if not came:
                return finish
            tokens = self.trace.nodes["token_id"]
            if tokens[self.trace.head] != tokens[run.path[run.at]]:
                self._mark(run)
                return finish
            run.edges.add(run.at)
        self.trace.goto(home)
        return "length"

    def _first_difference(self, run: Replay) -> World:
        """The first token that is another now. Raises Cancelled where nobody wants to know any more."""
        blind = self._seen(run, None)
        if not blind.unknown:
            return blind
        rows = Rows(self, run.path, blind.unknown, cancel=run.cancel, progress=self._report)
        found = self._seen(run, rows)
        self._report(1)
        if run.cancel.is_set():
            raise Cancelled("the replay was stopped")
        return found

    def _seen(self, run: Replay, rows: Rows | None) -> World:
        """A world that has seen all tokens up to the first that differs."""
        world, sampler = World(lambda old: run.with_dice(old.seed), self.engine), run.sampler_at(run.begun)
        if sampler.mirostat_mode and run.begun:
            world.begin(sampler, mu_of(self.trace, sampler, int(run.path[run.begun - 1])))
        for step in steps(self.trace, run.path, rows, run.begun, self.in_force):
            world.see(step)
            if world.at in run.edges:
                world.at = None
            if world.at is not None:
                break
        return world

    def _play(self, run: Replay, n: int) -> Finish:
        """Generate `n` tokens with the dice of their positions."""
        position, noted = self.trace.length, dict(run.replay or {})
        if set(run.seeds[run.at : position + 1]) != {run.seeds[run.at]}:
            noted.pop("mu", None)  # other dice are a run of their own, which goes on from where this one is
        return self._go_on(Run(n, (), position, run.cancel, sampler=run.sampler_at(position), replay=noted))

    def _mark(self, run: Replay) -> None:
        with self._changed:
            run.diverged = True
            self.replayed = run.at
            self.trace.diverged = [*dict.fromkeys([*self.trace.diverged, self.trace.head])]
            self._notify()
