"""What a person sets, and what helps to set it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import EngineDiedError
from ..library import Action
from ..spelling import Speller
from .base import Base, alone

if TYPE_CHECKING:
    from ..model import Model

FOUND = 50
"""Tokens that a search of the vocabulary yields at most."""


class Choices(Base):
    """Settings, presets, the look, the vocabulary and the chat template."""

    @alone
    def set(self, name: str, value: Any) -> None:
        """Change one setting; it holds from the next gesture on."""
        controls, model = self.controls.with_(name, value), self._shown_model()
        grammar = controls.sampler.grammar
        if name == "grammar" and grammar is not None and model:
            with suppress(EngineDiedError):  # which is told where it matters
                model.engine.allowed(grammar, ())  # a bad one is an error now, not when it is needed
        self.controls = controls
        self.code = self.controls.set_code(name)

    @alone
    def preset(self, name: str) -> None:
        """Take a preset's sampler; seed, logit bias and grammar stay."""
        before = self.controls
        self.controls = before.with_preset(name, self.preferences.presets)
        self.code = self.controls.set_code("temperature")
        if self.controls != before:
            self.library.did(Action(f"preset “{name}”", lambda: setattr(self, "controls", before)))

    @alone
    def save_preset(self, name: str) -> None:
        """Keep the sampler's settings under a name."""
        self.preferences.save_preset(name.strip(), self.controls.preset)

    @alone
    def drop_preset(self, name: str) -> None:
        """Forget a preset."""
        dropped = self.preferences.drop_preset(name)
        self.library.did(Action(f"drop preset “{name}”", lambda: self.preferences.save_preset(name, dropped)))

    @alone
    def look(self, name: str, value: Any) -> None:
        """Change how things look, here and in later kernels."""
        self.preferences.set_look(name, value)

    def vocabulary(self, query: str) -> Future[list[dict[str, Any]]]:
        """Tokens whose text contains `query`: `FoundTokens`."""
        model = self._model()
        return self._crew.submit(
            lambda: [{"id": token, "text": text} for token, text in model.find_tokens(query, FOUND)]
        )

    def render(self, messages: Sequence[dict[str, Any]]) -> Future[dict[str, Any]]:
        """The prompt that a conversation becomes: `Rendered`."""
        model = self._model()
        return self._crew.submit(lambda: _rendered(model, messages))


def _rendered(model: Model, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ids, control = model.render(messages), model.control
    pieces = model.engine.pieces(ids)
    speller = Speller(control)  # a character of several tokens stands at its last
    texts = [
        piece.decode(errors="backslashreplace") if token in control else speller.spell(token, piece)
        for token, piece in zip(ids, pieces, strict=True)
    ]
    tokens = [{"id": i, "text": text, "special": i in control} for i, text in zip(ids, texts, strict=True)]
    return {"text": model.detokenize(ids).decode(errors="backslashreplace"), "tokens": tokens}
