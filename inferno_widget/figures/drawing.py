"""What every figure has: its checks, its page, its axes and its three colours."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from ..arguments import one_of
from ..errors import brief, check_keywords, check_text
from ..export.colour import INK, PAGE, PALETTES, THEMES, Palette, Rgb, Theme, colour_at, contrast, css

if TYPE_CHECKING:
    import plotly.graph_objects as go

NEUTRAL: Rgb = (121, 121, 127)
"""Ink for a page of unknown colour: a contrast of 4.3 on white and on the widget's dark page, the best there is."""
_SEEN = 3.0
"""Least contrast of points, lines and bars with their page, after WCAG 2."""

_F = TypeVar("_F", bound=Callable[..., Any])


def figure_of(kind: str) -> Callable[[_F], _F]:
    """Checks what every figure is given: what it is of (module and class), its title, palette and theme."""
    module, name = kind.split(".")

    def checking(function: _F) -> _F:
        known = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            check_keywords(function.__name__, kwargs, known)
            of = args[0] if args else kwargs.get(known[0])
            if not isinstance(of, getattr(importlib.import_module(f"inferno_widget.{module}"), name)):
                raise TypeError(f"{known[0]} must be a {name}, not {brief(of)}")
            if kwargs.get("title") is not None:
                check_text("title", kwargs["title"])
            one_of("palette", kwargs.get("palette", "inferno"), PALETTES)
            if kwargs.get("theme") is not None:
                one_of("theme", kwargs["theme"], THEMES)
            return function(*args, **kwargs)

        return cast("_F", checked)

    return checking


def empty(title: str, x: str, y: str, theme: Theme | None) -> go.Figure:
    """An empty figure with its titles."""
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError('figures need plotly: pip install "inferno_widget[plotly]"') from error
    ground = "rgba(0,0,0,0)" if theme is None else css(PAGE[theme])
    ink = css(NEUTRAL if theme is None else INK[theme])
    axis = {
        "color": ink, "gridcolor": "rgba(121,121,127,0.22)", "zeroline": False,
        "linecolor": "rgba(121,121,127,0.5)", "automargin": True,
    }  # fmt: skip
    return go.Figure(
        layout={
            "template": "none",
            "title": {"text": title, "font": {"size": 17}},
            "font": {"color": ink, "size": 13},
            "paper_bgcolor": ground,
            "plot_bgcolor": ground,
            "xaxis": {**axis, "title": {"text": x}},
            "yaxis": {**axis, "title": {"text": y, "standoff": 12}},
            "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
            "margin": {"l": 60, "r": 30, "t": 70, "b": 50},
            "hoverlabel": {"align": "left"},
            "bargap": 0.15,
        }
    )


class Colours(NamedTuple):
    """Three of a map, as CSS has them; the hot one is for what matters most."""

    quiet: str
    middle: str
    hot: str


def colours_of(palette: Palette, theme: Theme | None) -> Colours:
    """Three colours of a map, as far from one another as they can be seen on the page, or on a page of either sort."""
    pages = [PAGE[each] for each in ((theme,) if theme else THEMES)]

    def least(colour: Rgb) -> float:
        return min(contrast(colour, page) for page in pages)

    colours = [colour_at(palette, i / 64) for i in range(6, 59)]
    seen = [colour for colour in colours if least(colour) >= _SEEN]
    if not seen:  # high contrast has nothing between: what stands out least on either is the best there is
        bar = sorted(map(least, colours))[-6]
        seen = [colour for colour in colours if least(colour) >= bar]
    return Colours(css(seen[0]), css(seen[len(seen) // 2]), css(seen[-1]))
