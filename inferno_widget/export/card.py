"""The reproduction card: what it takes to make a text again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..altered import words
from ..record import Kind
from ..sampling import Sampler
from .format import size, whole
from .plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..trace import Trace


MODEL_FACTS = ("name", "architecture", "parameters", "quantisation", "n_ctx_train", "n_vocab")
"""What the page says of a model beside its text."""


def card(trace: Trace) -> dict[str, Any]:
    """All that a reader needs to check a trace or to make it again, for strict JSON.

    Returns
    -------
    dict
        ``model`` : name, file, bytes, fingerprint, quantisation ... of the GGUF file

        ``tokens`` : of the current path, by kind, and nodes of the whole tree

        ``runs`` : of the whole tree, in order, each with its number (`run`), its tokens on the current path,
        when it began (ISO 8601), the sampler's parameters, the chain that they make, the seed, the options
        that the model was loaded with and the versions

        ``exported_by`` : version of inferno_widget
    """
    path = trace.path()
    nodes, rows = trace.nodes[path], trace.runs.copy()  # in this order: a trace may grow meanwhile
    shares = np.bincount(nodes["run"][nodes["run"] >= 0], minlength=len(rows)).tolist()
    kinds = {kind.name.lower(): int(np.count_nonzero(nodes["kind"] == kind)) for kind in Kind}
    runs = [_run(i, row, shares[i]) for i, row in enumerate(rows)]
    return {
        "model": plain(trace.model),
        "tokens": {"path": len(nodes), **kinds, "tree": len(trace.nodes)},
        "runs": runs,
        "exported_by": f"inferno_widget {__version__}",
    }


_OWN = ("run", "tokens", "started", "seed", "chain", "sampler", "versions")
"""What the card itself says of a run, whatever a file calls so."""


def _run(number: int, row: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    rest = {name: value for name, value in row.items() if name not in _OWN}
    sampler = row.get("sampler") or {}
    return {
        "run": number,
        "tokens": tokens,
        "started": _moment(row.get("started")),
        "seed": plain(sampler.get("seed")),
        "chain": _chain(sampler),
        "sampler": plain(sampler),
        **plain(rest),
        "versions": plain(row.get("versions") or {}),
    }


def _moment(seconds: object) -> str | None:
    """Seconds since 1970 as ISO 8601, in UTC."""
    if not isinstance(seconds, int | float):
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _chain(settings: Mapping[str, Any]) -> list[str] | None:
    """The stages that did something, in order; None where this version does not know the parameters."""
    try:
        sampler = Sampler.from_dict(settings)
    except (TypeError, ValueError):
        return None
    return [_stage(name, sampler) for name in sampler.stages]


PARAMETERS = {
    "penalties": ("repeat_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n"),
    "dry": ("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
    "xtc": ("xtc_probability", "xtc_threshold"),
    "mirostat": ("mirostat_mode", "mirostat_tau", "mirostat_eta"),
}
"""Stages with more than one parameter."""


def _stage(name: str, sampler: Sampler) -> str:
    if name == "logit_bias":
        return f"logit_bias ({len(sampler.logit_bias)})"
    if name == "grammar":
        return f"grammar ({'GBNF' if isinstance(sampler.grammar, str) else 'JSON schema'})"
    if name in PARAMETERS:
        return f"{name} (" + ", ".join(f"{part} {getattr(sampler, part):g}" for part in PARAMETERS[name]) + ")"
    return f"{name} {getattr(sampler, name):g}"


OPTIONS = ("n_ctx", "n_batch", "n_threads", "n_gpu_layers", "type_k", "type_v", "on_full", "keep")
"""What a run was computed under, besides the sampler."""


def card_rows(contents: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The part of a card that holds for the whole text, as (name, value) in words."""
    model, tokens, runs = contents["model"], contents["tokens"], contents["runs"]
    rows = [
        ("model", model.get("name")),
        ("file", model.get("file")),
        ("bytes", f"{model['bytes']:,} ({size(model['bytes'])})" if model.get("bytes") else None),
        ("fingerprint", model.get("fingerprint")),
        ("architecture", model.get("architecture")),
        ("quantisation", model.get("quantisation")),
        ("parameters", whole(model["parameters"]) if model.get("parameters") else None),
        ("tokens", ", ".join(f"{tokens[kind]:,} {kind}" for kind in ("prompt", "generated", "forced") if tokens[kind])),
        ("begun", next((run["started"] for run in runs if run["started"]), None)),
        ("versions", ", ".join(f"{name} {value}" for name, value in runs[-1]["versions"].items()) if runs else None),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _interventions(run: Mapping[str, Any]) -> list[str]:
    return ["under " + "; ".join(map(words, run["interventions"]))] if run.get("interventions") else []


def run_rows(contents: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a run with tokens on the current path: its number, tokens, seed, chain and the options, in words."""
    return [
        {
            "run": str(run["run"]),
            "tokens": f"{run['tokens']:,}",
            "begun": run["started"] or "",
            "seed": "" if run["seed"] is None else str(run["seed"]),
            "sampler chain": "unknown" if run["chain"] is None else " → ".join(run["chain"]) or "none: raw logits",
            "options": ", ".join([*(f"{name} {run[name]}" for name in OPTIONS if name in run), *_interventions(run)]),
        }
        for run in contents["runs"]
        if run["tokens"]
    ]
