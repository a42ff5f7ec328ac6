"""What is told of a workbench: dicts as ``js/src/state.ts`` has them, and what of them cannot wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..altered import Altered
from ..errors import told
from ..export.card import MODEL_FACTS
from ..presets import BUILTIN
from ..record import Kind
from .surgery import Operating
from .words import named, texts_of

if TYPE_CHECKING:
    import numpy as np

    from ..trace import Trace

SPEED_TOKENS = 64
"""The latest, of which a speed is told."""


class Telling(Operating):
    """What a page shows of all that is open."""

    @property
    def settings(self) -> dict[str, Any]:
        """`Settings` of ``state.ts``."""
        return self.controls.to_dict()

    @property
    def look_dict(self) -> dict[str, Any]:
        """`Look` of ``state.ts``."""
        own = self.preferences.presets
        presets = [{"name": name, "builtin": name in BUILTIN, "settings": s} for name, s in {**BUILTIN, **own}.items()]
        return {**self.preferences.look, "presets": presets, "note": self.preferences.note}

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Models on their way, and those that did not arrive."""
        return [task.to_dict() for task in self._tasks]

    def facts(self) -> dict[str, Any]:
        """The part of `Status` that is told at once when it changes."""
        session, trace, model = self.session, self.trace, self._shown_model()
        state = self._state()  # before the rest, which is then at least as new
        card = trace.model if trace is not None else model.card if model else {}
        error = session.error if session else None if trace is not None or self.model else self._load_error
        return {
            "state": state,
            "model": {name: card.get(name) for name in MODEL_FACTS} if card else None,
            "size": {"n_layer": model.info.n_layer, "n_head": model.info.n_head} if model else None,
            "n_ctx": model.n_ctx if model else 0,
            "error": told(error) if error and state != "loading" else None,
            "finish": session.finish if session else None,
            "code": self.code,
            "chat": self.model is not None and self.model.template is not None,
            "keep": trace.window().keep if trace is not None else 0,
        }

    def figures(self) -> dict[str, Any]:
        """The part of `Status` that changes all the time."""
        session, trace, model, task = self.session, self.trace, self._shown_model(), self.loading
        return {
            "used": trace.window().size(trace.length) if trace is not None else 0,
            "tokens_per_second": speed(trace) if trace is not None else 0.0,
            "rss": model.rss if model else 0,
            "progress": session.progress if session else task.progress if task else None,
        }

    def outline(self) -> list[Any]:
        """The part of `library_dict` that is told at once when it changes."""
        with self._lock:
            return [*self.library.outline(), [task.outline() for task in self._tasks]]

    def library_dict(self) -> dict[str, Any]:
        """`Library` of ``state.ts``."""
        with self._lock:
            return self.library.to_dict(self.tasks)

    @property
    def marks(self) -> dict[str, Any]:
        """`Marks` of ``state.ts``."""
        trace = self.trace
        if trace is None:
            return {"names": {}, "pruned": [], "diverged": [], "watches": [], "edits": [], "altered": []}
        watches = trace.watches
        texts = texts_of((token for ids in watches.values() for token in ids), trace, self._shown_model())
        return {
            "names": dict(trace.names),
            "pruned": sorted(trace.pruned),
            "diverged": list(trace.diverged),
            "watches": [{"name": name, "tokens": named(ids, texts)} for name, ids in watches.items()],
            "edits": self.edits,
            "altered": self._altered.setdefault(trace, Altered()).of(trace),
        }

    @property
    def busy(self) -> bool:
        """Whether anything is generated, here or in another session of the list."""
        return any(opened.busy for opened in self.library.sessions)

    def _state(self) -> str:
        if self.library.shown:
            return self.library.shown.state
        if self.loading:
            return "loading"
        if self.library.model:
            return "empty"
        return "error" if self._load_error else "closed"


def speed(trace: Trace) -> float:
    """Tokens per second of the latest that were generated on the current path."""
    rows: np.ndarray[Any, Any] = trace.nodes[trace.path()[-SPEED_TOKENS:]]
    ms = rows["ms"][(rows["kind"] == Kind.GENERATED) & (rows["ms"] > 0)]
    return round(1000 / float(ms.mean()), 1) if len(ms) else 0.0
