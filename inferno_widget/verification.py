"""Whether a trace says what its model says: the text scored again, and the dice thrown again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arguments import number
from .errors import brief, hint_unknown_keywords
from .export.text import label
from .record import Kind
from .sampling import Sampler, draw, softmax

if TYPE_CHECKING:
    from .model import Model
    from .trace import Trace

MOST_NATS = 1e6
QUANTISED = 0.25
"""Tolerance for quantised weights, whatever the cache.

Token by token against one prefill, the logprobs of more than 20,000 tokens of the demo model (Q8_0) with an f16 cache
differed by 0.018 nats in the root mean square, by 0.09 for one in a thousand, and by 0.17 at most; with an f32 cache by
half as much.
"""
TOLERANCES = {"F32": (1e-3, 5e-2), "F16": (1e-2, 5e-2), "BF16": (1e-2, 5e-2)}
"""Weights -> tolerance with an f32 cache, and with any other. Measured: 3e-6 and 0.02; with F16 0.001 and 0.02."""
_LEAST = -1e4
"""Stands for a logprob of minus infinity, so that a difference is a number."""
_EDGE = 1e-5
"""How near to the edge of its share of the probability a draw may fall: the logprobs are float32."""


@dataclass(frozen=True, repr=False)
class Verification:
    """What came of comparing a trace with a model.

    Attributes
    ----------
    same : whether every prediction that was compared agrees within the tolerance
    compared : predictions compared
    largest : the largest difference between two logprobs, nats
    tolerance : how much was allowed, nats
    at : the first position that differs by more; None where none does
    replayed, drawn : tokens that the recorded dice choose again, of those whose choice can be recomputed
    message : all that in words
    """

    same: bool
    compared: int
    largest: float
    tolerance: float
    at: int | None
    replayed: int
    drawn: int
    message: str

    def __repr__(self) -> str:
        said = "same" if self.same else "not the same"
        return (
            f"<Verification {said}: {self.compared:,} predictions compared, largest difference "
            f"{self.largest:.3g} nats, tolerance {self.tolerance:g}>"
        )

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """What the widget shows."""
        return {name: getattr(self, name) for name in ("same", "compared", "largest", "tolerance", "message")}


class _Window(NamedTuple):
    """Tokens that were predicted from the same beginning.

    Attributes
    ----------
    first, behind : their positions
    keep, left_out : the model saw the first `keep` tokens, then not the next `left_out`
    """

    first: int
    behind: int
    keep: int
    left_out: int


@hint_unknown_keywords
def verify(trace: Trace, model: Model, tolerance: float | None = None) -> Verification:
    """Score the current path of a trace again and name the first prediction that differs.

    A difference is no exception: what was found stands in the answer, whose text says it in a sentence. Nothing is
    bit-exact between a text made token by token and the same text scored at once, so a tolerance is needed.

    Parameters
    ----------
    trace : what to check
    model : the model that it was made with, loaded again; another file is noticed and not compared
    tolerance : largest difference between two logprobs, nats. When None 0.001 for F32 weights with an f32 KV cache,
        0.01 for F16, 0.05 for these with any other cache, 0.25 for quantised weights
    """
    _check_kinds(trace, model)
    allowed = default_tolerance(trace, model) if tolerance is None else _checked(tolerance)
    problem = _unlike(trace, model)
    if problem:
        return Verification(False, 0, 0.0, allowed, None, 0, 0, problem)
    path = trace.path()
    rows = trace.nodes[path]
    again = _scored_again(trace, rows, model)
    difference = np.abs(np.maximum(rows["logprob"], _LEAST) - np.maximum(again, _LEAST))
    compared = ~np.isnan(difference)
    beyond = np.flatnonzero(compared & (difference > allowed))
    replayed, drawn = _dice(trace, rows)
    return Verification(
        same=not len(beyond),
        compared=int(compared.sum()),
        largest=float(difference[compared].max()) if compared.any() else 0.0,
        tolerance=allowed,
        at=int(beyond[0]) if len(beyond) else None,
        replayed=replayed,
        drawn=drawn,
        message=" ".join(
            part
            for part in (
                _verdict(trace, rows, again, difference, beyond, allowed),
                _coverage(trace, rows, compared, model),
                f"The recorded dice choose {replayed:,} of {drawn:,} tokens again." if drawn else "",
            )
            if part
        ),
    )


def default_tolerance(trace: Trace, model: Model) -> float:
    """What two computations of the same logprob may differ by, for these weights and these KV caches."""
    exact, other = TOLERANCES.get(str(model.info.quantisation), (QUANTISED, QUANTISED))
    caches = {model.options.type_k, model.options.type_v}
    for run in trace.runs.copy():
        caches |= {run.get("type_k", "f16"), run.get("type_v", "f16")}
    return exact if caches == {"f32"} else other


def _check_kinds(trace: object, model: object) -> None:
    from .model import Model
    from .trace import Trace

    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be a Trace, such as session.trace or Trace.load(path), not {brief(trace)}")
    if not isinstance(model, Model):
        raise TypeError(f"model must be a loaded Model, not {brief(model)}")


def _checked(tolerance: float) -> float:
    try:
        return number("tolerance", tolerance, 0, MOST_NATS)
    except (TypeError, ValueError):
        raise ValueError(f"tolerance must be a number of nats, 0 or more, not {brief(tolerance)}") from None


def _unlike(trace: Trace, model: Model) -> str:
    """Why the trace cannot be this model's; empty where it may be."""
    recorded, present = trace.model.get("fingerprint"), model.card["fingerprint"]
    if recorded and recorded != present:
        return (
            f"Another file: the trace was made with {trace.model.get('file')} (fingerprint {recorded[:16]}…), and this "
            f"is {model.card['file']} (fingerprint {present[:16]}…). Nothing was compared; load that file to verify."
        )
    unknown = trace.column("token_id") >= model.info.n_vocab
    if unknown.any():
        token = int(trace.column("token_id")[unknown][0])
        return f"Another model: the trace holds token {token:,}, and this one ends at {model.info.n_vocab - 1:,}."
    return ""


# --- scoring ------------------------------------------------------------------------------------------------


def _scored_again(trace: Trace, rows: NDArray[np.void], model: Model) -> NDArray[np.float64]:
    """The logprob of each token of the path from what the model saw then; NaN where it cannot be had."""
    ids = rows["token_id"]
    again = np.full(len(rows), np.nan)
    for window in _windows(trace, rows):
        seen = np.concatenate([ids[: window.keep], ids[window.keep + window.left_out : window.behind]])
        seen = seen[: model.n_ctx]
        if not len(seen):
            continue
        with model.session(seen.tolist(), Sampler(temperature=0), k=1) as session:
            scores = session.score().column("logprob").astype(np.float64)
        new = scores[window.first - window.left_out :]
        again[window.first : window.first + len(new)] = new
    again[_changed(trace, rows)] = np.nan
    return again


def _changed(trace: Trace, rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which predictions were made under interventions: this model would make others."""
    runs = [bool(run.get("interventions")) for run in trace.runs.copy()]
    changed: NDArray[np.bool_] = np.array([*runs, False])[rows["run"]]  # the last is that of no run, -1
    return changed


def _windows(trace: Trace, rows: NDArray[np.void]) -> Iterator[_Window]:
    """The path in stretches, each of which the model saw from the same beginning."""
    keeps = np.array([int(run.get("keep", 0)) for run in trace.runs.copy()] or [0])
    left_out = rows["left_out"]
    keep = np.where(left_out > 0, keeps[rows["run"]], 0)
    changes = np.flatnonzero((np.diff(left_out) != 0) | (np.diff(keep) != 0)) + 1
    edges = [0, *changes.tolist(), len(rows)]
    for first, behind in pairwise(edges):
        if first < behind:
            yield _Window(first, behind, int(keep[first]), int(left_out[first]))


# --- the dice -----------------------------------------------------------------------------------------------


def _dice(trace: Trace, rows: NDArray[np.void]) -> tuple[int, int]:
    """Tokens that the recorded dice choose again, and tokens whose choice can be recomputed from the trace alone.

    That needs every candidate that the sampler had left among the recorded alternatives, and no penalties.
    """
    replayed = drawn = 0
    samplers = [_known_sampler(run.get("sampler") or {}) for run in trace.runs.copy()]
    for row in rows[(rows["kind"] == Kind.GENERATED) & ~np.isnan(rows["draw"])]:
        sampler = samplers[row["run"]]
        if sampler is None or row["top_kept"].sum() != row["kept"]:
            continue
        drawn += 1
        replayed += bool(draw(sampler.seed or 0, int(row["position"])) == row["draw"]) and _chooses(sampler, row)
    return replayed, drawn


def _known_sampler(settings: dict[str, Any]) -> Sampler | None:
    """A sampler whose choices follow from the logprobs of what it kept."""
    try:
        sampler = Sampler.from_dict(settings)
    except (TypeError, ValueError):
        return None
    penalised = {"penalties", "dry"} & sampler.stages.keys()
    return None if sampler.seed is None or penalised or not sampler.temperature else sampler


def _chooses(sampler: Sampler, row: np.void) -> bool:
    """Whether the recorded draw falls on the token, among those kept."""
    kept = row["top_ids"][row["top_kept"]]
    logits = row["top_logprobs"][row["top_kept"]].astype(np.float64)
    logits += [sampler.logit_bias.get(int(token), 0.0) for token in kept]
    order = np.lexsort((kept, -logits))
    reached = softmax(logits[order] / sampler.temperature).cumsum()
    place = np.flatnonzero(kept[order] == row["token_id"])
    if not len(place):
        return False
    at = int(place[0])
    low, high = (float(reached[at - 1]) if at else 0.0), float(reached[at])
    return low - _EDGE <= float(row["draw"]) <= high + _EDGE


# --- words --------------------------------------------------------------------------------------------------


def _verdict(
    trace: Trace,
    rows: NDArray[np.void],
    again: NDArray[np.float64],
    difference: NDArray[np.float64],
    beyond: NDArray[np.intp],
    allowed: float,
) -> str:
    compared = int((~np.isnan(difference)).sum())
    if not compared:
        return "There is nothing to compare: no token of the path was predicted."
    worst = int(np.nanargmax(difference))
    largest = f"the largest difference is {difference[worst]:.3g} nats, at position {worst:,}"
    if not len(beyond):
        return f"The same: {compared:,} predictions agree within {allowed:g} nats; {largest}."
    at = int(beyond[0])
    token = label(trace.pieces[int(rows["token_id"][at])])
    return (
        f"Not the same: at position {at:,} ({token}) the trace has a logprob of {rows['logprob'][at]:.4g} and the "
        f"model {again[at]:.4g}, a difference of {difference[at]:.3g} nats where {allowed:g} are allowed. "
        f"Beyond that: {len(beyond):,} of {compared:,} predictions; {largest}."
    )


def _coverage(trace: Trace, rows: NDArray[np.void], compared: NDArray[np.bool_], model: Model) -> str:
    """Which predictions were not compared, and why."""
    left, changed = (rows["rank"] > 0) & ~compared, _changed(trace, rows)
    altered, missed = int((left & changed).sum()), int((left & ~changed).sum())
    reasons = []
    if altered:
        reasons.append(f"{altered:,} predictions were made under interventions, and were not compared.")
    if missed:
        reasons.append(
            f"{missed:,} predictions were made from more tokens than this model's context of {model.n_ctx:,} holds, "
            "and were not compared: load it with a larger n_ctx."
        )
    return " ".join(reasons)
