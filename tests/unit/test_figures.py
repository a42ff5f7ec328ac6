"""Figures: their numbers, compared with the trace's columns summed up in another way."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inferno_widget import figures
from inferno_widget.causal import CausalMap
from inferno_widget.dice import FirstChange, WhatIf
from inferno_widget.export.colour import PAGE, PALETTES, contrast
from inferno_widget.figures.tokens import MANY
from inferno_widget.inspection import Attribution, Inspection, Lens
from inferno_widget.record import Kind
from inferno_widget.session import Session
from inferno_widget.trace import Trace
from tests.traces import PIECES, forked_trace, made_trace, record

pytest.importorskip("plotly")

NAMES = ("surprisal", "entropy", "entropy_histogram", "distribution", "time", "rank")


def long_trace(n: int = 40) -> Trace:
    trace = made_trace(())
    for position in range(n):
        kind = Kind.PROMPT if position < 5 else Kind.FORCED if position == 9 else Kind.GENERATED
        trace.append(record(position, position % 9, kind=kind, seed=1), PIECES)
    return trace


TRACE = long_trace()


def points(figure: Any) -> dict[int, float]:
    """Position -> value, over all kinds of tokens."""
    return {
        int(x): float(y)
        for scatter in figure.data
        if scatter.mode == "markers"
        for x, y in zip(scatter.x, scatter.y, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("surprisal", lambda said: -said.logprob if said.rank else None),
        ("entropy", lambda said: said.entropy if said.rank else None),
        ("rank", lambda said: said.rank or None),
        ("time", lambda said: said.ms or None),
    ],
)
def test_every_token_is_a_point(name: str, expected: Callable[[Any], float | None]) -> None:
    wanted = {said.position: expected(said) for said in TRACE}
    assert points(getattr(figures, name)(TRACE)) == {at: value for at, value in wanted.items() if value is not None}


@pytest.mark.parametrize("window", [1, 4, 16, 1000])
def test_the_running_mean_is_of_the_latest(window: int) -> None:
    figure = figures.surprisal(TRACE, window=window)
    line = next(scatter for scatter in figure.data if scatter.mode == "lines")
    surprisals = [-said.logprob for said in TRACE][1:]
    latest = [surprisals[max(0, i + 1 - window) : i + 1] for i in range(len(surprisals))]
    np.testing.assert_allclose(line.y, [math.fsum(some) / len(some) for some in latest], rtol=1e-9)
    assert line.x.tolist() == list(range(1, len(TRACE)))
    assert line.name == f"mean of {window}"


def test_the_histogram_counts_every_prediction_once() -> None:
    figure = figures.entropy_histogram(TRACE, bins=7)
    bars = figure.data[0]
    entropies = [said.entropy for said in TRACE][1:]
    most = max(entropies)
    expected = [0] * 7
    for value in entropies:
        expected[min(6, int(7 * value / most))] += 1
    assert bars.y.tolist() == expected
    np.testing.assert_allclose(bars.x, [(i + 0.5) * most / 7 for i in range(7)])
    assert figure.layout.annotations[0].text == f"mean {math.fsum(entropies) / len(entropies):.2f}"


def test_a_distribution_is_the_recorded_one() -> None:
    trace = made_trace()
    said = trace.record(2)._replace(token_id=8, rank=40, logprob=math.log(0.05), tail=0.15, kept=2)
    said = said._replace(top_ids=np.array([1, 2, 3], np.int32), top_logprobs=np.log(np.float32([0.5, 0.2, 0.15])))
    trace.goto(1)
    trace.append(said._replace(top_kept=np.array([True, False, True])), PIECES)
    figure = figures.distribution(trace)
    bars = figure.data[0]
    np.testing.assert_allclose(bars.x, [50, 20, 15, 5, 10], rtol=1e-6)
    assert list(bars.marker.pattern.shape) == ["", "/", "", "", ""]
    assert list(figure.layout.yaxis.ticktext) == ["Once  1", "·upon  2", "·a  3", "火  40", "everything else  "]
    assert len(set(bars.marker.color)) == 3, "the token that came, the others, and the rest"
    assert bars.marker.color[3] not in (bars.marker.color[0], bars.marker.color[4])
    assert figures.distribution(trace, at=1).layout.title.text == "Token 1: Once"
    with pytest.raises(IndexError, match="no token at position 3: the last is at 2"):
        figures.distribution(trace, at=3)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_what_it_shows(name: str) -> None:
    layout = getattr(figures, name)(TRACE).layout
    assert layout.title.text
    assert layout.xaxis.title.text in ("position", "entropy (nats)", "probability (%)")
    assert layout.yaxis.title.text in (
        *("surprisal (nats)", "entropy (nats)", "tokens", "token", "time (ms)", "rank (1 is the most likely)"),
    )
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert getattr(figures, name)(TRACE, title="mine").layout.title.text == "mine"


def test_ranks_stand_on_a_logarithmic_axis_with_the_likely_ones_on_top() -> None:
    axis = figures.rank(TRACE).layout.yaxis
    assert axis.type == "log"
    assert axis.range[0] > math.log10(max(said.rank for said in TRACE)) > 0 > axis.range[1]


def test_kinds_of_tokens_are_told_apart() -> None:
    scatters = {scatter.name: scatter for scatter in figures.surprisal(TRACE).data}
    assert set(scatters) == {"prompt", "generated", "forced", "mean of 16"}
    assert scatters["forced"].x.tolist() == [9]
    assert scatters["prompt"].x.tolist() == [1, 2, 3, 4]
    assert len({scatters[kind].marker.symbol for kind in ("prompt", "generated", "forced")}) == 3


def test_a_pointer_is_told_the_token_and_nothing_of_it_acts() -> None:
    trace = made_trace()
    trace.pieces[3] = b" <a href='x'>\n"
    last = next(scatter for scatter in figures.entropy(trace).data if scatter.name == "generated")
    token, prediction = last.customdata[-1]
    assert token == "·&lt;a·href=&#x27;x&#x27;&gt;⏎"
    said = trace.record(3)
    assert prediction.endswith(f", rank {said.rank}")
    assert prediction.startswith(f"{100 * said.probability:.1f}%")
    assert figures.distribution(trace).layout.title.text == f"Token 3: {token}"


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_drawn_can_be_seen(palette: str, theme: str) -> None:
    """Three to one for shapes, 4.5 for text; on a transparent ground, as near as one colour comes to both."""
    figure = figures.surprisal(TRACE, palette=palette, theme=theme)
    assert contrast(rgb(figure.layout.font.color), PAGE[theme]) >= 4.5
    for scatter in figure.data:
        colour = scatter.line.color if scatter.mode == "lines" else scatter.marker.color
        assert contrast(rgb(colour), PAGE[theme]) >= 3
    plain = figures.surprisal(TRACE, palette=palette)
    assert contrast(rgb(plain.layout.font.color), PAGE[theme]) >= 4.3
    if palette != "contrast":
        assert all(
            contrast(rgb(scatter.marker.color or scatter.line.color), PAGE[theme]) >= 3 for scatter in plain.data
        )


def rgb(colour: str) -> tuple[int, ...]:
    assert re.fullmatch("#[0-9a-f]{6}", colour)
    return tuple(bytes.fromhex(colour[1:]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trace", [made_trace((0,)), forked_trace(), long_trace(MANY + 5)], ids=len)
def test_every_trace_has_its_figures(name: str, trace: Trace) -> None:
    assert getattr(trace.plot, name)().to_json()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "distribution"])
def test_an_empty_trace_is_an_empty_figure(name: str) -> None:
    assert getattr(Trace(20).plot, name)().layout.title.text


def test_a_session_plots_its_trace() -> None:
    assert Session.plot.fget is not None
    assert repr(TRACE.plot).startswith("<Plot of <Trace 40 tokens")
    assert TRACE.plot.surprisal(window=3) == figures.surprisal(TRACE, window=3)
    assert TRACE.plot.distribution(3) == figures.distribution(TRACE, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be a whole number of at least 1, not 0"),
        ({"palette": "jet"}, "palette must be one of inferno, viridis, cividis, contrast, not 'jet'"),
        ({"theme": "blue"}, "theme must be one of light, dark, not 'blue'"),
    ],
)
def test_an_option_that_cannot_be_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figures.surprisal(TRACE, **options)


def test_without_plotly_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r'pip install "inferno_widget\[plotly\]"'):
        TRACE.plot.surprisal()


def test_what_if_shows_what_is_proved_and_spans_what_is_not() -> None:
    changes = (
        FirstChange(0.2, 3, 7, ()),
        FirstChange(0.5, 12, 7, (4, 9)),
        FirstChange(0.8, None, None, ()),
        FirstChange(1.5, None, None, (6,)),
    )
    found = WhatIf("temperature", changes, np.arange(2, 20, dtype=np.int32), 0.8)
    drawn = {scatter.name: scatter for scatter in found.plot().data}
    assert {name: list(zip(s.x, s.y, strict=True)) for name, s in drawn.items()} == {
        "another token": [(0.2, 3)],
        "no token differs": [(0.8, 20)],
        "not known": [(0.5, 12), (1.5, 20)],
    }
    unknown = drawn["not known"]
    assert list(unknown.error_y.arrayminus) == [12 - 4, 20 - 6], "down to the first position that may differ"
    assert list(unknown.customdata) == [
        "perhaps from position 4 on, at 12 at the latest",
        "perhaps from position 6 on, no later one is proved",
    ]
    assert found.plot().layout.shapes[0].x0 == 0.8
    assert found.plot(theme="dark", title="Dice").layout.title.text == "Dice"
    words = WhatIf("dry_sequence_breakers", (FirstChange(["\n"], 3, 7, ()),), np.array([2, 3], np.int32))
    assert list(words.plot().data[0].x) == ["['\\n']"]
    assert not WhatIf("top_k", (FirstChange(3, None, None, ()),), np.empty(0, np.int32)).plot().layout.shapes


# --- the inside of a model --------------------------------------------------------------------------------

TEXTS = ["once", " <b>", " a", "\n"]


def inspected(lens: Lens | None = None) -> Inspection:
    """Layers 2 and 5 at the last three of four tokens; every head looks at all before it alike."""
    weights = np.zeros((2, 3, 3, 4), np.float32)
    for query in range(3):
        weights[..., query, : query + 2] = 1 / (query + 2)
    weights[1, 2, 0] = (0.01, 0.99, 0, 0)
    keys = np.arange(4, dtype=np.int32)
    layers = np.array([2, 5], np.int32)
    return Inspection(("attention",), layers, keys[1:], keys, keys + 7, TEXTS, {"attention": weights}, lens)


def a_lens() -> Lens:
    logprobs = np.log(np.array([[[0.5, 0.25], [0.9, 0.05]], [[0.7, 0.2], [0.4, 0.3]]], np.float32))
    numbers = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    ranks = np.array([[1, 2], [1, 1]], np.int32)
    texts = [[[" king", " <i>"], [" a", " b"]], [[" king", " q"], ["", " z"]]]
    two = np.arange(2, dtype=np.int32)
    return Lens(two, two + 8, np.zeros((2, 2, 2), np.int32), logprobs, texts, numbers, 2 * numbers, two, ranks,
                numbers, ranks, numbers)  # fmt: skip


def test_a_head_is_a_map_of_what_looked_at_what() -> None:
    seen = inspected()
    (cells,) = seen.plot.attention(5, 2).data
    assert (cells.x.tolist(), cells.y.tolist()) == ([0, 1, 2, 3], [1, 2, 3])
    np.testing.assert_allclose(cells.z[0], [0.1, 0.99**0.5, np.nan, np.nan], atol=1e-6)
    np.testing.assert_allclose(cells.z[2], [0.5] * 4, atol=1e-6)
    assert cells.customdata[0][1][0] == pytest.approx(99)
    assert cells.text[1][0] == "·a looks at once"
    assert cells.text[0][1] == "·&lt;b&gt; looks at ·&lt;b&gt;"
    figure = seen.plot.attention(2, 0, title="Mine")
    assert figure.layout.title.text == "Mine"
    assert list(figure.layout.xaxis.ticktext) == ["once", "·&lt;b&gt;", "·a", "⏎"]
    assert list(figure.layout.yaxis.ticktext) == ["·&lt;b&gt;", "·a", "⏎"]
    with pytest.raises(ValueError, match="layer 3 was not inspected, only 2, 5"):
        seen.plot.attention(3, 0)
    for head in (-1, 3):
        with pytest.raises(ValueError, match=f"there is no head {head}: layer 2 has heads 0 to 2"):
            seen.plot.attention(2, head)
    assert repr(seen.plot).startswith("<InspectionPlot of <Inspection 2 layers x 3 positions")


@pytest.mark.parametrize(
    ("colour", "expected"),
    [("probability", [[50, 90], [70, 40]]), ("entropy", [[0.1, 0.2], [0.3, 0.4]]), ("kl", [[0.2, 0.4], [0.6, 0.8]])],
)
def test_the_lens_is_a_table_of_layers_and_positions(colour: Any, expected: list[list[float]]) -> None:
    (cells,) = a_lens().plot(colour=colour).data
    np.testing.assert_allclose(cells.z, expected, rtol=1e-5)
    assert (cells.x.tolist(), cells.y.tolist()) == ([8, 9], [0, 1])
    assert [list(row) for row in cells.text] == [["·king", "·a"], ["·king", "∅"]]
    assert cells.hovertext[0][0] == "·king 50.0%<br>·&lt;i&gt; 25.0%"
    assert (cells.zmin, cells.zmax) == (0, 100 if colour == "probability" else None)
    assert inspected(a_lens()).plot.lens(colour=colour) == a_lens().plot(colour=colour)


def test_the_lens_has_no_other_colours() -> None:
    with pytest.raises(ValueError, match="colour must be one of probability, entropy, kl, not 'rank'"):
        a_lens().plot(colour="rank")


def test_contributions_are_bars_that_sum_to_the_logit() -> None:
    row = np.array([0.5, -1, 2], np.float32)
    found = Attribution(9, 4, " <i>", row, 2 * row, 0.25, -0.5, 0.125, 4.375)
    figure = found.plot()
    bars = {bar.name: dict(zip(bar.x, bar.y, strict=True)) for bar in figure.data}
    assert bars == {
        "attention": {"0": 0.5, "1": -1, "2": 2},
        "MLP": {"0": 1, "1": -2, "2": 4},
        "besides": {"start": 0.25, "edits": -0.5, "bias": 0.125},
    }
    assert sum(sum(each.values()) for each in bars.values()) == found.logit
    assert list(figure.layout.xaxis.categoryarray) == ["start", "0", "1", "2", "edits", "bias"]
    assert figure.layout.title.text == "Logit of ·&lt;i&gt; behind position 9: 4.38"


def test_heads_that_were_not_tried_are_empty() -> None:
    kl = np.array([[0.5, 0.1], [np.nan, np.nan]], np.float32)
    found = CausalMap(9, 4, " king", np.array([3, 4], np.int32), kl, -kl, last=True)
    (cells,) = found.plot().data
    assert (cells.x.tolist(), cells.y.tolist()) == ([0, 1], [3, 4])
    np.testing.assert_array_equal(cells.z, kl)
    np.testing.assert_array_equal(cells.customdata[..., 0], -kl)
    assert found.plot().layout.title.text == "Heads that ·king at 9 hangs on"


@pytest.mark.parametrize("palette", PALETTES)
def test_brighter_is_more(palette: Any) -> None:
    (cells,) = a_lens().plot(palette=palette, theme="dark").data
    bright = [sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for _, colour in cells.colorscale]
    assert bright[0] < bright[-1]
    assert [at for at, _ in cells.colorscale] == [i / 32 for i in range(33)]
