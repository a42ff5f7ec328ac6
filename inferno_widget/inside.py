"""What every session can do inside the model: look, and change what goes on there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from .branches import Branches
from .engine.client import EngineClient
from .engine.second import SecondClient
from .errors import hint_unknown_keywords
from .inspection import LIMIT, Attribution, Inspection, Positions, Telling, What, attribution, inspect
from .interventions import Intervention, checked
from .looking import Looking


class Inside(Looking):
    """What every session can do inside the model."""

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
        cache of the session stay as they are. What was read there before is not read again. Interventions that are in
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
        self._look()
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
        added = checked(interventions, self.model.info.n_embd)
        self._settle()
        before = self.engine, self._branches, self.interventions
        head, unscored = self.trace.head, self._unscored
        changes = (*self.interventions, *added)
        engine = SecondClient(self.model.engine, [each.edit() for each in changes])
        try:
            engine.start()  # which says if the model has no such place
            self._work_in(engine, Branches(engine, self.trace), changes)
            yield self
        finally:
            if self.engine is engine:
                self.stop()
                self._join(self._run)
                self._branches.release()
                self._work_in(*before)
            engine.close()
            if self.state != "closed":
                self.trace.goto(head)
                self._unscored = unscored
                self._set("ready", None)

    def _work_in(self, engine: EngineClient, branches: Branches, interventions: tuple[Intervention, ...]) -> None:
        """Decode in another context from now on."""
        with self._changed:
            self.engine, self._branches, self.interventions = engine, branches, interventions
