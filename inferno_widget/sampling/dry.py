"""DRY, "don't repeat yourself": what would go on with a repetition of several tokens is made less likely.

By p-e-w, 2024 (oobabooga/text-generation-webui, pull request 5677), as llama.cpp has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..record import Ids
from .candidates import Candidates

if TYPE_CHECKING:
    from .sampler import Sampler

_LOG_MAX = 88.7228391
"""ln of the largest float32, as llama.cpp writes it."""
_MAX_BYTES, _MAX_TAIL = 40, 20
"""Of a breaker, and tokens of what follows its first: llama.cpp's."""


class Vocabulary(Protocol):
    """What DRY must know of a tokenizer; an `Engine` does."""

    def tokenize(self, text: str | bytes, *, special: bool) -> list[int]: ...
    def pieces(self, ids: Sequence[int]) -> list[bytes]: ...


Tails = tuple[tuple[int, ...], ...]
"""Tokens that, after a certain one, complete a breaker; one that holds a breaker needs none: ``((),)``."""


class Breakers:
    """Strings that a repetition may not reach across, as token ids, found out when a token is first asked for.

    A breaker may lie in one token, or begin in one (its "head") and go on in others (a "tail"). llama.cpp looks
    through the whole vocabulary for heads; only those among recent tokens can ever matter, so this does not.

    Parameters
    ----------
    strings : each is cut to 40 bytes
    vocabulary : of the model
    """

    def __init__(self, strings: Sequence[str], vocabulary: Vocabulary) -> None:
        self._strings = [string.encode()[:_MAX_BYTES] for string in strings]
        self._vocabulary = vocabulary
        self._known: dict[int, Tails] = {}

    def __getitem__(self, token: int) -> Tails:
        if token not in self._known:
            (piece,) = self._vocabulary.pieces([token])
            found = dict.fromkeys(tail for string in self._strings for tail in self._tails(piece, string))
            self._known[token] = tuple(found)
        return self._known[token]

    def _tails(self, piece: bytes, breaker: bytes) -> list[tuple[int, ...]]:
        if breaker in piece:
            return [()]
        begun = [n for n in range(len(breaker) - 1, 0, -1) if piece.endswith(breaker[:n])]
        rests = (breaker[n:] for n in begun)  # bytes: one may begin inside a character
        return [tail for rest in rests if (tail := tuple(self._vocabulary.tokenize(rest, special=False)[:_MAX_TAIL]))]


def recent(history: Sequence[int], s: Sampler) -> Sequence[int]:
    """The tokens in which DRY looks for repetitions."""
    return history if s.dry_penalty_last_n < 0 else history[-s.dry_penalty_last_n :]


def reach(tokens: Sequence[int], breakers: Breakers | None) -> int:
    """How many tokens at the end come after the last breaker: no repetition is longer than that."""
    if breakers is None:
        return len(tokens)
    for back, token in enumerate(reversed(tokens)):
        behind = tuple(tokens[len(tokens) - back :])
        lengths = [len(tail) for tail in breakers[token] if behind[: len(tail)] == tail]
        if lengths:
            return back - max(lengths)
    return len(tokens)


def repeats(tokens: Ids, most: int) -> NDArray[np.int64]:
    """For each place, how many tokens up to it are those at the end of `tokens`, counted up to `most`.

    Parameters
    ----------
    tokens : int32 [n]
    most : at least 0

    Returns
    -------
    int64 [n - 1]; the last token is no place of its own
    """
    lengths = np.zeros(len(tokens) - 1, np.int64)
    places = np.arange(len(tokens) - 1)
    for length in range(1, most + 1):
        places = places[places >= length - 1]
        places = places[tokens[places - length + 1] == tokens[-length]]
        if not len(places):
            break
        lengths[places] = length
    return lengths


def repetitions(history: Sequence[int], s: Sampler, breakers: Breakers | None) -> dict[int, int]:
    """Token -> how many tokens of a repetition it would go on with: at least `dry_allowed_length`, at most the length
    beyond which the penalty does not grow.

    A breaker itself is never penalised.
    """
    tokens = recent(history, s)
    if len(tokens) <= s.dry_allowed_length:
        return {}
    limit = reach(tokens, breakers)
    if limit < s.dry_allowed_length:
        return {}
    found: dict[int, int] = {}
    ids = np.array(tokens, np.int32)
    worth = max_exponent(s.dry_base)
    lengths = repeats(ids, min(limit, s.dry_allowed_length + worth) if worth else limit)
    for place in np.flatnonzero(lengths >= s.dry_allowed_length).tolist():
        token = int(ids[place + 1])
        found[token] = max(found.get(token, 0), int(lengths[place]))
    return {token: n for token, n in found.items() if breakers is None or () not in breakers[token]}


def max_exponent(base: float) -> int:
    """Beyond this, base ** n is no float32; 0 where it always is."""
    return int(_LOG_MAX / math.log(base)) if base > 1.000001 else 0


def penalty(length: int, s: Sampler) -> float:
    """What the logit of a token loses that goes on with a repetition of `length` tokens.

    dry_multiplier * dry_base ** (length - dry_allowed_length)
    """
    exponent, most = length - s.dry_allowed_length, max_exponent(s.dry_base)
    return float(s.dry_multiplier * s.dry_base ** (min(exponent, most) if most else exponent))


def dry(c: Candidates, history: Sequence[int], s: Sampler, breakers: Breakers | None) -> Candidates:
    """Take the penalties off. `c` is the whole vocabulary, in order."""
    lengths = repetitions(history, s, breakers)
    if not lengths:
        return c
    logits = c.logits.copy()
    for token, length in lengths.items():
        with np.errstate(over="ignore"):  # a penalty beyond float32 forbids the token
            logits[token] -= np.float32(penalty(length, s))
    return Candidates(c.ids, logits)
