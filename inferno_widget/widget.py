"""The widget: traits for state, messages for events, and a thread between the page and the workbench."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import anywidget
import traitlets

from .arguments import file_path, flag, one_of, several
from .cells import made_earlier
from .commands import read_command, request_of
from .errors import InfernoError, brief, check_text, hint_unknown_keywords, told
from .export.fallback import Keeper
from .feed import Feed
from .gestures.base import Answer
from .gestures.sessions import Export
from .jobs import Job
from .model import Model
from .session import Session
from .trace import Trace
from .wire import PROTOCOL
from .workbench import Workbench

STATIC = Path(__file__).parent / "static"
PANELS = ("status", "tools", "controls", "stream", "logits", "strip", "explore", "inside")
FRAME_SECONDS = 1 / PROTOCOL["limits"]["frames_per_second"]
STATUS_SECONDS = 1.2
"""How often figures that change all the time (speed, memory) are shown anew."""
LIBRARY_SECONDS, WARNING_SECONDS = 0.5, 2.0
"""How often those of the library are told while nothing runs, and how often memory is watched while something does."""
LIBRARY_BYTES = 60
"""Bytes a second that they may cost during a run: a slow model makes some 1,500 of records."""
CLOSE_SECONDS = 5
AGAIN_SECONDS = 1.0
"""After a fault of our own, how long until the page is told anew."""
TELLING = ("prompt", "status", "library", "marks")
"""Traits that hold some of the text. Saved notebooks hold every trait, so without a fallback these go as messages."""
PAGE = ("replay", "alive", "enough")
"""Messages about what the page saw or asked for; all others are gestures, which the workbench knows by these names."""
WAITING = ("run", "chat", "step", "resume", "pause", "fork", "vocabulary", "render", "variants")
"""Gestures that wait until the first model is loaded."""


@hint_unknown_keywords
class Inferno(anywidget.AnyWidget):
    """Watch a model generate, and take the road not taken.

    Parameters
    ----------
    target : what to show: a `Session`, a `Model`, a path to a GGUF file, or a `Trace` (which can be looked
        at, and continued where its model is loaded); the bundled demo model when left out
    panels : which parts to show, in order: "status", "tools", "controls", "stream", "logits", "strip",
        "explore", "inside"
    prompt : the prompt to begin with
    max_tokens : tokens to generate when Run is pressed
    root : the folder that the file browser begins in and never leaves; when left out the home folder, or the
        working directory if that lies elsewhere
    fallback : whether the notebook keeps the text, so that it can be read where there is no kernel

    Attributes
    ----------
    model, session, trace : what is shown now; Run makes a new session, and the old one stays in the list
    workbench : every gesture of the page as a method
    """

    _esm = STATIC / "widget.js"
    _css = STATIC / "widget.css"
    _closed = True  # until there is something to close: a constructor that fails leaves an object that is deleted too

    panels = traitlets.List(traitlets.Enum(PANELS), default_value=list(PANELS)).tag(sync=True)
    prompt = traitlets.Unicode().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    selection = traitlets.Int(-1).tag(sync=True)
    look = traitlets.Dict().tag(sync=True)
    library = traitlets.Dict().tag(sync=True)
    marks = traitlets.Dict().tag(sync=True)
    snapshot = traitlets.Bytes().tag(sync=True)
    ident = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        target: Session | Model | Trace | str | Path | None = None,
        *,
        panels: Sequence[str] = PANELS,
        prompt: str | None = None,
        max_tokens: int = 128,
        root: str | Path | None = None,
        fallback: bool = True,
    ) -> None:
        if not isinstance(target, Session | Model | Trace | str | Path | None):
            raise TypeError(f"target must be a Session, a Model, a Trace or a GGUF file to show, not {brief(target)}")
        if isinstance(target, str | Path):
            file_path("target", target)
        panels = [one_of("panels", panel, PANELS) for panel in several("panels", panels, "names of panels", most=100)]
        fallback = flag("fallback", fallback)
        if prompt is not None:
            check_text("prompt", prompt)
        self.workbench = Workbench(root=root, max_tokens=max_tokens, news=self._news)
        self._feed = Feed()
        self._keeper = Keeper(self._keep) if fallback else None
        self._messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._later: list[object] = []
        self._jobs: dict[int | None, Job[Any]] = {}  # by the id of the message that asked for it
        self._parts: dict[int | None, Any] = {}
        self._telling = threading.Lock()  # parts come from the threads that work
        self._wake, self._ended = threading.Event(), threading.Event()
        self._status_at = self._library_at = self._warned_at = 0.0
        self._outline: list[Any] = []
        self._stale = True
        ident = uuid4().hex  # by which the page finds its own model
        super().__init__(panels=panels, model_id=ident, ident=ident)
        self._closed = False
        _answer_where_asked(self)
        for earlier in made_earlier(self):  # nobody sees them any more
            earlier.close()
        self.on_msg(self._receive)
        if not fallback:
            self.observe(lambda change: self._tell(change["name"]), names=TELLING)
        self.workbench.begin_with(target)
        self.workbench.prompt = prompt or self.workbench.prompt
        self._mirror()
        self._tell_status()
        self._tell_library()
        threading.Thread(target=self._work, name="inferno-widget", daemon=True).start()
        self._wake.set()

    def __repr__(self) -> str:
        shown = [thing for thing in (self.session, self.model, self.trace) if thing is not None]
        return f"<Inferno {shown[0]}>" if shown else f"<Inferno {self.status.get('state')}>"

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
        """State of the traits, for the page and for whoever saves it there."""
        state = super().get_state(key, drop_defaults)
        return state if self._keeper else {name: value for name, value in state.items() if name not in TELLING}

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if self._keeper:
            self._keeper.display(self.trace)
        return super()._repr_mimebundle_(**kwargs)

    @property
    def model(self) -> Model | None:
        return self.workbench.model

    @property
    def session(self) -> Session | None:
        return self.workbench.session

    @property
    def trace(self) -> Trace | None:
        return self.workbench.trace

    def close(self) -> None:
        """End the widget and what it made itself; a session or model that was handed in goes on."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self.workbench.close()
        self._ended.wait(CLOSE_SECONDS)
        super().close()

    # --- messages from the page -----------------------------------------------------------------------

    def set_state(self, sync_data: object) -> None:
        """A page asks by messages and writes no trait: who writes one gets back what holds, and is told so."""
        self._receive(None, _Written(tuple(sync_data) if isinstance(sync_data, dict) else ()), None)

    def _receive(self, _: object, content: object, __: object) -> None:
        self._messages.put(content)
        self._wake.set()

    def _news(self) -> None:
        self._stale = True
        self._wake.set()

    def _obey(self, content: object) -> None:
        if isinstance(content, _Done):
            self._done(content)
            return
        if isinstance(content, _Written):
            self._put_right(content)
            return
        if self._waits(content):
            self._later.append(content)
            return
        request = request_of(content)
        answer: Future[Any] = Future()
        try:
            found = self._act(content)
        except Exception as error:  # noqa: BLE001  shown where the person looks
            answer.set_exception(error)
        else:
            if isinstance(found, Job):
                self._jobs[request] = found
                found.listen(lambda part: self._hear(request, part))
            if isinstance(found, Future):
                found.add_done_callback(lambda done: self._receive(None, _Done(request, done), None))
                return
            answer.set_result(found)
        self._reply(request, answer)

    def _done(self, done: _Done) -> None:
        """Tell what a gesture that took long came to."""
        if self._jobs.get(done.request) is done.future:  # no later message has the same number
            del self._jobs[done.request]
        with self._telling:
            self._parts.pop(done.request, None)  # they are all in the answer
        self._reply(done.request, done.future)

    def _put_right(self, written: _Written) -> None:
        """Send what holds in place of what a page wrote."""
        names = sorted(name for name in set(self.keys) if name in written.names)
        if names:
            self.send_state(names)
        what = ", ".join(names) or "what this widget does not have"
        self._note(InfernoError(f"a page cannot write {what}: it sends a message, as a click does"))

    def _act(self, content: object) -> object:
        kind, fields = read_command(content)
        fields.pop("id", None)
        gesture = getattr(self, f"_on_{kind}") if kind in PAGE else getattr(self.workbench, kind)
        self._stale = self._stale or kind not in PAGE
        return gesture(**fields)

    def _waits(self, content: object) -> bool:
        return isinstance(content, dict) and content.get("kind") in WAITING and self.workbench.loading is not None

    def _reply(self, request: int | None, future: Future[Any]) -> None:
        """Answer a message, after what it changed."""
        self._mirror()
        self._tell_status()
        self._tell_library()
        if future.cancelled():
            return
        error = future.exception()
        if request is None:
            if error:
                self._note(error)
            return
        if error:
            self.send({"kind": "reply", "id": request, "ok": False, "error": told(error)})
            return
        value, buffers = future.result(), None
        if isinstance(value, Export):
            buffers = None if value.path else [value.data]
            value = {"name": value.name, "mime": value.mime, "path": value.path}
        elif isinstance(value, Answer):
            value, buffers = value
        given = {} if value is None else {"value": value}
        self.send({"kind": "reply", "id": request, "ok": True, **given}, buffers=buffers)

    def _note(self, error: BaseException) -> None:
        """Say what is wrong where no answer can: of a message without a number, or of the widget itself."""
        self.send({"kind": "note", "error": told(error)})

    def _hear(self, request: int | None, part: Any) -> None:
        """Keep a part of an answer until the next frame: those that are lists go together, of others the latest."""
        with self._telling:
            held = self._parts.get(request)
            self._parts[request] = [*held, *part] if isinstance(held, list) else part
        self._wake.set()

    def _on_enough(self, request: int) -> None:
        """End the work that a message asked for; what there is of it is the answer."""
        if job := self._jobs.get(request):
            job.enough()

    def _on_replay(self, epoch: int, have: int, seq: int) -> None:
        self._feed.replay(epoch, have, seq)
        if not self._keeper:
            for name in TELLING:
                self._tell(name)

    def _on_alive(self, seq: int, views: int) -> None:  # noqa: ARG002
        if seq < self._feed.seq and self._feed.quiet():
            self._feed.rewind(self._feed.known_at(seq))

    # --- the thread -----------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            due: float | None = None
            while not self._closed:
                self._wake.wait(due)
                self._wake.clear()
                try:
                    due = self._round()
                except Exception as error:  # noqa: BLE001  without this thread the widget would be dead
                    due = AGAIN_SECONDS
                    with suppress(Exception):  # what failed may be the line to the page
                        self._note(error)
        finally:
            self._ended.set()

    def _round(self) -> float | None:
        """Obey and tell. Returns in how many seconds more is due, None if nothing is."""
        self._catch_up()
        due = self._publish()
        self._rest()
        return due

    def _catch_up(self) -> None:
        """Obey all that was said."""
        self._obey_later()
        while not (self._messages.empty() or self._closed):
            self._obey(self._messages.get())

    def _obey_later(self) -> None:
        """Obey what waited for the first model, if that is there."""
        while not self.workbench.loading and self._later and not self._closed:
            self._obey(self._later.pop(0))

    def _rest(self) -> None:
        """Send nothing new for the time of a frame: what comes meanwhile goes together. But obey at once."""
        end = time.monotonic() + FRAME_SECONDS
        while not self._closed and (left := end - time.monotonic()) > 0:
            try:
                content = self._messages.get(timeout=left)
            except queue.Empty:
                return
            self._obey_later()  # that came before
            self._obey(content)

    def _mirror(self) -> None:
        """Let page and traits follow the workbench."""
        bench = self.workbench
        self._feed.show(bench.trace)
        self.settings, self.look = bench.settings, bench.look_dict
        self.prompt, self.selection, self.marks = bench.prompt, bench.selection, bench.marks

    def _publish(self) -> float | None:
        """Send what is new. Returns in how many seconds more is due, None if nothing is."""
        self._mirror()
        frame = self._feed.frame()
        if frame:
            self.send(frame.content, buffers=frame.buffers)
        with self._telling:
            parts, self._parts = self._parts, {}
        for request, part in parts.items():
            self.send({"kind": "partial", "id": request, "value": part})
        asked = (self._tell_status(), self._tell_library(), self._watch())
        waits = [wait for wait in asked if wait is not None]
        return min(waits, default=None) if self._feed.complete else 0

    def _tell(self, name: str) -> None:
        self.send({"kind": "trait", "name": name, "value": getattr(self, name)})

    def _watch(self) -> float | None:
        """Have the notebook keep what is new."""
        resting = self.status["state"] not in ("loading", "prefill", "generating")
        return self._keeper.watch(self.trace, resting=resting) if self._keeper else None

    def _keep(self, snapshot: bytes) -> None:
        self.snapshot = snapshot

    def _tell_status(self) -> float | None:
        facts, wait = self.workbench.facts(), self._status_at + STATUS_SECONDS - time.monotonic()
        if wait > 0 and {**self.status, **facts} == self.status:
            return wait
        self._status_at = time.monotonic()
        self.status = {**facts, **self.workbench.figures()}
        return None

    def _tell_library(self) -> float | None:
        outline, now = self.workbench.outline(), time.monotonic()
        if outline == self._outline:
            wait = self._library_at + self._library_seconds() - now
            if not self._stale or (wait > 0 and not self._warns(now)):
                return wait if self._stale else None
        self._outline, self._stale, self._library_at = outline, False, now
        self.library = self.workbench.library_dict()
        return None

    def _library_seconds(self) -> float:
        return len(json.dumps(self.library)) / LIBRARY_BYTES if self.workbench.busy else LIBRARY_SECONDS

    def _warns(self, now: float) -> bool:
        """Whether there is something new to say about memory, which cannot wait."""
        if now < self._warned_at + WARNING_SECONDS:
            return False
        self._warned_at = now
        return bool(self.workbench.library.warning() != self.library["memory"]["warning"])


class _Done(NamedTuple):
    """What a gesture that took long came to."""

    request: int | None
    future: Future[Any]


class _Written(NamedTuple):
    """Traits that a page wrote."""

    names: tuple[object, ...]


def _answer_where_asked(widget: Inferno) -> None:
    """Keep ipykernel 7.4 from sending replies to whichever shell published last."""
    comm = widget.comm
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _, default: default  # noqa: SLF001
