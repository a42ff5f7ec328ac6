"""What else could have come at a position, and then what: continuations made beside a text and recorded nowhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from .arguments import predicted
from .dice import mu_of, said_of
from .engine import Branch, Finish, Request, unheard
from .engine.stop import Stop, interruptible
from .errors import GrammarError
from .record import Kind, StepRecord
from .stats import Distribution, describe
from .window import Window

if TYPE_CHECKING:
    from .running import Running
    from .sampling import Sampler
    from .trace import Trace

Each = Callable[[int, StepRecord], object]
"""Told of every token as it comes: (index of the continuation, record). If it returns False, the work ends there."""


class Place(NamedTuple):
    """Where continuations of a session's path begin.

    Attributes
    ----------
    at : position of their first token
    node : the one before it; -1 for none
    window : what the model sees of the text
    trace : the tree of which `node` is a part
    interventions : in force while they were made, as `Trace.runs` keeps them
    """

    at: int
    node: int
    window: Window
    trace: Trace
    interventions: list[dict[str, Any]]

    @property
    def size(self) -> int:
        """Tokens that the model sees."""
        return self.window.size(self.at)


class Continuation(NamedTuple):
    """A way in which a text might have gone on.

    Attributes
    ----------
    place : where in the session's tree it begins
    records : of its tokens, in order; the first is the alternative of a look-ahead, and then "forced"
    pieces : the tokens' own bytes; empty for control tokens
    finish : why it ended
    sampler : what chose the tokens
    """

    place: Place
    records: tuple[StepRecord, ...]
    pieces: tuple[bytes, ...]
    finish: Finish
    sampler: Sampler

    def __repr__(self) -> str:
        return f"<Continuation at {self.place.at}: {self.text!r}, {self.logprob:.2f} nats>"

    @property
    def token_ids(self) -> list[int]:
        """Ids of its tokens."""
        return [record.token_id for record in self.records]

    @property
    def text(self) -> str:
        r"""Its text; bytes that are no whole character are written like ``\xf0``."""
        return b"".join(self.pieces).decode(errors="backslashreplace")

    @property
    def logprob(self) -> float:
        """Logarithm (nats) of the joint probability of its tokens under the raw model."""
        return math.fsum(record.logprob for record in self.records)

    @property
    def probability(self) -> float:
        """Of its first token, under the raw model; NaN where there is none."""
        return self.records[0].probability if self.records else math.nan


@dataclass(frozen=True, repr=False)
class Lookahead(Sequence[Continuation]):
    """The most likely tokens at a position, each with what would follow it; the most likely first.

    Attributes
    ----------
    at : position of the alternatives
    depth : tokens that follow each, unless its text ended
    continuations : one for each alternative
    """

    at: int
    depth: int
    continuations: tuple[Continuation, ...]

    def __len__(self) -> int:
        return len(self.continuations)

    @overload
    def __getitem__(self, index: int) -> Continuation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Continuation, ...]: ...
    def __getitem__(self, index: int | slice) -> Continuation | tuple[Continuation, ...]:
        return self.continuations[index]

    def __repr__(self) -> str:
        lines = (
            f"{index:3}  {100 * way.probability:5.1f} %  {_first(way)!r:14} {_rest(way)!r}  {way.logprob:.2f} nats"
            for index, way in enumerate(self)
        )
        return "\n".join(
            [f"<Lookahead at {self.at}: {len(self)} alternatives, {self.depth} tokens after each>", *lines]
        )


def look_ahead(session: Running, k: int, depth: int, at: int | None, sampler: Sampler, each: Each | None) -> Lookahead:
    """`Session.lookahead`, with its arguments checked."""
    place = place_at(session, at)
    with beside(session, place) as parent:
        alternatives = _alternatives(session, place, parent, k)
        firsts = [alternative.token_id for alternative in alternatives]
        ways = [list[StepRecord]() for _ in firsts]
        told = Telling(each)
        for i, alternative in enumerate(alternatives):
            ways[i].append(alternative)
            told(i, alternative)
        request = asked(session, place, sampler, depth, session.k)
        with copies(session, parent, place.size, len(firsts)) as branches:
            for branch, token in zip(branches, firsts, strict=True):
                session.engine.append(branch, [token])
            requests = [replace(request, said=(*request.said, token)) for token in firsts]
            finish = _where_it_fits(place, lambda: generate(session, branches, requests, ways, told), len(firsts))
    continuations = (continuation(session, place, *made, sampler) for made in zip(ways, finish, strict=True))
    return Lookahead(place.at, depth, tuple(continuations))


def _where_it_fits(place: Place, work: Callable[[], list[Finish]], n: int) -> list[Finish]:
    """What `work` returns; where the grammar allows not a single one of `n` alternatives, nothing follows them."""
    try:
        return work()
    except GrammarError as error:
        if error.position != place.at:
            raise
        return ["grammar"] * n


# --- what resampling needs too ----------------------------------------------------------------------------


class Telling:
    """Tells somebody of what comes, until he says that it is enough."""

    def __init__(self, each: Each | None) -> None:
        self._each = each
        self.cancel = Stop()

    def __call__(self, index: int, record: StepRecord) -> None:
        if self._each and not self.cancel.is_set() and self._each(index, record) is False:
            self.cancel.set()


def place_at(session: Running, at: int | None) -> Place:
    """The place before position `at` of the path, None for its end; what the model saw there is seen again."""
    path = session.trace.path()
    if not len(path):
        raise IndexError("nothing of the text is read yet: score() reads the prompt")
    at = len(path) if at is None else predicted("at", at, len(path))
    window = session.trace.window(int(path[at])) if at < len(path) else session.room()
    return Place(at, int(path[at - 1]), window, session.trace, session.in_force)


@contextmanager
def beside(session: Running, place: Place) -> Generator[Branch]:
    """A branch that ends where `place` is, for as long as the block runs; with the session's cache."""
    branch = session.beside(place.node, place.window)
    try:
        yield branch
    finally:
        session.let_go([branch])


@contextmanager
def copies(session: Running, parent: Branch, keep: int, n: int) -> Generator[list[Branch]]:
    """`n` branches with the first `keep` tokens of `parent`."""
    engine, branches = session.engine, list[Branch]()
    try:
        for _ in range(n):
            branches.append(engine.branch(parent, keep))
        yield branches
    finally:
        session.let_go(branches)


def generate(
    session: Running,
    branches: Sequence[Branch],
    requests: Sequence[Request],
    into: Sequence[list[StepRecord]],
    told: Telling,
) -> list[Finish]:
    """Generate on all branches at once; the records go `into` a list for each. Why each ended."""
    steps = session.engine.generate_many(
        branches, requests, cancel=told.cancel, progress=unheard, processor=session.logits_processor
    )
    with interruptible(told.cancel), closing(steps):
        while True:
            try:
                index, record = next(steps)
            except StopIteration as end:
                finish: list[Finish] = end.value
                return finish
            session.check_open()
            into[index].append(record)
            told(index, record)


def asked(session: Running, place: Place, sampler: Sampler, n: int, k: int, stop: tuple[str, ...] = ()) -> Request:
    """What a continuation of `n` tokens from a place asks of the engine."""
    mu = mu_of(session.trace, sampler, place.node) if sampler.mirostat_mode else None
    said = tuple(said_of(session.trace, place.node)) if sampler.grammar is not None else ()
    return Request(sampler, n, k, stop, left_out=place.window.left_out, mu=mu, said=said)


def continuation(
    session: Running, place: Place, records: Sequence[StepRecord], finish: Finish, sampler: Sampler
) -> Continuation:
    """`records` with the bytes of their tokens."""
    ids = [record.token_id for record in records]
    pieces = session.engine.pieces(ids)
    control = session.model.control
    shown = (b"" if token in control else piece for token, piece in zip(ids, pieces, strict=True))
    return Continuation(place, tuple(records), tuple(shown), finish, sampler)


def as_forced(record: StepRecord, token: int, logprob: float, rank: int) -> StepRecord:
    """What `record` would say had `token` been put in its place."""
    forced = StepRecord(record.position, token, Kind.FORCED, logprob, record.entropy, rank, tail=record.tail)
    kept = np.zeros(len(record.top_ids), np.bool_)
    return forced._replace(
        left_out=record.left_out, top_ids=record.top_ids, top_logprobs=record.top_logprobs, top_kept=kept
    )


def forced(d: Distribution, token: int, position: int, left_out: int) -> StepRecord:
    """The record of `token` where `d`, which describes it, was predicted."""
    record = StepRecord(position, token, Kind.FORCED, d.logprob, d.entropy, d.rank, tail=d.tail)
    kept = np.zeros(len(d.top_ids), np.bool_)
    return record._replace(left_out=left_out, top_ids=d.top_ids, top_logprobs=d.top_logprobs, top_kept=kept)


def _alternatives(session: Running, place: Place, parent: Branch, k: int) -> list[StepRecord]:
    """The `k` most likely tokens at a place; from the trace alone where it stores as many."""
    path = session.trace.path()
    if place.at < len(path) and session.recorded_alike(int(path[place.at])):
        stored = session.trace.record(int(path[place.at]))
        if len(stored.top_ids) >= k:
            tops = zip(stored.top_ids[:k].tolist(), stored.top_logprobs[:k].tolist(), strict=True)
            return [as_forced(stored, token, logprob, i) for i, (token, logprob) in enumerate(tops, 1)]
    row = session.engine.logits(parent, place.size)
    top = describe(row, 0, k).top_ids.tolist()
    base = forced(describe(row, top[0], session.k), top[0], place.at, place.window.left_out)
    logprobs = [describe(row, token, 1).logprob for token in top]
    return [as_forced(base, token, logprob, i) for i, (token, logprob) in enumerate(zip(top, logprobs, strict=True), 1)]


def _first(way: Continuation) -> str:
    return way.pieces[0].decode(errors="backslashreplace")


def _rest(way: Continuation) -> str:
    return b"".join(way.pieces[1:]).decode(errors="backslashreplace")
