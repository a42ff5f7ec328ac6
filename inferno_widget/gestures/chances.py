"""What else comes out, how often, and from where on it was decided."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from ..jobs import Job
from ..resample import answering
from .base import Base, alone

if TYPE_CHECKING:
    from ..record import StepRecord
    from ..resample import Commitment
    from ..sampling import Sampler
    from ..session import Session
    from ..trace import Trace

PART_SECONDS = 0.1
"""How often answers that are counted anew are told, at most."""


class Chances(Base):
    """Resample, commitment."""

    @alone
    def resample(self, node: int, n: int, max_tokens: int, by: str) -> Job[dict[str, Any]]:
        """What comes out of `n` continuations in place of a node's token (behind the text for -1): `Resampled`.

        Its parts are the same. An answer counts as soon as a further token has not changed it.

        Parameters
        ----------
        by : the regular expression of an answer; the first word when empty
        """
        session, at = self._awake(), self._place(node)
        read, where = answering(by or None), "" if at is None else f"at={at}, "
        sampler = self._other_sampler(session)
        self.code = f"session.resample({where}n={n}, max_tokens={max_tokens}{_by(by)}{_with(sampler)})"

        def work(job: Job[dict[str, Any]]) -> dict[str, Any]:
            under_way = _UnderWay(session, max_tokens, read)

            def each(index: int, record: StepRecord) -> bool:
                under_way.take(index, record)
                if under_way.due():
                    job.tell(_resampled(node, n, [under_way.known[i] for i in sorted(under_way.known)]))
                return job.wanted

            made = session.resample(at, n, max_tokens, by=by or None, sampler=sampler, each=each)
            ways = zip(made, made.answers, strict=True)
            counted = [(answer, way.text) for way, answer in ways if way.finish != "cancelled" or answer is not None]
            return _resampled(node, n, counted)

        return self._start_job("resample", work)

    @alone
    def commitment(self, node: int, n: int, every: int, by: str) -> Job[dict[str, Any]]:
        """How the answer's distribution narrows from a node's token on (behind the prompt for -1): `Committed`.

        Its parts are the same, of the positions that are done.

        Parameters
        ----------
        by : the regular expression of an answer; the first word when empty
        """
        session, start = self._awake(), None if node < 0 else self._position(node)
        answering(by or None)  # a bad expression is refused at once
        given = "" if start is None else f"start={start}, "
        sampler = self._other_sampler(session)
        self.code = f"session.commitment({given}n={n}, every={every}{_by(by)}{_with(sampler)})"

        def work(job: Job[dict[str, Any]]) -> dict[str, Any]:
            told = 0

            def each(curve: Commitment) -> bool:
                nonlocal told
                if len(curve.positions) > told:
                    told = len(curve.positions)
                    job.tell(_committed(session.trace, curve, n, of()))
                return job.wanted

            def of() -> int:
                first = len(session.prompt_ids) if start is None else start
                return len(range(first, session.trace.length, every))

            curve = session.commitment(start, n, by=by or None, every=every, sampler=sampler, each=each)
            return _committed(session.trace, curve, n, of())

        return self._start_job("commitment", work)


class _UnderWay:
    """Continuations under way.

    Attributes
    ----------
    known : answer and text of each that is over, or whose answer a further token has not changed
    """

    def __init__(self, session: Session, most: int, read: Callable[[str], Hashable]) -> None:
        self._pieces, self._control = session.model.engine.pieces, session.model.control
        self._most, self._read = most, read
        self._bytes: dict[int, bytes] = {}
        self._lengths = Counter[int]()
        self._answers: dict[int, Hashable] = {}
        self._told = time.monotonic()
        self.known: dict[int, tuple[Hashable, str]] = {}

    def take(self, index: int, record: StepRecord) -> None:
        """Add a token. Control tokens have no text; one ends its continuation."""
        control = record.token_id in self._control
        (piece,) = (b"",) if control else self._pieces([record.token_id])
        self._bytes[index] = self._bytes.get(index, b"") + piece
        self._lengths[index] += 1
        text = self._bytes[index].decode(errors="backslashreplace")
        answer = self._read(text)
        stands = answer is not None and answer == self._answers.get(index)
        self._answers[index] = answer
        self.known.pop(index, None)
        if stands or control or self._lengths[index] == self._most:
            self.known[index] = answer, text

    def due(self) -> bool:
        """Whether it is time to tell of them."""
        now = time.monotonic()
        if now < self._told + PART_SECONDS:
            return False
        self._told = now
        return True


def _resampled(node: int, n: int, counted: Sequence[tuple[Hashable, str]]) -> dict[str, Any]:
    examples: dict[Hashable, str] = {}
    for answer, text in counted:
        examples.setdefault(answer, text)
    counts = Counter(answer for answer, _ in counted).most_common()
    answers = [{"answer": answer, "count": count, "example": examples[answer]} for answer, count in counts]
    return {"node": node, "done": len(counted), "n": n, "answers": answers}


def _committed(trace: Trace, curve: Commitment, n: int, of: int) -> dict[str, Any]:
    return {
        "positions": curve.positions.tolist(),
        "nodes": trace.path()[curve.positions].tolist(),
        "of": of,
        "n": n,
        "answers": list(curve.answers),
        "counts": curve.counts.tolist(),
        "answer": curve.answer,
        "decided": curve.decided(),
    }


def _by(by: str) -> str:
    return f", by={by!r}" if by else ""


def _with(sampler: Sampler | None) -> str:
    return f", sampler={sampler!r}" if sampler else ""
