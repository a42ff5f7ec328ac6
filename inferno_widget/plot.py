"""``trace.plot``, ``session.plot`` and ``inspection.plot``: `figures` as methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .inspection import Inspection
    from .trace import Trace


class Plot:
    """Figures of a trace's current path. They need ``pip install "inferno_widget[plotly]"``.

    Every method takes what the function of the same name in `figures` does, and returns a plotly figure.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __repr__(self) -> str:
        return f"<Plot of {self._trace!r}: surprisal, entropy, entropy_histogram, distribution, time, rank>"

    def surprisal(self, **options: Any) -> go.Figure:
        """Surprisal of every token, and its running mean."""
        from .figures import surprisal

        return surprisal(self._trace, **options)

    def entropy(self, **options: Any) -> go.Figure:
        """How undecided the model was before every token."""
        from .figures import entropy

        return entropy(self._trace, **options)

    def entropy_histogram(self, **options: Any) -> go.Figure:
        """How often it was how undecided."""
        from .figures import entropy_histogram

        return entropy_histogram(self._trace, **options)

    def distribution(self, at: int | None = None, **options: Any) -> go.Figure:
        """What might have come at a position; the last one when None."""
        from .figures import distribution

        return distribution(self._trace, at, **options)

    def time(self, **options: Any) -> go.Figure:
        """Wall time of every step."""
        from .figures import time

        return time(self._trace, **options)

    def rank(self, **options: Any) -> go.Figure:
        """Place of every token among all tokens."""
        from .figures import rank

        return rank(self._trace, **options)


class InspectionPlot:
    """Figures of what went on inside a model, as those of `Plot`."""

    def __init__(self, seen: Inspection) -> None:
        self._seen = seen

    def __repr__(self) -> str:
        return f"<InspectionPlot of {self._seen!r}: attention, lens>"

    def attention(self, layer: int, head: int, **options: Any) -> go.Figure:
        """What a head looked at."""
        from .figures import attention

        return attention(self._seen, layer, head, **options)

    def lens(self, **options: Any) -> go.Figure:
        """The most likely token behind each layer."""
        from .figures import lens

        return lens(self._seen.lens, **options)
