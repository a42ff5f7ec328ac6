"""A trace as Markdown: the transcript, readable, and what it takes to make it again."""

from __future__ import annotations

import math
import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..record import Kind
from .card import card, card_rows, run_rows
from .format import nats, percent
from .text import label, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..trace import Trace

OPEN, CLOSE = "⟦", "⟧"
"""Around what a person put in, within the text."""


def page(trace: Trace) -> str:
    """The transcript as Markdown. The text stands in fenced blocks, where nothing of it acts."""
    path = trace.path().tolist()
    contents = card(trace)
    begun = next((at for at, kind in enumerate(_kinds(trace, path)) if kind != Kind.PROMPT), len(path))
    parts = [
        f"# {_code(contents['model'].get('name') or 'A model without a name')}: a transcript",
        "## Prompt",
        _fenced(_text(trace, path, 0, begun)),
        _followed(trace, path, begun),
        _chosen(trace, path),
        "## Reproduction card",
        _table(("", ""), [(name, _code(value)) for name, value in card_rows(contents)]),
        _runs(contents),
        _figures(trace, path),
        f"Written by {contents['exported_by']}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _followed(trace: Trace, path: Sequence[int], begun: int) -> str:
    if begun == len(path):
        return ""
    return "## What followed\n\n" + _fenced(_text(trace, path, begun, len(path)))


def _kinds(trace: Trace, path: Sequence[int]) -> list[int]:
    kinds: list[int] = trace.nodes["kind"][path].tolist()
    return kinds


def _text(trace: Trace, path: Sequence[int], start: int, stop: int) -> str:
    """Text of some tokens of the path; what was forced stands in brackets."""
    texts, kinds = trace.texts(path)[start:stop], _kinds(trace, path)[start:stop]
    said = []
    for forced, group in groupby(zip(texts, kinds, strict=True), lambda pair: pair[1] == Kind.FORCED):
        text = visible("".join(text for text, _ in group))
        said.append(f"{OPEN}{text}{CLOSE}" if forced else text)
    return "".join(said)


def _chosen(trace: Trace, path: Sequence[int]) -> str:
    """What a person put in, and how likely the model had thought it."""
    rows = trace.nodes[path]
    forced = rows[rows["kind"] == Kind.FORCED]
    if not len(forced):
        return ""
    table = [
        (
            str(row["position"]),
            _code(label(trace.pieces[int(row["token_id"])])),
            percent(math.exp(row["logprob"])),
            str(row["rank"]),
        )
        for row in forced
    ]
    return f"{OPEN} {CLOSE}: put there by a person.\n\n" + _table(("position", "token", "probability", "rank"), table)


def _runs(contents: dict[str, Any]) -> str:
    rows = run_rows(contents)
    if not rows:
        return ""
    names = list(rows[0])
    return "### Runs\n\n" + _table(names, [[_code(row[name]) for name in names] for row in rows])


def _figures(trace: Trace, path: Sequence[int]) -> str:
    """Mean surprisal of what was predicted, by kind."""
    rows = trace.nodes[path]
    rows = rows[rows["rank"] > 0]
    table = []
    for kind in Kind:
        surprisals = -rows["logprob"][rows["kind"] == kind].astype(float)
        if len(surprisals):
            mean = float(surprisals.mean())
            table.append((kind.name.lower(), f"{len(surprisals):,}", nats(mean), f"{math.exp(min(mean, 700)):.4g}"))
    header = ("kind", "tokens predicted", "mean surprisal (nats)", "perplexity")
    return "### Figures\n\n" + _table(header, table) if table else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)


def _fenced(text: str) -> str:
    """A block in which nothing acts: its fence is longer than any run of backticks in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _code(text: str) -> str:
    """A code span on one line: nothing acts in it."""
    if not text:
        return ""
    text = visible(text).replace("\n", "⏎").replace("\t", "⇥")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{pad}{text}{pad}{fence}"
