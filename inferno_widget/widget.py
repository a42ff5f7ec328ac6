"""The workbench: traits for state, messages for events, and a thread that does what the page asks for."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from .errors import Cancelled, InfernoError, hint_unknown_keywords
from .model import Model
from .sampling import Sampler
from .session import Session
from .trace import Trace
from .wire import PROTOCOL, Encoder

STATIC = Path(__file__).parent / "static"
PANELS = ("status", "controls", "stream", "logits", "strip")
SAMPLER_SETTINGS = ("temperature", "top_k", "top_p", "min_p", "seed")
FRAME_SECONDS = 1 / PROTOCOL["limits"]["frames_per_second"]
STATUS_SECONDS = 0.25
"""How often figures that change all the time (speed, memory) are shown anew."""


@hint_unknown_keywords
class Inferno(anywidget.AnyWidget):
    """Watch a model generate, and take the road not taken.

    Parameters
    ----------
    target : what to show: a `Session`, a `Model`, a path to a GGUF file, or a `Trace` (which can be looked
        at, but not continued); the bundled demo model when left out
    panels : which parts to show, in order: "status", "controls", "stream", "logits", "strip"
    prompt : the prompt to begin with
    max_tokens : tokens to generate when Run is pressed

    Attributes
    ----------
    model, session, trace : what is shown now; Run makes a new session
    """

    _esm = STATIC / "widget.js"
    _css = STATIC / "widget.css"

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
        self.model: Model | None = None
        self.session: Session | None = None
        self.trace: Trace | None = None
        self._owned: list[Model | Session] = []
        self._show = _Show()
        self._error: BaseException | None = None
        self._loading: float | None = None
        self._code = ""
        self._status_at = 0.0
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._done = threading.Event()
        self._forget: Callable[[], None] = lambda: None
        self._sampler = Sampler()
        super().__init__(panels=list(panels), prompt=prompt or "", settings=self._settings(max_tokens))
        _answer_where_asked(self)
        _close_earlier(self)
        self.on_msg(self._receive)
        self._take(target)
        self.status = self._state()
        threading.Thread(target=self._work, name="inferno-widget", daemon=True).start()
        self._wake.set()

    def __repr__(self) -> str:
        return f"<Inferno {self.session or self.model or self.trace or 'loading'}>"

    def close(self) -> None:
        """End the widget and what it made itself; a session or model that was handed in goes on."""
        if self._done.is_set():
            return
        self._done.set()
        self._wake.set()
        self._forget()
        for owned in reversed(self._owned):
            owned.close()
        super().close()

    # --- what is shown --------------------------------------------------------------------------------

    def _take(self, target: Session | Model | Trace | str | Path | None) -> None:
        if isinstance(target, Session):
            self._sampler = target.sampler
            self.settings = self._settings(self.settings["max_tokens"])
            self.prompt = self.prompt or target.prompt or target.text
            self._watch(target)
        elif isinstance(target, Trace):
            self._display(target)
        elif isinstance(target, Model):
            self.model = target
        elif target is None or isinstance(target, str | Path):
            self._loading = 0.0
            self._commands.put(lambda: self._load(target))
        else:
            raise TypeError(f"Inferno shows a Session, a Model, a Trace or a GGUF file, not {target!r}")

    def _load(self, path: str | Path | None) -> None:
        def progress(fraction: float) -> bool:
            self._loading = fraction
            self._publish()
            return not self._done.is_set()

        try:
            self.model = Model(path, progress=progress)
            self._owned.append(self.model)
        except Cancelled:
            return
        finally:
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

    def _receive(self, _: object, content: dict[str, Any], __: list[memoryview]) -> None:
        kind = content.get("kind")
        if kind not in PROTOCOL["to_kernel"]:
            return
        arguments = {name: content.get(name) for name in PROTOCOL["to_kernel"][kind]}
        command = getattr(self, f"_on_{kind}")
        self._commands.put(lambda: self._obey(command, arguments))
        self._wake.set()

    def _obey(self, command: Callable[..., None], arguments: dict[str, Any]) -> None:
        request = arguments.pop("id", None)
        answer: dict[str, Any] = {"kind": "reply", "id": request, "ok": True}
        try:
            command(**arguments)
        except (InfernoError, ValueError, TypeError, IndexError, OSError) as error:
            answer |= {"ok": False, "error": _told(error)}
        if request is not None:
            self.send(answer)

    def _on_replay(self, epoch: int, have: int, seq: int) -> None:  # noqa: ARG002  seq: for symmetry with alive
        self._show.rewind(have if epoch == self._show.epoch else 0)

    def _on_alive(self, seq: int, views: int) -> None:  # noqa: ARG002
        if seq < self._show.seq and self._show.quiet():
            self._show.rewind(self._show.known_at(seq))

    def _on_set(self, name: str, value: Any) -> None:
        settings = {**self.settings, name: value}
        if name == "max_tokens":
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"max_tokens must be a whole number of at least 1, not {value!r}")
        elif name not in SAMPLER_SETTINGS:
            raise ValueError(f"there is no setting {name!r}")
        self._sampler = Sampler.from_dict({**self._sampler.to_dict(), name: settings[name]} if name in SAMPLER_SETTINGS else self._sampler.to_dict())
        self.settings = settings

    def _on_select(self, node: int) -> None:
        if self.trace is not None and -1 <= node < len(self.trace):
            self.selection = node

    def _on_run(self, prompt: str) -> None:
        session = self._new_session(prompt)
        n = self.settings["max_tokens"]
        self._code = f"session = model.session({prompt!r}, {self._sampler_code()}); session.generate({n})"
        session.start(n)

    def _on_step(self, prompt: str) -> None:
        session = self.session
        if session is None or prompt != self.prompt:
            session = self._new_session(prompt)
        if session.state == "paused":
            session.stop()
        self._adopt(session)
        self._code = "session.step()"
        session.start(1)

    def _on_resume(self) -> None:
        session = self._running()
        self._adopt(session)
        if session.state == "paused":
            self._code = "session.resume()"
            session.resume()
        else:
            self._code = f"session.generate({self.settings['max_tokens']})"
            session.start(self.settings["max_tokens"])

    def _on_pause(self) -> None:
        self._code = "session.pause()"
        self._running().pause()

    def _on_stop(self) -> None:
        self._code = "session.stop()"
        self._running().stop()

    def _on_fork(self, node: int, token_id: int) -> None:
        session = self._running()
        path = session.trace.path().tolist()
        if node not in path:
            raise InfernoError("this token is on another branch")
        at = path.index(node)
        piece = session.trace.pieces.get(token_id, b"").decode(errors="backslashreplace")
        session.fork(at, token_id)
        self.selection = -1
        self._code = f"session.fork(at={at}, token={piece!r}); session.generate({self.settings['max_tokens']})"
        self._adopt(session)
        session.start(self.settings["max_tokens"])

    def _new_session(self, prompt: str) -> Session:
        if self.model is None:
            raise InfernoError("no model is loaded yet")
        session = self.model.session(prompt, self._sampler)
        self._error = None
        if self.session is not None:
            self.session.stop()
            if self.session in self._owned:
                self._owned.remove(self.session)
                self.session.close()
        self._owned.append(session)
        self.prompt = prompt
        self._watch(session)
        return session

    def _running(self) -> Session:
        if self.session is None:
            raise InfernoError("nothing has been generated yet: press Run")
        return self.session

    def _adopt(self, session: Session) -> None:
        """Let the page's settings rule from here on; the session keeps its dice if no seed was asked for."""
        seed = self._sampler.seed
        session.sampler = Sampler.from_dict(
            {**self._sampler.to_dict(), "seed": session.sampler.seed if seed is None else seed}
        )

    def _sampler_code(self) -> str:
        default = Sampler()
        changed = {name: self.settings[name] for name in SAMPLER_SETTINGS if self.settings[name] != getattr(default, name)}
        return f"Sampler({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    # --- the thread -----------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._done.is_set():
            self._wake.wait()
            self._wake.clear()
            while not self._commands.empty() and not self._done.is_set():
                self._carry_out(self._commands.get())
            self._publish()
            self._done.wait(FRAME_SECONDS)  # at most so many frames a second; what comes meanwhile goes together

    def _carry_out(self, command: Callable[[], None]) -> None:
        try:
            command()
        except Exception as error:  # noqa: BLE001  shown where the person looks
            self._error = error

    def _publish(self) -> None:
        for frame in self._show.due():
            self.send({"kind": "rows"}, buffers=[frame])
        state = self._state()
        if _without_figures(state) != _without_figures(self.status) or time.monotonic() - self._status_at > STATUS_SECONDS:
            self._status_at = time.monotonic()
            self.status = state

    def _state(self) -> dict[str, Any]:
        session, model = self.session, self.model
        error = self._error or (session.error if session else None)
        if self._loading is not None:
            state, progress = "loading", self._loading
        elif session:
            state, progress = session.state, session.progress
        else:
            state, progress = ("error" if error else "empty" if model else "closed"), None
        return {
            "state": state,
            "model": _model_card(model, self.trace),
            "n_ctx": model.n_ctx if model else 0,
            "used": len(self.trace.path()) if self.trace else 0,
            "tokens_per_second": self._show.speed(),
            "rss": model.rss if model else 0,
            "progress": progress,
            "error": _told(error) if error else None,
            "finish": session.finish if session else None,
            "code": self._code,
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
        self._lock = threading.Lock()

    def begin(self, trace: Trace) -> None:
        with self._lock:
            self.epoch += 1
            self._encoder = Encoder(trace, self.epoch)
            self._sent, self._head = 0, -2  # even an empty trace is news
            self._history.clear()

    def rewind(self, node: int) -> None:
        """Send again from `node` on."""
        with self._lock:
            self._sent, self._head = min(self._sent, max(0, node)), -2

    def known_at(self, seq: int) -> int:
        """Nodes that a page which saw frame `seq` has."""
        return next((nodes for number, nodes in reversed(self._history) if number <= seq), 0)

    def quiet(self) -> bool:
        """Whether the last frame has long arrived, if it ever will."""
        return time.monotonic() - self._at > 1

    def due(self) -> list[bytes]:
        with self._lock:
            if self._encoder is None:
                return []
            trace = self._encoder.trace
            if len(trace) == self._sent and trace.head == self._head:
                return []
            frames = list(self._encoder.frames(self._sent, self.seq + 1))
            self.seq += len(frames)
            self._sent, self._head, self._at = len(trace), trace.head, time.monotonic()
            self._history.append((self.seq, self._sent))
            return frames

    def speed(self) -> float:
        """Tokens a second over the last tokens that were generated."""
        if self._encoder is None:
            return 0.0
        rows = self._encoder.trace.nodes[-64:]
        ms = rows["ms"][(rows["kind"] == 1) & (rows["ms"] > 0)]
        return round(1000 / float(ms.mean()), 1) if len(ms) else 0.0


def _told(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)}


def _model_card(model: Model | None, trace: Trace | None) -> dict[str, Any] | None:
    if model:
        info = model.info
        return {
            "name": info.name,
            "architecture": info.architecture,
            "parameters": info.n_params,
            "quantisation": info.quantisation,
            "n_ctx_train": info.n_ctx_train,
            "n_vocab": info.n_vocab,
        }
    return dict(trace.model) if trace and trace.model else None


def _without_figures(status: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in {"used", "tokens_per_second", "rss", "progress"}}


def _answer_where_asked(widget: Inferno) -> None:
    """Keep ipykernel 7.4 from sending replies to whichever shell published last."""
    comm = widget.comm
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _, default: default  # noqa: SLF001


_by_cell: dict[str, tuple[str, list[Inferno]]] = {}


def _close_earlier(widget: Inferno) -> None:
    """A cell that runs again replaces the widgets it made before: end those, for nobody sees them any more."""
    cell, execution = _running_cell()
    if not cell:
        return
    earlier, widgets = _by_cell.get(cell, ("", []))
    if earlier != execution:
        for old in widgets:
            old.close()
        widgets = []
    _by_cell[cell] = (execution, [*widgets, widget])


def _running_cell() -> tuple[str, str]:
    """Ids of the notebook cell that runs and of this run of it; empty outside a notebook."""
    try:
        from IPython import get_ipython  # noqa: PLC0415  only if there is one
    except ImportError:
        return "", ""
    kernel = getattr(get_ipython(), "kernel", None)
    parent = kernel.get_parent() if kernel else {}
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")
