"""The picture of a text: every token on the colour of its metric, wrapped, with a legend."""

from __future__ import annotations

import math
import operator
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..record import Kind
from .colour import ACCENT, Palette, Rgb, Theme, css, flame, ground, ink
from .colour import INK as INKS
from .colour import PAGE as PAGES
from .colour import mix as mixed
from .format import percent
from .metric import SCALES, STEPS, Metric, end_of, joint, step_of, values
from .svg import CELL, SIZE, cells, cut, tag, text, width, xml
from .text import clusters, label, runs, units

if TYPE_CHECKING:
    from ..trace import Trace

LINE = 28
"""Height of a line of text."""
MARGIN = 26
HEAD = 74
"""Height of the title, and of what stands below it."""
FOOT = 42
"""Height of what stands below the legend."""
NOTE = 13 * CELL / SIZE
"""Width of a cell of the legend."""
TAB = 4
"""Cells of a tab."""
_CONTROL = re.compile(r"<(/?s|\|.+\|)>", re.DOTALL)
_GLYPHS = {"newline": "⏎", "tab": "⇥"}


class Item(NamedTuple):
    """What a line is filled with: a character, a glyph, or a chip.

    Attributes
    ----------
    unit : index of the unit that it belongs to
    kind : as of `text.Run`
    text : what is drawn
    cells : how wide it is
    """

    unit: int
    kind: str
    text: str
    cells: int


class Unit(NamedTuple):
    """A token, or the tokens that share a character.

    Attributes
    ----------
    items : what is drawn of it
    ground, ink : colours; no ground where there is none
    forced : whether a person put it there
    unseen : whether the model has left it behind, at the end of the path
    said : what it says of itself to a pointer
    """

    items: list[Item]
    ground: Rgb | None
    ink: Rgb
    forced: bool
    unseen: bool
    said: str


class Look(NamedTuple):
    """How a picture looks."""

    theme: Theme
    metric: Metric
    palette: Palette
    columns: int

    @property
    def muted(self) -> Rgb:
        return mixed(PAGES[self.theme], INKS[self.theme], 0.66)


class Placed(NamedTuple):
    """Some items of one unit, side by side.

    Attributes
    ----------
    column, line : cell where it begins
    """

    items: list[Item]
    column: int
    line: int


def draw(trace: Trace, look: Look, *, title: str, subtitle: str, span: tuple[int, int] | None) -> tuple[str, int, int]:
    """The inside of the picture, its width and its height.

    Parameters
    ----------
    span : positions from, and behind the last; all when None
    """
    drawn = drawn_units(trace, look, span)
    placed = list(_placed(wrapped([item for unit in drawn for item in unit.items], look.columns)))
    lines = 1 + max((part.line for part in placed), default=0)
    notes = ["grey: prompt", "dotted: put there by a person"]
    if any(unit.unseen for unit in drawn):
        notes.append("faint: the model no longer sees it")
    legend, bottom = _legend(trace, look, notes, HEAD + lines * LINE + 20)
    inside = [
        _heading(title, subtitle, look),
        *(_unit(drawn[unit], parts) for unit, parts in _by_unit(placed)),
        legend,
    ]
    return "\n".join(inside), int(2 * MARGIN + look.columns * CELL), int(bottom) + FOOT


# --- what there is to draw ------------------------------------------------------------------------------------


def drawn_units(trace: Trace, look: Look, span: tuple[int, int] | None) -> list[Unit]:
    """The units of the current path that begin within `span`."""
    path = trace.path()
    try:
        first, behind = map(operator.index, span or (0, len(path)))
        known = 0 <= first <= behind <= len(path)
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(f"span must be (from, to) with 0 <= from <= to <= {len(path)}, not {span!r}")
    rows = trace.nodes[path]
    numbers, end = values(rows, look.metric), end_of(trace, look.metric)
    tokens = rows["token_id"].tolist()
    pieces = [trace.pieces[token] for token in tokens]
    gone = _left_behind(trace, path)
    found: list[Unit] = []
    for start, stop in units(pieces):
        if not first <= start < behind:
            continue
        piece, row = b"".join(pieces[start:stop]), rows[start]
        value = joint(numbers[start:stop].tolist(), look.metric)
        control = tokens[start] in trace.control
        items = _items(len(found), piece, tokens[start], control=control, most=look.columns)
        colours = _colours(row["kind"] == Kind.PROMPT, step_of(look.metric, value, end), look)
        said = _said(piece, row, f"{look.metric} {SCALES[look.metric].format(value)}" if not math.isnan(value) else "")
        found.append(Unit(items, *colours, bool(row["kind"] == Kind.FORCED), start in gone, said))
    return found


def _left_behind(trace: Trace, path: NDArray[np.int32]) -> range:
    """Positions that the model did not see any more when the path ended."""
    if not len(path) or not (left := int(trace.nodes["left_out"][path[-1]])):
        return range(0)
    keep = int(trace.runs[trace.nodes["run"][path[-1]]].get("keep", 0))
    return range(keep, keep + left)


@lru_cache(maxsize=256)
def _colours(prompt: bool, step: int, look: Look) -> tuple[Rgb | None, Rgb]:
    if prompt:
        return None, look.muted
    on = ground(step, look.theme, look.palette)
    return (on if step else None), ink(on, look.theme, look.palette)


def _said(piece: bytes, row: np.void, value: str) -> str:
    """What a pointer that rests on a token is told."""
    rank, token = int(row["rank"]), int(row["token_id"])
    if not rank:
        return f"{label(piece)}  token {token}, the first: nothing predicted it"
    p = math.exp(row["logprob"])
    return f"{label(piece)}  {percent(p)}, rank {rank}, token {token}" + (f", {value}" if value else "")


def _items(unit: int, piece: bytes, token: int, *, control: bool, most: int) -> list[Item]:
    """A unit cut into what can stand on lines of their own."""
    if not piece or control or _CONTROL.fullmatch(piece.decode(errors="replace")):
        return [_chip(unit, label(piece) or f"#{token}", most)]
    items = []
    for kind, string in runs(piece):
        if kind == "chip":
            items.append(_chip(unit, string, most))
        elif kind == "tab":
            items.append(Item(unit, kind, _GLYPHS[kind], TAB))
        elif kind in ("space", "newline"):
            items.append(Item(unit, kind, _GLYPHS.get(kind, "·"), 1))
        else:
            items += [Item(unit, kind, _seated(cluster), cells(cluster)) for cluster in clusters(string)]
    return items


def _seated(cluster: str) -> str:
    """A mark whose letter is in another token gets the circle that stands for a letter."""
    return f"◌{cluster}" if unicodedata.category(cluster[0]) in ("Mn", "Me") else cluster


def _chip(unit: int, name: str, most: int) -> Item:
    """A name in a frame; its letters are smaller by a third."""
    name = cut(name, most)
    return Item(unit, "chip", name, min(most, 1 + round(0.72 * width(name) + 0.3)))


# --- where it stands ------------------------------------------------------------------------------------------


def wrapped(items: Sequence[Item], columns: int) -> Iterator[list[Item]]:
    """Lines of at most `columns` cells, broken between words where that can be; a longer word is cut.

    Spaces that do not fit hang over the end of their line, and take no room there.
    """
    line: list[Item] = []
    used = breakable = 0  # cells in the line; items up to where it may be broken
    for at, item in enumerate(items):
        if line and _may_break(items[at - 1], item):
            breakable = len(line)
        if used + item.cells > columns and line:
            if item.kind in ("space", "newline"):
                item = item._replace(cells=0)
            else:
                keep = breakable or len(line)
                yield line[:keep]
                line, breakable = line[keep:], 0
                used = sum(entry.cells for entry in line)
        line.append(item)
        used += item.cells
        if item.kind == "newline":
            yield line
            line, used, breakable = [], 0, 0
    if line:
        yield line


def _may_break(before: Item, behind: Item) -> bool:
    return before.kind != "text" or behind.kind in ("chip", "tab") or (2 in (before.cells, behind.cells))


def _placed(lines: Iterable[list[Item]]) -> Iterator[Placed]:
    for number, line in enumerate(lines):
        column = 0
        for group in _in_reading_order(line):
            items = [_joined(group)] if group[0].kind == "text" else group
            yield Placed(items, column, number)
            column += sum(item.cells for item in items)


def _joined(group: Sequence[Item]) -> Item:
    return group[0]._replace(text="".join(item.text for item in group), cells=sum(item.cells for item in group))


def _in_reading_order(line: Sequence[Item]) -> list[list[Item]]:
    """The line in fragments of one unit and kind, those of right-to-left scripts from right to left.

    The order of the letters within a fragment is the font's business. Digits and signs between words of a
    right-to-left script go with them: a short form of the Unicode bidirectional algorithm.
    """
    groups = [list(group) for _, group in groupby(line, lambda item: (item.unit, item.kind))]
    directions = [_direction(group) for group in groups]
    ordered: list[list[Item]] = []
    at = 0
    while at < len(groups):
        end = at + 1
        if directions[at] == "R":
            reach = at
            while reach < len(groups) and directions[reach] != "L":
                end = reach + 1 if directions[reach] == "R" else end
                reach += 1
        ordered += _knit(groups[at:end])[::-1] if end - at > 1 else groups[at:end]
        at = end
    return ordered


def _direction(group: Sequence[Item]) -> str:
    """As its first letter goes, "L" or "R"; "N" where it has none."""
    if group[0].kind != "text":
        return "L" if group[0].kind in ("chip", "newline") else "N"
    for char in (char for item in group for char in item.text):
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL"):
            return "L" if kind == "L" else "R"
    return "N"


def _knit(groups: list[list[Item]]) -> list[list[Item]]:
    """Lets letters that were cut apart between two tokens keep the shapes that they have within a word."""
    for left, right in pairwise(groups):
        if left[-1].kind == right[0].kind == "text" and _is_arabic(left[-1]) and _is_arabic(right[0]):
            left[-1] = left[-1]._replace(text=left[-1].text + "\u200d")
            right[0] = right[0]._replace(text="\u200d" + right[0].text)
    return groups


def _is_arabic(item: Item) -> bool:
    return unicodedata.bidirectional(item.text[0]) == "AL"


def _by_unit(placed: Iterable[Placed]) -> Iterator[tuple[int, list[Placed]]]:
    for unit, parts in groupby(sorted(placed, key=lambda part: part.items[0].unit), lambda part: part.items[0].unit):
        yield unit, list(parts)


# --- how it is drawn ------------------------------------------------------------------------------------------


def _unit(unit: Unit, parts: list[Placed]) -> str:
    boxes = list(_boxes(parts))
    shapes = []
    if unit.ground:
        shapes += [_box(box, rx=4, fill=css(unit.ground)) for box in boxes]
    shapes += [_item(item, x, part.line, unit) for part in parts for item, x in _columns(part)]
    if unit.forced:
        shapes += [_underline(box, unit.ink) for box in boxes]
    return tag("g", tag("title", xml(unit.said)), *shapes, opacity=0.45 if unit.unseen else None)


def _columns(part: Placed) -> Iterator[tuple[Item, float]]:
    column = part.column
    for item in part.items:
        yield item, MARGIN + column * CELL
        column += item.cells


def _boxes(parts: list[Placed]) -> Iterator[tuple[int, int, int]]:
    """(line, column, cells) that a unit covers: what is side by side is one."""
    spans = sorted((part.line, part.column, sum(item.cells for item in part.items)) for part in parts)
    current: tuple[int, int, int] | None = None
    for line, column, n in spans:
        if current and current[0] == line and current[1] + current[2] == column:
            current = (line, current[1], current[2] + n)
            continue
        if current and current[2]:
            yield current
        current = (line, column, n)
    if current and current[2]:
        yield current


def _box(box: tuple[int, int, int], **attributes: object) -> str:
    line, column, n = box
    return tag(
        "rect", x=MARGIN + column * CELL, y=HEAD + line * LINE + 2, width=n * CELL, height=LINE - 5, **attributes
    )


def _underline(box: tuple[int, int, int], colour: Rgb) -> str:
    line, column, n = box
    return _dots(MARGIN + column * CELL + 1, HEAD + line * LINE + LINE - 6.5, n * CELL - 2, colour)


def _item(item: Item, x: float, line: int, unit: Unit) -> str:
    y = HEAD + line * LINE + 19.0
    colour = css(unit.ink)
    if not item.cells:
        return ""
    if item.kind == "space":
        return tag("circle", cx=x + CELL / 2, cy=y - 4.5, r=0.9, fill=colour, opacity=0.45)
    if item.kind == "chip":
        frame = {"fill": "none", "stroke": colour, "opacity": 0.85}
        box = tag("rect", x=x + 1.5, y=y - 13, width=item.cells * CELL - 3, height=16, rx=3, **frame)
        return box + text(
            item.text, x + item.cells * CELL / 2, y - 1.5, fill=colour, font_size=SIZE * 0.7, text_anchor="middle"
        )
    if item.kind in _GLYPHS:
        return text(item.text, x, y, cells=1, fill=colour, opacity=0.62)
    return text(item.text, x, y, cells=item.cells, fill=colour)


def _heading(title: str, subtitle: str, look: Look) -> str:
    most = look.columns
    first = text(cut(title, int(most * SIZE / 18)), MARGIN, 34, font_size=18, font_weight=700)
    return first + text(cut(subtitle, int(most * SIZE / 13)), MARGIN, 56, font_size=13, fill=css(look.muted))


def _legend(trace: Trace, look: Look, notes: Sequence[str], top: float) -> tuple[str, float]:
    """The scale, and what is not on it; and where that ends."""
    quiet, hot = SCALES[look.metric].ends(end_of(trace, look.metric))
    line = tag("path", d=f"M{MARGIN} {top - 8:g}h{look.columns * CELL:g}", stroke=css(_line(look)))
    before, x, y = f"{look.metric} {quiet}", float(MARGIN), top + 14
    parts = [line, _note(before, x, y, look)]
    x += (len(before) + 1) * NOTE
    for step in range(STEPS + 1):
        colour = css(flame(step, look.theme, look.palette))
        parts.append(tag("rect", x=x + 4.0 * step, y=y - 10, width=4.5, height=11, fill=colour))
    x += 4.0 * (STEPS + 1) + NOTE
    parts.append(_note(hot, x, y, look))
    x += (len(hot) + 3) * NOTE
    for note in notes:
        if x + len(note) * NOTE > MARGIN + look.columns * CELL:
            x, y = float(MARGIN), y + 20
        parts.append(_note(note, x, y, look))
        if note.startswith("dotted"):
            parts.append(_dots(x, y + 4, 6 * NOTE, ACCENT[look.theme]))
        x += (len(note) + 3) * NOTE
    return "".join(parts), y


def _note(string: str, x: float, y: float, look: Look) -> str:
    return text(string, x, y, cells=len(string), cell=NOTE, fill=css(look.muted), font_size=13)


def _dots(x: float, y: float, length: float, colour: Rgb) -> str:
    return tag("path", d=f"M{x:g} {y:g}h{length:g}", stroke=css(colour), stroke_width=1.6, stroke_dasharray="2 2")


def _line(look: Look) -> Rgb:
    return mixed(PAGES[look.theme], INKS[look.theme], 0.13)
