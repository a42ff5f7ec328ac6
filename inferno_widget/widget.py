"""The workbench: traits for state, messages for events, and a thread that does what the page asks for."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython import get_ipython

from .errors import InfernoError, hint_unknown_keywords
from .model import Model
from .record import Kind
from .sampling import Sampler
from .session import Session, count
from .trace import Trace
from .wire import PROTOCOL, ROWS_PER_FRAME, Encoder, read_command

STATIC = Path(__file__).parent / "static"
PANELS = ("status", "tools", "controls", "stream", "logits", "strip")
SAMPLER_SETTINGS = ("temperature", "top_k", "top_p", "min_p", "seed")
MODEL_FACTS = ("name", "architecture", "parameters", "quantisation", "n_ctx_train", "n_vocab")
FRAME_SECONDS = 1 / PROTOCOL["limits"]["frames_per_second"]
STATUS_SECONDS = 0.8
"""How often figures that change all the time (speed, memory) are shown anew."""
CLOSE_SECONDS = 5
SPEED_TOKENS = 64


@hint_unknown_keywords
class Inferno(anywidget.AnyWidget):
    """Watch a model generate, and take the road not taken.

    Parameters
    ----------
    target : what to show: a `Session`, a `Model`, a path to a GGUF file, or a `Trace` (which can be looked
        at, but not continued); the bundled demo model when left out
    panels : which parts to show, in order: "status", "tools", "controls", "stream", "logits", "strip"
    prompt : the prompt to begin with
    max_tokens : tokens to generate when Run is pressed

    Attributes
    ----------
    model, session, trace : what is shown now; Run makes a new session
    """

    _esm = STATIC / "widget.js"
    _css = STATIC / "widget.css"
    _closed = True  # until there is something to close: a constructor that fails leaves an object that is deleted too

    panels = traitlets.List(traitlets.Enum(PANELS), default_value=list(PANELS)).tag(sync=True)
    prompt = traitlets.Unicode().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    selection = traitlets.Int(-1).tag(sync=True)

    def __init__(
        self,
        target: Session | Model | Trace | str | Path | None = None,
        *,
        panels: Sequence[str] = PANELS,
        prompt: str | None = None,
        max_tokens: int = 128,
    ) -> None:
        if not isinstance(target, Session | Model | Trace | str | Path | None):
            raise TypeError(f"Inferno shows a Session, a Model, a Trace or a GGUF file, not {target!r}")
        self.model: Model | None = None
        self.session: Session | None = None
        self.trace: Trace | None = None
        self._owned: list[Model | Session] = []
        self._show = _Show()
        self._load_error: BaseException | None = None
        self._loading: float | None = None
        self._code = ""
        self._status_at = 0.0
        self._messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._wake, self._give_up, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._forget: Callable[[], None] = lambda: None
        self._sampler = target.sampler if isinstance(target, Session) else Sampler()
        settings = self._settings(count("max_tokens", max_tokens))
        super().__init__(panels=list(panels), prompt=prompt or "", settings=settings)
        self._closed = False
        _answer_where_asked(self)
        _close_earlier(self)
        self.on_msg(self._receive)
        self._take(target)
        self.status = {**self._facts(), **self._figures()}
        threading.Thread(target=self._work, args=(target,), name="inferno-widget", daemon=True).start()
        self._wake.set()

    def __repr__(self) -> str:
        shown = [thing for thing in (self.session, self.model, self.trace) if thing is not None]
        return f"<Inferno {shown[0]}>" if shown else f"<Inferno {self.status.get('state')}>"

    def close(self) -> None:
        """End the widget and what it made itself; a session or model that was handed in goes on."""
        if self._closed:
            return
        self._closed = True
        self._give_up.set()
        self._wake.set()
        self._forget()
        for owned in self._owned:
            if isinstance(owned, Session):
                owned.stop()
        self._ended.wait(CLOSE_SECONDS)
        for owned in reversed(self._owned):
            owned.close()
        super().close()

    # --- what is shown --------------------------------------------------------------------------------

    def _take(self, target: Session | Model | Trace | str | Path | None) -> None:
        if isinstance(target, Session):
            self.prompt = self.prompt or target.prompt
            self._watch(target)
        elif isinstance(target, Trace):
            self._display(target)
        elif isinstance(target, Model):
            self.model = target
        else:
            self._loading = 0.0

    def _load(self, path: str | Path | None) -> None:
        def progress(fraction: float) -> bool:
            self._loading = fraction
            self._publish()
            return not self._give_up.is_set()

        try:
            self.model = Model(path, progress=progress)
            self._owned.append(self.model)
        except Exception as error:  # noqa: BLE001  shown where the person looks
            self._load_error = error
        self._loading = None

    def _watch(self, session: Session) -> None:
        self._forget()
        self.session, self.model = session, session.model
        self._forget = session.observe(self._wake.set)
        self._display(session.trace)

    def _display(self, trace: Trace) -> None:
        self.trace, self.selection = trace, -1
        self._show.begin(trace)

    # --- messages from the page: note and wake, nothing else --------------------------------------------

    def _receive(self, _: object, content: object, __: object) -> None:
        if isinstance(content, dict) and content.get("kind") == "stop":
            self._give_up.set()  # of loading, which keeps the thread busy
        self._messages.put(content)
        self._wake.set()

    def _obey(self, content: object) -> None:
        request = content.get("id") if isinstance(content, dict) else None
        answer: dict[str, Any] = {"kind": "reply", "id": request, "ok": True}
        try:
            kind, fields = read_command(content)
            fields.pop("id", None)
            getattr(self, f"_on_{kind}")(**fields)
        except Exception as error:  # noqa: BLE001  shown where the person looks
            answer |= {"ok": False, "error": _told(error)}
        if request is not None:
            self.send(answer)

    def _on_replay(self, epoch: int, have: int, seq: int) -> None:  # noqa: ARG002  a replay starts at a node
        self._show.rewind(have if epoch == self._show.epoch else 0)

    def _on_alive(self, seq: int, views: int) -> None:  # noqa: ARG002
        if seq < self._show.seq and self._show.quiet():
            self._show.rewind(self._show.known_at(seq))

    def _on_set(self, name: str, value: Any) -> None:
        if name == "max_tokens":
            self.settings = self._settings(count(name, value))
        elif name in SAMPLER_SETTINGS:
            self._sampler = replace(self._sampler, **{name: value})
            self.settings = self._settings(self.settings["max_tokens"])
        else:
            raise ValueError(f"there is no setting {name!r}")

    def _on_select(self, node: int) -> None:
        if self.trace is not None and -1 <= node < len(self.trace):
            self.selection = node

    def _on_run(self, prompt: str) -> None:
        session = self._new_session(prompt)
        self._code = f"session = model.session({prompt!r}, {self._sampler_code()}); {self._generate_code()}"
        session.start(self.settings["max_tokens"])

    def _on_step(self, prompt: str) -> None:
        session = self.session
        if session is None or prompt != session.prompt:
            session = self._new_session(prompt)
        self._adopt(session)
        session.start(1)
        self._code = "session.step()"

    def _on_resume(self) -> None:
        session = self._running()
        self._adopt(session)
        if session.resumable:
            session.resume()
            self._code = "session.resume()"
        else:
            session.start(self.settings["max_tokens"])
            self._code = self._generate_code()

    def _on_pause(self) -> None:
        self._running().pause()
        self._code = "session.pause()"

    def _on_stop(self) -> None:
        if self.session is not None:
            self.session.stop()
            self._code = "session.stop()"

    def _on_fork(self, node: int, token_id: int) -> None:
        session = self._running()
        path = session.trace.path().tolist()
        if node not in path:
            raise InfernoError("this token is on another branch")
        at = path.index(node)
        session.fork(at, token_id)
        self.selection = session.trace.head  # where the next road not taken can be tried
        self._adopt(session)
        session.start(self.settings["max_tokens"])
        piece = session.trace.pieces[token_id].decode(errors="backslashreplace")
        self._code = f"session.fork(at={at}, token={token_id}); {self._generate_code()}  # {piece!r}"

    def _new_session(self, prompt: str) -> Session:
        model, old = self._loaded_model(), self.session
        session = model.session(old.prompt_ids if old and old.prompt == prompt else prompt, self._sampler)
        if old:
            old.stop()
        if old in self._owned:
            self._owned.remove(old)
            old.close()
        self._owned.append(session)
        self.prompt = prompt
        self._watch(session)
        return session

    def _running(self) -> Session:
        self._loaded_model()
        if self.session is None:
            raise InfernoError("nothing has been generated yet: press Run")
        return self.session

    def _loaded_model(self) -> Model:
        if self.model:
            return self.model
        if self.trace is not None:
            raise InfernoError("this is a recorded run, without a model: it can be looked at, but not continued")
        raise InfernoError(f"no model is loaded: {self._load_error}")

    def _adopt(self, session: Session) -> None:
        """Let the page's settings rule from here on; the session keeps its dice if no seed was asked for."""
        seed = self._sampler.seed
        session.sampler = replace(self._sampler, seed=session.sampler.seed if seed is None else seed)

    def _sampler_code(self) -> str:
        default = Sampler().to_dict()
        changed = {name: value for name, value in self._sampler.to_dict().items() if value != default[name]}
        return f"Sampler({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def _generate_code(self) -> str:
        return f"session.generate({self.settings['max_tokens']})"

    # --- the thread -----------------------------------------------------------------------------------

    def _work(self, target: object) -> None:
        try:
            if isinstance(target, str | Path | None):
                self._load(target)
            due: float | None = None
            while not self._closed:
                self._wake.wait(due)
                self._wake.clear()
                while not (self._messages.empty() or self._closed):
                    self._obey(self._messages.get())
                due = self._publish()
                time.sleep(FRAME_SECONDS)  # at most so many frames a second; what comes meanwhile goes together
        finally:
            self._ended.set()

    def _publish(self) -> float | None:
        """Send what is new. Returns in how many seconds more is due, None if nothing is."""
        frame = self._show.frame()
        if frame:
            self.send({"kind": "rows"}, buffers=[frame])
        facts, wait = self._facts(), self._status_at + STATUS_SECONDS - time.monotonic()
        if wait > 0 and {**self.status, **facts} == self.status:
            return wait if self._show.complete else 0
        self._status_at = time.monotonic()
        self.status = {**facts, **self._figures()}
        return None if self._show.complete else 0

    def _facts(self) -> dict[str, Any]:
        """What is told at once when it changes."""
        session, model = self.session, self.model
        if self._loading is not None:
            state = "loading"
        elif session:
            state = session.state  # before the rest, which is then at least as new
        elif model:
            state = "empty"
        else:
            state = "error" if self._load_error else "closed"
        card = model.card if model else self.trace.model if self.trace is not None else {}
        error = session.error if session else self._load_error
        return {
            "state": state,
            "model": {name: card.get(name) for name in MODEL_FACTS} if card else None,
            "n_ctx": model.n_ctx if model else 0,
            "error": _told(error) if error else None,
            "finish": session.finish if session else None,
            "code": self._code,
        }

    def _figures(self) -> dict[str, Any]:
        """What changes all the time."""
        progress = self.session.progress if self.session else None
        return {
            "used": self.trace.length if self.trace is not None else 0,
            "tokens_per_second": _speed(self.trace) if self.trace is not None else 0.0,
            "rss": self.model.rss if self.model else 0,
            "progress": progress if self._loading is None else self._loading,
        }

    def _settings(self, max_tokens: int) -> dict[str, Any]:
        return {**{name: getattr(self._sampler, name) for name in SAMPLER_SETTINGS}, "max_tokens": max_tokens}


class _Show:
    """What the page has been sent of the trace on display, and what is due."""

    def __init__(self) -> None:
        self.epoch = self.seq = 0
        self._encoder: Encoder | None = None
        self._sent, self._head = 0, -1
        self._at = 0.0
        self._history: deque[tuple[int, int]] = deque(maxlen=1000)

    def begin(self, trace: Trace) -> None:
        self.epoch += 1
        self._encoder = Encoder(trace, self.epoch)
        self._sent, self._head = 0, -2  # even an empty trace is news
        self._history.clear()

    def rewind(self, node: int) -> None:
        """Send again from `node` on."""
        self._sent, self._head = min(self._sent, max(0, node)), -2

    def known_at(self, seq: int) -> int:
        """Nodes that a page which saw frame `seq` has."""
        return next((nodes for number, nodes in reversed(self._history) if number <= seq), 0)

    def quiet(self) -> bool:
        """Whether the last frame has long arrived, if it ever will."""
        return time.monotonic() - self._at > 1

    @property
    def complete(self) -> bool:
        """Whether everything has been sent."""
        encoder = self._encoder
        return encoder is None or (encoder.trace.head, len(encoder.trace)) == (self._head, self._sent)

    def frame(self) -> bytes | None:
        """The next frame; None when everything has been sent."""
        if self._encoder is None or self.complete:
            return None
        head, n = self._encoder.trace.head, len(self._encoder.trace)  # in this order: the nodes hold the head
        start, stop = self._sent, min(n, self._sent + ROWS_PER_FRAME)
        self.seq, self._sent, self._head, self._at = self.seq + 1, stop, head, time.monotonic()
        self._history.append((self.seq, stop))
        return self._encoder.frame(start, stop, seq=self.seq, head=head)


def _speed(trace: Trace) -> float:
    """Tokens a second over the latest that were generated on the current path."""
    rows = trace.nodes[trace.path()[-SPEED_TOKENS:]]
    ms = rows["ms"][(rows["kind"] == Kind.GENERATED) & (rows["ms"] > 0)]
    return round(1000 / float(ms.mean()), 1) if len(ms) else 0.0


def _told(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)}


def _answer_where_asked(widget: Inferno) -> None:
    """Keep ipykernel 7.4 from sending replies to whichever shell published last."""
    comm = widget.comm
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _, default: default  # noqa: SLF001


_by_cell: dict[str, tuple[str, weakref.WeakSet[Inferno]]] = {}
"""Cell -> its latest run, and the widgets that this run made."""


def _close_earlier(widget: Inferno) -> None:
    """A cell that runs again replaces the widgets it made before: end those, for nobody sees them any more."""
    cell, execution = _running_cell()
    if not cell:
        return
    earlier, widgets = _by_cell.get(cell, ("", weakref.WeakSet[Inferno]()))
    if earlier != execution:
        for old in list(widgets):
            old.close()
        widgets = weakref.WeakSet[Inferno]()
    widgets.add(widget)
    _by_cell[cell] = (execution, widgets)


def _running_cell() -> tuple[str, str]:
    """Ids of the notebook cell that runs and of this run of it; empty outside a notebook."""
    kernel = getattr(get_ipython(), "kernel", None)
    parent = (kernel.get_parent() if kernel else None) or {}
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")
