"""Whether what was read from a file can be a trace: nothing in it is believed before it stood here.

Whoever reads a trace (the exports, the figures, the page) may rely on what is checked: numbers within their ranges,
tokens whose bytes are known, runs whose settings are of the right types. What a checked number says may still be wrong;
`verify` finds out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import check_text
from .record import Kind

if TYPE_CHECKING:
    from .trace import Trace

MAX_VOCABULARY = 1 << 24
"""More tokens than any model has."""
PIECE_BYTES = 1 << 16
"""Most that a token may be long."""
TEXT_BYTES = 1 << 28
"""Most that all tokens of a tree may be long together."""
LATEST = 253_402_300_799
"""The last second of the year 9999, behind which there are no dates."""
_MARGIN = 1e-3
"""By which a float32 may be out of a range that holds in theory."""
_RANGES = {
    "logprob": (-math.inf, _MARGIN),
    "entropy": (-_MARGIN, 1e3),
    "rank": (0, 2**31 - 1),
    "sampled_prob": (-_MARGIN, 1 + _MARGIN),
    "kept": (0, 2**31 - 1),
    "draw": (0.0, 1.0),
    "ms": (0.0, 1e12),
    "tail": (-_MARGIN, 1 + _MARGIN),
    "top_logprobs": (-math.inf, _MARGIN),
}
_CHUNK = 1 << 20


def check(trace: Trace) -> None:
    """Raise ValueError or TypeError, in words, unless the parts of `trace` fit together and make sense."""
    _check_model(trace.model)
    for number, run in enumerate(trace.runs):
        _check_run(number, run)
    _check_tree(trace.nodes, trace.runs)
    _check_numbers(trace.nodes)
    _check_tokens(trace)
    _check_marks(trace)


# --- what it was made with --------------------------------------------------------------------------------


def _check_model(model: Mapping[str, Any]) -> None:
    for name in ("name", "file", "architecture", "quantisation", "fingerprint"):
        if not isinstance(model.get(name, ""), str | None):
            raise TypeError(f"the model's {name} is no text")
    for name in ("parameters", "bytes", "n_ctx_train", "n_vocab"):
        value = model.get(name)
        if value is not None and (type(value) is not int or not 0 <= value < 2**63):
            raise ValueError(f"the model's {name} is no whole number from 0 on")


def _check_run(number: int, run: Mapping[str, Any]) -> None:
    started = run.get("started")
    if started is not None and (not _is_number(started) or not 0 <= started <= LATEST):
        raise ValueError(f"run {number} did not begin at any time")
    for name, kind in (("sampler", dict), ("versions", dict), ("interventions", list)):
        if not isinstance(run.get(name) or kind(), kind):
            raise TypeError(f"{name} of run {number} is no {'list' if kind is list else 'object'}")
    if type(run.get("keep", 0)) is not int or not 0 <= run.get("keep", 0) < 2**31:
        raise ValueError(f"run {number} keeps no whole number of tokens")
    if "replay" in run and not _is_replay(run["replay"]):
        raise ValueError(f"run {number} does not say what it plays again")
    if not all(_is_change(change) for change in run.get("interventions") or ()):
        raise ValueError(f"run {number} has an intervention that is none")
    if not isinstance((run.get("sampler") or {}).get("logit_bias", {}), dict):
        raise TypeError(f"logit_bias of run {number} is no object")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_replay(said: object) -> bool:
    """Whether that is what the run of a replay says of itself."""
    return isinstance(said, dict) and type(said.get("at")) is int and _is_number(said.get("mu", 0.0))


def _is_change(said: object) -> bool:
    """Whether that is what a run says of an intervention."""
    if not isinstance(said, dict) or not isinstance(said.get("kind"), str):
        return False
    numbers = ("layer", "head", "factor", "strength", "position")
    needed = {"scale": "factor", "steer": "strength"}.get(said["kind"])
    present = all(_is_number(said[name]) for name in numbers if said.get(name) is not None)
    positions = said.get("positions") or []
    listed = isinstance(positions, list) and all(type(position) is int for position in positions)
    parts = isinstance(said.get("part", ""), str | None)
    return present and listed and parts and (needed is None or said.get(needed) is not None)


# --- the tree ---------------------------------------------------------------------------------------------


def _check_tree(rows: NDArray[np.void], runs: list[dict[str, Any]]) -> None:
    parent, nodes = rows["parent"], np.arange(len(rows))
    if np.any((parent >= nodes) | (parent < -1)):
        raise ValueError("a node stands before its parent")
    if np.any(rows["position"] != np.where(parent < 0, 0, rows["position"][parent] + 1)):
        raise ValueError("a position does not follow its parent's")
    if np.any(rows["kind"] >= len(Kind)) or np.any((rows["run"] < -1) | (rows["run"] >= len(runs))):
        raise ValueError("a node is of an unknown kind or run")
    keep = np.array([*(run.get("keep", 0) for run in runs), 0])  # the last is that of no run, -1
    seen = rows["position"] - rows["left_out"]
    if np.any(rows["left_out"] < 0) or np.any((rows["left_out"] > 0) & (seen <= keep[rows["run"]])):
        raise ValueError("a node leaves out more than there is before it")


def _check_numbers(rows: NDArray[np.void]) -> None:
    """Each within its range, or NaN where there is none."""
    for name, (low, high) in _RANGES.items():
        for part in _chunks(rows[name]):
            if np.any((part < low) | (part > high)):
                raise ValueError(f"a value of {name} is out of its range, {low:g} to {high:g}")


def _check_tokens(trace: Trace) -> None:
    """Bytes are known of every token that occurs, and are no more than a text can have."""
    if not all(0 <= token < MAX_VOCABULARY for token in trace.pieces):
        raise ValueError(f"a token's id is not from 0 to {MAX_VOCABULARY - 1:,}")
    sizes = np.zeros(1 + max(trace.pieces, default=0), np.int32)
    for token, piece in trace.pieces.items():
        sizes[token] = len(piece)
    if sizes.max(initial=0) > PIECE_BYTES:
        raise ValueError(f"a token has {sizes.max():,} bytes, where {PIECE_BYTES:,} are allowed")
    rows, n_vocab = trace.nodes, trace.model.get("n_vocab") or 2**31
    known = np.zeros(len(sizes), bool)
    known[list(trace.pieces)] = True
    total = 0
    for tokens in _chunks(rows["token_id"]):
        _check_known(tokens, known, n_vocab)
        total += int(sizes[tokens].sum(dtype=np.int64))
    if total > TEXT_BYTES:
        raise ValueError(f"the text has {total:,} bytes, where {TEXT_BYTES:,} are allowed")
    for ids in _chunks(rows["top_ids"]):
        there = ids >= 0
        if np.any(ids < -1) or np.any(there[:, 1:] & ~there[:, :-1]):
            raise ValueError("alternatives stand behind where they end")
        _check_known(ids[there], known, n_vocab)


def _check_known(tokens: NDArray[np.int32], known: NDArray[np.bool_], n_vocab: int) -> None:
    if np.any((tokens < 0) | (tokens >= min(len(known), n_vocab))) or not known[tokens].all():
        raise ValueError("the bytes of some tokens are missing")


def _chunks(column: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A column in parts, so that a check takes little memory beside it."""
    for start in range(0, len(column), _CHUNK):
        yield column[start : start + _CHUNK]


# --- what was noted on it ---------------------------------------------------------------------------------


def _check_marks(trace: Trace) -> None:
    """What was noted is about the trace's nodes and tokens, and has names that are text."""
    for name in (*trace.names, *trace.watches):
        check_text("the name of a branch or a watch", name)
    if not all(0 <= node < len(trace.nodes) for node in (*trace.names.values(), *trace.pruned, *trace.diverged)):
        raise ValueError("a branch has a name, is hidden or diverged, and there is none")
    n_vocab = trace.model.get("n_vocab") or 2**31
    if not all(ids and all(0 <= token < n_vocab for token in ids) for ids in trace.watches.values()):
        raise ValueError("a watch has no token of this model")
    for name in trace.watches:
        watched = trace.watched(name, tree=True)
        if np.any((watched < 0) | (watched > 1 + 1e-5)):
            raise ValueError(f"what {name!r} watched are no probabilities")
