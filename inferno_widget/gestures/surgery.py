"""Changes of the inside of the model at the workbench: tried at one token, or in force for a session."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.second import SecondClient
from ..engine.stop import Stop
from ..errors import Cancelled, InfernoError
from ..interventions import Intervention, steering_vector
from ..jobs import Job
from ..stats import divergence, leading, logprobs
from .base import Base, alone
from .edits import TEXTS, Edits, check_layers, edits_code, intervention_of, read_edits
from .inside import View
from .words import texts_of

if TYPE_CHECKING:
    from ..library import Opened
    from ..model import Model
    from ..record import Floats
    from ..session import Session

TOP = 12
"""Tokens that are listed of each of two distributions."""


class Surgery(NamedTuple):
    """Interventions that are in force in a session.

    Attributes
    ----------
    edits : as the page shows them
    changes : the same
    held : the context that is open
    engine : where the session is decoded meanwhile
    """

    session: Session
    edits: Edits
    changes: tuple[Intervention, ...]
    held: AbstractContextManager[object]
    engine: SecondClient


class Operating(Base):
    """Try_edits, intervene."""

    @alone
    def try_edits(self, node: int, edits: Sequence[Any]) -> Job[dict[str, Any]]:
        """The distribution at a node's token by the untouched model, and under these edits alone: `Tried`."""
        session, opened = self._awake(), self._something()
        if opened.busy:
            raise InfernoError("the model is busy: pause the run to try this")
        given = read_edits(edits)
        at = None if node < 0 else self._position(node)

        def work(job: Job[dict[str, Any]]) -> dict[str, Any]:
            view = View(self._looked, opened.id, session, at, job)
            if view.length < 2:
                raise InfernoError("nothing predicts the first token: select a later one")
            changes = self._made(given, session.model, view.ended.cancel)
            ids = text_before(view)
            before = view.known(("untouched row",), lambda: row_behind(session.model.taps, ids, view.ended.cancel))
            with closing(session.model.second([each.edit() for each in changes])) as engine:
                after = row_behind(engine, ids, view.ended.cancel)
            code = f"with session.intervene({edits_code(given)}): row = session.row({view.length - 1})"
            return {"node": view.node, **compared(before, after, view), "code": code}

        return self._start_job("try_edits", work)

    @alone
    def intervene(self, edits: Sequence[Any]) -> Job[None]:
        """Have these edits in force in the session on display, in place of others; none gives the untouched path back.

        They stay its own: another session of the list has none, or its own. One that Run begins with the same model
        takes them over.
        """
        given = read_edits(edits)
        session, opened = self._settled(), self._something()
        session.stop()
        under = f"with session.intervene({edits_code(given)}): ..."
        self.code = under if given else "# behind the with: the untouched path again"

        def work(job: Job[None]) -> None:
            cancel = Stop()
            job.at_enough(cancel.set)
            changes = self._made(given, session.model, cancel)
            if not job.wanted:
                raise Cancelled("it was ended before anything was changed")
            self._leave(opened, stay=False)
            if changes:
                self._operate(opened, session, given, changes)
            elif not session.trace.length:
                session.score()  # it began under interventions: the untouched model has not read the prompt yet
            if self.library.shown is opened:
                self.selection = -1
            self._news()

        return self._start_job("intervene", work)

    def _made(self, edits: Edits, model: Model, cancel: Stop) -> tuple[Intervention, ...]:
        """The interventions; the directions of steering are worked out from their texts, once."""
        check_layers(edits, model)
        made = []
        for edit in edits:
            vector = None
            if edit["kind"] == "steer":
                key = ("vector", model.card["fingerprint"], edit["layer"], *(tuple(edit[name]) for name in TEXTS))
                vector = self._looked.get(key)
                if vector is None:
                    if cancel.is_set():
                        raise Cancelled("it was ended before anything was changed")
                    vector = steering_vector(model, edit["positive"], edit["negative"], edit["layer"])
                    self._looked.keep(key, vector)
            made.append(intervention_of(edit, vector))
        return tuple(made)

    def _operate(self, opened: Opened, session: Session, edits: Edits, changes: tuple[Intervention, ...]) -> None:
        """Put interventions in force; whoever follows the session goes on inside."""
        if self._follower:
            self._follower.detach()
        held = session.intervene(*changes)
        held.__enter__()  # it is left when a person says so
        assert isinstance(session.engine, SecondClient)
        self._surgeries[opened] = Surgery(session, edits, changes, held, session.engine)
        if self._follower and self.library.shown is opened:
            self._follower.attach(session)

    def _leave(self, opened: Opened, *, stay: bool = True) -> None:
        """End the interventions of a session. With `stay` what they made stays its path, else it is the one before.

        Raises
        ------
        InfernoError
            If something was begun in Python inside them that has not ended.
        """
        surgery = self._surgeries.get(opened)
        if surgery is None:
            return
        if self._follower:
            self._follower.detach()
        session, head = surgery.session, surgery.session.trace.head
        session.check_innermost(surgery.engine)
        del self._surgeries[opened]
        surgery.held.__exit__(None, None, None)
        if stay and session.state != "closed":
            session.goto(head)
        if self._follower and self.library.shown is opened and session.state != "closed":
            self._follower.attach(session)

    def _hand_over(self, before: Opened | None, opened: Opened) -> None:
        """Have a new session begin under the interventions of the one that it follows upon."""
        surgery = self._surgeries.get(before) if before else None
        self._sweep()
        if before is None or surgery is None or opened.session is None:
            return
        if surgery.session.model is opened.session.model:
            self._leave(before)
            self._operate(opened, opened.session, surgery.edits, surgery.changes)

    def _sweep(self) -> None:
        """End the interventions of sessions that are not in the list any more."""
        for opened in list(self._surgeries):
            if opened not in self.library.sessions:
                self._leave(opened)

    @property
    def edits(self) -> Edits:
        """The interventions in force in the session on display."""
        surgery = self._surgeries.get(self.library.shown) if self.library.shown else None
        return surgery.edits if surgery else []


def text_before(view: View) -> list[int]:
    """Ids that the model sees before the last token of a view."""
    seen = view.session.sight().seen
    ids: list[int] = view.trace.column("token_id")[seen[seen < view.length - 1]].tolist()
    return ids


def row_behind(engine: SecondClient, ids: Sequence[int], cancel: Stop) -> Floats:
    """The raw row of logits behind a text, float32 [n_vocab]."""
    engine.start(cancel=cancel)
    branch = engine.branch(None, 0)
    try:
        engine.append(branch, ids[:1])
        with closing(engine.rows(branch, [*ids[1:], ids[-1]], [len(ids) - 1], cancel=cancel)) as rows:
            for _, row in rows:
                return row
        raise Cancelled("it was ended before there was anything to compare")
    finally:
        engine.drop(branch)


def compared(before: Floats, after: Floats, view: View) -> dict[str, Any]:
    """The likeliest tokens of two rows of logits, and KL(before || after) in nats."""
    p, q = (logprobs(row) for row in (before, after))
    first = [leading(row, TOP).tolist() for row in (before, after)]
    chosen = sorted({*first[0], *first[1]}, key=lambda token: -max(p[token], q[token]))
    texts = texts_of(chosen, view.trace, view.session.model)
    return {
        "tokens": [
            {"id": token, "text": texts[token], "before": math.exp(p[token]), "after": math.exp(q[token])}
            for token in chosen
        ],
        "kl": divergence(p, q),
    }
