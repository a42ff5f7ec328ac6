"""A trace as one page: nothing is loaded from anywhere, and nothing of the trace can act in it.

The page holds the widget's own views, the frames that a kernel would have sent (`snapshot`), and the text once more
for whoever reads without scripts. Its content security policy names the two inline blocks that are ours by their
hashes and forbids everything else, requests above all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..altered import Altered
from ..errors import check_text
from ..record import Kind
from .card import MODEL_FACTS, card, card_rows, run_rows
from .snapshot import pack
from .text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..trace import Trace

STATIC = Path(__file__).parents[1] / "static"
PANELS = ("status", "player", "tools", "stream", "logits", "strip", "explore")
TITLE_LENGTH = 60

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="inferno_widget {version}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="about">{about}</p>
<noscript><p>The interactive view needs JavaScript, which is off. Below is the text.</p></noscript>
<div id="inferno"></div>
<details open>
<summary>Text of the run</summary>
<pre>{transcript}</pre>
</details>
<details open>
<summary>Reproduction card</summary>
{card}
</details>
</main>
<script type="application/json" id="data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def page(trace: Trace, *, title: str | None = None, look: Mapping[str, Any] | None = None) -> str:
    """An interactive page of a recorded run, complete in itself.

    Parameters
    ----------
    title : the beginning of the text when left out
    look : how it looks at first, where that differs from the defaults: metric, palette, glyphs ...
    """
    if title is not None:
        check_text("title", title)
    script, style = _built("page.js"), _built("page.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    contents = card(trace)
    return PAGE.format(
        policy=policy,
        version=__version__,
        title=_text(title or _beginning(trace)),
        style=style,
        about=_text(f"A recording of {summary(contents)}. Nothing is generated or loaded here."),
        transcript=_transcript(trace),
        card=_card(contents),
        data=_data(trace, look or {}),
        script=script,
    )


def summary(contents: Mapping[str, Any]) -> str:
    """A card in a line: the model, and how many tokens of which kind."""
    model, tokens = contents["model"], contents["tokens"]
    facts = [str(model[name]) for name in ("architecture", "quantisation") if model.get(name)]
    name = str(model.get("name") or "a model without a name") + (f" ({', '.join(facts)})" if facts else "")
    counts = [f"{tokens[kind.name.lower()]:,} {kind.name.lower()}" for kind in Kind if tokens[kind.name.lower()]]
    return visible(f"{name}: {', '.join(counts) or 'no'} tokens")


def _built(name: str) -> str:
    path = STATIC / name
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} was not built: run `python hatch_build.py` in the source folder") from error
    return text.replace("</script", "<\\/script").strip()


def _hash(block: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()


def _text(text: str) -> str:
    """Text that stands in an element or an attribute, and is nothing but text there."""
    return html.escape(visible(text))


def _beginning(trace: Trace) -> str:
    text = " ".join(trace.text.split())
    return text if len(text) <= TITLE_LENGTH else text[:TITLE_LENGTH].rsplit(" ", 1)[0] + " …"


def _transcript(trace: Trace) -> str:
    path = trace.path()
    kinds = trace.nodes["kind"][path].tolist()
    parts = []
    for prompt, group in groupby(zip(kinds, trace.texts(path), strict=True), lambda pair: pair[0] == Kind.PROMPT):
        text = _text("".join(text for _, text in group))
        parts.append(f'<span class="prompt">{text}</span>' if prompt else text)
    return "\n" + "".join(parts)  # a line break right behind <pre> is no part of the text


def _card(contents: Mapping[str, Any]) -> str:
    rows = [
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in card_rows(contents)
    ]
    return _table(rows) + _runs(run_rows(contents))


def _runs(runs: Sequence[Mapping[str, str]]) -> str:
    """A table that scrolls by itself where it is wider than the page."""
    if not runs:
        return ""
    rows = [_row("th", runs[0], ' scope="col"'), *(_row("td", run.values()) for run in runs)]
    return f'<div class="runs" role="region" aria-label="Runs" tabindex="0">{_table(rows)}</div>'


def _row(tag: str, cells: Iterable[str], attributes: str = "") -> str:
    return "<tr>" + "".join(f"<{tag}{attributes}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _table(rows: Sequence[str]) -> str:
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _data(trace: Trace, look: Mapping[str, Any]) -> str:
    """What ``js/src/page.ts`` reads: the widget's traits and the frames. No ``<`` is left in it to end its element."""
    model = {name: trace.model.get(name) for name in MODEL_FACTS} if trace.model else None
    marks = {
        "names": trace.names,
        "pruned": sorted(trace.pruned),
        "diverged": trace.diverged,
        "watches": [{"name": name, "tokens": _named(trace, ids)} for name, ids in trace.watches.items()],
        "altered": Altered().of(trace),
    }
    traits = {
        "panels": PANELS,
        "status": {"state": "closed", "model": model, "used": trace.length},
        "selection": -1,
        "look": dict(look),
        "marks": marks,
    }
    data = {"traits": traits, "snapshot": base64.b64encode(pack(trace)).decode()}
    return json.dumps(data).replace("<", "\\u003c")


def _named(trace: Trace, ids: Iterable[int]) -> list[dict[str, Any]]:
    """Tokens as the page gets them; one of which the trace knows nothing but the number is called by that."""
    known = {token: trace.pieces.get(token, f"#{token}".encode()) for token in ids}
    return [{"id": token, "text": piece.decode(errors="backslashreplace")} for token, piece in known.items()]
