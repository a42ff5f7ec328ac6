"""Which blocks of a model are asked for, and, in words, what they do not have."""

from __future__ import annotations

from collections.abc import Sequence

from inferno_widget.errors import InfernoError

from .graph import Plan
from .inside import Asked

MEANT = {
    "attention": "attention weights",
    "heads": "outputs of single heads",
    "attn_out": "contribution of attention to the residual stream",
    "mlp": "contribution of an MLP to the residual stream",
    "residual": "single residual stream",
}


def chosen(plan: Plan, asked: Asked, who: str) -> tuple[int, ...]:
    """The blocks that are asked for.

    Parameters
    ----------
    plan : where everything is in the model's graph
    who : the model, for a sentence

    Raises
    ------
    InfernoError
        For what the model does not have there.
    """
    known = plan.layers
    if not known:
        raise InfernoError(f"{who} names no residual stream (l_out-N) in its graph: its inside cannot be looked at")
    layers = tuple(range(len(known))) if asked.layers is None else asked.layers
    for layer in layers:
        if not 0 <= layer < len(known):
            raise InfernoError(f"there is no layer {layer}: this model has layers 0 to {len(known) - 1}")
        for what in asked.what:
            if known[layer].tap(what) is None:
                raise InfernoError(_lacking(plan, what, layer, who))
    if {"attention", "heads"} & {*asked.what}:
        _check_alike("numbers of heads", {known[layer].n_head for layer in layers})
    if "heads" in asked.what:
        _check_alike("sizes of heads", {known[layer].head_size for layer in layers})
    return layers


def _check_alike(what: str, found: set[int]) -> None:
    """Raise InfernoError where blocks that go into one array do not fit together."""
    if len(found) > 1:
        numbers = ", ".join(map(str, sorted(found)))
        raise InfernoError(
            f"the layers asked for have different {what} ({numbers}): ask for those that are alike, with layers="
        )


def _lacking(plan: Plan, what: str, layer: int, who: str) -> str:
    """Why a block does not have something."""
    known = [i for i, other in enumerate(plan.layers) if other.tap(what)]
    hint = f"; layers that have: {_ranges(known)}" if known else ""
    return f"{who} has no {MEANT[what]} in layer {layer}: {plan.layers[layer].lacks[what]}{hint}"


def _ranges(numbers: Sequence[int]) -> str:
    """Such as "0 to 3, 5"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(f"{group[0]} to {group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)
