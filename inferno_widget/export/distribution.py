"""The picture of a distribution: what might have come at a position, as the widget lists it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .colour import ACCENT, GREY, INK, PAGE, Rgb, Theme, css
from .colour import mix as mixed
from .format import nats, percent, whole
from .svg import CELL, SIZE, cut, tag, text, width
from .text import label

if TYPE_CHECKING:
    from ..record import StepRecord
    from ..trace import Trace

WIDTH = 640
MARGIN = 26
ROW = 23
SMALL = 13
NAME = 20
"""Cells for a token."""
_FIRST = "This is the first token: there was nothing before it to predict it from."


class Bar(NamedTuple):
    """A row of the list.

    Attributes
    ----------
    rank : 0 for everything else together
    name : of the token
    probability : raw
    kept : whether the sampler's last stage left it
    chosen : whether it is the token that came
    """

    rank: int
    name: str
    probability: float
    kept: bool
    chosen: bool


def draw(trace: Trace, record: StepRecord, theme: Theme, *, title: str) -> tuple[str, int, int]:
    """The inside of the picture of a record, its width and its height."""
    bars = listed(trace, record)
    top = 106
    scale = max((bar.probability for bar in bars), default=1.0)
    inside = [_heading(trace, record, title, theme)]
    if bars:
        inside += [_row(bar, top + i * ROW, bar.probability / scale, theme) for i, bar in enumerate(bars)]
    else:
        inside.append(text(_FIRST, MARGIN, top + 16, font_size=SMALL, fill=css(_muted(theme))))
    return "\n".join(inside), WIDTH, top + max(1, len(bars)) * ROW + 44


def listed(trace: Trace, record: StepRecord) -> list[Bar]:
    """The alternatives, the token that came also where it is none of them, and all the rest as one."""
    if not record.rank:
        return []
    columns = (record.top_ids.tolist(), record.top_logprobs.tolist(), record.top_kept.tolist())
    sampled = record.kept > 0
    bars = [
        Bar(i + 1, _name(trace, token), math.exp(logprob), bool(kept) or not sampled, token == record.token_id)
        for i, (token, logprob, kept) in enumerate(zip(*columns, strict=True))
    ]
    rest = record.tail
    if not any(bar.chosen for bar in bars):
        bars.append(Bar(record.rank, _name(trace, record.token_id), record.probability, kept=True, chosen=True))
        rest = max(0.0, rest - record.probability)
    return [*bars, Bar(0, "everything else", rest, kept=True, chosen=False)]


def _name(trace: Trace, token: int) -> str:
    return label(trace.pieces[token]) or f"#{token}"


def _heading(trace: Trace, record: StepRecord, title: str, theme: Theme) -> str:
    muted = css(_muted(theme))
    facts = f"entropy {nats(record.entropy)} nats   rank {whole(record.rank)}   p {percent(record.probability)}"
    if record.kept:
        facts += f"   kept {whole(record.kept)}"
    which = f"token {whole(record.position)}   "
    small, large = CELL * SMALL / SIZE, CELL * 16 / SIZE
    after = MARGIN + len(which) * small
    name = cut(_name(trace, record.token_id), int((WIDTH - MARGIN - after) / large))
    return "".join(
        [
            text(cut(title, int((WIDTH - 2 * MARGIN) / small)), MARGIN, 30, font_size=SMALL, fill=muted),
            text(which, MARGIN, 60, cells=len(which), cell=small, font_size=SMALL, fill=muted),
            text(name, after, 60, cells=width(name), cell=large, font_size=16, font_weight=700),
            text(facts if record.rank else "", MARGIN, 82, font_size=SMALL, fill=muted),
        ]
    )


def _row(bar: Bar, y: float, share: float, theme: Theme) -> str:
    ink, muted, accent = css(INK[theme]), css(_muted(theme)), css(ACCENT[theme])
    base, weight = y + 16, 700 if bar.chosen else None
    name = cut(bar.name, NAME)
    rank, shown = whole(bar.rank), percent(bar.probability)
    small, cell = CELL * SMALL / SIZE, CELL * 14 / SIZE
    tint = tag(
        "rect", x=MARGIN - 8, y=y, width=WIDTH - 2 * MARGIN + 16, height=ROW, rx=5, fill=css(_mix(ACCENT, theme, 0.12))
    )
    return "".join(
        [
            tint if bar.chosen else "",
            text(rank, MARGIN + 5 * small, base, text_anchor="end", font_size=SMALL, font_weight=weight,
                 fill=accent if bar.chosen else muted) if bar.rank else "",
            text(name, MARGIN + 50, base, cells=width(name), cell=cell, font_size=14, font_weight=weight,
                 fill=ink if bar.kept and bar.rank else muted),
            _bar(bar, MARGIN + 58 + NAME * cell, y + 6, share, theme),
            text(shown, WIDTH - MARGIN, base, text_anchor="end", font_size=14, fill=ink),
        ]
    )  # fmt: skip


def _bar(bar: Bar, x: float, y: float, share: float, theme: Theme) -> str:
    """The token's own colour where it came, hollow and dashed where the sampler had left it out."""
    length = max(2.0, share * (WIDTH - MARGIN - 64 - x))
    if not bar.kept:
        outline = {"fill": "none", "stroke": css(_muted(theme)), "stroke_dasharray": "3 2"}
        return tag("rect", x=x + 0.5, y=y + 0.5, width=max(1.0, length - 1), height=10, **outline)
    colour = GREY[theme] if not bar.rank else ACCENT[theme] if bar.chosen else _mix(ACCENT, theme, 0.56)
    return tag("rect", x=x, y=y, width=length, height=11, rx=2, fill=css(colour))


def _muted(theme: Theme) -> Rgb:
    return _mix(INK, theme, 0.66)


def _mix(colours: dict[Theme, Rgb], theme: Theme, share: float) -> Rgb:
    return mixed(PAGE[theme], colours[theme], share)
