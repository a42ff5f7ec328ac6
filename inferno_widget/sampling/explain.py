"""The sampler's X-ray: what each stage found, what it left, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..record import Floats, Ids
from ..stats import leading
from . import grammar, mirostat
from .candidates import Candidates, Moment, fewest, softmax
from .reasons import MOVES, Change, Finding, account
from .stored import NeedsRow, Partial

if TYPE_CHECKING:
    from ..record import StepRecord
    from .sampler import Sampler


class Part(NamedTuple):
    """A distribution over candidates, of which the most likely are listed.

    Attributes
    ----------
    ids : int32 [m], most likely first, ties by id
    logits : float32 [m], as the stages so far left them; logprobs where only a record was there
    probabilities : float64 [m], over all candidates
    size : candidates there are; None where a record cannot say
    rest : probability of the candidates that are not listed
    error : by how much a probability may be wrong at most; 0 from a whole row
    """

    ids: Ids
    logits: Floats
    probabilities: NDArray[np.float64]
    size: int | None
    rest: float
    error: float = 0.0


class Draw(NamedTuple):
    """Where the uniform number fell on the cumulative bar.

    Attributes
    ----------
    token : the one that was chosen
    probability : of the token, after the last stage
    uniform : the number, in [0, 1); NaN where only one candidate was left and nothing was drawn
    ids : int32 [m], the candidates along the bar, up to the token's at least
    edges : float64 [m + 1]; the number falls on candidate i where ``edges[i] <= uniform < edges[i + 1]``
    """

    token: int
    probability: float
    uniform: float
    ids: Ids
    edges: NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """What one stage of the chain did.

    Attributes
    ----------
    name : as in `Sampler.stages`; the last is "draw"
    parameters : the settings that it goes by
    numbers : what it worked out, such as the entropy or a threshold
    rule : what it does, in words
    before, after : the candidates
    removed : the most likely of those that it removed, with their probability before
    reasons : token -> why it was removed, in words, for those in `removed`
    changed : logits that it moved, the most likely tokens first
    draw : of the last stage; None otherwise
    """

    name: str
    parameters: Mapping[str, Any]
    rule: str
    before: Part
    after: Part
    removed: Part
    numbers: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    changed: Sequence[Change] = ()
    draw: Draw | None = None

    def __repr__(self) -> str:
        return f"<Stage {self.name}: {self.before.size} -> {self.after.size} candidates; {self.rule}>"


def explain(
    s: Sampler,
    logits: Floats,
    history: Sequence[int],
    position: int | None,
    mu: float | None,
    said: Sequence[int] = (),
    *,
    top: int,
) -> list[Stage]:
    """What every stage did to a whole row, and the draw.

    Parameters
    ----------
    s : the sampler
    logits : float32 [n_vocab], raw
    history : token ids that the model saw
    position : of the token to come; the end of the history when None
    mu : mirostat's state, bits; its beginning when None
    said : token ids behind the prompt, which the grammar goes by
    top : candidates to list in each part
    """
    now = s.moment(logits, history, position, mu, said)
    left = Candidates(np.arange(len(logits), dtype=np.int32), logits)
    before, total = _part(left, top)
    stages = []
    for name, stage in s.stages.items():
        kept = grammar.whole(name, stage, s)(left, now)
        after, weight = (before, total) if kept is left else _part(kept, top)
        gone = _gone(left, kept, (total, weight), top, now.n_vocab)
        stages.append(_stage(s, name, Finding(left, kept, before, after, gone, now)))
        left, before, total = kept, after, weight
    return [*stages, _drawn(s, before, _draw(s, left, now))]


def explain_stored(
    s: Sampler,
    record: StepRecord,
    history: Sequence[int],
    mu: float | None = None,
    said: Sequence[int] = (),
    *,
    n_vocab: int | None = None,
) -> list[Stage] | None:
    """What every stage did, from the k most likely tokens and the exact mass of the others alone.

    That suffices where it can be proved which candidates every stage that matters to the outcome kept, and what was
    drawn: after top_k <= k; where top_p, min_p or mirostat 2 cut within the stored candidates (whatever top_k is); for
    temperature 0; or at temperature 1 with nothing cut, where the draw falls on a stored one. A stage in between may
    leave some that are not stored: then its parts say by how much their probabilities may be off (`Part.error`).

    It does not suffice for top_n_sigma (it needs the spread of all logits), for a repeat_penalty (which is not the same
    for logits and logprobs) when a stored candidate came recently, for typical_p while others are left, for mirostat 1,
    for a grammar that is not bound or whose model is gone (it is asked, and decodes nothing) or that allows none of the
    stored, or where a cut or the draw is nearer to an edge than float32 logprobs can tell.

    Parameters
    ----------
    s : the sampler, with other settings than the record's if you like
    record : what was predicted
    history : token ids that the model saw
    mu : mirostat's state, bits; its beginning when None
    said : token ids behind the prompt, which the grammar goes by
    n_vocab : tokens there are, if known: a bound for temperatures above 1

    Returns
    -------
    list of Stage, or None where the whole row is needed
    """
    now = Moment(history, record.position, n_vocab or 0, mirostat.begin(s) if mu is None else mu, said)
    try:
        left = Partial.of(record, n_vocab)
        stages = []
        for name in s.stages:
            kept = _kept(left, name, s, now)
            gone = _partly(left, kept, moves=name in MOVES or (name == "temperature" and s.temperature > 0))
            finding = Finding(left.candidates, kept.candidates, _partial(left), _partial(kept), gone, now)
            stages.append(_stage(s, name, finding))
            left = kept
        chosen = left.draw(s, now.position)
    except NeedsRow:
        return None
    if not left.exact:
        return None
    probabilities = left.weights / left.total[0]
    edges = np.append(0.0, probabilities.cumsum())
    single = left.certain and len(left.ids) == 1
    uniform = math.nan if single else s.chance(now.position)
    draw = Draw(int(left.ids[chosen]), float(probabilities[chosen]), uniform, left.ids, edges)
    return [*stages, _drawn(s, _partial(left), draw)]


def _kept(left: Partial, name: str, s: Sampler, now: Moment) -> Partial:
    kept = left.after(name, s, now)
    if name == "grammar" and not kept.exact:
        raise NeedsRow  # how much of the rest is forbidden only the row says
    return kept


def _stage(s: Sampler, name: str, found: Finding) -> Stage:
    told = account(name, s, found)
    return Stage(
        name=name,
        parameters=told.parameters,
        rule=told.rule,
        numbers=told.numbers,
        before=found.before,
        after=found.after,
        removed=found.removed,
        reasons=dict(zip(found.removed.ids.tolist(), told.reasons, strict=True)),
        changed=told.changed,
    )


def _drawn(s: Sampler, part: Part, draw: Draw) -> Stage:
    at = np.flatnonzero(part.ids == draw.token)
    if math.isnan(draw.uniform):
        rule = "one candidate is left: nothing is drawn"
    else:
        i = int(np.flatnonzero(draw.ids == draw.token)[0])
        rule = (
            f"the number {draw.uniform:.4f} falls between {draw.edges[i]:.4f} and {draw.edges[i + 1]:.4f}, "
            f"on candidate {i + 1} in falling order"
        )
    after = Part(part.ids[at], part.logits[at], np.ones(len(at)), 1, 1.0 - len(at))
    nothing = Part(part.ids[:0], part.logits[:0], np.empty(0), 0, 0.0)
    return Stage("draw", {"seed": s.seed}, rule, part, after, nothing, draw=draw)


# --- whole rows ---------------------------------------------------------------------------------------------


Norm = tuple[float, float]
"""What makes a logit a probability: the peak, and the sum of exp(logit - peak)."""


def _part(c: Candidates, top: int) -> tuple[Part, Norm]:
    peak = float(c.logits.max())
    total = float(np.exp(c.logits - np.float32(peak)).sum(dtype=np.float64))
    order = leading(c.logits, top)
    return _listed(c.take(order), len(c.ids), (peak, total)), (peak, total)


def _listed(c: Candidates, count: int, norm: Norm) -> Part:
    probabilities = np.exp(c.logits.astype(np.float64) - norm[0]) / norm[1]
    rest = max(0.0, 1.0 - float(probabilities.sum())) if count > len(c.ids) else 0.0
    return Part(c.ids, c.logits, probabilities, count, rest)


def _gone(before: Candidates, after: Candidates, norms: tuple[Norm, Norm], top: int, n_vocab: int) -> Part:
    """What is in `before` but not in `after`, with probabilities under `before`.

    `rest` is the probability of those that are not listed. A stage that cuts moves no logit: so the mass of what is
    kept follows from the norms of both.
    """
    count = len(before.ids) - len(after.ids)
    if not count:
        return Part(before.ids[:0], before.logits[:0], np.empty(0), 0, 0.0)
    stays = np.zeros(n_vocab, np.bool_)
    stays[after.ids] = True
    others = np.where(stays[before.ids], np.float32(-np.inf), before.logits)
    order = leading(others, min(top, count))
    (peak, total), (highest, weight) = norms
    listed = _listed(before.take(order[others[order] > -np.inf]), count, norms[0])
    mass = 1.0 - math.exp(highest - peak) * weight / total
    return listed._replace(rest=max(0.0, mass - float(listed.probabilities.sum())))


def _draw(s: Sampler, left: Candidates, now: Moment) -> Draw:
    if len(left.ids) == 1:
        return Draw(int(left.ids[0]), 1.0, math.nan, left.ids, np.array([0.0, 1.0]))
    u, probabilities = s.chance(now.position), softmax(left.logits)
    along = fewest(left.logits, probabilities, u, beyond=True)
    along = along[np.lexsort((along, -left.logits[along]))]
    edges = np.append(0.0, probabilities[along].cumsum())
    return Draw(int(left.ids[along[-1]]), float(probabilities[along[-1]]), u, left.ids[along], edges)


# --- records ------------------------------------------------------------------------------------------------


def _partial(p: Partial) -> Part:
    low, high = p.total
    middle = (low + high) / 2
    probabilities = p.weights / middle
    error = float(probabilities[0]) * (middle / low - 1)
    rest = 0.0 if p.certain else max(0.0, 1.0 - float(probabilities.sum()))
    return Part(p.ids, p.logits.astype(np.float32), probabilities, p.count, rest, error)


def _partly(before: Partial, after: Partial, *, moves: bool) -> Part:
    """What a stage removed; one that only `moves` logits removes nothing, though it may leave fewer that are known."""
    listed = _partial(before)
    if moves:
        return Part(before.ids[:0], listed.logits[:0], np.empty(0), 0, 0.0)
    gone = ~np.isin(before.ids, after.ids)
    count = int(gone.sum()) if before.certain else None
    if before.count is not None and after.count is not None:
        count = before.count - after.count
    (low, high), (least, most) = before.total, after.total  # a cut moves no logit: these compare
    fewest, largest = max(0.0, 1 - most / low), 1 - least / high
    probabilities = listed.probabilities[gone]
    told = float(probabilities.sum())
    mass = max(told, (fewest + largest) / 2)
    error = max(listed.error, mass - fewest, largest - mass)
    return Part(before.ids[gone], listed.logits[gone], probabilities, count, mass - told, error)
