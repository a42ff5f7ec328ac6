"""What is asked of the inside of a model, and what is changed there: plain data that crosses the pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from inferno_widget.record import Floats
from inferno_widget.window import WHOLE, Window

from . import Branch

What = Literal["attention", "heads", "attn_out", "mlp", "residual"]
"""A tensor of a block: attention's weights, what each head read, what attention and the MLP added, and the stream."""
LENS = "lens_"
"""What the names of the lens's arrays begin with."""


@dataclass(frozen=True)
class Edit:
    """A change of a block's tensor while the graph is evaluated: x becomes ``factor * x + shift``.

    Attributes
    ----------
    what : the tensor: "heads", "attn_out", "mlp" or "residual"
    layer : of the block
    head : which of them, of "heads"; all when None
    positions : of the tokens in the text; everywhere when None
    factor : what is left of it
    shift : float32, to be broadcast against [position, width]; None adds nothing
    branch : the only branch that it is made for; all when None
    """

    what: What
    layer: int
    head: int | None = None
    positions: tuple[int, ...] | None = None
    factor: float = 1.0
    shift: Floats | None = None
    branch: Branch | None = None


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see.

    Attributes
    ----------
    what : names of tensors
    layers : of which blocks; all when None
    limit : bytes that it may take
    """

    what: tuple[What, ...]
    layers: tuple[int, ...] | None = None
    limit: int = 1 << 30

    def with_stream(self) -> Asked:
        """The same and the residual stream, which a lens is made of."""
        return self if "residual" in self.what else replace(self, what=(*self.what, "residual"))


@dataclass(frozen=True)
class Look:
    """A look at a text.

    Attributes
    ----------
    ids : the text
    positions : which of its tokens, in rising order
    asked : what of them
    lens : how many of the most likely tokens the lens is to name; 0 asks for no lens
    tokens : what followed each position, for the lens; -1 where nothing did
    window : what the ids are of the text
    """

    ids: Sequence[int]
    positions: Sequence[int]
    asked: Asked
    lens: int = 0
    tokens: Sequence[int] = ()
    window: Window = WHOLE


@dataclass(frozen=True)
class Wanted:
    """What is to be kept while a model generates.

    Attributes
    ----------
    asked : what, of which layers, and how many bytes at most
    positions : of which tokens of the text
    lens : whether it must do for a lens
    """

    asked: Asked
    positions: range
    lens: bool = False
