"""The watchlist."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from ..errors import InfernoError
from ..jobs import Job
from .base import Base, alone

NAME = 80
"""Most characters of a watch's name."""


class Watches(Base):
    """Watch, unwatch, variants."""

    @alone
    def watch(self, name: str, tokens: Sequence[str | int], variants: bool = False) -> Job[None]:
        """Note the probability of tokens, given by text or id, at every step past and future.

        Its parts are how many of the past steps are done.
        """
        name = name.strip()
        if not name or len(name) > NAME:
            raise ValueError(f"a watch has a name of 1 to {NAME} characters, not {len(name)}")
        if not all(isinstance(token, str | int) for token in tokens):
            raise TypeError(f"tokens must be texts or ids, not {list(tokens)!r}")
        session, watched = self._awake(), {name: list(tokens)}
        self._end_jobs(self._something(), ("watch",))
        self.code = f"session.watch({watched!r}{', variants=True' if variants else ''})"

        def work(job: Job[None]) -> None:
            n = 0

            def each(_: int) -> bool:
                nonlocal n
                n += 1
                return job.tell(n)

            session.watch(watched, variants=variants, each=each)

        return self._start_job("watch", work)

    @alone
    def unwatch(self, name: str) -> None:
        """Watch it no more."""
        shown = self._something()
        self._end_jobs(shown, ("watch",))
        if name not in shown.trace.watches:
            raise InfernoError(f"{name!r} is not watched")
        if shown.session and shown.state != "closed":
            shown.session.unwatch(name)
        else:
            shown.trace.unwatch(name)
        self.code = f"session.unwatch({name!r})"

    def variants(self, text: str) -> Future[list[dict[str, Any]]]:
        """Single tokens that are `text` with or without a space before it, and in other case: `Variants`."""
        model = self._shown_model() or self._model()
        return self._crew.submit(lambda: [{"id": token, "text": each} for each, token in model.variants(text).items()])
