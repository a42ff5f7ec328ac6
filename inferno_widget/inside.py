"""What every session can do inside the model: look, and change what goes on there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

from .branches import Branches
from .capturing import Capture
from .causal import CausalMap, causal_map
from .engine.client import EngineClient
from .engine.second import SecondClient
from .errors import InfernoError, hint_unknown_keywords
from .inspection import LIMIT, Attribution, Inspection, Positions, Sight, Telling, What, attribution, inspect
from .interventions import Intervention, checked
from .looking import Looking


class World(NamedTuple):
    """Where a session is decoded, and what is changed there."""

    engine: EngineClient
    branches: Branches
    interventions: tuple[Intervention, ...]


class Inside(Looking):
    """What every session can do inside the model.

    Attributes
    ----------
    capturing : what keeps something of each step where it is decoded now, if anything does
    """

    capturing: Capture | None = None

    @property
    def taps(self) -> SecondClient:
        """Where the inside is looked at: with the interventions that are in force, if any are."""
        return self.engine if isinstance(self.engine, SecondClient) else self.model.taps

    @hint_unknown_keywords
    def inspect(
        self,
        at: Positions = None,
        what: What | Sequence[What] = ("attention", "residual"),
        layers: int | Sequence[int] | None = None,
        *,
        k: int = 10,
        limit: int = LIMIT,
        progress: Telling | None = None,
    ) -> Inspection:
        """What went on inside the model while it read tokens of the current path.

        It is computed again, beside the session, in a second context with a KV cache of its own: state, trace and the
        cache of the session stay as they are; a prompt that is not scored yet need not be. What was read there before
        is not read again. Interventions that are in
        force are in force there too.

        Parameters
        ----------
        at : position of a token (from the end when negative), a slice or a range; the whole path when None. What is
            shown for a position is what the model did when it read that token, to predict the one behind it
        what : any of "attention", "residual", "lens", "mlp", "attn_out", "heads"
        layers : blocks; all when None
        k : tokens that the lens names
        limit : bytes that the arrays may take, 1 GiB unless told otherwise; more is an error, before it is computed
        progress : told the finished fraction; returning False ends it with `Cancelled`

        Raises
        ------
        InfernoError
            If this model does not have what is asked for there (recurrent layers have no attention), or it is too much.
        """
        self._rest()
        return inspect(self, at, what, layers, k=k, limit=limit, progress=progress)

    @hint_unknown_keywords
    def attribution(
        self, at: int | None = None, token: str | int | None = None, *, progress: Telling | None = None
    ) -> Attribution:
        """How much each layer's attention and MLP added to a token's logit (the last norm linearised).

        Parameters
        ----------
        at : position of the token that is predicted, from 1; the next one, behind the path, when None
        token : whose logit; when None the one that came there, or the most likely one behind the path
        progress : as in `inspect`
        """
        self._look()
        return attribution(self, at, token, progress)

    @hint_unknown_keywords
    def causal_map(
        self,
        at: int | None = None,
        layers: int | Sequence[int] | None = None,
        *,
        last: bool = False,
        progress: Telling | None = None,
    ) -> CausalMap:
        """Which heads a prediction hangs on: its distribution once more without each head, in batches.

        Parameters
        ----------
        at : position of the token that is predicted, from 1; the next one, behind the path, when None
        layers : blocks whose heads are tried; all when None
        last : switch a head off only while the last token is read. That is much quicker, since the text before it is
            read once; but what the head did there before is still at work. `Ablate` is the other way
        progress : told the finished fraction; returning False ends it early, with the heads that were tried
        """
        self._look()
        return causal_map(self, at, layers, last=last, progress=progress)

    @hint_unknown_keywords
    def capture(
        self,
        what: What | Sequence[What] = ("attention", "residual"),
        layers: int | Sequence[int] | None = None,
        positions: range | None = None,
        *,
        k: int = 10,
        limit: int = LIMIT,
    ) -> Capture:
        """Keep what goes on inside the model at the steps to come: ``with session.capture() as captured: ...``.

        Until it is stopped, the session is decoded in a second context without flash attention, where each step is
        looked at as it happens; `Capture.take` gives the arrays of the tokens on the path. The lens is computed when
        they are taken. What is decoded of several branches at once, such as a look-ahead, is not captured, nor what is
        generated under interventions that begin later: begin the capture inside them.

        Parameters
        ----------
        what, layers, k : as in `inspect`
        positions : of which tokens of the path, a range from 0 on; from the last one there is now, which predicts the
            next, when None. Of earlier ones there is what is read again: all, if the session has run elsewhere before
        limit : bytes that may be kept, 1 GiB unless told otherwise; at more the run ends with an error that says so
        """
        self._settle()
        return Capture(self, what, layers, positions, k, limit)

    @contextmanager
    def intervene(self, *interventions: Intervention) -> Iterator[Self]:
        """Change the inside of the model for as long as the ``with`` lasts.

        Whatever the session does in it (generate, fork, look ahead, resample, inspect, ...) is done by the changed
        model, which reads the path anew with a KV cache of its own. The trace records the interventions in its
        `runs`. Leaving brings the session back to where it was: the path, its records and its cache are untouched, and
        what was made meanwhile stays as a branch of the trace. One in the other adds up.

        Parameters
        ----------
        interventions : `Ablate`, `Scale`, `Steer` or `Patch`, made in this order
        """
        changes = (*self.interventions, *checked(interventions, self.model.info.n_embd))
        self._settle()
        head, unscored = self.trace.head, self._unscored
        engine = self.model.second([each.edit() for each in changes])
        try:
            engine.start()  # which says if the model has no such place
        except BaseException:
            engine.close()
            raise
        before, capturing = self.work_in(engine, changes), self.capturing
        self.capturing = None
        try:
            yield self
        finally:
            if not sys.is_finalizing():  # else the threads stand still that would answer
                with self.idle():
                    self.check_innermost(engine)
                    if self.capturing:
                        self.capturing.stop()
                    self.work_back(engine, before)
                    self.capturing = capturing
                    if self.state != "closed":
                        self.trace.goto(head)
                        self._unscored = unscored
                        self._set("ready", None)

    def sight(self) -> Sight:
        """The path as it is now, for whoever looks at it for longer."""
        with self._changed:
            return Sight(self.path_ids, self.trace.window())

    # --- in which context -----------------------------------------------------------------------------------

    def work_in(self, engine: EngineClient, interventions: tuple[Intervention, ...] | None = None) -> World:
        """Decode in another context from now on; where it was decoded until now."""
        self._settle()
        with self._changed:
            before = World(self.engine, self._branches, self.interventions)
            self.engine, self._branches = engine, Branches(engine, self.trace)
            self.interventions = self.interventions if interventions is None else interventions
        return before

    def work_back(self, engine: EngineClient, before: World) -> None:
        """Decode where it was decoded before; what was decoded in `engine` meanwhile is let go of."""
        self.check_innermost(engine)
        with self._changed:
            self._branches.release()
            self.engine, self._branches, self.interventions = before
        engine.close()

    def check_innermost(self, engine: EngineClient) -> None:
        """Raise InfernoError unless the session is decoded in `engine` now."""
        if self.engine is not engine:
            raise InfernoError("what began later ends first: leave the interventions or captures inside this one")

    @contextmanager
    def idle(self) -> Iterator[None]:
        """End whatever runs, for as long as the block lasts."""
        self.stop()
        self._join(self._run)
        yield
