"""What a person sets before a run: the sampler, how far to go, and what happens when the context is full."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from .arguments import count, one_of
from .errors import brief
from .presets import BUILTIN, applied, settings_of
from .sampling import Sampler
from .settings import ON_FULL, OnFull

if TYPE_CHECKING:
    from .session import Session

SAMPLER = tuple(f.name for f in fields(Sampler))


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Settings of the next tokens; a change makes a new object, so that an old one can be put back.

    Parameters
    ----------
    sampler : how a token is chosen
    max_tokens : tokens to generate when Run is pressed
    stop : strings that end a run
    on_full : when the context is full: "stop", "slide" or "error"
    keep : tokens at the beginning that a slide keeps; one, because many models lean on their very first
    """

    sampler: Sampler = field(default_factory=Sampler)
    max_tokens: int = 128
    stop: tuple[str, ...] = ()
    on_full: OnFull = "stop"
    keep: int = 1

    def __post_init__(self) -> None:
        count("max_tokens", self.max_tokens)
        if not isinstance(self.stop, list | tuple) or not all(isinstance(s, str) and s for s in self.stop):
            raise ValueError(f"stop must be a list of texts that are not empty, not {brief(self.stop)}")
        one_of("on_full", self.on_full, ON_FULL)
        count("keep", self.keep, least=0)

    def with_(self, name: str, value: Any) -> Controls:
        """These settings with one changed, as the page names and writes it.

        Raises
        ------
        ValueError, TypeError
            If there is no such setting, or it cannot have that value; the message names it.
        """
        if name == "logit_bias":
            value = _biases(value)
        elif name == "grammar":
            value = _grammar(value)
        if name in SAMPLER:
            return replace(self, sampler=replace(self.sampler, **{name: value}))
        if name not in ("max_tokens", "stop", "on_full", "keep"):
            raise ValueError(f"there is no setting {name!r}")
        changed: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value}
        return replace(self, **changed)

    def with_preset(self, name: str, own: Mapping[str, Mapping[str, Any]]) -> Controls:
        """These settings with a preset's sampler; `own` are the presets that did not come with the package."""
        settings = BUILTIN.get(name, own.get(name))
        if settings is None:
            raise ValueError(f"there is no preset {name!r}")
        return replace(self, sampler=applied(self.sampler, settings))

    @property
    def preset(self) -> dict[str, Any]:
        """What a preset made of these settings holds."""
        return settings_of(self.sampler)

    def to_dict(self) -> dict[str, Any]:
        """As the page gets it, in strict JSON: a bias of minus infinity is null, and a grammar text; "" is none."""
        bias = {str(token): None if math.isinf(b) else b for token, b in self.sampler.logit_bias.items()}
        rest = {"max_tokens": self.max_tokens, "stop": list(self.stop), "on_full": self.on_full, "keep": self.keep}
        grammar = self.sampler.to_dict()["grammar"]
        written = json.dumps(grammar, indent=2, ensure_ascii=False) if isinstance(grammar, Mapping) else grammar or ""
        return {**self.sampler.to_dict(), "logit_bias": bias, "grammar": written, **rest}

    def rule(self, session: Session) -> str:
        """Let these settings rule a session from here on; the Python that does the same, where they are others."""
        before = Controls.of(session, self.max_tokens)
        session.sampler, session.on_full, session.keep = self.sampler_of(session), self.on_full, self.keep
        after = Controls.of(session, self.max_tokens)
        changed = [name for name in ("sampler", "on_full", "keep") if getattr(before, name) != getattr(after, name)]
        return "".join(f"session.{name} = {getattr(after, name)!r}; " for name in changed)

    def sampler_of(self, session: Session) -> Sampler:
        """How a session chooses under these settings: with its own dice, if no seed is asked for."""
        return self.sampler if self.sampler.seed is not None else replace(self.sampler, seed=session.sampler.seed)

    @classmethod
    def of(cls, session: Session, max_tokens: int) -> Controls:
        """The settings that a session has."""
        keep = session.keep if session.on_full == "slide" else max(session.keep, cls.keep)  # which meant nothing so far
        return cls(sampler=session.sampler, max_tokens=max_tokens, on_full=session.on_full, keep=keep)

    # --- the same in Python ---------------------------------------------------------------------------

    @property
    def session_code(self) -> str:
        """What follows the prompt in ``model.session(prompt, ...)``."""
        full = [f"on_full={self.on_full!r}"] if self.on_full != "stop" else []
        keep = [f"keep={self.keep}"] if self.keep and self.on_full == "slide" else []
        return ", ".join([repr(self.sampler), *full, *keep])

    @property
    def generate_code(self) -> str:
        stop = f", stop={list(self.stop)!r}" if self.stop else ""
        return f"session.generate({self.max_tokens}{stop})"

    def set_code(self, name: str) -> str:
        """The line that sets what `with_` set."""
        if name in SAMPLER:
            return f"session.sampler = {self.sampler!r}"
        return self.generate_code if name in ("max_tokens", "stop") else f"session.{name} = {getattr(self, name)!r}"


def _grammar(value: object) -> object:
    """A grammar as the page writes it: an object in JSON is a schema, and no text is none."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    if not value.lstrip().startswith("{"):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"grammar is no JSON schema: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None


def _biases(value: object) -> dict[int, float]:
    """Biases as the page writes them: ids as text, and null for what it cannot write, which is minus infinity."""
    if not isinstance(value, Mapping):
        raise TypeError(f"logit_bias must be an object of token ids and numbers, not {value!r}")
    biases = {}
    for token, bias in value.items():
        if not str(token).isdecimal():
            raise ValueError(f"logit_bias must name token ids, not {token!r}")
        biases[int(token)] = -math.inf if bias is None else bias
    return biases
