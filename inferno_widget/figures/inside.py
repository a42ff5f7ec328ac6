"""Figures of the inside of a model: attention, the logit lens, and what made a logit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..arguments import index, one_of
from ..errors import brief
from ..export.colour import Palette, Theme, colour_at, css
from ..export.format import percent
from ..export.text import label
from .drawing import colours_of, empty, figure_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..causal import CausalMap
    from ..inspection import Attribution, Inspection, Lens

_NAMED, _WRITTEN = 40, 400
"""Tokens that are named along an axis, and cells that have their token written into them, at most."""


@figure_of("inspection.Inspection")
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
    figure = empty(title or f"Attention: layer {layer}, head {head}", "looked at", "read", theme)
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


@figure_of("inspection.Lens")
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
    one_of("colour", colour, ("probability", "entropy", "kl"))
    figure = empty(title, "position that was read", "behind layer", theme)
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


@figure_of("inspection.Attribution")
def attribution(
    found: Attribution, *, title: str | None = None, palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """What each layer's attention and MLP added to a token's logit, and what was there besides; all sum to the logit.

    The parameters are those of `surprisal`.
    """
    name = _token(found.text)
    title = title or f"Logit of {name} behind position {found.position}: {found.logit:.2f}"
    figure = empty(title, "layer", "added to the logit (the last norm linearised)", theme)
    quiet, middle, hot = colours_of(palette, theme)
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


@figure_of("causal.CausalMap")
def causal_map(
    found: CausalMap, *, title: str | None = None, palette: Palette = "inferno", theme: Theme | None = None
) -> go.Figure:
    """What a prediction loses without each head: KL(with || without), a row for each layer, the last on top.

    Heads that were not tried are empty. The parameters are those of `surprisal`.
    """
    name = _token(found.text)
    figure = empty(title or f"Heads that {name} at {found.at} hangs on", "head", "layer", theme)
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
