"""What draws itself when a cell ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .model import Model
    from .session import Session
    from .trace import Trace


class Shown:
    """Base of `Model`, `Session` and `Trace`: as a cell's last value, each is a workbench of its own."""

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .widget import Inferno  # stands to the right of them all, and is needed only now

        return Inferno(cast("Model | Session | Trace", self))._repr_mimebundle_(**kwargs)
