"""A model's tokens: by their text, and text as them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import cast

from .arguments import count, flag, token_ids
from .engine.client import EngineClient
from .errors import brief, check_text
from .gguf import ModelInfo
from .shown import Shown

CONTROL = 3
"""tokenizer.ggml.token_type of a control token."""


class Vocabulary(Shown):
    """What every model's tokens can be asked."""

    info: ModelInfo
    engine: EngineClient

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of `text`: as a prompt (BOS added, special tokens read), or as it stands."""
        check_text("text", text)
        self.engine.start()
        return self.engine.tokenize(text, special=flag("special", special))

    def detokenize(self, ids: Sequence[int]) -> bytes:
        """The bytes of `ids`."""
        known = token_ids(ids, self.info.n_vocab, "ids must be token ids")
        self.engine.start()
        return b"".join(self.engine.pieces(known))

    @cached_property
    def control(self) -> frozenset[int]:
        """Ids of the control tokens, such as the beginning of a sequence."""
        types = cast("Sequence[int]", self.info.metadata.get("tokenizer.ggml.token_type", ()))
        return frozenset(token for token, kind in enumerate(types) if kind == CONTROL)

    def find_tokens(self, query: str, limit: int = 50) -> list[tuple[int, str]]:
        r"""Tokens with `query` in their text, in upper or lower case: (id, text), the nearest to it first.

        Bytes that are no whole character are written like ``\xf0``.
        """
        check_text("query", query)
        limit = count("limit", limit)
        near = query.lower()
        found = [token for token, text in enumerate(self._lower_texts) if near in text] if query else []

        def distance(token: int) -> tuple[bool, bool, bool, int, int]:
            text = self._texts[token]
            return text != query, text.strip() != query.strip(), query not in text, len(text), token

        return [(token, self._texts[token]) for token in sorted(found, key=distance)[:limit]]

    def continued(self, text: str) -> list[int]:
        """Token ids of `text` where it goes on from another, without the space that some models put before a text."""
        ids, data = self.tokenize(text, special=False), text.encode()
        if self.detokenize(ids) == data:
            return ids
        apart = self.tokenize(f"\n{text}", special=False)
        begun = next((n for n in range(len(apart) + 1) if self.detokenize(apart[n:]) == data), None)
        return ids if begun is None else apart[begun:]

    def token(self, text: str) -> int:
        """Id of the token whose bytes are exactly `text`; a space before a word is part of them.

        Raises
        ------
        ValueError
            If no single token is; the message names those of its `variants` that are.
        """
        check_text("text", text)
        ids = self._by_text.get(text)
        if ids is None:
            n, near = len(self.tokenize(text, special=False)), self.variants(text)
            hint = f"; single tokens near it: {', '.join(map(repr, near))}" if near else ""
            raise ValueError(f"text: {brief(text)} is no single token of this model, but {n}{hint}")
        return ids[-1]  # where a byte's own token has the same text, it comes first

    def variants(self, text: str) -> dict[str, int]:
        """Single tokens that are `text` with or without a space before it, and in other case: text -> id."""
        check_text("text", text)
        word = text.strip()
        forms = dict.fromkeys((text, word, word.lower(), word.capitalize(), word.upper()))
        texts = dict.fromkeys(space + form for form in forms for space in ("", " ") if form)
        return {each: self._by_text[each][-1] for each in texts if each in self._by_text}

    @cached_property
    def _by_text(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for token, text in enumerate(self._texts):
            found.setdefault(text, []).append(token)
        return found

    @cached_property
    def _texts(self) -> list[str]:
        self.engine.start()
        pieces = self.engine.pieces(range(self.info.n_vocab))
        return [piece.decode(errors="backslashreplace") for piece in pieces]

    @cached_property
    def _lower_texts(self) -> list[str]:
        return [text.lower() for text in self._texts]
