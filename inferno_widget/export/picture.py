"""Pictures of a trace, SVG and PNG: the text in its colours, or what might have come at a position.

An SVG is complete in itself: no script, no font, nothing to fetch. The reproduction card is in the metadata of both.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Literal

from ..arguments import number, one_of, whole
from ..errors import check_text
from . import distribution, stream
from .card import card
from .colour import INK, PAGE, PALETTES, THEMES, Palette, Theme, css
from .metric import METRICS, Metric
from .plain import dumps
from .svg import CELL, FONT, SIZE, cut, tag, text, xml
from .text import visible

if TYPE_CHECKING:
    from ..trace import Trace

What = Literal["stream", "distribution"]
MAX_PIXELS = 64_000_000
"""Of a PNG: a quarter of a gigabyte while it is drawn."""
_KEYWORD = "Reproduction card"


def svg(
    trace: Trace,
    what: What = "stream",
    *,
    at: int | None = None,
    theme: Theme = "light",
    metric: Metric = "surprisal",
    palette: Palette = "inferno",
    title: str | None = None,
    columns: int = 88,
    span: tuple[int, int] | None = None,
) -> str:
    """A picture as SVG.

    Parameters
    ----------
    what : "stream", the text; or "distribution", what might have come at one position
    at : that position of the current path; the last when None, negative from the end
    theme : "light" or "dark"
    metric : what the text's colours mean: "probability", "surprisal", "entropy", "rank" or "time"
    palette : "inferno", "viridis", "cividis" or "contrast"
    title : the model's name when None
    columns : cells in a line of text: letters, or half a Chinese character
    span : positions of the text, from and behind the last; all of it when None

    Raises
    ------
    ValueError, TypeError
        If one of them is none of these.
    IndexError
        If there is no such position.
    """
    one_of("what", what, ("stream", "distribution"))
    one_of("theme", theme, THEMES)
    one_of("metric", metric, METRICS)
    one_of("palette", palette, PALETTES)
    columns = whole("columns", columns, 56, 400)
    if title is not None:
        check_text("title", title)
    contents = card(trace)
    name = visible(title if title is not None else str(contents["model"].get("name") or "A model without a name"))
    if what == "stream":
        look = stream.Look(theme, metric, palette, columns)
        inside, width, height = stream.draw(trace, look, title=name, subtitle=_facts(contents), span=span)
    else:
        record = trace.record(trace.node_at(-1 if at is None else at))
        inside, width, height = distribution.draw(trace, record, theme, title=name)
    return _document(inside, width, height, contents, name, theme)


def png(trace: Trace, what: What = "stream", *, scale: float = 2, **options: Any) -> bytes:
    """A picture as PNG: `svg`, drawn with `scale` pixels a unit, and with the same options.

    Raises
    ------
    ImportError
        Without resvg: ``pip install "inferno_widget[png]"``.
    ValueError
        If the picture would be too large.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise ImportError('PNG needs resvg: pip install "inferno_widget[png]"') from error
    scale = number("scale", scale, 0.1, 10)
    drawn = svg(trace, what, **options)
    width, height = (int(drawn.split(f' {side}="', 1)[1].split('"', 1)[0]) for side in ("width", "height"))
    if width * height * scale**2 > MAX_PIXELS:
        raise ValueError(
            f"the picture would have {width * scale:,.0f} x {height * scale:,.0f} pixels, where {MAX_PIXELS:,} are "
            "allowed: take a part of the text with span=(from, to), a smaller scale, or SVG"
        )
    return _with_card(bytes(svg_to_bytes(svg_string=drawn, zoom=scale)), dumps(card(trace)))


def _facts(contents: dict[str, Any]) -> str:
    """Under the title: what it was made with."""
    model, runs = contents["model"], [run for run in contents["runs"] if run["tokens"]]
    seeds = list(dict.fromkeys(str(run["seed"]) for run in runs if run["seed"] is not None))
    parts = [
        model.get("quantisation"),
        f"{contents['tokens']['path']:,} tokens",
        f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds" if seeds else None,
        " → ".join(runs[-1]["chain"] or ()) if runs else None,
    ]
    return " · ".join(visible(str(part)) for part in parts if part)


def _document(inside: str, width: int, height: int, contents: dict[str, Any], title: str, theme: Theme) -> str:
    model = contents["model"]
    mark = f"fingerprint {model['fingerprint'][:16]}…" if model.get("fingerprint") else ""
    source = visible(" · ".join(str(part) for part in (model.get("file"), mark, contents["exported_by"]) if part))
    most = int((width - 52) / (CELL * 11 / SIZE))
    muted = css(tuple(0.34 * page + 0.66 * ink for page, ink in zip(PAGE[theme], INK[theme], strict=True)))  # type: ignore[arg-type]
    return tag(
        "svg",
        tag("title", xml(title)),
        tag("metadata", xml(dumps({_KEYWORD: contents}))),
        tag("rect", width=width, height=height, fill=css(PAGE[theme])),
        "\n",
        inside,
        "\n",
        text(cut(source, most), 26, height - 20, font_size=11, fill=muted),
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        role="img",
        font_family=FONT,
        font_size=SIZE,
        fill=css(INK[theme]),
        **{"xml:space": "preserve"},
    )


def _with_card(image: bytes, contents: str) -> bytes:
    """A PNG with a text in front of its pixels."""
    data = _KEYWORD.encode() + b"\0\1\0\0\0" + zlib.compress(contents.encode())  # iTXt, compressed, of no language
    chunk = struct.pack(">I", len(data)) + b"iTXt" + data + struct.pack(">I", zlib.crc32(b"iTXt" + data))
    end = 8 + 4 + 4 + 13 + 4  # the signature, and the header's chunk
    return image[:end] + chunk + image[end:]
