"""The grammar: only tokens stay that go on with a text of a formal language.

The language itself is native (llama.cpp's): whoever runs the model knows it, and says which tokens it allows. What is
here makes a stage of that which asks no more than it must.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import GrammarError, brief, check_text
from ..record import Ids
from ..stats import leading
from .candidates import Apply, Candidates, Moment

if TYPE_CHECKING:
    from .sampler import Sampler

CONSIDERED = 1024
"""Most likely candidates that are looked at first: whole vocabularies take a hundred times as long."""
LONGEST = 1_000_000
"""Characters of a grammar or of a schema."""

GREEDY = {"top_k", "top_p", "min_p", "temperature"}
"""Stages that never cut the most likely candidate."""


class Allowed(Protocol):
    """Says which tokens a grammar allows behind others."""

    def __call__(self, said: Sequence[int], ids: Ids | None = None, *, first: int = 0) -> NDArray[np.bool_]:
        """For each of `ids`, or of the vocabulary: whether it may come behind `said`, whose first is at `first`.

        Raises
        ------
        GrammarError
            If `said` itself does not fit.
        """


def checked(grammar: object) -> None:
    """Raise TypeError or ValueError for what can be no grammar; whether it is a good one, only llama.cpp knows."""
    if grammar is None:
        return
    if not isinstance(grammar, str | Mapping):
        raise TypeError(f"grammar must be GBNF as text, a JSON schema as a mapping, or None, not {brief(grammar)}")
    written = text_of(grammar)
    check_text("grammar", written)
    if not written.strip():
        raise ValueError("grammar is empty: give it a rule 'root ::= ...', or None for no grammar")
    if "\0" in written:
        line = written.count("\n", 0, written.index("\0")) + 1
        raise ValueError(f"grammar holds a null character in line {line}, which llama.cpp cannot read: leave it out")
    if len(written) > LONGEST:
        raise ValueError(f"grammar has {len(written):,} characters, and {LONGEST:,} are the most")


def text_of(grammar: str | Mapping[str, Any]) -> str:
    """GBNF as it is; a schema as JSON, its keys in their own order, which is the order of what is written by it."""
    if isinstance(grammar, str):
        return grammar
    try:
        return json.dumps(grammar, allow_nan=False, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"grammar is a mapping, but no JSON schema: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{brief(value)} is no JSON")


def forbid(c: Candidates, s: Sampler, now: Moment) -> Candidates:
    """What the grammar allows of the whole vocabulary, as far as it can matter.

    `c` is the whole vocabulary, in order, as the stages left it that only move logits. The most likely candidates are
    asked for, twice as many each time, until those that are allowed are all that the later stages could keep; then it
    makes no difference that the others were never looked at.
    """
    settled = _settled(s)
    n, asked = CONSIDERED, 0
    found = np.empty(0, np.int32)
    while settled and 4 * n < len(c.ids):
        order = leading(c.logits, n)
        found = np.append(found, _allowed_of(order[asked:], c, s, now))
        if len(found) and settled(c.take(found), float(c.logits[order[-1]])):
            return c.take(np.sort(found))  # in order of id, as the whole vocabulary would be
        n, asked = 2 * n, n
    return forbid_all(c, s, now)


def forbid_all(c: Candidates, s: Sampler, now: Moment) -> Candidates:
    """What the grammar allows of the whole vocabulary, whatever comes later."""
    found = np.flatnonzero(_ask(s, now, None) & (c.logits > -np.inf))
    if not len(found):
        raise GrammarError(
            f"at position {now.position} the grammar allows no token that can come. If the text is complete, "
            "logit_bias (or a logits processor) forbids the tokens that end it; else the model has no tokens to write "
            "what must follow",
            position=now.position,
        )
    return c.take(found)


def _allowed_of(ids: Ids, c: Candidates, s: Sampler, now: Moment) -> Ids:
    ids = ids[c.logits[ids] > -np.inf]
    allowed: Ids = ids[_ask(s, now, ids)]
    return allowed


def _ask(s: Sampler, now: Moment, ids: Ids | None) -> NDArray[np.bool_]:
    if s.allowed is None:
        raise ValueError(
            "a grammar is about text, and this sampler knows no model's tokens: use sampler.bound(model.engine)"
        )
    return s.allowed(now.said, ids, first=now.position - len(now.said))


class _Settled(Protocol):
    def __call__(self, found: Candidates, floor: float) -> bool:
        """Whether nothing but these, which are the best allowed ones, can be kept; all others are at most `floor`."""


def _settled(s: Sampler) -> _Settled | None:
    """None where a later stage needs all candidates, for their number or the sum of their weights."""
    names = list(s.stages)
    later = names[names.index("grammar") + 1 :]
    if s.temperature == 0 and GREEDY.issuperset(later):
        return lambda found, _: len(found.ids) > 0
    if later[:1] == ["top_k"]:
        return lambda found, _: len(found.ids) >= s.top_k
    if later[:1] == ["min_p"]:
        return lambda found, floor: bool(floor < found.logits.max() + math.log(s.min_p))
    return None


def whole(name: str, stage: Apply, s: Sampler) -> Apply:
    """The stage that does the same to every candidate, also to those that cannot matter."""
    return (lambda c, now: forbid_all(c, s, now)) if name == "grammar" else stage
