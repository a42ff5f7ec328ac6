"""Many continuations from one point: what comes out, how often, and from where on it was decided."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .arguments import number
from .engine import Request
from .engine.search import Searcher
from .errors import Cancelled, brief
from .lookahead import Continuation, Each, Place, Telling, asked, beside, continuation, copies, generate, place_at
from .record import StepRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .running import Running
    from .sampling import Sampler

By = str | re.Pattern[str] | Callable[[str], Hashable] | None
"""What an answer is of a text: the first match of a regular expression (its first group, where it has one), what a
function returns, or the first word. None is no answer."""

LONGEST_PATTERN = 10_000
"""Characters of a regular expression: Python takes seconds to read a million."""
FIRST_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
DECIDED = 0.9
"""Share of an answer from which on it counts as decided."""
AT_ONCE = 32
"""Continuations that are made together: as many as fit in a batch."""


@dataclass(frozen=True, repr=False)
class Resample(Sequence[Continuation]):
    """Continuations from one point, and their answers.

    Attributes
    ----------
    at : position of their first token
    continuations : all of them
    answers : of each; None where a text has none
    """

    at: int
    continuations: tuple[Continuation, ...]
    answers: tuple[Hashable, ...]

    def __len__(self) -> int:
        return len(self.continuations)

    def __getitem__(self, index: int) -> Continuation:  # type: ignore[override]
        return self.continuations[index]

    @property
    def counts(self) -> dict[Hashable, int]:
        """How often each answer came, the most frequent first."""
        return dict(Counter(self.answers).most_common())

    @property
    def shares(self) -> dict[Hashable, float]:
        """The same as fractions of all."""
        return {answer: n / len(self) for answer, n in self.counts.items()}

    @property
    def entropy(self) -> float:
        """Of the answers, nats."""
        return _entropy(list(self.shares.values()))

    def where(self, answer: Hashable) -> list[Continuation]:
        """The continuations that have this answer."""
        return [way for way, mine in zip(self.continuations, self.answers, strict=True) if mine == answer]

    def __repr__(self) -> str:
        said = f"<Resample at {self.at}: {len(self)} continuations, {len(self.counts)} answers"
        lines = [f"{n:5}  {100 * n / len(self):5.1f} %  {answer!r}" for answer, n in islice(self.counts.items(), 10)]
        others = len(self.counts) - len(lines)
        more = [f"       and {others} others"] if others > 0 else []
        return "\n".join([f"{said}, entropy {self.entropy:.2f} nats>", *lines, *more])


@dataclass(frozen=True, repr=False)
class Commitment:
    """How the distribution of a text's answer narrows while the text is written.

    Attributes
    ----------
    positions : int32 [m]; of each, the first token that was left open
    pieces : what stands at each position of the text itself
    answers : [a], the most frequent over all positions first; None for texts that have none
    counts : int32 [m, a], how often each answer came out of n continuations
    answer : of the text itself
    """

    positions: NDArray[np.int32]
    pieces: tuple[bytes, ...]
    answers: tuple[Hashable, ...]
    counts: NDArray[np.int32]
    answer: Hashable

    @property
    def n(self) -> int:
        """Continuations from each position."""
        return int(self.counts[0].sum()) if len(self.counts) else 0

    @property
    def shares(self) -> NDArray[np.float64]:
        """Fractions, float64 [m, a]; each row sums to 1."""
        shares: NDArray[np.float64] = self.counts / max(self.n, 1)
        return shares

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Of the answers, float64 [m], nats."""
        return np.array([_entropy(row) for row in self.shares])

    def decided(self, share: float = DECIDED) -> int | None:
        """The first position from which on the text's own answer always has at least this share; None if never.

        The token before it decided: with it in place, the others hardly ever come out.
        """
        share = number("share", share, 0, 1)
        if self.answer not in self.answers:
            return None
        mine = self.shares[:, self.answers.index(self.answer)] >= share
        behind = len(mine) - int(np.argmin(mine[::-1])) if not mine.all() else 0
        return int(self.positions[behind]) if behind < len(mine) else None

    def __repr__(self) -> str:
        decided = self.decided()
        when = "not decided" if decided is None else f"decided before position {decided}"
        return (
            f"<Commitment: {len(self.positions)} positions, {self.n} continuations each, {len(self.answers)} answers; "
            f"{self.answer!r} is {when}>"
        )

    def plot(self, **options: object) -> go.Figure:
        """The figure; see `figures.commitment`."""
        from .figures import commitment

        return commitment(self, **options)  # type: ignore[arg-type]


EachCurve = Callable[[Commitment], object]
"""Told of the curve so far, for every token that is made. If it returns False, the work ends there."""


def resample(
    session: Running,
    at: int | None,
    n: int,
    max_tokens: int,
    *,
    by: By,
    stop: tuple[str, ...],
    sampler: Sampler,
    each: Each | None,
) -> Resample:
    """`Session.resample`, with its arguments checked."""
    answer = answering(by)
    place = place_at(session, at)
    answer(b"".join(_pieces(session, session.trace.path()[place.at :])).decode(errors="backslashreplace"))  # it can
    request = asked(session, place, sampler, max_tokens, 1, stop)
    ways, answers = list[Continuation](), list[Hashable]()
    for way in _ways(session, place, request, n, Telling(each)):
        if way.records or way.finish != "cancelled":  # not those that never began
            ways.append(way)
            answers.append(answer(way.text))
    return Resample(place.at, tuple(ways), tuple(answers))


def commitment(
    session: Running,
    positions: Sequence[int],
    n: int,
    max_tokens: int,
    *,
    by: By,
    stop: tuple[str, ...],
    sampler: Sampler,
    each: EachCurve | None,
) -> Commitment:
    """`Session.commitment`, with its arguments checked.

    Each continuation is `max_tokens` long, counted from the first position, whatever of it the text itself has said:
    all answers are read from texts of the same length.
    """
    answer, path = answering(by), session.trace.path()
    first, pieces = positions[0], _pieces(session, path)
    own = answer(b"".join(pieces[first : first + max_tokens]).decode(errors="backslashreplace"))
    found: list[Counter[Hashable]] = []
    curve = _curve(positions, pieces, found, own)
    told = Telling(each and (lambda *_: each(curve)))
    for at in positions:
        place = place_at(session, at)
        left = max(1, max_tokens - (at - first))
        request = asked(session, place, sampler, left, 1, stop)
        begun = b"".join(pieces[first:at])
        texts = [begun + b"".join(way.pieces) for way in _ways(session, place, request, n, told)]
        if told.cancel.is_set():
            break
        found.append(Counter(answer(text.decode(errors="backslashreplace")) for text in texts))
        curve = _curve(positions, pieces, found, own)
    return curve


def _curve(
    positions: Sequence[int], pieces: Sequence[bytes], found: Sequence[Counter[Hashable]], own: Hashable
) -> Commitment:
    """The positions whose answers have been found."""
    answers = tuple(answer for answer, _ in sum(found, Counter[Hashable]()).most_common())
    counts = [[counts[answer] for answer in answers] for counts in found]
    done = positions[: len(found)]
    return Commitment(
        np.array(done, np.int32),
        tuple(pieces[at] if at < len(pieces) else b"" for at in done),
        answers,
        np.array(counts, np.int32).reshape(len(done), len(answers)),
        own,
    )


def seed_of(seed: int, index: int) -> int:
    """The seed of the `index`-th continuation under a session's `seed`: 0 to 2**64 - 1."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def answering(by: By) -> Callable[[str], Hashable]:
    """What finds the answer in a text."""
    if callable(by):
        return lambda text: _hashable(by(text))
    if by is not None and not isinstance(by.pattern if isinstance(by, re.Pattern) else by, str):
        raise TypeError(f"by must be a regular expression, a function of a text, or None, not {brief(by)}")
    if by is None:
        return _first_word
    if isinstance(by, str) and len(by) > LONGEST_PATTERN:
        raise ValueError(f"by has {len(by):,} characters, and {LONGEST_PATTERN:,} are the most: {brief(by)}")
    try:
        return Searcher(re.compile(by))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"by is no regular expression: {error}: {brief(by)}") from None


def _first_word(text: str) -> str | None:
    found = FIRST_WORD.search(text)
    return found and found[0]


def _hashable(answer: Hashable) -> Hashable:
    try:
        hash(answer)
    except TypeError:
        raise TypeError(
            f"by must return what can be counted, such as a text or a number, not {brief(answer)}: make a tuple of it"
        ) from None
    return answer


def _ways(session: Running, place: Place, request: Request, n: int, told: Telling) -> Iterator[Continuation]:
    """`n` continuations, each with dice of its own, as many at once as fit in a batch."""
    with beside(session, place) as parent:
        try:
            session.engine.logits(parent, place.size)  # the copies share the row that predicts their first token
        except Cancelled:
            return
        for start in range(0, n, AT_ONCE):
            if told.cancel.is_set():
                return
            indices = range(start, min(n, start + AT_ONCE))
            now = [replace(request, sampler=_with_dice(request.sampler, i)) for i in indices]
            made = [list[StepRecord]() for _ in now]
            with copies(session, parent, place.size, len(now)) as branches:
                finish = generate(session, branches, now, made, _shifted(told, start))
            for one, records, end in zip(now, made, finish, strict=True):
                yield continuation(session, place, records, end, one.sampler)


def _with_dice(sampler: Sampler, index: int) -> Sampler:
    return replace(sampler, seed=seed_of(sampler.seed or 0, index))


def _shifted(told: Telling, start: int) -> Telling:
    """The same, for continuations that are counted from `start`."""
    shifted = Telling(lambda index, record: told(start + index, record))
    shifted.cancel = told.cancel
    return shifted


def _pieces(session: Running, path: NDArray[np.int32]) -> list[bytes]:
    """The bytes of each token of a path; none for control tokens."""
    trace = session.trace
    ids = trace.column("token_id", tree=True)[path].tolist()
    return [b"" if token in trace.control else trace.pieces[token] for token in ids]


def _entropy(shares: Sequence[float] | NDArray[np.float64]) -> float:
    return math.fsum(-share * math.log(share) for share in shares if share > 0)
