"""Figures of the roads not taken: what a text was going to say, and what other settings would have made of it."""

from __future__ import annotations

from html import escape
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import count
from ..export.colour import Palette, Theme, colour_at, css
from ..export.text import label
from .drawing import NEUTRAL, colours_of, empty, figure_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..dice import FirstChange, WhatIf
    from ..resample import Commitment

FEW = 16
"""Positions that have room for their tokens on an axis, at most."""
ANOTHER, SAME, UNKNOWN = "another token", "no token differs", "not known"
"""What is known of a run with another value of a parameter."""


@figure_of("resample.Commitment")
def commitment(
    found: Commitment,
    *,
    most: int = 8,
    title: str = "What the text was going to say",
    palette: Palette = "inferno",
    theme: Theme | None = None,
) -> go.Figure:
    """Share of each answer among the continuations of each prefix, one upon the other; the text's own lies lowest.

    A line marks the position before which the answer was decided. Below a short text stand its own tokens.

    Parameters
    ----------
    found : what `Session.commitment` found
    most : answers that are told apart; all others are one
    title, palette, theme : as in `surprisal`
    """
    most = count("most", most)
    figure = empty(title, "first token left open", "share of the continuations (%)", theme)
    order = sorted(range(len(found.answers)), key=lambda i: found.answers[i] != found.answer)
    shares, names = 100 * found.shares[:, order], [_named(found.answers[i]) for i in order]
    if len(names) > most:
        shares = np.column_stack([shares[:, : most - 1], shares[:, most - 1 :].sum(axis=1)])
        names = [*names[: most - 1], "all others"]
    for i, name in enumerate(names):
        figure.add_scatter(
            x=found.positions,
            y=shares[:, i],
            name=name,
            mode="lines",
            stackgroup="answers",
            line={"width": 0.5, "color": css(colour_at(palette, 0.85 - 0.7 * i / max(len(names) - 1, 1)))},
            customdata=[escape(label(piece)) for piece in found.pieces],
            hovertemplate="%{fullData.name}: %{y:.0f} %<br>before %{customdata}, position %{x}<extra></extra>",
        )
    decided = found.decided()
    if decided is not None:
        figure.add_vline(decided, line={"color": css(NEUTRAL), "dash": "dash"}, annotation_text="decided")
    if len(found.positions) <= FEW:
        ticks = [f"{escape(label(piece))}<br>{at:,}" for at, piece in zip(found.positions, found.pieces, strict=True)]
        figure.update_xaxes(tickvals=found.positions, ticktext=ticks, tickangle=0)
    figure.update_yaxes(range=[0, 100])
    return figure


@figure_of("dice.WhatIf")
def what_if(
    found: WhatIf,
    *,
    title: str | None = None,
    palette: Palette = "inferno",
    theme: Theme | None = None,
) -> go.Figure:
    """Position of the first token that differs over the value of a parameter.

    What is proved is filled. Where earlier predictions are unknown, a line spans the positions at which the first
    difference may be. A triangle above the text's end stands for a run that stays the same; the value that the run had
    is marked.

    Parameters
    ----------
    found : what `Session.what_if` or `dice.what_if` found
    title, palette, theme : as in `surprisal`
    """
    name = escape(found.parameter)
    figure = empty(title or f"The same dice, another {name}", name, "first token that differs", theme)
    quiet, middle, hot = colours_of(palette, theme)
    end = int(found.chosen[-1]) + 1 if len(found.chosen) else 0
    looks = {ANOTHER: ("circle", hot), SAME: ("triangle-up", middle), UNKNOWN: ("circle-open", quiet)}
    for kind, (symbol, colour) in looks.items():
        shown = [change for change in found if _kind(change) == kind]
        if not shown:
            continue
        lasts = [end if change.at is None else change.at for change in shown]
        spans = [last - (change.earliest or 0) for last, change in zip(lasts, shown, strict=True)]
        figure.add_scatter(
            x=[_value(change.value) for change in shown],
            y=lasts,
            mode="markers",
            name=kind,
            marker={"color": colour, "symbol": symbol, "size": 9},
            error_y=_span(spans, quiet) if kind == UNKNOWN else None,
            customdata=[escape(_difference(change)) for change in shown],
            hovertemplate=f"{name} %{{x}}: %{{customdata}}<extra></extra>",
        )
    if found.current is not None and isinstance(_value(found.current), float):
        line = {"color": css(NEUTRAL), "dash": "dash"}
        figure.add_vline(_value(found.current), line=line, annotation_text="the run's own")
    if len(found.chosen):
        margin = 0.05 * len(found.chosen) + 1
        figure.update_yaxes(range=[int(found.chosen[0]) - margin, end + margin])
    return figure


def _value(value: object) -> float | str:
    """A value of a parameter on an axis: a number, or what it is in words."""
    return float(value) if isinstance(value, Real) else escape(str(value), quote=False)


def _span(lengths: list[int], colour: str) -> dict[str, Any]:
    """Lines downwards from points."""
    return {"type": "data", "symmetric": False, "array": [0] * len(lengths), "arrayminus": lengths, "color": colour}


def _kind(change: FirstChange) -> str:
    if not change.certain:
        return UNKNOWN
    return SAME if change.at is None else ANOTHER


def _difference(change: FirstChange) -> str:
    if change.certain:
        return "no token differs" if change.at is None else f"another token at position {change.at:,}"
    until = "no later one is proved" if change.at is None else f"at {change.at:,} at the latest"
    return f"perhaps from position {change.earliest:,} on, {until}"


def _named(answer: object) -> str:
    return "no answer" if answer is None else escape(str(answer))
