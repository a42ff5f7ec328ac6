"""A trace as files that other people can read: pages, pictures, data, transcripts.

Everything that is written holds the reproduction card (`card`): which file, which dice, which versions.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from .card import card

if TYPE_CHECKING:
    from ..trace import Trace

__all__ = ["FORMATS", "Format", "card", "write"]


class Format(NamedTuple):
    """A sort of file.

    Attributes
    ----------
    suffix : of its name
    mime : its media type
    module, function : what makes it of a trace; "" for the package's own
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
    "inferno": Format(".inferno", "application/zip", ""),
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
    data = _made(trace, FORMATS[format], options)
    if path is not None:
        _put(Path(path), data)
    return data


def _made(trace: Trace, form: Format, options: dict[str, Any]) -> bytes:
    if not form.module:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "trace.inferno"
            trace.save(file)
            return file.read_bytes()
    make = getattr(importlib.import_module(f".{form.module}", __name__), form.function)
    made: str | bytes = make(trace, **form.options, **options)
    return made.encode() if isinstance(made, str) else made


def _put(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
