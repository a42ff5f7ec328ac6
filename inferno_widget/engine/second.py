"""A second context of a model, as the kernel sees it: one more engine, in the same child.

Its cache is its own, and in it the inside of the model can be looked at and changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from inferno_widget.errors import InfernoError
from inferno_widget.window import Window

from . import Branch, Progress, unheard
from .channel import SharedMemory
from .child import Child, Handlers
from .client import EngineClient
from .inside import Edit, Look, Wanted
from .stop import Stop

Arrays = dict[str, NDArray[Any]]

_numbers = itertools.count(1)


class _Door:
    """The child, asked for its engine of a number."""

    def __init__(self, child: Child, number: int) -> None:
        self._child, self._number = child, number
        self.memory: SharedMemory = child.memory

    def call(self, name: str, *arguments: object, cancel: Stop, handlers: Handlers | None = None) -> Any:
        return self._child.call("second", self._number, name, *arguments, cancel=cancel, handlers=handlers)

    def stream(self, name: str, *arguments: object, cancel: Stop, handlers: Handlers) -> Generator[Any, None, Any]:
        return self._child.stream("second", self._number, name, *arguments, cancel=cancel, handlers=handlers)

    def send(self, request: int, slot: int, name: str, arguments: tuple[object, ...]) -> None:
        self._child.send(request, slot, name, arguments)


class SecondClient(EngineClient):
    """An `Engine` over the model of another, made in the child when it is first used.

    Parameters
    ----------
    first : whose model it is
    edits : changes of the inside, in force whatever is decoded

    Notes
    -----
    When the child has died, the next `start` makes this anew as well.
    """

    def __init__(self, first: EngineClient, edits: Sequence[Edit] = ()) -> None:
        super().__init__(first.path, first.options, first.n_vocab)
        self.n_ctx = first.n_ctx
        self._owner, self._edits = first, list(edits)
        self._number, self._made_in = 0, -1
        self._wanted: Wanted | None = None
        self._pieces, self._answering = first.shared  # the child tells the bytes of a token once, and has one memory

    @property
    def pid(self) -> int | None:
        return self._owner.pid if self._made_in == self._owner.generation else None

    def start(self, *, cancel: Stop | None = None, progress: Progress | None = None) -> None:
        with self._starting:
            if self.closed:
                raise InfernoError("these interventions have ended: nothing can be decoded under them any more")
            self._owner.start(cancel=cancel, progress=progress)
            made_in = self._owner.generation
            if self._made_in == made_in:
                return
            self._number = next(_numbers)
            self._first = self._number << 40
            arguments = (self._number, self._first, self._edits)
            self.n_ctx = self._owner.child().call("open", *arguments, cancel=cancel or Stop())
            self._made_in = made_in
            self.generation += 1
            if self._wanted is not None:
                self._living().call("capture", self._wanted, cancel=Stop())

    def close(self) -> None:
        """Free the context; the model stays."""
        with self._starting:
            self.closed = True
            if self.pid is not None:
                with suppress(InfernoError):  # the process ended just now
                    self._owner.child().call("shut", self._number, cancel=Stop())
            self._made_in = -1

    def _living(self, *branches: Branch | None) -> _Door:
        child = self._owner.child()
        if self._made_in != self._owner.generation:
            raise self._owner.died
        self._check_made_here(branches)
        return _Door(child, self._number)

    @property
    def died(self) -> InfernoError:
        return self._owner.died

    # --- the inside -------------------------------------------------------------------------------------

    def see_through(self, branch: Branch, window: Window) -> None:
        self._living(branch).call("see_through", branch, window, cancel=Stop())

    def inspect(self, look: Look, *, cancel: Stop, progress: Progress) -> Arrays:
        """What goes on inside while a text is read; arrays as `inspecting.layout` has them."""
        return self._fetch("inspect", look, cancel=cancel, progress=progress)

    def attribute(self, ids: Sequence[int], token: int, window: Window, *, cancel: Stop, progress: Progress) -> Arrays:
        """What added how much to the logit of `token` behind `ids`; see `inspecting.attribute`."""
        return self._fetch("attribute", list(ids), token, window, cancel=cancel, progress=progress)

    def causal_map(
        self,
        ids: Sequence[int],
        layers: Sequence[int] | None,
        token: int,
        window: Window,
        *,
        last: bool,
        cancel: Stop,
        progress: Progress,
    ) -> Arrays:
        """The arrays "kl" and "change", float32 [layer, head]; see `causal.causal_map`."""
        return self._fetch("causal_map", list(ids), layers, token, window, last, cancel=cancel, progress=progress)

    def capture(self, wanted: Wanted | None) -> None:
        """Keep this of all that is decoded from now on, or nothing more, and forget what was kept.

        A child that replaces this one is told too.
        """
        self._wanted = wanted
        if self.pid is None:
            self.start()  # which tells
        else:
            self._living().call("capture", wanted, cancel=Stop())

    def captured(self, look: Look, *, cancel: Stop) -> Arrays:
        """What was kept of a text; see `inspecting.captured`."""
        return self._fetch("captured", look, cancel=cancel, progress=unheard)

    def _fetch(self, name: str, *arguments: object, cancel: Stop, progress: Progress) -> Arrays:
        self.start(cancel=cancel)
        child, door = self._owner.child(), self._living()
        with child.parcels.one:
            sent = door.call(name, *arguments, cancel=cancel, handlers={"progress": progress})
            return child.parcels.take(sent)
