"""Vocabularies that llama.cpp stumbles over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .finding import Finding
from .keys import SPECIAL_ID
from .oddities import FATAL, odd
from .values import Array, brief

if TYPE_CHECKING:
    from .info import ModelInfo

TOKENS = "tokenizer.ggml.tokens"
NONE = ("none", "no_vocab")
"""Models of tokenizers that have no tokens."""
MAX_TOKENS = 1 << 20
"""Of vocabularies that are looked into."""
NEVER = {0xC0, 0xC1, *range(0xF5, 0x100)}
"""Bytes that no text in UTF-8 has."""


def odd_vocabulary(info: ModelInfo) -> Iterator[Finding]:
    """All warnings about the vocabulary."""
    if not info.tokenizer_model:
        yield odd(info, "tokenizer.ggml.model", "it is missing", "the kind of the tokenizer")
    if info.tokenizer_model in NONE:
        advice = "texts would end llama.cpp's process: give token ids"
        yield odd(info, "tokenizer.ggml.model", f"“{info.tokenizer_model}”", "a tokenizer", advice)
        return
    tokens = info.metadata.array(TOKENS)
    if tokens is None or not tokens.count:
        yield odd(info, TOKENS, "it is missing" if tokens is None else "no tokens", "the vocabulary")
        return
    if tokens.count <= MAX_TOKENS:
        yield from _tokens(info, tokens)
    else:
        yield odd(info, TOKENS, f"{tokens.count:,} tokens", "fewer than a million")
    yield from _beside(info, tokens.count)
    yield from _special(info, tokens.count)


def _tokens(info: ModelInfo, tokens: Array) -> Iterator[Finding]:
    pieces = list(tokens.pieces())
    known = set(pieces)
    if len(known) + max(0, pieces.count(b"") - 1) < len(pieces):  # llama.cpp gives each empty one a name
        yield odd(info, TOKENS, _twice(pieces), "each text once", FATAL)
    absent = _absent_bytes(info.tokenizer_model, known)
    if absent:
        some = ", ".join(f"0x{byte:02X}" for byte in absent[:4]) + (", ..." if len(absent) > 4 else "")
        found = f"no token for {len(absent)} of the 256 bytes: {some}"
        yield odd(info, TOKENS, found, "a token for each byte", "texts that hold them may end llama.cpp's process")


def _twice(pieces: list[bytes]) -> str:
    first: dict[bytes, int] = {}
    for token, piece in enumerate(pieces):
        if piece and first.setdefault(piece, token) != token:
            return f"tokens {first[piece]:,} and {token:,} are both {brief(piece.decode(errors='replace'))}"
    raise AssertionError("no token is there twice")


def _absent_bytes(model: str, known: set[bytes]) -> list[int]:
    """Bytes without a token, where the tokenizer falls back to them."""
    written = {byte: f"<0x{byte:02X}>".encode() for byte in range(256) if byte not in NEVER}
    if model == "llama":
        return [byte for byte, piece in written.items() if not known & {piece, bytes([byte])}]
    if model == "gpt2":
        letters = byte_letters()
        return [byte for byte, piece in written.items() if not known & {piece, letters[byte].encode()}]
    return []


def byte_letters() -> list[str]:
    """The character that stands for each byte in a byte-level BPE vocabulary (GPT-2's table)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in plain else next(spare)) for byte in range(256)]


def _beside(info: ModelInfo, n_tokens: int) -> Iterator[Finding]:
    """The arrays that go with the tokens."""
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        array = info.metadata.array(key)
        if array and array.count != n_tokens:
            yield odd(info, key, f"{array.count:,} numbers", f"{n_tokens:,}, one for each token")
    scores = info.metadata.array("tokenizer.ggml.scores")
    if scores and scores.count <= MAX_TOKENS and any(map(math.isnan, scores.numbers())):
        yield odd(info, "tokenizer.ggml.scores", "scores that are no numbers", "a number for each token", FATAL)
    merging = info.tokenizer_model == "gpt2" and info.metadata.raw("tokenizer.ggml.pre") != "kimi-k2"  # which has none
    if merging and "tokenizer.ggml.merges" not in info.metadata:
        yield odd(info, "tokenizer.ggml.merges", "it is missing", "the merges of a BPE vocabulary")


def _special(info: ModelInfo, n_tokens: int) -> Iterator[Finding]:
    for key in filter(SPECIAL_ID.fullmatch, info.metadata):
        token = info.metadata.raw(key)
        if isinstance(token, int) and not 0 <= token < n_tokens:
            advice = "llama.cpp takes another in its place: texts may never end, or begin wrongly"
            yield odd(info, key, f"{token:,}", f"the id of one of the {n_tokens:,} tokens", advice)
