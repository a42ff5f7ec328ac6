"""Changes of the inside of the model at the workbench: tried at one token, or in force for a session."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..engine.second import SecondClient
from ..engine.stop import Stop
from ..errors import Cancelled, InfernoError
from ..inspection import positions_seen
from ..interventions import Ablate, Intervention, Scale, Steer, steering_vector
from ..jobs import Job
from ..stats import divergence, leading, logprobs
from .base import Base, alone
from .inside import View, check_layer
from .words import texts_of

if TYPE_CHECKING:
    from ..library import Opened
    from ..model import Model
    from ..record import Floats
    from ..session import Session
    from ..trace import Trace

TOP = 12
"""Tokens that are listed of each of two distributions."""

Edits = list[dict[str, Any]]
"""As the page writes them: `Edit` of ``state.ts``."""


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
                key = ("vector", model.card["fingerprint"], edit["layer"], *(tuple(edit[name]) for name in _TEXTS))
                vector = self._looked.get(key)
                if vector is None:
                    if cancel.is_set():
                        raise Cancelled("it was ended before anything was changed")
                    vector = steering_vector(model, edit["positive"], edit["negative"], edit["layer"])
                    self._looked.keep(key, vector)
            made.append(_intervention(edit, vector))
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


# --- edits ------------------------------------------------------------------------------------------------


def read_edits(edits: Sequence[Any]) -> Edits:
    """Edits of a page, checked and with all their fields; an error names what is wrong."""
    return [_read(i, edit) for i, edit in enumerate(edits)]


def _read(i: int, edit: Any) -> dict[str, Any]:
    kind = edit.get("kind") if isinstance(edit, Mapping) else None
    if not isinstance(edit, Mapping) or kind not in ("ablate", "scale", "steer"):
        raise ValueError(f"edit {i} must be of the kind ablate, scale or steer, not {kind or edit!r}")
    fields = {"ablate": ("head", "part"), "scale": ("head", "part", "factor"), "steer": ("strength", *_TEXTS)}[kind]
    missing = [name for name in ("layer", *fields) if name not in edit]
    if missing:
        raise ValueError(f"edit {i} ({kind}) lacks {', '.join(missing)}")
    for name in _TEXTS if kind == "steer" else ():
        texts = edit[name]
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise ValueError(f"{name} must be texts, at least one: the direction is from negative to positive ones")
    read = {"kind": kind, **{name: edit[name] for name in ("layer", *fields)}}
    _intervention(read, np.ones(1, np.float32))  # which checks the rest
    return read


_TEXTS = ("positive", "negative")


def _intervention(edit: Mapping[str, Any], vector: Floats | None) -> Intervention:
    layer = edit["layer"]
    if edit["kind"] == "steer":
        assert vector is not None
        return Steer(layer, vector, edit["strength"])
    if edit["kind"] == "scale":
        return Scale(layer, edit["head"], edit["factor"], edit["part"])
    return Ablate(layer, edit["head"], edit["part"])


def check_layers(edits: Edits, model: Model) -> None:
    """Raise InfernoError for an edit of a layer that the model does not have."""
    for edit in edits:
        check_layer(edit["layer"], model.info.n_layer)


def edits_code(edits: Edits) -> str:
    """The interventions as one writes them in Python."""
    return ", ".join(map(_code, edits))


def _code(edit: Mapping[str, Any]) -> str:
    layer = edit["layer"]
    if edit["kind"] == "steer":
        texts = ", ".join(repr(edit[name]) for name in _TEXTS)
        return f"Steer({layer}, steering_vector(model, {texts}, {layer}), {edit['strength']})"
    where = f"head={edit['head']}" if edit["head"] is not None else f"part={edit['part']!r}"
    if edit["kind"] == "scale":
        return f"Scale({layer}, {where}, factor={edit['factor']})"
    return f"Ablate({layer}, {where})"


# --- trying -----------------------------------------------------------------------------------------------


def text_before(view: View) -> list[int]:
    """Ids that the model sees before the last token of a view."""
    seen = positions_seen(view.session)
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


# --- marks ------------------------------------------------------------------------------------------------


class Altered:
    """First nodes of what was made under interventions, found as a trace grows."""

    def __init__(self) -> None:
        self._scanned = 0
        self._found: list[dict[str, Any]] = []

    def of(self, trace: Trace) -> list[dict[str, Any]]:
        """Each such node, and the interventions in words; a trace of its own for each."""
        n = len(trace)
        if n > self._scanned:
            under = [run.get("interventions", []) for run in trace.runs]
            if any(under):
                self._scan(trace, n, under)
            self._scanned = n
        return list(self._found)

    def _scan(self, trace: Trace, n: int, under: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        runs, parents = (trace.nodes[name][:n] for name in ("run", "parent"))
        made = np.array([*map(bool, under), False])[runs]
        for node in (self._scanned + np.flatnonzero(made[self._scanned :])).tolist():
            parent = int(parents[node])
            mine = under[runs[node]]
            if parent < 0 or runs[parent] < 0 or under[runs[parent]] != mine:
                self._found.append({"node": node, "edits": "; ".join(map(words, mine))})


def words(change: Mapping[str, Any]) -> str:
    """An intervention of `Trace.runs` in words."""
    kind, where = change.get("kind"), f"layer {change.get('layer')}"
    if kind in ("ablate", "scale"):
        what = f"head {change['head']}" if change.get("head") is not None else _PARTS.get(change.get("part", ""), "")
        done = "off" if kind == "ablate" else f"times {change.get('factor'):g}"
        return f"{where} {what} {done}"
    if kind == "steer":
        return f"{where} steered by {change.get('strength'):g}"
    return f"{where} patched at token {change.get('position')}" if kind == "patch" else f"{where} changed"


_PARTS = {"attention": "attention", "mlp": "MLP"}
