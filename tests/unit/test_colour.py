"""Colours, metrics, glyphs and numbers of what is exported: the same as the widget's, and readable."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest

from inferno_widget.export import colour, metric, text
from inferno_widget.export.colour import PALETTES, THEMES
from inferno_widget.export.format import nats, percent, whole
from inferno_widget.export.metric import METRICS, STEPS
from inferno_widget.record import Kind, record_dtype
from inferno_widget.trace import Trace
from tests.node import call
from tests.traces import PIECES, record

CASES = list(itertools.product(PALETTES, THEMES, range(STEPS + 1)))


@pytest.mark.parametrize(("palette", "theme"), [(palette, theme) for palette in PALETTES for theme in THEMES])
def test_text_can_be_read_on_every_step(palette: colour.Palette, theme: colour.Theme) -> None:
    for step in range(STEPS + 1):
        on = colour.ground(step, theme, palette)
        shown = [tuple(bytes.fromhex(colour.css(each)[1:])) for each in (colour.ink(on, theme, palette), on)]
        assert contrast_after_wcag(*shown) >= (7 if palette == "contrast" else 4.5), f"step {step}"


def contrast_after_wcag(*colours: tuple[int, ...]) -> float:
    """Written anew from the recommendation."""
    table = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in range(256)]
    low, high = sorted(0.2126 * table[r] + 0.7152 * table[g] + 0.0722 * table[b] for r, g, b in colours)
    return (high + 0.05) / (low + 0.05)


def test_the_colours_are_the_widgets() -> None:
    widgets = call(
        """
        import { css, flame, ground, ink } from "./src/draw/colour.ts";
        const numbers = (rgb) => css(rgb).match(/\\d+/g).map(Number);
        export default (cases) => cases.map(([palette, theme, step]) => {
          const on = ground(step, theme, palette);
          return [on, ink(on, theme, palette), flame(step, theme, palette)].map(numbers);
        });
        """,
        CASES,
    )
    for (palette, theme, step), expected in zip(CASES, widgets, strict=True):
        on = colour.ground(step, theme, palette)
        ours = [on, colour.ink(on, theme, palette), colour.flame(step, theme, palette)]
        for mine, other in zip(ours, expected, strict=True):
            assert colour.css(mine) == "#" + bytes(other).hex(), (palette, theme, step)


def test_the_scales_are_the_widgets() -> None:
    values = [0.0, 1e-9, 0.004, 0.1, 0.499, 0.5, 0.75, 1.0, 1.49, 2.0, 3.3, 8.9, 9.0, 12.0, 47.0, 99.0, 1000.0, 5e4]
    cases = [(name, value, end) for name in METRICS for value in values for end in (None, 2.0, 500.0)]
    cases = [case for case in cases if case[0] != "rank" or case[1] >= 1]
    steps, texts, ends = call(
        """
        import { SCALES, stepOf } from "./src/draw/colour.ts";
        export default (cases) => [
          cases.map(([metric, value, end]) => stepOf(metric, value, end ?? undefined)),
          cases.map(([metric, value]) => SCALES[metric].format(value)),
          Object.keys(SCALES).map((metric) => [metric, SCALES[metric].end, SCALES[metric].range(SCALES[metric].end)]),
        ];
        """,
        cases,
    )
    for (name, value, end), step, said in zip(cases, steps, texts, strict=True):
        assert metric.step_of(name, value, end) == step, (name, value, end)
        if value >= 0.001:  # below, JavaScript writes more digits
            assert metric.SCALES[name].format(value) == said
    ours = [[name, scale.end, list(scale.ends(scale.end))] for name, scale in metric.SCALES.items()]
    assert sorted(ours) == sorted(ends)


@pytest.mark.parametrize("name", METRICS)
def test_without_a_prediction_there_is_no_colour(name: metric.Metric) -> None:
    assert metric.step_of(name, math.nan) == 0
    row = np.zeros(1, record_dtype(1))
    row["logprob"] = row["entropy"] = np.nan
    assert np.isnan(metric.values(row, name)).all()


def test_numbers_are_written_as_the_widget_writes_them() -> None:
    numbers = [0, 1e-7, 9.9e-5, 1e-4, 5e-4, 9.99e-4, 1e-3, 0.012, 0.5, 0.99, 0.9995, 0.99951, 0.9999999, 1]
    wholes = [0, 1, 1.4, 999.6, 12345.2, 151936]
    percents, counts, rounded = call(
        """
        import { nats, percent, whole } from "./src/draw/format.ts";
        export default ([a, b]) => [a.map(percent), b.map(whole), a.map(nats)];
        """,
        [numbers, wholes],
    )
    assert [percent(p) for p in numbers] == percents
    assert [whole(value) for value in wholes] == counts
    assert [nats(value) for value in numbers] == rounded


def test_what_cannot_be_seen_is_shown_as_the_widget_shows_it() -> None:
    dice = np.random.default_rng(0)
    alphabet = [
        *" \t\n\r\0\x1b\x7f\xa0\xad\u200b\u200d\u202e\ufeff",
        *"aé火🔥ب",
        *(bytes([b]) for b in range(128, 256)),
    ]
    parts = [part.encode() if isinstance(part, str) else part for part in alphabet]
    pieces = [b"".join(parts[i] for i in dice.integers(len(parts), size=dice.integers(8))) for _ in range(400)]
    widgets = call(
        """
        import { decodeText, label, runs } from "./src/text.ts";
        export default (pieces) => pieces.map((piece) => {
          const { parts } = decodeText(Uint8Array.from(piece));
          return [label(parts), runs(parts).map(({ kind, text }) => [kind, text])];
        });
        """,
        [list(piece) for piece in pieces],
    )
    for piece, (label, runs) in zip(pieces, widgets, strict=True):
        assert text.label(piece) == label
        assert [list(run) for run in text.runs(piece)] == runs


def test_tokens_that_share_a_character_are_one_unit() -> None:
    """Cut anywhere: a cut within a character joins, one between two characters does not."""
    dice = np.random.default_rng(1)
    for _ in range(200):
        string = "".join(dice.choice(list("aé火🔥ب"), size=6))
        data = string.encode()
        cuts = sorted({0, len(data), *dice.integers(len(data), size=8).tolist()})
        between = {len(string[:n].encode()) for n in range(len(string) + 1)}
        starts = [i for i, cut in enumerate(cuts[:-1]) if cut in between]
        expected = list(zip(starts, [*starts[1:], len(cuts) - 1], strict=True))
        assert text.units([data[a:b] for a, b in itertools.pairwise(cuts)]) == expected


def test_tokens_that_share_what_a_reader_takes_for_a_character_are_one_unit_as_in_the_widget() -> None:
    dice = np.random.default_rng(2)
    family, england, korean = "👨\u200d👩\u200d👧", "🏴\U000e0067\U000e0062\U000e007f", "\u1100\u1161\u11a8"
    alphabet = [*"a é火", "ب\u064b", "e\u0301\u0308", family, england, "👍🏽", "🇩🇪", "❤\ufe0f", "कि", korean]
    cut: list[list[str]] = []
    for _ in range(300):
        string = "".join(dice.choice(alphabet, size=8))
        places = sorted({0, len(string), *dice.integers(len(string), size=8).tolist()})
        cut.append([string[a:b] for a, b in itertools.pairwise(places)])
    cut += [["e"] + ["\u0301"] * 100, [" 👨", "\u200d", "👩\u200d", "👧", " the"], ["🇩", "🇪", "🇯", "🇵"]]
    widgets = call(
        """
        import { oneGrapheme } from "./src/text.ts";
        export default (texts) => texts.map((tokens) => {
          const starts = [];
          tokens.forEach((token, i) => {
            const from = starts.at(-1);
            const before = tokens.slice(from, i).join("");
            if (!i || i - from >= 64 || !oneGrapheme(before, token)) starts.push(i);
          });
          return starts;
        });
        """,
        cut,
    )
    for tokens, starts in zip(cut, widgets, strict=True):
        units = text.units([token.encode() for token in tokens])
        assert [start for start, _ in units] == starts, tokens
        assert units[-1][1] == len(tokens)
    assert widgets[-3:] == [[0, 64], [0, 4], [0, 2]]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        ([b"\xe7", b"a", b"\x81"], [(0, 1), (1, 2), (2, 3)]),  # it was never finished
        ([b"\xe7\x81"], [(0, 1)]),
        ([b"\xe7", b"", b"\x81\xab"], [(0, 1), (1, 2), (2, 3)]),
        ([b"x\xe7", b"\x81\xaby"], [(0, 2)]),
        ([b"\xff", b"\x80"], [(0, 1), (1, 2)]),
    ],
)
def test_bytes_that_are_no_character_stand_alone(pieces: list[bytes], expected: list[tuple[int, int]]) -> None:
    assert text.units(pieces) == expected


@pytest.mark.parametrize(
    ("name", "parts", "value"),
    [("probability", [0.5, 0.5], 0.25), ("surprisal", [1, 2], 3), ("rank", [3, 7, 1], 7), ("time", [1, 1], 2)],
)
def test_a_character_of_several_tokens_counts_as_one(name: metric.Metric, parts: list[float], value: float) -> None:
    assert metric.joint(parts, name) == value
    assert math.isnan(metric.joint([*parts, math.nan], name))


@pytest.mark.parametrize(("ms", "end"), [([1.0], 5), ([0.5, 0.6, 90], 2), ([7.0] * 3 + [0.1], 50), ([], 100)])
def test_the_scale_of_time_follows_the_run(ms: list[float], end: float) -> None:
    trace = Trace(3)
    for position, value in enumerate([1e3, *ms]):
        kind = Kind.PROMPT if position == 0 else Kind.GENERATED
        trace.append(record(position, 1)._replace(ms=value, kind=kind), PIECES)
    assert metric.end_of(trace, "time") == end


def test_every_metric_and_palette_has_its_table() -> None:
    assert set(metric.SCALES) == set(get_args(metric.Metric))
    assert set(colour.MAPS) == set(colour.CONTRAST) == set(get_args(colour.Palette))
