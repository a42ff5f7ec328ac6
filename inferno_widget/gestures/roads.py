"""The road not taken: what would follow, and what would have come under other settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import InfernoError
from ..jobs import Job
from ..sampling import Sampler
from .base import alone
from .following import Following
from .words import Speller, texts_of

if TYPE_CHECKING:
    from ..dice import FirstChange
    from ..lookahead import Continuation
    from ..record import StepRecord
    from ..session import Session


class Roads(Following):
    """Look ahead, take, same dice, what if."""

    @alone
    def lookahead(self, node: int, k: int, depth: int, sampled: bool = False) -> Job[dict[str, Any]]:
        """What would follow the `k` alternatives to a node's token (to the token to come for -1): `Ahead`.

        Its parts are `AheadPart`.

        Parameters
        ----------
        sampled : whether the session's dice choose what follows, under the settings of now; else the most likely
            tokens come
        """
        session, at, opened = self._awake(), self._place(node), self._something()
        sampler = self._other_sampler(session)
        if sampled:
            chosen, given = sampler or session.sampler, repr(sampler) if sampler else "session.sampler"
        elif sampler and sampler.grammar != session.sampler.grammar:
            chosen = Sampler(temperature=0, grammar=sampler.grammar)
            given = repr(chosen)
        else:
            chosen, given = None, ""
        code = f"session.lookahead(k={k}, depth={depth}{_at(at)}{f', sampler={given}' if given else ''})"

        def work(job: Job[dict[str, Any]]) -> dict[str, Any]:
            tellers = dict[int, _Way]()

            def each(index: int, record: StepRecord) -> bool:
                way = tellers.setdefault(index, _Way(session, before))
                return job.tell([{**way.token(record), "index": index}])

            before = int(session.trace.path()[-1 if at is None else at - 1]) if session.trace.length else -1
            ahead = session.lookahead(k, depth, at, chosen, each=each)
            if self._jobs[opened]["lookahead"] is job:  # none has been asked for since
                self._ahead[session] = ahead, code
            return {"node": node, "ways": [_way(session, way) for way in ahead], "code": code}

        return self._start_job("lookahead", work)

    @alone
    def take(self, index: int, n: int) -> None:
        """Go the first `n` tokens of a way that the latest look-ahead showed."""
        session = self._settled()
        if session not in self._ahead:
            raise InfernoError("nothing was looked ahead to in this session: look ahead first")
        ahead, code = self._ahead[session]
        if not 0 <= index < len(ahead):
            raise InfernoError(f"there is no way {index}: the latest look-ahead has {len(ahead)}")
        session.take(ahead[index], n)
        self.selection = -1
        self.code = f"ahead = {code}; session.take(ahead[{index}], {n})"

    @alone
    def same_dice(self, node: int) -> None:
        """Play the run again from a node's token on (from its beginning for -1): the same dice, the settings of now."""
        session, at = self._settled(), self._position(node) if node >= 0 else 0
        sampler = replace(self.controls.sampler, seed=None)  # which stands for the recorded dice
        self._follow_on(session)
        session.start_replay(sampler, at)
        self.selection = -1
        self.code = f"session.replay({sampler!r}{f', from_={at}' if at else ''})"

    @alone
    def what_if(self, parameter: str, values: Sequence[Any], rows: bool) -> Job[dict[str, Any]]:
        """At which token the run would first have changed, for each value of a parameter: `WhatIf`.

        With `rows`, whole rows are fetched where the stored candidates do not suffice; its parts are the fraction of
        them that is fetched.
        """
        from ..dice import what_if

        session = self._awake() if rows else None
        trace, model = self._something().trace, self._shown_model()
        asked_of = "session.what_if(" if rows else f"what_if({self._trace_code}, "
        self.code = f"{asked_of}{parameter}={list(values)!r})"

        def work(job: Job[dict[str, Any]]) -> dict[str, Any]:
            asked: dict[str, Any] = {parameter: values}
            found = session.what_if(progress=job.tell, **asked) if session else what_if(trace.copy(), **asked)
            texts = texts_of([change.token for change in found if change.token is not None], trace, model)
            changes = [_change(change, texts) for change in found]
            return {"parameter": parameter, "current": found.current, "length": trace.length, "changes": changes}

        return self._start_job("what_if", work)


class _Way:
    """A way that is looked ahead to, as its tokens come."""

    def __init__(self, session: Session, before: int) -> None:
        self._pieces = session.model.engine.pieces
        self._speller = Speller(session.trace, before, session.model.control)

    def token(self, record: StepRecord) -> dict[str, Any]:
        """`AheadToken`."""
        (piece,) = self._pieces([record.token_id])
        text = self._speller.spell(record.token_id, piece)
        return {"id": record.token_id, "text": text, "probability": record.probability}


def _way(session: Session, made: Continuation) -> dict[str, Any]:
    way = _Way(session, made.place.node)
    return {
        "tokens": [way.token(record) for record in made.records],
        "logprob": made.logprob,
        "finish": made.finish,
    }


def _change(change: FirstChange, texts: dict[int, str]) -> dict[str, Any]:
    """`WhatIfChange`."""
    text = None if change.token is None else texts[change.token]
    return {"value": change.value, "at": change.at, "text": text, "unknown": next(iter(change.unknown), None)}


def _at(at: int | None) -> str:
    return "" if at is None else f", at={at}"
