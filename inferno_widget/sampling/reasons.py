"""Why a stage did what it did, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import dry, mirostat, penalties, truncation
from .candidates import Candidates, Moment

if TYPE_CHECKING:
    from .explain import Part
    from .sampler import Sampler


class Change(NamedTuple):
    """A logit that a stage moved.

    Attributes
    ----------
    token : whose
    before, after : the logit
    reason : in words
    """

    token: int
    before: float
    after: float
    reason: str


class Finding(NamedTuple):
    """What was seen of a stage: its candidates whole (as far as they are known), the parts, and the moment."""

    whole_before: Candidates
    whole_after: Candidates
    before: Part
    after: Part
    removed: Part
    now: Moment


@dataclass(frozen=True)
class Account:
    """What is told of a stage; `reasons` has one for each token in `removed`."""

    parameters: Mapping[str, Any]
    rule: str
    reasons: Sequence[str] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    changed: Sequence[Change] = ()


MOVES = ("logit_bias", "penalties", "dry")
"""Stages that move single logits and remove nothing."""


def account(name: str, s: Sampler, found: Finding) -> Account:
    """What stage `name` did and why."""
    return _ACCOUNTS[name](s, found)


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th ..."""
    suffix = "th" if n // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


# --- stages that move logits --------------------------------------------------------------------------------


def _changes(found: Finding, why: Mapping[int, str]) -> list[Change]:
    """Of the tokens in `why`, those that the stage moved and that are known, the most likely first."""
    before, after = found.whole_before, found.whole_after
    # These stages come first: of a row they get the vocabulary in order, and leave it so.
    whole = before.ids is after.ids and len(before.ids) == found.now.n_vocab
    places = [{} if whole else {int(t): i for i, t in enumerate(c.ids)} for c in (before, after)]
    changes = []
    for token, reason in why.items():
        old, new = (token, token) if whole else (places[0].get(token), places[1].get(token))
        if old is not None and new is not None:
            changes.append(Change(token, float(before.logits[old]), float(after.logits[new]), reason))
    return sorted((c for c in changes if c.before != c.after), key=lambda c: (-c.before, c.token))


def _moved(s: Sampler, found: Finding, names: Sequence[str], rule: str, why: Mapping[int, str]) -> Account:
    return Account(_settings(s, *names), rule, changed=_changes(found, why))


def _bias(s: Sampler, found: Finding) -> Account:
    why = {token: "forbidden" if math.isinf(b) else f"{b:+g} asked for" for token, b in s.logit_bias.items()}
    return _moved(s, found, ["logit_bias"], "adds what was asked for to single logits", why)


def _penalties(s: Sampler, found: Finding) -> Account:
    names = ["repeat_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n"]
    seen = penalties.counts(found.now.history, s)
    where = "the text" if s.penalty_last_n < 0 else f"the last {s.penalty_last_n} tokens"
    why = {token: f"came {_times(n)} in {where}" for token, n in seen.items()}
    told = _moved(s, found, names, f"makes tokens of {where} less likely", why)
    return replace(told, changed=[_by_how_much(change) for change in told.changed])


def _by_how_much(change: Change) -> Change:
    by = change.before - change.after
    return change._replace(reason=f"{'penalised' if by > 0 else 'favoured'} by {abs(by):.3g}: {change.reason}")


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _dry(s: Sampler, found: Finding) -> Account:
    names = ["dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"]
    lengths = dry.repetitions(found.now.history, s, s.breakers)
    why = {
        token: f"would go on with a repetition of {n} tokens: {dry.penalty(n, s):.3g} = {s.dry_multiplier:g} x "
        f"{s.dry_base:g}^{n - s.dry_allowed_length}"
        for token, n in lengths.items()
    }
    return _moved(s, found, names, "makes tokens that go on with a repetition less likely", why)


def _temperature(s: Sampler, found: Finding) -> Account:
    if s.temperature == 0:
        return _cut(s, found, "temperature", "takes the most likely token", lambda _: "not the most likely")
    sense = "flatter" if s.temperature > 1 else "steeper"
    rule = f"divides the logits by {s.temperature:g}: the distribution becomes {sense}"
    return Account(_settings(s, "temperature"), rule, [""] * len(found.removed.ids))


# --- stages that cut ----------------------------------------------------------------------------------------


def _cut(
    s: Sampler,
    found: Finding,
    name: str,
    rule: str,
    why: Callable[[int], str],
    numbers: Mapping[str, float] | None = None,
) -> Account:
    reasons = [why(i) for i in range(len(found.removed.ids))]
    return Account(_settings(s, name), rule, reasons, numbers or {})


def _settings(s: Sampler, *names: str) -> dict[str, Any]:
    return {name: getattr(s, name) for name in names}


def _grammar(s: Sampler, found: Finding) -> Account:
    kept = _kept_mass(found)
    of = "" if found.before.size is None else f" of {found.before.size:,}"
    size = "some" if found.after.size is None else f"{found.after.size:,}"
    return _cut(
        s,
        found,
        "grammar",
        f"allows {size}{of} tokens here, which have {kept:.4g} together: {1 - kept:.4g} is forbidden",
        lambda _: "the grammar does not allow it here",
        {"allowed": kept, "forbidden": 1 - kept},
    )


def _top_n_sigma(s: Sampler, found: Finding) -> Account:
    sigma, peak = truncation.sigma(found.whole_before), float(found.before.logits[0])
    floor = peak - s.top_n_sigma * sigma
    return _cut(
        s,
        found,
        "top_n_sigma",
        f"keeps logits of at least {floor:.4g}: {s.top_n_sigma:g} standard deviations ({sigma:.4g}) below {peak:.4g}",
        lambda i: f"logit {found.removed.logits[i]:.4g} is below {floor:.4g}",
        {"sigma": sigma, "floor": floor},
    )


def _top_k(s: Sampler, found: Finding) -> Account:
    last = ordinal(s.top_k)
    return _cut(
        s,
        found,
        "top_k",
        f"keeps the {s.top_k} most likely",
        lambda i: f"the {ordinal(s.top_k + i + 1)} most likely, beyond the {last}",
    )


def _typical(s: Sampler, found: Finding) -> Account:
    entropy = truncation.entropy(found.whole_before)
    surprisals = -np.log(np.maximum(found.removed.probabilities, np.finfo(np.float64).tiny))
    return _cut(
        s,
        found,
        "typical_p",
        f"keeps the tokens whose surprisal is nearest the entropy of {entropy:.3g} nats, up to {s.typical_p:g}",
        lambda i: (
            f"surprisal {surprisals[i]:.3g} is {abs(surprisals[i] - entropy):.3g} from the entropy; nearer "
            f"tokens have more than {s.typical_p:g} already"
        ),
        {"entropy": entropy},
    )


def _top_p(s: Sampler, found: Finding) -> Account:
    reached = _kept_mass(found)
    return _cut(
        s,
        found,
        "top_p",
        f"keeps the fewest most likely tokens that have {s.top_p:g} together",
        lambda _: f"outside top-p: the likelier tokens have {reached:.4g} already, of {s.top_p:g}",
        {"reached": reached},
    )


def _kept_mass(found: Finding) -> float:
    """Probability, before the stage, of what it kept."""
    return 1.0 - float(found.removed.probabilities.sum()) - found.removed.rest


def _min_p(s: Sampler, found: Finding) -> Account:
    best = float(found.before.probabilities[0])
    floor = s.min_p * best
    return _cut(
        s,
        found,
        "min_p",
        f"keeps tokens of at least {floor:.3g}: {s.min_p:g} of the most likely one's {best:.3g}",
        lambda i: f"{found.removed.probabilities[i]:.3g} is below min-p's {floor:.3g}",
        {"floor": floor},
    )


def _xtc(s: Sampler, found: Finding) -> Account:
    chance = s.chance(found.now.position, 1)
    if chance >= s.xtc_probability:
        rule = f"does nothing this time: its number {chance:.4f} is not below {s.xtc_probability:g}"
    else:
        rule = f"its number {chance:.4f} is below {s.xtc_probability:g}: excludes the top choices but the last"
    p = found.removed.probabilities
    told = _cut(
        s,
        found,
        "xtc_probability",
        rule,
        lambda i: f"a top choice: {p[i]:.3g} is at least {s.xtc_threshold:g}, and so is a less likely one",
        {"chance": chance},
    )
    return Account({**told.parameters, "xtc_threshold": s.xtc_threshold}, told.rule, told.reasons, told.numbers)


def _mirostat(s: Sampler, found: Finding) -> Account:
    mu, numbers = found.now.mu, {"mu": found.now.mu}
    if s.mirostat_mode == 1:
        c = found.whole_before
        k = mirostat.count(c, mu, found.now.n_vocab)
        numbers |= {"s_hat": mirostat.exponent(c), "k": float(k)}
        rule = f"keeps the {k} most likely: Zipf's exponent is {numbers['s_hat']:.3g}, and mu is {mu:.3g} bits"
        reason = [f"the {ordinal(k + i + 1)} most likely, beyond k = {k}" for i in range(len(found.removed.ids))]
    else:
        rule = f"keeps tokens whose surprisal is at most mu, which is {mu:.3g} bits"
        bits = -np.log2(np.maximum(found.removed.probabilities, np.finfo(np.float64).tiny))
        reason = [f"surprisal {b:.3g} bits is beyond mu's {mu:.3g}" for b in bits.tolist()]
    return Account(_settings(s, "mirostat_mode", "mirostat_tau", "mirostat_eta"), rule, reason, numbers)


_ACCOUNTS: dict[str, Callable[[Sampler, Finding], Account]] = {
    "logit_bias": _bias,
    "penalties": _penalties,
    "dry": _dry,
    "grammar": _grammar,
    "top_n_sigma": _top_n_sigma,
    "top_k": _top_k,
    "typical_p": _typical,
    "top_p": _top_p,
    "min_p": _min_p,
    "xtc": _xtc,
    "temperature": _temperature,
    "mirostat": _mirostat,
}
