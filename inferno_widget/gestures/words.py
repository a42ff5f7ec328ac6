"""Tokens as text, as the page shows one alone and one behind the other, and numbers as it can be told them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import spelling
from ..errors import InfernoError

if TYPE_CHECKING:
    from ..model import Model
    from ..trace import Trace

TAIL = 4
"""Tokens that a character which is not whole yet can begin in, at least: it has at most four bytes."""


def texts_of(ids: Iterable[int], trace: Trace, model: Model | None) -> dict[int, str]:
    r"""Text of each token alone; bytes that are no whole character are written like ``\xf0``.

    What the trace does not know the model is asked for; where it is gone it is ``#`` and the id.
    """
    wanted = list(dict.fromkeys(ids))
    pieces = {token: trace.pieces[token] for token in wanted if token in trace.pieces}
    missing = [token for token in wanted if token not in pieces]
    if model and missing:
        with contextlib.suppress(InfernoError):  # its process has ended
            pieces |= zip(missing, model.engine.pieces(missing), strict=True)
    return {
        token: pieces[token].decode(errors="backslashreplace") if token in pieces else f"#{token}" for token in wanted
    }


def named(ids: Iterable[int], texts: dict[int, str]) -> list[dict[str, Any]]:
    """Tokens as the page gets them."""
    return [{"id": token, "text": texts[token]} for token in ids]


def strict(value: Any) -> Any:
    """`value` as strict JSON has it: no number is infinite or NaN, and keys are text."""
    if isinstance(value, Mapping):
        return {str(key): strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Speller:
    """What one token after the other adds to a text: a character made of several comes with its last.

    Parameters
    ----------
    trace : of the text
    node : behind which it goes on; -1 for none
    control : ids of control tokens, which are shown by name and are no part of a character
    """

    def __init__(self, trace: Trace, node: int, control: Container[int]) -> None:
        self._control = control
        self._speller = spelling.Speller(control)
        for token in trace.nodes["token_id"][trace.path(node)[-TAIL:]].tolist():
            self._speller.spell(token, trace.pieces[token])

    def spell(self, token: int, piece: bytes) -> str:
        if token in self._control:
            return piece.decode(errors="backslashreplace")
        return self._speller.spell(token, piece)
