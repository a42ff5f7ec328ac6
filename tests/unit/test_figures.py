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
from inferno_widget.dice import FirstChange, WhatIf
from inferno_widget.export.colour import PAGE, PALETTES, contrast
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
@pytest.mark.parametrize("trace", [made_trace((0,)), forked_trace(), long_trace(figures.MANY + 5)], ids=len)
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
        ({"palette": "jet"}, "palette must be one of 'inferno', 'viridis', 'cividis', 'contrast', not 'jet'"),
        ({"theme": "blue"}, "theme must be one of 'light', 'dark', None, not 'blue'"),
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
