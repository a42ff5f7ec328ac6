"""Changes of the inside of a model while it reads and writes: heads off or louder, the stream steered or replaced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import MOST, index, number, one_of, several, whole
from .engine.inside import Edit
from .errors import brief, check_text
from .record import Floats

if TYPE_CHECKING:
    from .inspection import Inspection, Telling
    from .model import Model
    from .session import Session

LARGE = 1e6
"""Most that a factor or strength may be: what comes of more is no number any more."""
Part = Literal["attention", "mlp"]
_TENSORS: dict[str, Literal["attn_out", "mlp"]] = {"attention": "attn_out", "mlp": "mlp"}


@dataclass(frozen=True, eq=False)
class Scale:
    """Make a head, or all that a block's attention or MLP adds, louder or softer.

    Parameters
    ----------
    layer : of the block
    head : which of its heads; None means the whole of `part`
    factor : what its output is multiplied by, before the output matrix mixes the heads
    part : "attention" or "mlp": what the block adds to the residual stream, where no head is named
    positions : of the tokens at which it happens; at all when None
    """

    layer: int
    head: int | None = None
    factor: float = 1.0
    part: Part = "attention"
    positions: Sequence[int] | None = None

    def __post_init__(self) -> None:
        _check_layer(self)
        if self.head is not None:
            _set(self, "head", whole("head", self.head, 0))
        part = one_of("part", self.part, _TENSORS)
        if self.head is not None and part != "attention":
            raise ValueError(f'part must be "attention" where a head is named, not {part!r}')
        _set(self, "factor", _number("factor", self.factor))

    def edit(self) -> Edit:
        """The same for the engine."""
        what = _TENSORS[self.part] if self.head is None else "heads"
        return Edit(what, self.layer, self.head, _positions(self.positions), self.factor)

    def to_dict(self) -> dict[str, Any]:
        """What `trace.runs` keeps."""
        return _noted(self, factor=self.factor, **_which(self))


@dataclass(frozen=True, eq=False)
class Ablate:
    """Switch a head off, or all that a block's attention or MLP adds: its output becomes 0.

    Parameters
    ----------
    layer : of the block
    head : which of its heads; None means the whole of `part`
    part : "attention" or "mlp", where no head is named
    positions : of the tokens at which it happens; at all when None
    """

    layer: int
    head: int | None = None
    part: Part = "attention"
    positions: Sequence[int] | None = None

    def __post_init__(self) -> None:
        _check_layer(self)
        scale = Scale(self.layer, self.head, 0.0, self.part, self.positions)
        _set(self, "head", scale.head)

    def edit(self) -> Edit:
        """The same for the engine."""
        return Scale(self.layer, self.head, 0.0, self.part, self.positions).edit()

    def to_dict(self) -> dict[str, Any]:
        """What `trace.runs` keeps."""
        return _noted(self, **_which(self))


@dataclass(frozen=True, eq=False)
class Steer:
    """Add a direction to the residual stream behind a block.

    Parameters
    ----------
    layer : of the block
    vector : [n_embd], such as `steering_vector` gives
    strength : what it is multiplied by
    positions : of the tokens at which it happens; at all when None
    """

    layer: int
    vector: ArrayLike
    strength: float = 1.0
    positions: Sequence[int] | None = None

    def __post_init__(self) -> None:
        _check_layer(self)
        _set(self, "vector", _row("vector", self.vector))
        _set(self, "strength", _number("strength", self.strength))

    def edit(self) -> Edit:
        """The same for the engine."""
        with np.errstate(over="ignore"):  # the logits will say so
            shift = np.asarray(self.vector, np.float32) * np.float32(self.strength)
        return Edit("residual", self.layer, positions=_positions(self.positions), shift=shift)

    def to_dict(self) -> dict[str, Any]:
        """What `trace.runs` keeps: the vector by its length and by a number that only it has."""
        return _noted(self, strength=self.strength, vector=_summary(self.vector))


@dataclass(frozen=True, eq=False)
class Patch:
    """Put the residual stream of another run in the place of this one's, behind a block, at one position.

    Parameters
    ----------
    layer : of the block
    position : of the token whose stream is replaced
    from_ : where it is taken from: a `Session`, an `Inspection` with "residual", or a row [n_embd]
    at : position there; the same when None

    Notes
    -----
    A session is looked at when the intervention begins, as it is then.
    """

    layer: int
    position: int
    from_: Session | Inspection | ArrayLike
    at: int | None = None

    def __post_init__(self) -> None:
        _check_layer(self)
        _set(self, "position", index("position", self.position))
        if not 0 <= self.position <= MOST:
            raise ValueError(f"position must be that of a token, counted from 0, not {brief(self.position)}")
        _set(self, "from_", self._taken())

    def edit(self) -> Edit:
        """The same for the engine."""
        shift = np.asarray(self.from_, np.float32)
        return Edit("residual", self.layer, positions=(self.position,), factor=0.0, shift=shift)

    def to_dict(self) -> dict[str, Any]:
        """What `trace.runs` keeps: the row by its length and by a number that only it has."""
        return _noted(self, position=self.position, row=_summary(self.from_))

    def _taken(self) -> Floats:
        """The row, wherever it comes from."""
        from .inside import Inside
        from .inspection import Inspection

        source, at = self.from_, self.position if self.at is None else whole("at", self.at)
        if isinstance(source, Inside):
            source = source.inspect(at, what="residual", layers=self.layer)
            at = int(source.positions[0])
        if not isinstance(source, Inspection):
            return _row("from_", source)
        layers, positions = source.layers.tolist(), source.positions.tolist()
        if self.layer not in layers or at not in positions:
            raise ValueError(f"the inspection has no residual stream behind layer {self.layer} at position {at}")
        row: Floats = source.residual[layers.index(self.layer), positions.index(at)]
        return row


Intervention = Ablate | Scale | Steer | Patch


def checked(interventions: Iterable[object], n_embd: int) -> tuple[Intervention, ...]:
    """The same, if all are interventions and fit a model of that width."""
    found = tuple(interventions)
    for each in found:
        if not isinstance(each, Intervention):
            raise TypeError(f"interventions must be Ablate, Scale, Steer or Patch, not {brief(each)}")
        row = each.vector if isinstance(each, Steer) else each.from_ if isinstance(each, Patch) else None
        if row is not None and np.size(np.asarray(row)) != n_embd:
            raise ValueError(
                f"{type(each).__name__} has a row of {np.size(np.asarray(row))} numbers, and this model's residual "
                f"stream has {n_embd}"
            )
    return found  # type: ignore[return-value]


def steering_vector(
    model: Model,
    positive: Sequence[str],
    negative: Sequence[str],
    layer: int,
    *,
    pool: Literal["last", "mean"] = "last",
    progress: Telling | None = None,
) -> Floats:
    """The direction from some texts to others in the residual stream behind a block: float32 [n_embd].

    It is the difference of the two means, unscaled: ``Steer(layer, vector, strength=1)`` moves a text by as much as
    the two kinds of text are apart.

    Parameters
    ----------
    model : a loaded `Model`
    positive, negative : texts that have, and have not, what is meant; alike in everything else
    layer : of the block
    pool : what stands for a text: the stream at its "last" token, or the "mean" over its tokens
    progress : told the fraction of the texts that are read; returning False ends it with `Cancelled`
    """
    from .inspection import working
    from .model import Model

    if not isinstance(model, Model):
        raise TypeError(f"model must be a loaded Model, not {brief(model)}")
    one_of("pool", pool, ("last", "mean"))
    layer = whole("layer", layer, 0, model.info.n_layer - 1)
    sides = [_texts("positive", positive), _texts("negative", negative)]
    streams, n = [list[Floats](), list[Floats]()], sum(map(len, sides))
    with working(progress) as (cancel, tell), cancel.stopping():
        for side, found in zip(sides, streams, strict=True):
            for text in side:
                found.append(_stream(model, text, layer, pool))
                tell(sum(map(len, streams)) / n)
    positive_mean, negative_mean = (np.mean(found, axis=0, dtype=np.float64) for found in streams)
    return np.asarray(positive_mean - negative_mean, np.float32)


def _texts(name: str, texts: object) -> list[str]:
    try:
        found = several(name, texts, "texts", 1)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be texts, at least one, in a list, not {brief(texts)}") from None
    for text in found:
        check_text(name, text)
    return found


def _stream(model: Model, text: str, layer: int, pool: str) -> Floats:
    with model.session(text) as session:
        found = session.inspect(-1 if pool == "last" else slice(None), what="residual", layers=layer).residual[0]
    return np.asarray(found.mean(axis=0), np.float32)


# --- small things -----------------------------------------------------------------------------------------


def _set(each: object, name: str, value: object) -> None:
    object.__setattr__(each, name, value)  # they are frozen once they are checked


def _check_layer(each: Any) -> None:
    _set(each, "layer", index("layer", each.layer))
    if not 0 <= each.layer <= MOST:
        raise ValueError(f"layer must be that of a block, counted from 0, not {brief(each.layer)}")
    positions = getattr(each, "positions", None)
    if positions is not None:
        listed = several("positions", positions, "positions of tokens")
        _set(each, "positions", tuple(whole("positions", position, 0) for position in listed))


def _positions(positions: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if positions is None else tuple(positions)


def _number(name: str, value: object) -> float:
    try:
        return number(name, value, -LARGE, LARGE)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _row(name: str, value: Any) -> Floats:
    ready = hasattr(value, "__array__") or isinstance(value, set | frozenset)  # which is no row to numpy
    try:
        given = np.asarray(value if ready else several(name, value, "numbers"))
    except (TypeError, ValueError, OverflowError):
        given = np.empty((0, 0))
    with np.errstate(over="ignore"):  # which is infinite then
        row: Floats = given.astype(np.float32) if given.dtype.kind in "fiu" else np.empty((0, 0), np.float32)
    if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
        raise ValueError(
            f"{name} must be one row of finite numbers, as many as the residual stream has, not {brief(value)}"
        )
    return row


def _which(each: Ablate | Scale) -> dict[str, Any]:
    return {"head": each.head} if each.head is not None else {"part": each.part}


def _noted(each: Intervention, **values: Any) -> dict[str, Any]:
    positions = getattr(each, "positions", None)
    where = {} if positions is None else {"positions": list(positions)}
    return {"kind": type(each).__name__.lower(), "layer": each.layer, **values, **where}


def _summary(row: Any) -> dict[str, Any]:
    """What tells a row from others, in a few letters."""
    import hashlib

    numbers: NDArray[np.float32] = np.asarray(row, np.float32)
    digest = hashlib.sha256(numbers.tobytes()).hexdigest()[:16]
    return {"n": len(numbers), "norm": float(np.linalg.norm(numbers.astype(np.float64))), "sha256": digest}
