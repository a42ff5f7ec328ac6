"""Figures of a trace, drawn by plotly: each one function from a trace to a ``go.Figure``.

They show the current path. Their ground is transparent and their ink a grey that is read on light and dark pages; with
``theme="light"`` or ``"dark"`` they bring a page of their own.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .arguments import count, index
from .errors import brief, check_keywords, check_text
from .export.colour import INK, PAGE, PALETTES, THEMES, Palette, Rgb, Theme, colour_at, contrast, css
from .export.distribution import listed
from .export.format import nats, percent, whole
from .export.metric import values
from .export.text import label
from .record import Kind

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .causal import CausalMap
    from .dice import FirstChange, WhatIf
    from .inspection import Attribution, Inspection, Lens
    from .resample import Commitment
    from .trace import Trace

NEUTRAL: Rgb = (121, 121, 127)
"""Ink for a page of unknown colour: a contrast of 4.3 on white and on the widget's dark page, the best there is."""
MANY_BINS = 100_000
MANY = 5_000
"""Points from which on the browser's graphics card draws them."""
FEW = 16
"""Positions that have room for their tokens on an axis, at most."""
_SEEN = 3.0
"""Least contrast of points, lines and bars with their page, after WCAG 2."""
_SYMBOLS = {Kind.PROMPT: "circle-open", Kind.GENERATED: "circle", Kind.FORCED: "diamond"}


_F = TypeVar("_F", bound=Callable[..., Any])


def _figure_of(kind: str) -> Callable[[_F], _F]:
    """Checks what every figure is given: what it is of (module and class), its title, palette and theme."""
    module, name = kind.split(".")

    def checking(function: _F) -> _F:
        known = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            check_keywords(function.__name__, kwargs, known)
            of = args[0] if args else kwargs.get(known[0])
            if not isinstance(of, getattr(importlib.import_module(f".{module}", __package__), name)):
                raise TypeError(f"{known[0]} must be a {name}, not {brief(of)}")
            if kwargs.get("title") is not None:
                check_text("title", kwargs["title"])
            _check("palette", kwargs.get("palette", "inferno"), PALETTES)
            _check("theme", kwargs.get("theme"), (*THEMES, None))
            return function(*args, **kwargs)

        return cast("_F", checked)

    return checking


@_figure_of("trace.Trace")
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
    figure = _figure(title, "position", "surprisal (nats)", theme)
    rows = _predicted(trace)
    numbers = values(rows, "surprisal")
    _add_tokens(figure, trace, rows, numbers, _colours(palette, theme))
    _adder(figure, rows)(
        x=rows["position"],
        y=running_mean(numbers, window),
        mode="lines",
        name=f"mean of {window}",
        line={"color": _colours(palette, theme).hot, "width": 2},
        hovertemplate="mean of the latest " + str(window) + ": %{y:.2f} nats<extra></extra>",
    )
    return figure


@_figure_of("trace.Trace")
def entropy(
    trace: Trace, *, title: str = "Entropy", palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """How undecided the model was before every token; the parameters are those of `surprisal`."""
    figure = _figure(title, "position", "entropy (nats)", theme)
    rows = _predicted(trace)
    _add_tokens(figure, trace, rows, values(rows, "entropy"), _colours(palette, theme), line=True)
    return figure


@_figure_of("trace.Trace")
def entropy_histogram(
    trace: Trace, *, bins: int = 30, title: str = "Entropy", palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """How many tokens the model was how undecided before, in `bins` equal bins from 0 to the most.

    The other parameters are those of `surprisal`.
    """
    bins = count("bins", bins, MANY_BINS)
    figure = _figure(title, "entropy (nats)", "tokens", theme)
    numbers = values(_predicted(trace), "entropy")
    counts, edges = np.histogram(numbers, bins, (0, max(float(numbers.max(initial=0)), 1e-6)))
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts,
        width=np.diff(edges),
        name="tokens",
        marker={"color": _colours(palette, theme).middle, "line": {"width": 0}},
        customdata=np.stack([edges[:-1], edges[1:]], axis=1),
        hovertemplate="%{customdata[0]:.2f} to %{customdata[1]:.2f} nats: %{y} tokens<extra></extra>",
    )
    if len(numbers):
        mean = float(numbers.mean())
        figure.add_vline(
            mean, line={"color": _colours(palette, theme).hot, "dash": "dash"}, annotation_text=f"mean {nats(mean)}"
        )
    return figure


@_figure_of("trace.Trace")
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
    figure = _figure(title or f"Token {record.position}: {came}", "probability (%)", "token", theme)
    bars = listed(trace, record)
    quiet, _, hot = _colours(palette, theme)
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


@_figure_of("trace.Trace")
def time(
    trace: Trace, *, title: str = "Time per token", palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """Wall time of every step over its position; the parameters are those of `surprisal`."""
    figure = _figure(title, "position", "time (ms)", theme)
    rows = trace.nodes[trace.path()]
    rows = rows[rows["ms"] > 0]
    _add_tokens(figure, trace, rows, values(rows, "time"), _colours(palette, theme))
    return figure


@_figure_of("trace.Trace")
def rank(trace: Trace, *, title: str = "Rank", palette: Palette = "inferno", theme: Theme | None = None) -> go.Figure:
    """Place of every token among all tokens over its position, 1 is the most likely; the axis is logarithmic.

    The parameters are those of `surprisal`.
    """
    figure = _figure(title, "position", "rank (1 is the most likely)", theme)
    rows = _predicted(trace)
    _add_tokens(figure, trace, rows, values(rows, "rank"), _colours(palette, theme))
    most = math.log10(max(10, float(rows["rank"].max(initial=1))))
    figure.update_yaxes(type="log", range=[most * 1.05, -0.1], dtick=1)  # the likely ones on top
    return figure


@_figure_of("resample.Commitment")
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
    figure = _figure(title, "first token left open", "share of the continuations (%)", theme)
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


@_figure_of("dice.WhatIf")
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
    figure = _figure(title or f"The same dice, another {name}", name, "first token that differs", theme)
    quiet, middle, hot = _colours(palette, theme)
    values = [_value(change.value) for change in found]
    end = int(found.chosen[-1]) + 1 if len(found.chosen) else 0
    groups = (
        ("another token", "circle", hot, [c.certain and c.at is not None for c in found]),
        ("no token differs", "triangle-up", middle, [c.certain and c.at is None for c in found]),
        ("not known", "circle-open", quiet, [not c.certain for c in found]),
    )
    for label_, symbol, colour, mine in groups:
        shown = [(value, change) for value, change, own in zip(values, found, mine, strict=True) if own]
        if not shown:
            continue
        lasts = [end if change.at is None else change.at for _, change in shown]
        figure.add_scatter(
            x=[value for value, _ in shown],
            y=lasts,
            mode="markers",
            name=label_,
            marker={"color": colour, "symbol": symbol, "size": 9},
            error_y=_span(
                [last - (change.earliest or 0) for last, (_, change) in zip(lasts, shown, strict=True)], quiet
            )
            if label_ == "not known"
            else None,
            customdata=[escape(_difference(change)) for _, change in shown],
            hovertemplate=f"{name} %{{x}}: %{{customdata}}<extra></extra>",
        )
    if found.current is not None and isinstance(_value(found.current), float):
        line = {"color": css(NEUTRAL), "dash": "dash"}
        figure.add_vline(_value(found.current), line=line, annotation_text="the run's own")
    if len(found.chosen):
        figure.update_yaxes(
            range=[int(found.chosen[0]) - 0.05 * len(found.chosen) - 1, end + 0.05 * len(found.chosen) + 1]
        )
    return figure


# --- the inside of a model --------------------------------------------------------------------------------


@_figure_of("inspection.Inspection")
def attention(
    seen: Inspection,
    layer: int,
    head: int,
    *,
    title: str | None = None,
    palette: Palette = "inferno",
    theme: Theme | None = None,
) -> go.Figure:
    """What a head looked at: a row for each token that was read, and a column for each that it could look at.

    Colours follow the square root of the weight, so that small ones are seen; a pointer is told the weight.

    Parameters
    ----------
    seen : what `Session.inspect` found, with "attention"
    layer, head : of the model; the layer must have been inspected
    title, palette, theme : as in `surprisal`
    """
    layers, layer, head = seen.layers.tolist(), index("layer", layer), index("head", head)
    if layer not in layers:
        raise ValueError(f"layer {brief(layer)} was not inspected, only {', '.join(map(str, layers))}")
    weights = seen.attention[layers.index(layer)]
    if not 0 <= head < len(weights):
        raise ValueError(f"there is no head {brief(head)}: layer {layer} has heads 0 to {len(weights) - 1}")
    figure = _figure(title or f"Attention: layer {layer}, head {head}", "looked at", "read", theme)
    rows = np.searchsorted(seen.keys, seen.positions).tolist()
    names = [_token(text) for text in seen.texts]
    later = seen.keys[None] > seen.positions[:, None]  # which nobody can look at
    figure.add_heatmap(
        z=np.where(later, np.nan, np.sqrt(weights[head])),
        x=seen.keys,
        y=seen.positions,
        customdata=np.broadcast_to(100 * weights[head][..., None], (*weights[head].shape, 1)),
        text=[[f"{names[row]} looks at {name}" for name in names] for row in rows],
        hovertemplate="%{text}: %{customdata[0]:.1f} %<br>position %{y} at %{x}<extra></extra>",
        hoverongaps=False,
        **_shades(palette, "weight", top=1.0, ticks={0.1: "1 %", 0.5**0.5: "50 %", 1.0: "100 %"}),
    )
    if len(names) <= _NAMED:
        figure.update_xaxes(tickvals=seen.keys, ticktext=names, tickangle=-60)
        figure.update_yaxes(tickvals=seen.positions, ticktext=[names[row] for row in rows])
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


@_figure_of("inspection.Lens")
def lens(
    found: Lens,
    *,
    colour: Literal["probability", "entropy", "kl"] = "probability",
    title: str = "Logit lens",
    palette: Palette = "inferno",
    theme: Theme | None = None,
) -> go.Figure:
    """The most likely token behind each layer, at each position: a row for each layer, the last on top.

    Parameters
    ----------
    found : what `Session.inspect` found, with "lens"
    colour : "probability" of that token in percent, "entropy" of the distribution, or "kl" to that of the end, nats
    title, palette, theme : as in `surprisal`
    """
    _check("colour", colour, ("probability", "entropy", "kl"))
    figure = _figure(title, "position that was read", "behind layer", theme)
    best = 100 * np.exp(found.top_logprobs[..., 0].astype(np.float64))
    values = {"probability": best, "entropy": found.entropy, "kl": found.kl}[colour]
    units = {"probability": "probability (%)", "entropy": "entropy (nats)", "kl": "KL to the end (nats)"}
    shades = _shades(palette, units[colour], top=100.0 if colour == "probability" else None)
    figure.add_heatmap(
        z=values,
        x=found.positions,
        y=found.layers,
        customdata=np.stack([best, found.entropy, found.kl, found.rank], axis=-1),
        text=[[_token(texts[0]) for texts in row] for row in found.top_texts],
        texttemplate="%{text}" if best.size <= _WRITTEN else None,
        hovertext=[[_listed(*each) for each in zip(*row, strict=True)] for row in _tops(found)],
        hovertemplate="position %{x}, layer %{y}<br>%{hovertext}<br>entropy %{customdata[1]:.2f} nats, "
        "KL to the end %{customdata[2]:.3f} nats, rank of the answer %{customdata[3]}<extra></extra>",
        **shades,
    )
    figure.update_xaxes(showgrid=False, tickformat="d")
    figure.update_yaxes(showgrid=False, tickformat="d")
    return figure


@_figure_of("inspection.Attribution")
def attribution(
    found: Attribution, *, title: str | None = None, palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """What each layer's attention and MLP added to a token's logit, and what was there besides; all sum to the logit.

    The parameters are those of `surprisal`.
    """
    name = _token(found.text)
    title = title or f"Logit of {name} behind position {found.position}: {found.logit:.2f}"
    figure = _figure(title, "layer", "added to the logit (the last norm linearised)", theme)
    quiet, middle, hot = _colours(palette, theme)
    layers = [str(layer) for layer in range(len(found.mlp))]
    rest = {"start": found.start, "edits": found.added, "bias": found.bias}
    for part, x, y, shade in (
        ("attention", layers, found.attn_out, hot),
        ("MLP", layers, found.mlp, middle),
        ("besides", list(rest), list(rest.values()), quiet),
    ):
        figure.add_bar(
            x=x,
            y=y,
            name=part,
            marker={"color": shade, "line": {"width": 0}},
            hovertemplate=f"%{{x}}, {part}: %{{y:+.3f}}<extra></extra>",
        )
    order = ["start", *layers, "edits", "bias"]
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    return figure


@_figure_of("causal.CausalMap")
def causal_map(
    found: CausalMap, *, title: str | None = None, palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """What a prediction loses without each head: KL(with || without), a row for each layer, the last on top.

    Heads that were not tried are empty. The parameters are those of `surprisal`.
    """
    name = _token(found.text)
    figure = _figure(title or f"Heads that {name} at {found.at} hangs on", "head", "layer", theme)
    figure.add_heatmap(
        z=found.kl,
        x=np.arange(found.kl.shape[1]),
        y=found.layers,
        customdata=found.change[..., None],
        hovertemplate="layer %{y}, head %{x}: KL %{z:.4f} nats<br>"
        "without it the token's logprob changes by %{customdata[0]:+.3f} nats<extra></extra>",
        hoverongaps=False,
        **_shades(palette, "KL (nats)"),
    )
    figure.update_xaxes(showgrid=False, tickformat="d")
    figure.update_yaxes(showgrid=False, tickformat="d")
    return figure


_NAMED, _WRITTEN = 40, 400
"""Tokens that are named along an axis, and cells that have their token written into them, at most."""


def _shades(
    palette: Palette, name: str, top: float | None = None, ticks: Mapping[float, str] | None = None
) -> dict[str, Any]:
    """How the cells of a map are coloured: brighter is more, from 0 on."""
    bar: dict[str, Any] = {"title": {"text": name, "side": "right"}, "thickness": 14, "outlinewidth": 0}
    if ticks:
        bar |= {"tickvals": list(ticks), "ticktext": list(ticks.values())}
    scale = [[i / 32, css(colour_at(palette, i / 32))] for i in range(33)]
    return {"colorscale": scale, "zmin": 0, "zmax": top, "zauto": top is None, "colorbar": bar}


def _tops(found: Lens) -> Iterator[tuple[list[list[str]], NDArray[np.float32]]]:
    """Texts and logprobs of each layer."""
    return zip(found.top_texts, found.top_logprobs, strict=True)


def _token(text: str) -> str:
    """A token's text, everything visible, for a figure."""
    return escape(label(text.encode())) or "∅"


def _listed(texts: Sequence[str], logprobs: NDArray[np.float32]) -> str:
    """Tokens and what the lens gives them."""
    pairs = zip(texts, np.exp(logprobs.astype(np.float64)).tolist(), strict=True)
    return "<br>".join(f"{_token(text)} {percent(chance)}" for text, chance in pairs)


def _value(value: object) -> float | str:
    """A value of a parameter on an axis: a number, or what it is in words."""
    return float(value) if isinstance(value, Real) else escape(str(value), quote=False)


def _span(lengths: list[int], colour: str) -> dict[str, Any]:
    """Lines downwards from points."""
    return {"type": "data", "symmetric": False, "array": [0] * len(lengths), "arrayminus": lengths, "color": colour}


def _difference(change: FirstChange) -> str:
    if change.certain:
        return "no token differs" if change.at is None else f"another token at position {change.at:,}"
    until = "no later one is proved" if change.at is None else f"at {change.at:,} at the latest"
    return f"perhaps from position {change.earliest:,} on, {until}"


def _named(answer: object) -> str:
    return "no answer" if answer is None else escape(str(answer))


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
    colours: _Colours,
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


def _figure(title: str, x: str, y: str, theme: Theme | None) -> go.Figure:
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


def _check(name: str, value: object, known: Sequence[Any]) -> None:
    if not isinstance(value, str | None) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {brief(value)}")


class _Colours(NamedTuple):
    quiet: str
    middle: str
    hot: str


def _colours(palette: Palette, theme: Theme | None) -> _Colours:
    """Three colours of a map, as far from one another as they can be seen on the page, or on a page of either sort."""
    pages = [PAGE[each] for each in ((theme,) if theme else THEMES)]

    def least(colour: Rgb) -> float:
        return min(contrast(colour, page) for page in pages)

    colours = [colour_at(palette, i / 64) for i in range(6, 59)]
    seen = [colour for colour in colours if least(colour) >= _SEEN]
    if not seen:  # high contrast has nothing between: what stands out least on either is the best there is
        bar = sorted(map(least, colours))[-6]
        seen = [colour for colour in colours if least(colour) >= bar]
    return _Colours(css(seen[0]), css(seen[len(seen) // 2]), css(seen[-1]))
