"""What a person sets of a session, before a run and between two: checked when it is set."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Literal, cast, get_args

from .arguments import function, one_of, token_id, whole
from .engine import Processor
from .errors import brief
from .record import MAX_K
from .sampling import Sampler
from .shown import Shown

if TYPE_CHECKING:
    from .model import Model

OnFull = Literal["stop", "slide", "error"]

ON_FULL: tuple[OnFull, ...] = get_args(OnFull)
OF_SAMPLER = frozenset(field.name for field in fields(Sampler))


class Settings(Shown):
    """How the tokens of a session are chosen, and what happens when its context is full; see `Session`."""

    model: Model

    def __setattr__(self, name: str, value: object) -> None:
        if name in OF_SAMPLER:  # as a plain attribute it would be kept, and change nothing
            raise AttributeError(
                f"a session has no {name} of its own: set session.sampler = Sampler({name}=...), or keep its other "
                f"settings by dataclasses.replace(session.sampler, {name}=...)"
            )
        super().__setattr__(name, value)

    @property
    def sampler(self) -> Sampler:
        """How tokens are chosen; it always has a seed."""
        return self._sampler

    @sampler.setter
    def sampler(self, value: Sampler) -> None:
        check_sampler(value, self.model)
        self._sampler = value.seeded()

    @property
    def logits_processor(self) -> Processor | None:
        """One more stage before the sampler's."""
        return self._logits_processor

    @logits_processor.setter
    def logits_processor(self, value: Processor | None) -> None:
        self._logits_processor = function("logits_processor", value)

    @property
    def on_full(self) -> OnFull:
        """What to do when the context is full: "stop", "slide" or "error"."""
        return self._on_full

    @on_full.setter
    def on_full(self, value: OnFull) -> None:
        self._on_full = cast("OnFull", one_of("on_full", value, ON_FULL))

    @property
    def keep(self) -> int:
        """Tokens at the beginning that a slide keeps."""
        return self._keep

    @keep.setter
    def keep(self, value: int) -> None:
        most = max(0, self.model.n_ctx - 2)  # a slide needs two others: one to leave out and one to go on from
        try:
            self._keep = whole("keep", value, 0, most)
        except (TypeError, ValueError):
            raise ValueError(
                f"keep must be a whole number between 0 and n_ctx - 2, which is {most:,}, not {brief(value)}"
            ) from None


def check_settings(model: Model, sampler: object, k: object, logits_processor: object, on_full: object) -> None:
    """Raise TypeError or ValueError for what no session of a model can have."""
    whole("k", k, 1, MAX_K)
    if sampler is not None:
        check_sampler(sampler, model)
    function("logits_processor", logits_processor)
    one_of("on_full", on_full, ON_FULL)


def check_sampler(sampler: object, model: Model) -> None:
    """Raise TypeError unless it is one, and ValueError if it names a token that the model does not have."""
    if not isinstance(sampler, Sampler):
        raise TypeError(f"sampler must be a Sampler, such as Sampler(temperature=0.8), not {brief(sampler)}")
    if sampler.logit_bias:
        token_id("sampler.logit_bias", max(sampler.logit_bias), model.info.n_vocab)
