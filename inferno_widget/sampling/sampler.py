"""The chain of stages, and what a person can set of it."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from functools import cached_property, lru_cache, partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import brief, check_text, hint_unknown_keywords
from ..record import Floats, Ids
from . import dry, mirostat, penalties, truncation
from .candidates import Apply, Candidates, Moment, fewest, softmax
from .chance import draw
from .grammar import Allowed, checked, forbid, text_of
from .xtc import xtc

if TYPE_CHECKING:
    from ..record import StepRecord
    from .explain import Stage


class Choice(NamedTuple):
    """What the chain made of a row of logits.

    Attributes
    ----------
    token : the token
    probability : of the token after the last stage
    draw : uniform number in [0, 1); NaN when nothing was drawn (temperature 0)
    kept : int32 [n], the candidates that the last stage left
    mu : mirostat's state for the next token; NaN without mirostat
    """

    token: int
    probability: float
    draw: float
    kept: Ids
    mu: float = math.nan


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
    dry_multiplier : DRY takes dry_multiplier * dry_base ** (n - dry_allowed_length) from the logit of a token that goes
        on with a repetition of n tokens; 0 is off
    dry_base : see there; below 1 is off
    dry_allowed_length : repetitions shorter than this cost nothing
    dry_penalty_last_n : how many recent tokens DRY looks through; 0 is none, -1 is all
    dry_sequence_breakers : strings that a repetition may not reach across; needs `bound`
    xtc_probability : how often XTC excludes the top choices; 0 is off
    xtc_threshold : least probability of a top choice; above 0.5 is off
    mirostat_mode : 1 or 2 keeps the surprisal near mirostat_tau with that version, in place of all stages that cut
        tokens off (top_n_sigma, top_k, typical_p, top_p, min_p, xtc); 0 is off
    mirostat_tau : the surprisal to aim at, bits
    mirostat_eta : how quickly it follows the text
    logit_bias : token id -> number added to its logit; -inf forbids it
    grammar : what follows the prompt must be a text of this language: GBNF as text, with a rule ``root ::= ...``, or a
        JSON schema as a mapping; needs `bound`. None is off
    seed : of the dice, 0 to 2**64 - 1; None takes a new one for every run and records it

    Notes
    -----
    The order is llama.cpp's: logit bias, penalties, DRY, top-n-sigma, top-k, typical, top-p, min-p, XTC, temperature;
    with mirostat it is logit bias, penalties, DRY, temperature, mirostat. There llama.cpp's own programs leave out the
    penalties and DRY, and llama-cpp-python the temperature; here whatever is set is done.

    The grammar stands behind DRY, before anything is cut; llama.cpp's programs have it before the whole chain. That is
    the same: bias, penalties and DRY move single logits and look at no other candidate, so it makes no difference
    whether a token is forbidden before or after. Here the order of the candidates is final when the grammar comes, so
    that mostly the best 1,024 are all it must look at.

    A schema becomes GBNF by llama-cpp-python's converter: it knows types, properties (in their order), required, items,
    enum, const, pattern, lengths, $ref within the schema, anyOf, oneOf (as anyOf), allOf of objects, and the formats
    date, time, date-time and uuid. What it does not know, such as the bounds of numbers, is refused by name.

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
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 64
    dry_sequence_breakers: Sequence[str] = ("\n", ":", '"', "*")
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat_mode: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    grammar: str | Mapping[str, Any] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            self._set(name, _checked(name, getattr(self, name), low, high, whole=name in _WHOLE))
        if self.seed is not None:
            self._set("seed", _checked("seed", self.seed, 0, 2**64 - 1, whole=True))
        if not isinstance(self.logit_bias, Mapping):
            raise TypeError(f"logit_bias must map token ids to numbers, not {brief(self.logit_bias)}")
        biases = {
            _biased(token): _checked(f"logit_bias[{brief(token)}]", bias, -math.inf, 1e6)
            for token, bias in self.logit_bias.items()
        }
        self._set("logit_bias", biases)
        checked(self.grammar)
        self._set("dry_sequence_breakers", _strings(self.dry_sequence_breakers))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # as it was checked: no number of numpy, and nobody else's mapping

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # not the cached stages, nor what it is bound to

    def __repr__(self) -> str:
        """The line of Python that makes it."""
        changed = self.changed().items()
        settings = (f"{name}={_literal(value) if name == 'grammar' else _written(value)}" for name, value in changed)
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
        bias = {str(token): bias for token, bias in self.logit_bias.items()}
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        schema = json.loads(text_of(self.grammar)) if isinstance(self.grammar, Mapping) else self.grammar
        breakers = list(self.dry_sequence_breakers)
        return {**plain, "dry_sequence_breakers": breakers, "logit_bias": bias, "grammar": schema}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Sampler:
        """The inverse of `to_dict`."""
        bias = {int(token): value for token, value in settings.get("logit_bias", {}).items()}
        return cls(**{**settings, "logit_bias": bias})

    def bound(self, vocabulary: dry.Vocabulary, allowed: Allowed | None = None) -> Sampler:
        """This sampler, knowing the tokens of a model: DRY's breakers and grammars are text, and stages see only ids.

        Itself where both are off.

        Parameters
        ----------
        vocabulary : an `Engine`, as `Model.engine`
        allowed : says what the grammar allows; the vocabulary's own method of that name, if it has one, when None
        """
        if not {"dry", "grammar"} & self.stages.keys():
            return self
        other = replace(self)
        if "dry" in self.stages:
            breakers = dry.Breakers(self.dry_sequence_breakers, vocabulary) if self.dry_sequence_breakers else None
            other.__dict__["breakers"] = breakers
        if self.grammar is not None and allowed is None and hasattr(vocabulary, "allowed"):
            allowed = partial(vocabulary.allowed, self.grammar)
        other.__dict__["allowed"] = allowed
        return other

    @cached_property
    def allowed(self) -> Allowed | None:
        """What says which tokens the grammar allows; None for a sampler that is not `bound`."""
        return None

    @cached_property
    def breakers(self) -> dry.Breakers | None:
        """DRY's breakers in the tokens of a model, where there are any."""
        if self.dry_sequence_breakers:
            raise ValueError(
                "dry_sequence_breakers are strings, and this sampler knows no model's tokens: use "
                "sampler.bound(model.engine), or dry_sequence_breakers=()"
            )
        return None

    @cached_property
    def stages(self) -> dict[str, Apply]:
        """The stages that do something, in order, by name."""
        return {name: stage for name, active, stage in _stages(self) if active}

    def chance(self, position: int, which: int = 0) -> float:
        """The position's uniform number; see `draw`.

        Raises
        ------
        ValueError
            If there is no seed.
        """
        if self.seed is None:
            raise ValueError("seed is None: choose() needs one, seeded() makes one")
        return draw(self.seed, position, which)

    def moment(
        self,
        logits: Floats,
        history: Sequence[int],
        position: int | None,
        mu: float | None,
        said: Sequence[int] = (),
    ) -> Moment:
        """What the stages know besides the logits; the position is the end of the history when None."""
        position = len(history) if position is None else position
        return Moment(history, position, len(logits), mirostat.begin(self) if mu is None else mu, said)

    def candidates(
        self,
        logits: Floats,
        history: Sequence[int],
        position: int | None = None,
        mu: float | None = None,
        said: Sequence[int] = (),
    ) -> Candidates:
        """What all stages leave of float32 [n_vocab] logits; parameters are those of `choose`."""
        left, now = Candidates(_vocabulary(len(logits)), logits), self.moment(logits, history, position, mu, said)
        for stage in self.stages.values():
            left = stage(left, now)
        return left

    def choose(
        self,
        logits: Floats,
        history: Sequence[int],
        position: int,
        mu: float | None = None,
        said: Sequence[int] = (),
    ) -> Choice:
        """The token at `position`.

        It is where the position's uniform number falls on the cumulative probability of the candidates in
        falling order, ties by id.

        Parameters
        ----------
        logits : float32 [n_vocab]
        history : token ids that the model saw
        position : of the token to come
        mu : mirostat's state, bits: that of the `Choice` before, or `mu_after`; its beginning when None
        said : token ids behind the prompt, which the grammar goes by; see `dice.said_of`

        Raises
        ------
        FloatingPointError
            If the largest logit is NaN or infinite.
        GrammarError
            If what was said does not fit the grammar, or nothing that can come does.
        """
        peak = logits.max()
        if not math.isfinite(peak):
            raise FloatingPointError(f"the largest logit is {peak}")
        left = self.candidates(logits, history, position, mu, said)
        if len(left.ids) == 1:
            return Choice(int(left.ids[0]), 1.0, math.nan, left.ids, self.mu_next(mu, 1.0))
        u = self.chance(position)
        probabilities = softmax(left.logits)
        at = fewest(left.logits, probabilities, u, beyond=True)[-1]
        probability = float(probabilities[at])
        return Choice(int(left.ids[at]), probability, u, left.ids, self.mu_next(mu, probability))

    def mu_next(self, mu: float | None, probability: float) -> float:
        """Mirostat's state behind a token with this probability after the last stage, bits; NaN without mirostat."""
        if not self.mirostat_mode:
            return math.nan
        return mirostat.after(mirostat.begin(self) if mu is None else mu, probability, self)

    def mu_after(self, probabilities: Iterable[float]) -> float:
        """Mirostat's state after tokens that were chosen with these probabilities, bits.

        Parameters
        ----------
        probabilities : `sampled_prob` of the generated tokens, in order
        """
        return mirostat.fold(probabilities, self)

    def explain(
        self,
        logits: Floats,
        history: Sequence[int],
        position: int | None = None,
        mu: float | None = None,
        said: Sequence[int] = (),
        *,
        top: int = 40,
    ) -> list[Stage]:
        """What every stage did to the candidates, and why; the last stage is the draw. See `explain.explain`."""
        from .explain import explain

        return explain(self, logits, history, position, mu, said, top=top)

    def explain_stored(
        self,
        record: StepRecord,
        history: Sequence[int],
        mu: float | None = None,
        said: Sequence[int] = (),
        *,
        n_vocab: int | None = None,
    ) -> list[Stage] | None:
        """The same from a record alone, or None where that does not suffice. See `explain.explain_stored`."""
        from .explain import explain_stored

        return explain_stored(self, record, history, mu, said, n_vocab=n_vocab)


def _keep_as_it_is(sampler: Sampler, name: str, value: object) -> None:  # noqa: ARG001
    """What a frozen dataclass does, with what to do instead."""
    raise FrozenInstanceError(
        f"a sampler does not change: make another by dataclasses.replace(sampler, {name}=...), and give that to the "
        "session: session.sampler = ..."
    )


Sampler.__setattr__ = _keep_as_it_is  # type: ignore[assignment, method-assign]  # a dataclass allows none in its body


class Chooser:
    """Chooses one token after the other, and keeps what a sampler must know of the tokens before.

    Parameters
    ----------
    sampler : how
    vocabulary : of the model
    mu : mirostat's state, bits; its beginning when None
    said : token ids behind the prompt so far
    allowed : what says which tokens the grammar allows, as in `Sampler.bound`
    """

    def __init__(
        self,
        sampler: Sampler,
        vocabulary: dry.Vocabulary,
        mu: float | None = None,
        said: Sequence[int] = (),
        allowed: Allowed | None = None,
    ) -> None:
        self._sampler = sampler.bound(vocabulary, allowed)
        self._mu = mu
        self._said = list(said)

    def choose(self, logits: Floats, history: Sequence[int], position: int) -> Choice:
        """The token at `position`; see `Sampler.choose`."""
        choice = self._sampler.choose(logits, history, position, self._mu, self._said)
        self._mu = choice.mu
        self._said.append(choice.token)
        return choice


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
    "dry_multiplier": (0.0, 1e6),
    "dry_base": (0.0, 1e6),
    "dry_allowed_length": (0, 2**31 - 1),
    "dry_penalty_last_n": (-1, 2**31 - 1),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "mirostat_mode": (0, 2),
    "mirostat_tau": (0.0, 1e3),
    "mirostat_eta": (0.0, 1e3),
}
_WHOLE = {"top_k", "penalty_last_n", "dry_allowed_length", "dry_penalty_last_n", "mirostat_mode"}


def _checked(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> Any:
    """`value`, one of Python's own numbers."""
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise TypeError(f"{name} must be {kind}, not {brief(value)}")
    try:
        number = int(value) if isinstance(value, Integral) else float(value)
    except OverflowError:
        number = math.inf
    if number != low and not _is_finite(number):
        raise ValueError(f"{name} must be finite, not {brief(value)}")
    if not low <= number <= high:
        form = "," if whole else "g"
        raise ValueError(f"{name} must be between {low:{form}} and {high:{form}}, not {brief(value)}")
    return number


def _biased(token: object) -> int:
    """The id of a token that has a bias."""
    name = "logit_bias's token id"
    if isinstance(token, str):
        raise TypeError(f"{name} must be a whole number, as model.token() gives it, not {brief(token)}")
    return int(_checked(name, token, 0, 2**31 - 1, whole=True))


def _is_finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)  # an int may be too large to become a float


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise TypeError(f"dry_sequence_breakers must be a list of strings, not {brief(value)}")
    for string in value:
        if not isinstance(string, str):
            raise TypeError(f"dry_sequence_breakers must be strings, not {brief(string)}")
        check_text("dry_sequence_breakers", string)
        if not string:
            raise ValueError("dry_sequence_breakers must not be empty strings")
    return tuple(value)


def _written(value: Any) -> str:
    """`value` as Python; infinity has no literal."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{int(token)}: {_written(bias)}" for token, bias in value.items()) + "}"
    if isinstance(value, tuple):
        return repr(list(value))
    if value is None or isinstance(value, Integral):
        return str(value)
    return str(float(value)) if math.isfinite(value) else f'float("{value}")'


def _literal(grammar: str | Mapping[str, Any]) -> str:
    """A grammar as Python."""
    return repr(grammar) if isinstance(grammar, str) else repr(json.loads(text_of(grammar)))


def _stages(s: Sampler) -> list[tuple[str, bool, Apply]]:
    """Name, whether it does anything, what it does. Mirostat takes the place of all that cuts."""
    penalised = (s.repeat_penalty, s.frequency_penalty, s.presence_penalty) != (1, 0, 0) and s.penalty_last_n != 0
    repeating = s.dry_multiplier != 0 and s.dry_base >= 1 and s.dry_penalty_last_n != 0
    moved: list[tuple[str, bool, Apply]] = [
        ("logit_bias", bool(s.logit_bias), lambda c, _: penalties.bias(c, s.logit_bias)),
        ("penalties", penalised, lambda c, now: penalties.penalties(c, now.history, s)),
        ("dry", repeating, lambda c, now: dry.dry(c, now.history, s, s.breakers)),
        ("grammar", s.grammar is not None, lambda c, now: forbid(c, s, now)),
    ]
    warmth: tuple[str, bool, Apply] = (
        "temperature",
        s.temperature != 1,
        lambda c, _: truncation.temperature(c, s.temperature),
    )
    if s.mirostat_mode == 1:
        return [*moved, warmth, ("mirostat", True, lambda c, now: mirostat.version_1(c, now.mu, now.n_vocab))]
    if s.mirostat_mode == 2:
        return [*moved, warmth, ("mirostat", True, lambda c, now: mirostat.version_2(c, now.mu))]
    excluding = s.xtc_probability > 0 and s.xtc_threshold <= 0.5
    return [
        *moved,
        ("top_n_sigma", s.top_n_sigma > 0, lambda c, _: truncation.top_n_sigma(c, s.top_n_sigma)),
        ("top_k", s.top_k > 0, lambda c, _: truncation.top_k(c, s.top_k)),
        ("typical_p", s.typical_p < 1, lambda c, _: truncation.typical(c, s.typical_p)),
        ("top_p", s.top_p < 1, lambda c, _: truncation.top_p(c, s.top_p)),
        ("min_p", s.min_p > 0, lambda c, _: truncation.min_p(c, s.min_p)),
        ("xtc", excluding, lambda c, now: xtc(c, s.xtc_probability, s.xtc_threshold, s.chance(now.position, 1))),
        warmth,
    ]


@lru_cache(maxsize=8)
def _vocabulary(n: int) -> Ids:
    return np.arange(n, dtype=np.int32)
