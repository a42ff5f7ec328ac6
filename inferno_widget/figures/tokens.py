"""Figures of a trace's current path: its tokens over their positions, and what might have come at one."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..arguments import count
from ..export.colour import Palette, Theme, css
from ..export.distribution import listed
from ..export.format import nats, percent, whole
from ..export.metric import values
from ..export.text import label
from ..record import Kind
from .drawing import NEUTRAL, Colours, colours_of, empty, figure_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..trace import Trace

MANY_BINS = 100_000
MANY = 5_000
"""Points from which on the browser's graphics card draws them."""
_SYMBOLS = {Kind.PROMPT: "circle-open", Kind.GENERATED: "circle", Kind.FORCED: "diamond"}


@figure_of("trace.Trace")
def surprisal(
    trace: Trace,
    *,
    window: int = 16,
    title: str = "Surprisal",
    palette: Palette = "inferno",
    theme: Theme | None = None,
) -> go.Figure:
    """Surprisal of every token over its position, and the mean of the latest `window` tokens.

    Parameters
    ----------
    window : tokens in the running mean; fewer at the beginning
    title : of the figure
    palette : "inferno", "viridis", "cividis" or "contrast"
    theme : "light" or "dark" for a page of its own; None for a transparent one
    """
    window = count("window", window)
    figure = empty(title, "position", "surprisal (nats)", theme)
    rows = _predicted(trace)
    numbers = values(rows, "surprisal")
    _add_tokens(figure, trace, rows, numbers, colours_of(palette, theme))
    _adder(figure, rows)(
        x=rows["position"],
        y=running_mean(numbers, window),
        mode="lines",
        name=f"mean of {window}",
        line={"color": colours_of(palette, theme).hot, "width": 2},
        hovertemplate="mean of the latest " + str(window) + ": %{y:.2f} nats<extra></extra>",
    )
    return figure


@figure_of("trace.Trace")
def entropy(
    trace: Trace, *, title: str = "Entropy", palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """How undecided the model was before every token; the parameters are those of `surprisal`."""
    figure = empty(title, "position", "entropy (nats)", theme)
    rows = _predicted(trace)
    _add_tokens(figure, trace, rows, values(rows, "entropy"), colours_of(palette, theme), line=True)
    return figure


@figure_of("trace.Trace")
def entropy_histogram(
    trace: Trace, *, bins: int = 30, title: str = "Entropy", palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """How many tokens the model was how undecided before, in `bins` equal bins from 0 to the most.

    The other parameters are those of `surprisal`.
    """
    bins = count("bins", bins, MANY_BINS)
    figure = empty(title, "entropy (nats)", "tokens", theme)
    numbers = values(_predicted(trace), "entropy")
    counts, edges = np.histogram(numbers, bins, (0, max(float(numbers.max(initial=0)), 1e-6)))
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts,
        width=np.diff(edges),
        name="tokens",
        marker={"color": colours_of(palette, theme).middle, "line": {"width": 0}},
        customdata=np.stack([edges[:-1], edges[1:]], axis=1),
        hovertemplate="%{customdata[0]:.2f} to %{customdata[1]:.2f} nats: %{y} tokens<extra></extra>",
    )
    if len(numbers):
        mean = float(numbers.mean())
        figure.add_vline(
            mean, line={"color": colours_of(palette, theme).hot, "dash": "dash"}, annotation_text=f"mean {nats(mean)}"
        )
    return figure


@figure_of("trace.Trace")
def distribution(
    trace: Trace,
    at: int | None = None,
    *,
    title: str | None = None,
    palette: Palette = "inferno",
    theme: Theme | None = None,
) -> go.Figure:
    """What might have come at a position of the current path, as bars.

    The position is the last when None, and counts from the end when negative.
    The token that came is marked, what the sampler had left out is hollow, and all other tokens are one bar.
    The other parameters are those of `surprisal`.
    """
    record = trace.record(trace.node_at(-1 if at is None else at))
    came = escape(label(trace.pieces[record.token_id]))
    figure = empty(title or f"Token {record.position}: {came}", "probability (%)", "token", theme)
    bars = listed(trace, record)
    quiet, _, hot = colours_of(palette, theme)
    figure.add_bar(
        x=[100 * bar.probability for bar in bars],
        y=list(range(len(bars))),
        orientation="h",
        name="probability",
        marker={
            "color": [hot if bar.chosen else css(NEUTRAL) if not bar.rank else quiet for bar in bars],
            "pattern": {"shape": ["" if bar.kept else "/" for bar in bars], "solidity": 0.35},
        },
        text=[percent(bar.probability) for bar in bars],
        textposition="outside",
        cliponaxis=False,
        customdata=[[escape(bar.name), _role(bar.rank, kept=bar.kept, chosen=bar.chosen)] for bar in bars],
        hovertemplate="%{customdata[0]}: %{x:.3g} %<br>%{customdata[1]}<extra></extra>",
    )
    names = [f"{escape(bar.name)}  {whole(bar.rank) if bar.rank else ''}" for bar in bars]
    figure.update_yaxes(tickvals=list(range(len(bars))), ticktext=names, autorange="reversed", showgrid=False)
    figure.update_layout(height=max(240, 130 + 22 * len(bars)))
    return figure


@figure_of("trace.Trace")
def time(
    trace: Trace, *, title: str = "Time per token", palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """Wall time of every step over its position; the parameters are those of `surprisal`."""
    figure = empty(title, "position", "time (ms)", theme)
    rows = trace.nodes[trace.path()]
    rows = rows[rows["ms"] > 0]
    _add_tokens(figure, trace, rows, values(rows, "time"), colours_of(palette, theme))
    return figure


@figure_of("trace.Trace")
def rank(trace: Trace, *, title: str = "Rank", palette: Palette = "inferno", theme: Theme | None = None) -> go.Figure:
    """Place of every token among all tokens over its position, 1 is the most likely; the axis is logarithmic.

    The parameters are those of `surprisal`.
    """
    figure = empty(title, "position", "rank (1 is the most likely)", theme)
    rows = _predicted(trace)
    _add_tokens(figure, trace, rows, values(rows, "rank"), colours_of(palette, theme))
    most = math.log10(max(10, float(rows["rank"].max(initial=1))))
    figure.update_yaxes(type="log", range=[most * 1.05, -0.1], dtick=1)  # the likely ones on top
    return figure


def running_mean(numbers: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of each number and up to `window` - 1 before it."""
    sums = np.concatenate([[0.0], numbers.cumsum()])
    last = np.arange(1, len(numbers) + 1)
    first = np.maximum(0, last - window)
    means: NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return means


def _predicted(trace: Trace) -> NDArray[np.void]:
    """Rows of the current path that have a prediction."""
    rows = trace.nodes[trace.path()]
    return rows[rows["rank"] > 0]


def _role(rank: int, *, kept: bool, chosen: bool) -> str:
    if not rank:
        return "all other tokens together"
    return f"rank {whole(rank)}, " + (
        "the token that came" if chosen else "kept by the sampler" if kept else "left out by the sampler"
    )


def _add_tokens(
    figure: go.Figure,
    trace: Trace,
    rows: NDArray[np.void],
    numbers: NDArray[np.float64],
    colours: Colours,
    *,
    line: bool = False,
) -> None:
    """A point a token, a trace of the figure for each kind that occurs; and a thin line through all."""
    if line and len(rows):
        _adder(figure, rows)(
            x=rows["position"], y=numbers, mode="lines", showlegend=False, hoverinfo="skip",
            line={"color": colours.quiet, "width": 1},
        )  # fmt: skip
    unit = {"surprisal": " nats", "entropy": " nats", "time": " ms"}.get(
        figure.layout.yaxis.title.text.split(" ")[0], ""
    )
    for kind, colour in zip(Kind, (css(NEUTRAL), colours.middle, colours.hot), strict=True):
        mine = rows["kind"] == kind
        if mine.any():
            _adder(figure, rows)(
                x=rows["position"][mine],
                y=numbers[mine],
                mode="markers",
                name=kind.name.lower(),
                marker={"color": colour, "symbol": _SYMBOLS[kind], "size": 9 if kind == Kind.FORCED else 6},
                customdata=_told(trace, rows[mine]),
                hovertemplate="position %{x}: %{customdata[0]}<br>%{y:.3g}"
                + unit
                + "<br>%{customdata[1]}<extra></extra>",
            )


def _adder(figure: go.Figure, rows: NDArray[np.void]) -> Callable[..., object]:
    add: Callable[..., object] = figure.add_scattergl if len(rows) > MANY else figure.add_scatter
    return add


def _told(trace: Trace, rows: NDArray[np.void]) -> list[list[str]]:
    """Token and prediction of each row, for a pointer that rests on it."""
    said = []
    for token, rank, logprob in zip(*(rows[name].tolist() for name in ("token_id", "rank", "logprob")), strict=True):
        prediction = f"{percent(math.exp(logprob))}, rank {whole(rank)}" if rank else "no prediction"
        said.append([escape(label(trace.pieces[token])) or f"#{token}", prediction])
    return said
