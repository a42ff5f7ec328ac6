"""What a saved notebook shows where there is no kernel: on GitHub, in nbviewer, after nbconvert, before it is trusted.

A widget's own output is nothing there, and when its cell has ended it can be changed only by drawing the widget anew.
So what is kept is an output of its own beside it, with an id, which is updated after each run. Where the widget is
alive the style sheet hides it. It is made of what survives an untrusted notebook: an ``<img>`` that holds its picture
itself, and text.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from IPython import get_ipython

from .card import card
from .html import summary
from .snapshot import pack
from .text import visible

if TYPE_CHECKING:
    from ..trace import Trace

PICTURE_BYTES = 150_000
PICTURE_TOKENS = 400
"""Tokens in the picture at most; fewer where they would take more than its bytes."""
TEXT_LENGTH = 20_000
SNAPSHOT_BYTES = 2_000_000
"""Some 13,000 tokens. What is longer is not kept in the widget's saved state."""
REST_SECONDS = 0.5
"""How long nothing has to happen before something is kept: steps in a row are kept once."""
NOTHING = "Nothing had been generated here when this notebook was saved."
Mark = tuple["Trace | None", int, int]
"""What tells one state of what is shown from another: the trace itself, for ids are used again, head and nodes."""
_TITLES = re.compile(r"<title>.*?</title>", re.DOTALL)


def bundle(trace: Trace | None) -> dict[str, str]:
    """A trace as ``text/html`` and ``text/plain`` for an output of a notebook."""
    if trace is None or not trace.length:
        return {"text/html": f'<div class="inferno-fallback"><p>{NOTHING}</p></div>', "text/plain": NOTHING}
    about, text = summary(card(trace)), _beginning(visible(trace.text))
    picture, shown = _picture(trace)
    note = "" if shown == trace.length else f" The picture shows the first {shown:,} tokens."
    source = base64.b64encode(picture.encode()).decode()
    html = (
        '<div class="inferno-fallback">'
        f'<img src="data:image/svg+xml;base64,{source}" alt="{escape(about)}, coloured by surprisal">'
        f"<p>{escape(about)}.{note}</p>"
        f'<details><summary>Text</summary><pre dir="auto">{escape(text)}</pre></details>'
        "</div>"
    )
    return {"text/html": html, "text/plain": f"{about}\n\n{text}"}


def _beginning(text: str) -> str:
    if len(text) <= TEXT_LENGTH:
        return text
    return f"{text[:TEXT_LENGTH]}\n[{len(text) - TEXT_LENGTH:,} more characters are not kept in the notebook]"


def _picture(trace: Trace) -> tuple[str, int]:
    """The beginning of the text, and how many tokens of it are there."""
    from .picture import svg  # not before a run is over: importing the widget is to be quick

    n = min(trace.length, PICTURE_TOKENS)
    while True:
        picture = _TITLES.sub("", svg(trace, span=(0, n)))  # nobody can point at them in an <img>
        if len(picture) * 4 / 3 <= PICTURE_BYTES or n <= 1:
            return picture, n
        n = min(n - 1, int(n * PICTURE_BYTES / (len(picture) * 4 / 3)))


class Keeper:
    """Keeps what a widget shows in its notebook: in an output beside it, and in the widget's own state.

    Parameters
    ----------
    put : takes the snapshot, from which a page with saved state draws the widget without a kernel
    """

    def __init__(self, put: Callable[[bytes], object]) -> None:
        self._put = put
        self._id = f"inferno-{uuid4().hex}"
        self._publisher: Any = None
        self._kept: Mark | None = None
        self._seen: Mark | None = None
        self._since = 0.0
        self._lock = threading.Lock()  # it is displayed in one thread and watched in another

    def display(self, trace: Trace | None) -> None:
        """The widget is being displayed: put the output beside it. Outside a notebook there is none."""
        shell = get_ipython()
        if getattr(shell, "kernel", None) is not None:
            self._publisher = shell.display_pub
        self._keep(trace, update=False)

    def watch(self, trace: Trace | None, *, resting: bool) -> float | None:
        """Keep what is new when it has been at rest for a while. Returns the seconds until then, None if never."""
        now, mark = time.monotonic(), _mark(trace)
        if mark != self._seen or not resting:
            self._seen, self._since = mark, now
        if not resting or mark == self._kept or self._kept is None:
            return None
        wait = self._since + REST_SECONDS - now
        if wait > 0:
            return wait
        self._keep(trace, update=True)
        return None

    def _keep(self, trace: Trace | None, *, update: bool) -> None:
        with self._lock:
            self._kept = _mark(trace)
            self._put(pack(trace, limit=SNAPSHOT_BYTES) if trace is not None else b"")
            if self._publisher is not None:
                self._publisher.publish(bundle(trace), transient={"display_id": self._id}, update=update)


def _mark(trace: Trace | None) -> Mark:
    return (trace, -1, 0) if trace is None else (trace, trace.head, len(trace.nodes))
