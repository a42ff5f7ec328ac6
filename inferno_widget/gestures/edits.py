"""Edits of the inside of the model as the page writes them, as interventions, and as one writes those in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import brief
from ..interventions import Ablate, Intervention, Scale, Steer
from .inside import check_layer

if TYPE_CHECKING:
    from ..model import Model
    from ..record import Floats

Edits = list[dict[str, Any]]
"""As the page writes them: `Edit` of ``state.ts``."""
TEXTS = ("positive", "negative")
"""What a direction to steer in is made of."""


def read_edits(edits: Sequence[Any]) -> Edits:
    """Edits of a page, checked and with all their fields; an error names what is wrong."""
    return [_read(i, edit) for i, edit in enumerate(edits)]


def _read(i: int, edit: Any) -> dict[str, Any]:
    kind = edit.get("kind") if isinstance(edit, Mapping) else None
    if not isinstance(edit, Mapping) or kind not in ("ablate", "scale", "steer"):
        raise ValueError(f"edit {i} must be of the kind ablate, scale or steer, not {kind or brief(edit)}")
    fields = {"ablate": ("head", "part"), "scale": ("head", "part", "factor"), "steer": ("strength", *TEXTS)}[kind]
    missing = [name for name in ("layer", *fields) if name not in edit]
    if missing:
        raise ValueError(f"edit {i} ({kind}) lacks {', '.join(missing)}")
    for name in TEXTS if kind == "steer" else ():
        texts = edit[name]
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise ValueError(f"{name} must be texts, at least one: the direction is from negative to positive ones")
    read = {"kind": kind, **{name: edit[name] for name in ("layer", *fields)}}
    intervention_of(read, np.ones(1, np.float32))  # which checks the rest
    return read


def intervention_of(edit: Mapping[str, Any], vector: Floats | None) -> Intervention:
    """The intervention that an edit means; `vector` is the direction to steer in."""
    layer = edit["layer"]
    if edit["kind"] == "steer":
        assert vector is not None
        return Steer(layer, vector, edit["strength"])
    if edit["kind"] == "scale":
        return Scale(layer, edit["head"], edit["factor"], edit["part"])
    return Ablate(layer, edit["head"], edit["part"])


def check_layers(edits: Edits, model: Model) -> None:
    """Raise InfernoError for an edit of a layer that the model does not have."""
    for edit in edits:
        check_layer(edit["layer"], model.info.n_layer)


def edits_code(edits: Edits) -> str:
    """The interventions as one writes them in Python."""
    return ", ".join(map(_code, edits))


def _code(edit: Mapping[str, Any]) -> str:
    layer = edit["layer"]
    if edit["kind"] == "steer":
        texts = ", ".join(repr(edit[name]) for name in TEXTS)
        return f"Steer({layer}, steering_vector(model, {texts}, {layer}), {edit['strength']})"
    where = f"head={edit['head']}" if edit["head"] is not None else f"part={edit['part']!r}"
    if edit["kind"] == "scale":
        return f"Scale({layer}, {where}, factor={edit['factor']})"
    return f"Ablate({layer}, {where})"
