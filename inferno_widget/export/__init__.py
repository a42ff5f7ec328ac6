"""A trace as files that other people can read: pages, pictures, data, transcripts.

Everything that is written holds the reproduction card (`card`): which file, which dice, which versions.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import check_keywords
from ..writing import whole_file
from .card import card

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..trace import Trace

__all__ = ["FORMATS", "Format", "card", "write"]


class Format(NamedTuple):
    """A sort of file.

    Attributes
    ----------
    suffix : of its name
    mime : its media type
    module, function : what makes it of a trace
    options : keywords that are always given
    """

    suffix: str
    mime: str
    module: str
    function: str = "page"
    options: dict[str, str] = {}  # noqa: RUF012  (never changed)


FORMATS = {
    "html": Format(".html", "text/html", "html"),
    "json": Format(".json", "application/json", "data"),
    "markdown": Format(".md", "text/markdown", "markdown"),
    "svg": Format(".svg", "image/svg+xml", "picture", "svg", {"what": "stream"}),
    "png": Format(".png", "image/png", "picture", "png", {"what": "stream"}),
    "svg_distribution": Format(".svg", "image/svg+xml", "picture", "svg", {"what": "distribution"}),
    "png_distribution": Format(".png", "image/png", "picture", "png", {"what": "distribution"}),
    "inferno": Format(".inferno", "application/zip", ".files", "packed"),
}
"""What `write` can write, by name."""


def write(trace: Trace, format: str, path: str | Path | None = None, **options: Any) -> bytes:  # noqa: A002
    """A trace in one of `FORMATS`, as bytes; with a path also as a file, whole or not at all.

    Parameters
    ----------
    options : what the format takes besides the trace: `html.page`, `picture.svg` and `picture.png` say

    Raises
    ------
    ValueError
        If there is no such format.
    """
    if format not in FORMATS:
        raise ValueError(f"there is no export {format!r}; there are {', '.join(FORMATS)}")
    form = FORMATS[format]
    make = getattr(importlib.import_module(f".{form.module}", __name__), form.function)
    check_keywords(f"the export {format!r}", options, _options(make))
    made: str | bytes = make(trace, **form.options, **options)
    data = made.encode() if isinstance(made, str) else made
    if path is not None:
        with whole_file(path) as file:
            file.write(data)
    return data


def _options(make: Callable[..., object]) -> list[str]:
    """Keywords that a function takes; those of a picture where it hands them on to it."""
    parameters = inspect.signature(make).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        from .picture import svg

        known += _options(svg)
    return known
