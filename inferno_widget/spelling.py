"""Tokens, whose bytes may be part of a character, one behind the other as text."""

from __future__ import annotations

import codecs
from collections.abc import Container

State = tuple[bytes, int]
"""The bytes of a character that is begun, and what the decoder notes beside them."""
NOTHING: State = (b"", 0)


class Speller:
    r"""What one token after the other adds to a text.

    A character belongs to the token that completes it, and a stray byte is written ``\xff``.

    Parameters
    ----------
    control : ids of control tokens, which are no text

    Attributes
    ----------
    state : the character that is begun; it may be set, to go on from elsewhere
    """

    def __init__(self, control: Container[int]) -> None:
        self._control = control
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def spell(self, token: int, piece: bytes) -> str:
        """What a token with these bytes adds."""
        return "" if token in self._control else self._decoder.decode(piece)

    @property
    def whole(self) -> bool:
        """Whether no character is begun."""
        return not self.state[0]

    @property
    def state(self) -> State:
        return self._decoder.getstate()

    @state.setter
    def state(self, value: State) -> None:
        self._decoder.setstate(value)
