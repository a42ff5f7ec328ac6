"""What the chain makes of a record: the k most likely tokens, and bounds for all that is not known of the others.

A record says what probability the others have together, and that none of them is likelier than the last that is stored.
Every stage here takes such bounds to bounds. Where they meet, the outcome is proved; where they do not, `NeedsRow` says
so. Nothing is estimated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..record import Ids
from . import dry, penalties, truncation
from .candidates import Candidates, Moment

if TYPE_CHECKING:
    from ..record import StepRecord
    from .sampler import Sampler

EDGE = 1e-5
"""How near to an edge nothing is proved: the logprobs are float32."""


class NeedsRow(Exception):
    """The stored candidates do not suffice: the whole row is needed."""


@dataclass(frozen=True)
class Partial:
    """Candidates of which only the most likely are known.

    Those that are left are the first c of `ids` for some c from `sure` to n, and, if it is n, perhaps some outside.

    Attributes
    ----------
    ids : int32 [n], by falling logit; all are above whatever is outside
    logits : float64 [n]; a candidate's weight is exp(logit)
    sure : how many are left for certain, at least 1
    low, high : bounds for the weight of those outside
    ceiling : bound for the logit of those outside; -inf where none is
    most : bound for how many are outside
    count : how many are left in all; None where nobody can tell
    """

    ids: Ids
    logits: NDArray[np.float64]
    sure: int
    low: float
    high: float
    ceiling: float
    most: float
    count: int | None

    @classmethod
    def of(cls, record: StepRecord, n_vocab: int | None = None) -> Partial:
        """What a record says of the raw distribution."""
        n = len(record.top_ids)
        if not n or math.isnan(record.tail):
            raise NeedsRow
        logits = record.top_logprobs.astype(np.float64)
        most = math.inf if n_vocab is None else float(n_vocab - n)
        if not most or not record.tail:
            return cls(record.top_ids, logits, n, 0.0, 0.0, -math.inf if not most else float(logits[-1]), most, n_vocab)
        return cls(record.top_ids, logits, n, record.tail, record.tail, float(logits[-1]), most, n_vocab)

    @property
    def weights(self) -> NDArray[np.float64]:
        return np.exp(self.logits)

    @property
    def total(self) -> tuple[float, float]:
        """Bounds for the weight of all candidates."""
        reached = self.weights.cumsum()
        outside = self.low if self.sure == len(self.ids) else 0.0
        return float(reached[self.sure - 1]) + outside, float(reached[-1]) + self.high

    @property
    def certain(self) -> bool:
        """Whether all candidates are known."""
        return self.sure == len(self.ids) and self.ceiling == -math.inf

    @property
    def exact(self) -> bool:
        """Whether the probabilities of the known candidates are."""
        return self.sure == len(self.ids) and self.low == self.high

    @property
    def candidates(self) -> Candidates:
        return Candidates(self.ids, self.logits.astype(np.float32))

    def after(self, name: str, s: Sampler, now: Moment) -> Partial:
        """What stage `name` of a sampler leaves.

        Raises
        ------
        NeedsRow
            If that cannot even be bounded.
        """
        return _STAGES[name](self, s, now)

    def draw(self, s: Sampler, position: int) -> int:
        """Index of the candidate that is drawn. Raises `NeedsRow` where that is not proved."""
        if self.certain and len(self.ids) == 1:
            return 0
        u, (low, high) = s.chance(position), self.total
        reached = self.weights.cumsum()
        first, last = reached.searchsorted([u * low - EDGE * low, u * high + EDGE * high], side="right")
        if first != last or last >= self.sure:
            raise NeedsRow
        return int(first)

    # --- the ways of a stage ----------------------------------------------------------------------------

    def cut(self, least: int, most: int, *, outside: bool) -> Partial:
        """The first c, for some c from `least` to `most`; those outside only if `outside`."""
        n, sure = min(len(self.ids), most), max(1, min(self.sure, least))
        kept = replace(self, ids=self.ids[:n], logits=self.logits[:n], sure=min(sure, n))
        if outside and n == len(self.ids) and self.ceiling > -math.inf:
            return replace(kept, low=0.0, count=None)
        return replace(kept, low=0.0, high=0.0, ceiling=-math.inf, most=0.0, count=n if kept.sure == n else None)

    def shifted(self, deltas: Mapping[int, float]) -> Partial:
        """With `deltas` added to the logits of tokens, wherever they are."""
        if not any(deltas.values()):
            return self
        if self.sure < len(self.ids):
            raise NeedsRow
        known = set(self.ids.tolist())
        logits = self.logits + [deltas.get(token, 0.0) for token in self.ids.tolist()]
        others = np.array([delta for token, delta in deltas.items() if token not in known])
        moved = self._outside(others) if self.ceiling > -math.inf else self
        order = np.argsort(-logits, kind="stable")
        logits, ids = logits[order], self.ids[order]
        above = int(np.count_nonzero(logits > max(moved.ceiling, -math.inf)))
        if not above or np.any(-np.diff(logits[:above]) < EDGE) or logits[above - 1] - moved.ceiling < EDGE:
            raise NeedsRow
        below = float(np.exp(logits[above:]).sum())
        return replace(
            moved,
            ids=ids[:above],
            logits=logits[:above],
            sure=above,
            low=moved.low + below,
            high=moved.high + below,
            most=moved.most + len(ids) - above,
        )

    def _outside(self, deltas: NDArray[np.float64]) -> Partial:
        """With these added to logits of tokens outside, whichever they are."""
        each = min(math.exp(self.ceiling), self.high)
        with np.errstate(over="ignore"):
            moves = each * np.expm1(deltas)
        rise = max(0.0, float(deltas.max())) if len(deltas) else 0.0
        return replace(
            self,
            low=max(0.0, self.low + float(moves[moves < 0].sum())),
            high=self.high + float(moves[moves > 0].sum()),
            ceiling=self.ceiling + rise,
        )


def decide(s: Sampler, record: StepRecord, now: Moment) -> tuple[int, float | None]:
    """The token that a sampler chooses where `record` was predicted, and its probability where that is exact too.

    Raises
    ------
    NeedsRow
        If the record alone does not prove it.
    """
    left = Partial.of(record, now.n_vocab or None)
    for name in s.stages:
        left = left.after(name, s, now)
    at = left.draw(s, now.position)
    exact = float(left.weights[at] / left.total[0]) if left.exact else None
    return int(left.ids[at]), exact


def _bias(p: Partial, s: Sampler, _: Moment) -> Partial:
    return p.shifted(s.logit_bias)


def _penalties(p: Partial, s: Sampler, now: Moment) -> Partial:
    counts = penalties.counts(now.history, s)
    taken = {token: -n * s.frequency_penalty - s.presence_penalty for token, n in counts.items()}
    if s.repeat_penalty == 1:
        return p.shifted(taken)
    if s.repeat_penalty < 1 or counts.keys() & set(p.ids.tolist()):
        raise NeedsRow  # raw logits would be needed: dividing logprobs is something else
    if min(s.frequency_penalty, s.presence_penalty) < 0:
        raise NeedsRow
    return p.shifted(dict.fromkeys(counts, -math.inf)) if counts else p


def _dry(p: Partial, s: Sampler, now: Moment) -> Partial:
    lengths = dry.repetitions(now.history, s, s.breakers)
    return p.shifted({token: -dry.penalty(n, s) for token, n in lengths.items()})


def _grammar(p: Partial, s: Sampler, now: Moment) -> Partial:
    """What a record keeps of its own grammar (`top_kept`) is behind all stages: another answer is needed."""
    if s.allowed is None or p.sure < len(p.ids):
        raise NeedsRow
    allowed = s.allowed(now.said, first=now.position - len(now.said))
    mine = allowed[p.ids] & (p.logits > -math.inf)
    if not mine.any():
        raise NeedsRow
    kept = replace(p, ids=p.ids[mine], logits=p.logits[mine], sure=int(mine.sum()), count=int(mine.sum()))
    others = float(np.count_nonzero(allowed) - np.count_nonzero(allowed[p.ids]))
    if p.ceiling == -math.inf or not others:
        return replace(kept, low=0.0, high=0.0, ceiling=-math.inf, most=0.0)
    left = kept.sure + int(others)
    return replace(kept, low=0.0, high=min(p.high, others * math.exp(p.ceiling)), most=others, count=left)


def _top_n_sigma(_p: Partial, _s: Sampler, _now: Moment) -> Partial:
    raise NeedsRow


def _top_k(p: Partial, s: Sampler, _: Moment) -> Partial:
    n = len(p.ids)
    if s.top_k <= n:
        return p.cut(s.top_k, s.top_k, outside=False)
    if p.ceiling == -math.inf or p.most <= s.top_k - n:
        return p
    most = float(s.top_k - n)
    left = None if p.count is None else min(p.count, s.top_k)
    return replace(p, low=0.0, high=min(p.high, most * math.exp(p.ceiling)), most=most, count=left)


def _typical(p: Partial, s: Sampler, _: Moment) -> Partial:
    if not p.certain:
        raise NeedsRow
    kept = [np.sort(truncation.typical(p.candidates, s.typical_p + by).ids) for by in (-EDGE, 0.0, EDGE)]
    if not np.array_equal(kept[0], kept[1]) or not np.array_equal(kept[1], kept[2]):
        raise NeedsRow
    left = np.isin(p.ids, kept[1])
    return replace(p, ids=p.ids[left], logits=p.logits[left], sure=int(left.sum()), count=int(left.sum()))


def _top_p(p: Partial, s: Sampler, _: Moment) -> Partial:
    low, high = p.total
    least, most = p.weights.cumsum().searchsorted([s.top_p * low * (1 - EDGE), s.top_p * high * (1 + EDGE)]) + 1
    return p.cut(int(least), int(most), outside=bool(most > len(p.ids)))


def _min_p(p: Partial, s: Sampler, _: Moment) -> Partial:
    floor = float(p.logits[0]) + math.log(s.min_p)
    least, most = (int(np.count_nonzero(p.logits >= floor + by)) for by in (EDGE, -EDGE))
    return p.cut(least, most, outside=p.ceiling >= floor - EDGE)


def _xtc(p: Partial, s: Sampler, now: Moment) -> Partial:
    if s.chance(now.position, 1) >= s.xtc_probability:
        return p
    low, high = p.total
    least = int(np.count_nonzero(p.weights >= s.xtc_threshold * high * (1 + EDGE)))
    most = int(np.count_nonzero(p.weights >= s.xtc_threshold * low * (1 - EDGE)))
    hidden = p.ceiling > -math.inf and math.exp(p.ceiling) >= s.xtc_threshold * low * (1 - EDGE)
    if least != most or most > p.sure or hidden:
        raise NeedsRow
    n = max(0, most - 1)
    left = None if p.count is None else p.count - n
    return replace(p, ids=p.ids[n:], logits=p.logits[n:], sure=p.sure - n, count=left)


def _temperature(p: Partial, s: Sampler, _: Moment) -> Partial:
    """With w = exp(l) <= C and a = 1 / t: for a >= 1, sum w^a <= C^(a-1) sum w and (Jensen) >= m (sum w / m)^a for m
    tokens; for a <= 1 the other way round.
    """
    if s.temperature == 0:
        return p.cut(1, 1, outside=False)
    a, peak = 1 / s.temperature, float(p.logits[0])
    logits, ceiling = (p.logits - peak) * a, (p.ceiling - peak) * a
    if p.ceiling == -math.inf:
        return replace(p, logits=logits)
    low, high = _powers(p.low, p.high, a, p.most, peak, p.ceiling - peak)
    return replace(p, logits=logits, ceiling=ceiling, low=low, high=high)


def _powers(low: float, high: float, a: float, most: float, peak: float, ceiling: float) -> tuple[float, float]:
    """Bounds for the sum of w^a over the tokens outside, from those for the sum of w; weights relative to the peak."""
    low, high = low * math.exp(-peak), high * math.exp(-peak)
    factor = math.exp(ceiling * (a - 1))
    if a >= 1:
        return (most * (low / most) ** a if math.isfinite(most) else 0.0), high * factor
    if not math.isfinite(most):
        raise NeedsRow
    return low * factor, most * (high / most) ** a


def _mirostat(p: Partial, s: Sampler, now: Moment) -> Partial:
    if s.mirostat_mode == 1 or now.mu <= 0:
        raise NeedsRow
    low, high = (total * 2.0**-now.mu for total in p.total)
    least = int(np.count_nonzero(p.weights >= high * (1 + EDGE)))
    most = max(1, int(np.count_nonzero(p.weights >= low * (1 - EDGE))))
    return p.cut(least, most, outside=math.exp(p.ceiling) >= low * (1 - EDGE))


_STAGES: dict[str, Callable[[Partial, Sampler, Moment], Partial]] = {
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
