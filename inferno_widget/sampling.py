"""From logits to a token: llama.cpp's sampler chain, stage by stage, in numpy.

The order is llama.cpp's: logit bias, penalties, top-n-sigma, top-k, typical, top-p, min-p, temperature.
Each stage is a function from candidates to candidates. The chance comes from `draw`, which depends on the
seed and the position alone, so that pausing, forking and restarting never shift it.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from .errors import hint_unknown_keywords
from .record import Floats, Ids
from .stats import leading


class Candidates(NamedTuple):
    """Tokens that may still come.

    Attributes
    ----------
    ids : int32 [n]
    logits : float32 [n], as the stages so far left them
    """

    ids: Ids
    logits: Floats

    def take(self, index: Any) -> Candidates:
        return Candidates(self.ids[index], self.logits[index])


Stage = Callable[[Candidates, Sequence[int]], Candidates]
"""candidates, history -> candidates"""


class Choice(NamedTuple):
    """What the chain made of a row of logits.

    Attributes
    ----------
    token : the token
    probability : of the token after the last stage
    draw : uniform number in [0, 1); NaN when nothing was drawn (temperature 0)
    kept : int32 [n], the candidates that the last stage left
    """

    token: int
    probability: float
    draw: float
    kept: Ids


def draw(seed: int, position: int) -> float:
    """Uniform number in [0, 1) that belongs to a position of a run.

    Philox 4x64 with the seed as its key and the position as its counter (Salmon et al., 2011).
    """
    block, at = divmod(position, _BLOCK)
    return float(_draws(seed, block)[at])


_BLOCK = 64


@lru_cache(maxsize=16)
def _draws(seed: int, block: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The numbers of `_BLOCK` positions in a row: making the generator takes thirty times as long as drawing.

    A counter yields four numbers; the first is the position's.
    """
    generator = np.random.Generator(np.random.Philox(key=seed, counter=block * _BLOCK))
    return generator.random(4 * _BLOCK)[::4]


@hint_unknown_keywords
@dataclass(frozen=True, kw_only=True, repr=False)
class Sampler:
    """How the next token is chosen. Names, defaults and order are llama.cpp's.

    Parameters
    ----------
    temperature : logits are divided by it; 0 takes the most likely token
    top_k : keep the k most likely; 0 or less keeps all
    top_p : keep the fewest most likely tokens whose probability reaches it; 1 keeps all
    min_p : keep tokens at least this fraction as likely as the most likely; 0 keeps all
    typical_p : keep the tokens whose surprisal is nearest the entropy, up to this mass; 1 keeps all
    top_n_sigma : keep logits within n standard deviations of the largest; 0 or less keeps all
    repeat_penalty : divides (or, below 0, multiplies) the logits of recent tokens; 1 is off
    frequency_penalty, presence_penalty : subtracted per occurrence and once; 0 is off
    penalty_last_n : how many recent tokens the penalties see; 0 is none, -1 is all
    logit_bias : token id -> number added to its logit; -inf forbids it
    seed : of the dice, 0 to 2**64 - 1; None takes a new one for every run and records it

    Raises
    ------
    ValueError
        If a value is out of its range, NaN or infinite; the message names it.
    TypeError
        If a value is not a number, or a name is unknown.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check(name, getattr(self, name), low, high, whole=name in _WHOLE)
        if self.seed is not None:
            _check("seed", self.seed, 0, 2**64 - 1, whole=True)
        if not isinstance(self.logit_bias, Mapping):
            raise TypeError(f"logit_bias must map token ids to numbers, not {self.logit_bias!r}")
        for token, bias in self.logit_bias.items():
            _check("logit_bias's token id", token, 0, 2**31 - 1, whole=True)
            _check(f"logit_bias[{token}]", bias, -math.inf, 1e6)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # not the cached stages

    def __repr__(self) -> str:
        """The line of Python that makes it."""
        settings = (f"{name}={_written(value)}" for name, value in self.changed().items())
        return f"Sampler({', '.join(settings)})"

    def changed(self) -> dict[str, Any]:
        """The settings that differ from the defaults, by name."""
        default = type(self)()
        mine = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in mine if value != getattr(default, name)}

    def seeded(self) -> Sampler:
        """This sampler with a seed: its own, else a new one."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(32))

    def to_dict(self) -> dict[str, Any]:
        """All settings, as JSON can hold them."""
        return {**asdict(self), "logit_bias": {str(token): bias for token, bias in self.logit_bias.items()}}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Sampler:
        """The inverse of `to_dict`."""
        bias = {int(token): value for token, value in settings.get("logit_bias", {}).items()}
        return cls(**{**settings, "logit_bias": bias})

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stages that do something, in order, by name."""
        return {name: stage for name, active, stage in _stages(self) if active}

    def candidates(self, logits: Floats, history: Sequence[int]) -> Candidates:
        """What all stages leave of float32 [n_vocab] logits, after the tokens in `history`."""
        left = Candidates(_vocabulary(len(logits)), logits)
        for stage in self.stages.values():
            left = stage(left, history)
        return left

    def choose(self, logits: Floats, history: Sequence[int], position: int) -> Choice:
        """The token at `position`.

        It is where the position's uniform number falls on the cumulative probability of the candidates in
        falling order, ties by id.

        Raises
        ------
        FloatingPointError
            If the largest logit is NaN or infinite.
        """
        peak = logits.max()
        if not math.isfinite(peak):
            raise FloatingPointError(f"the largest logit is {peak}")
        left = self.candidates(logits, history)
        if len(left.ids) == 1:
            return Choice(int(left.ids[0]), 1.0, math.nan, left.ids)
        if self.seed is None:
            raise ValueError("seed is None: choose() needs one, seeded() makes one")
        u = draw(self.seed, position)
        probabilities = softmax(left.logits)
        at = _fewest(left.logits, probabilities, u, beyond=True)[-1]
        return Choice(int(left.ids[at]), float(probabilities[at]), u, left.ids)


_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 1e6),
    "top_k": (-(2**31), 2**31 - 1),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "top_n_sigma": (-math.inf, 1e6),
    "repeat_penalty": (1e-6, 1e6),
    "frequency_penalty": (-1e6, 1e6),
    "presence_penalty": (-1e6, 1e6),
    "penalty_last_n": (-1, 2**31 - 1),
}
_WHOLE = {"top_k", "penalty_last_n"}


def _check(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    number = int(value) if whole else float(value)  # type: ignore[call-overload]
    if math.isnan(number) or (math.isinf(number) and number != low):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, not {value!r}")


def _written(value: Any) -> str:
    """`value` as Python; infinity has no literal."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{int(token)}: {_written(bias)}" for token, bias in value.items()) + "}"
    if value is None or isinstance(value, Integral):
        return str(value)
    return str(float(value)) if math.isfinite(value) else f'float("{value}")'


def _stages(s: Sampler) -> list[tuple[str, bool, Stage]]:
    penalised = (s.repeat_penalty, s.frequency_penalty, s.presence_penalty) != (1, 0, 0) and s.penalty_last_n != 0
    return [
        ("logit_bias", bool(s.logit_bias), lambda c, _: _bias(c, s.logit_bias)),
        ("penalties", penalised, lambda c, history: _penalties(c, history, s)),
        ("top_n_sigma", s.top_n_sigma > 0, lambda c, _: _top_n_sigma(c, s.top_n_sigma)),
        ("top_k", s.top_k > 0, lambda c, _: c.take(leading(c.logits, s.top_k))),
        ("typical_p", s.typical_p < 1, lambda c, _: _typical(c, s.typical_p)),
        ("top_p", s.top_p < 1, lambda c, _: c.take(_fewest(c.logits, softmax(c.logits), s.top_p))),
        ("min_p", s.min_p > 0, lambda c, _: _min_p(c, s.min_p)),
        ("temperature", s.temperature != 1, lambda c, _: _temperature(c, s.temperature)),
    ]


@lru_cache(maxsize=8)
def _vocabulary(n: int) -> Ids:
    return np.arange(n, dtype=np.int32)


def _bias(c: Candidates, bias: Mapping[int, float]) -> Candidates:
    logits = c.logits.copy()
    for token, value in bias.items():
        if token >= len(logits):
            raise ValueError(f"logit_bias names token {token}, but the vocabulary ends at {len(logits) - 1}")
        logits[token] += value
    return Candidates(c.ids, logits)


def _penalties(c: Candidates, history: Sequence[int], s: Sampler) -> Candidates:
    logits = c.logits.copy()
    recent = history if s.penalty_last_n < 0 else history[-s.penalty_last_n :]
    for token, count in Counter(recent).items():
        value = logits[token]
        value = value * s.repeat_penalty if value <= 0 else value / s.repeat_penalty
        logits[token] = value - count * s.frequency_penalty - s.presence_penalty
    return Candidates(c.ids, logits)


def _top_n_sigma(c: Candidates, n: float) -> Candidates:
    valid = c.logits[np.isfinite(c.logits)]
    return c.take(np.flatnonzero(c.logits >= valid.max() - n * valid.std(dtype=np.float64)))


def _typical(c: Candidates, mass: float) -> Candidates:
    probabilities = softmax(c.logits)
    surprisals = -np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    entropy = (probabilities * surprisals).sum()
    return c.take(_fewest(-np.abs(surprisals - entropy), probabilities, mass, beyond=True))


def _min_p(c: Candidates, fraction: float) -> Candidates:
    return c.take(c.logits >= c.logits.max() + math.log(fraction))


def _temperature(c: Candidates, temperature: float) -> Candidates:
    if temperature == 0:
        return c.take(leading(c.logits, 1))
    with np.errstate(over="ignore"):  # -inf is what a very small temperature leaves of all but the best
        return Candidates(c.ids, ((c.logits - c.logits.max()).astype(np.float64) / temperature).astype(np.float32))


def softmax(logits: Floats) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64 [n], summing to 1."""
    weights = np.exp(logits - logits.max()).astype(np.float64)
    probabilities: np.ndarray[Any, np.dtype[np.float64]] = weights / weights.sum()
    return probabilities


def _fewest(
    keys: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any], mass: float, *, beyond: bool = False
) -> Ids:
    """Indices by falling key, as few as it takes until their probability reaches (or goes beyond) `mass`.

    Sorts only as much of a large vocabulary as it needs.
    """
    n = 1024
    while True:
        order = leading(keys, n)
        reached = probabilities[order].cumsum()
        count = int(reached.searchsorted(mass, side="right" if beyond else "left")) + 1
        if count <= len(order) or len(order) == len(keys):
            return order[:count]
        n *= 8
