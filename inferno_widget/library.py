"""Everything that is open: loaded models, sessions and recorded runs, which of them is meant, and the way back."""

from __future__ import annotations

import itertools
import textwrap
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InfernoError, printable
from .memory import free_memory
from .record import Kind

if TYPE_CHECKING:
    from .model import Model
    from .session import Session
    from .trace import Trace

SESSIONS = 100
"""Most that are open at once: the next one lets go of the oldest that nobody gave a name. Undo may go beyond it."""
UNDOABLE = 10
"""Actions that can be taken back."""
LOW_MEMORY = 500_000_000
"""Free bytes below which there is a warning: what the system and a notebook need to go on."""
BUSY = ("prefill", "generating")


@dataclass(eq=False)
class Loaded:
    """A model that is loaded.

    Attributes
    ----------
    owned : whether the workbench loaded it, and so closes it
    """

    id: int
    model: Model
    owned: bool


@dataclass(eq=False)
class Opened:
    """A run in the list.

    Attributes
    ----------
    trace : what was recorded
    session : what goes on with it; None for a recorded run
    owned : whether the workbench made the session, and so closes it
    label : its name while there is no session
    kept : whether a person gave it a name or opened it, so that it is never let go unasked
    """

    id: int
    trace: Trace
    session: Session | None
    owned: bool
    label: str
    kept: bool
    started: float
    forget: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self.session.name if self.session else self.label

    @name.setter
    def name(self, name: str) -> None:
        self.label = name
        if self.session:
            self.session.name = name

    @property
    def state(self) -> str:
        return self.session.state if self.session else "closed"

    @property
    def busy(self) -> bool:
        return self.state in BUSY

    @property
    def prompt(self) -> str:
        """What it began with, as one would write it: special tokens stand in it, but for the one that begins a text."""
        return written_prompt(self.session) if self.session else prompt_of(self.trace)


@dataclass(frozen=True)
class Action:
    """Something that can be taken back.

    Attributes
    ----------
    words : what it was
    back : takes it back
    forget : lets go of what only `back` needs
    """

    words: str
    back: Callable[[], object]
    forget: Callable[[], object] = lambda: None


class Library:
    """Models and sessions, each with an id that is never used again.

    Parameters
    ----------
    news : called after every change of a session, from any thread; it must only take note

    Attributes
    ----------
    model : what the next run is made with
    shown : the session on display
    """

    def __init__(self, news: Callable[[], None]) -> None:
        self.models: list[Loaded] = []
        self.sessions: list[Opened] = []
        self.model: Loaded | None = None
        self.shown: Opened | None = None
        self._actions: deque[Action] = deque()
        self._ids = itertools.count(1)
        self._news = news

    # --- models ---------------------------------------------------------------------------------------

    def add_model(self, model: Model, *, owned: bool) -> Loaded:
        """List a model. The next run is made with it, unless another one's goes on just now."""
        loaded = next((known for known in self.models if known.model is model), None)
        if not loaded:
            loaded = Loaded(next(self._ids), model, owned)
            self.models.append(loaded)
        if not self.model or not (self.shown and self.shown.busy):
            self.use(loaded)
        return loaded

    def find_model(self, number: int) -> Loaded:
        found: Loaded = _by_id(self.models, number, "model")
        return found

    def use(self, loaded: Loaded) -> None:
        """Make the next run with this model. What another one made stays in the list, and leaves an empty page."""
        self.model = loaded
        if self.shown and self.model_of(self.shown) is not loaded:
            self.shown = None

    def model_of(self, opened: Opened) -> Loaded | None:
        """The loaded model that a run goes on with: its own, or one of the same file."""
        own = [loaded for loaded in self.models if opened.session and loaded.model is opened.session.model]
        same = [loaded for loaded in self.models if loaded.model.card["fingerprint"] == _fingerprint(opened.trace)]
        return next(iter([*own, *([] if opened.session else same)]), None)

    def remove_model(self, loaded: Loaded) -> Callable[[], None]:
        """Take a model from the list; its sessions become recorded runs. What is returned ends them, and takes time."""
        self.models.remove(loaded)
        if self.model is loaded:
            self.model = self.models[-1] if self.models else None
        ended = [opened for opened in self.sessions if opened.session and opened.session.model is loaded.model]
        sessions = [self._record(opened) for opened in ended]
        if self.shown:
            self.show(self.shown)  # its file may be loaded a second time

        def close() -> None:
            for session in sessions:
                session.close()
            loaded.model.close()

        return close

    def _record(self, opened: Opened) -> Session:
        """Make a session a recorded run; the session itself is left to the caller."""
        session = opened.session
        assert session
        opened.forget()
        session.stop()
        opened.label, opened.session, opened.forget = session.name, None, lambda: None
        return session

    # --- sessions -------------------------------------------------------------------------------------

    def add_session(self, session: Session, *, owned: bool) -> Opened:
        """List a session and show it."""
        opened = Opened(next(self._ids), session.trace, session, owned, session.name, not owned, session.started)
        return self._add(opened)

    def add_trace(self, trace: Trace, name: str = "") -> Opened:
        """List a recorded run and show it."""
        started = float(trace.runs[0].get("started") or 0) if trace.runs else 0.0
        name = name or textwrap.shorten(prompt_of(trace), 40, placeholder="…") or "a recorded run"
        return self._add(Opened(next(self._ids), trace, None, True, name, True, started or time.time()))

    def _add(self, opened: Opened) -> Opened:
        self._make_room()
        self._observe(opened)
        self.sessions.append(opened)
        self.shown = opened
        return opened

    def _make_room(self) -> None:
        """Let go of what is beyond `SESSIONS`, and of a session on display that nothing came of."""
        shown = self.shown
        if shown and shown.owned and not shown.kept and not shown.busy and not len(shown.trace.nodes):
            self._let_go(shown)
        while len(self.sessions) >= SESSIONS:
            nobodys = [opened for opened in self.sessions if not (opened.kept or opened.busy or opened is self.shown)]
            if not nobodys:
                raise InfernoError(f"{SESSIONS} sessions are open, and each was named or opened: delete one first")
            self._let_go(nobodys[0])

    def _let_go(self, opened: Opened) -> None:
        self.sessions.remove(opened)
        opened.forget()
        _close(opened)

    def _observe(self, opened: Opened) -> None:
        if opened.session:
            opened.forget = opened.session.observe(self._news)

    def find_session(self, number: int) -> Opened:
        found: Opened = _by_id(self.sessions, number, "session")
        return found

    def show(self, opened: Opened) -> None:
        """Put a session on display; the next run is made with its model, if that is loaded."""
        self.shown = opened
        self.model = self.model_of(opened) or self.model

    def awake(self, opened: Opened) -> Session:
        """The session of a run. A recorded one gets one from a loaded model of the same file.

        Raises
        ------
        InfernoError
            If no such model is loaded.
        """
        if opened.session and opened.state != "closed":
            return opened.session
        loaded = self.model_of(opened)
        if not loaded:
            raise InfernoError(_why_recorded(opened.trace, self.models))
        session = loaded.model.session(opened.trace)
        session.name, session.started = opened.name, opened.started
        opened.forget()
        opened.session, opened.trace, opened.owned = session, session.trace, True
        self._observe(opened)
        return session

    # --- what can be taken back -----------------------------------------------------------------------

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back, in words."""
        return self._actions[-1].words if self._actions else None

    def undo(self) -> None:
        if not self._actions:
            raise InfernoError("there is nothing to undo")
        self._actions.pop().back()

    def did(self, action: Action) -> None:
        """Remember an action that can be taken back."""
        self._actions.append(action)
        if len(self._actions) > UNDOABLE:
            self._actions.popleft().forget()

    def rename(self, opened: Opened, name: str) -> None:
        before, kept = opened.name, opened.kept

        def back() -> None:
            opened.name, opened.kept = before, kept

        opened.name, opened.kept = name, True
        self.did(Action(f"rename “{before}”", back))

    def duplicate(self, opened: Opened) -> Opened:
        """A second run that has all that the first has, and is shown."""
        name, before = f"{opened.name} (copy)", self.shown
        loaded, source = self.model_of(opened), opened.session
        if loaded:
            beginning = opened.trace if opened.trace.length or not source else source.prompt_ids
            session = loaded.model.session(beginning, source.sampler if source else None)
            session.name = name
            copy = self.add_session(session, owned=True)
        else:
            copy = self.add_trace(opened.trace.copy(), name)
        copy.kept = True
        self.did(Action(f"duplicate “{opened.name}”", lambda: self._back_from_copy(copy, before)))
        return copy

    def _back_from_copy(self, copy: Opened, before: Opened | None) -> None:
        if copy not in self.sessions:  # it was deleted, and that was taken back by nobody
            return
        if self.shown is copy:
            self.shown = before if before in self.sessions else None
        self._let_go(copy)

    def delete(self, opened: Opened) -> None:
        """Take a session from the list. It is closed when that can be taken back no more."""
        at, was_shown = self.sessions.index(opened), self.shown is opened
        if opened.session and opened.owned:
            opened.session.stop()
        opened.forget()
        self.sessions.remove(opened)
        if was_shown:
            self.shown = self.sessions[min(at, len(self.sessions) - 1)] if self.sessions else None

        def back() -> None:
            self._observe(opened)
            if opened.session and not self.model_of(opened):  # which was unloaded meanwhile
                self._record(opened).close()
            self.sessions.insert(min(at, len(self.sessions)), opened)
            if was_shown:
                self.show(opened)

        self.did(Action(f"delete “{opened.name}”", back, lambda: _close(opened)))

    # --- for the page ---------------------------------------------------------------------------------

    def outline(self) -> list[Any]:
        """What is told as soon as it changes, and changes by a person's hand alone."""
        models = [(loaded.id, loaded is self.model) for loaded in self.models]
        sessions = [(o.id, o.name, o is self.shown, self.model_of(o) is not None) for o in self.sessions]
        return [models, sessions, self.undoable]

    def to_dict(self, tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """`Library` of ``state.ts``."""
        models = [self._model_dict(loaded) for loaded in self.models]
        sessions = [self._session_dict(opened) for opened in self.sessions]
        return {
            "models": models,
            "sessions": sessions,
            "tasks": list(tasks),
            "memory": self._memory(models),
            "undo": self.undoable,
        }

    def _model_dict(self, loaded: Loaded) -> dict[str, Any]:
        model = loaded.model
        sessions = [opened for opened in self.sessions if opened.session and opened.session.model is model]
        held = [(opened.name, opened.session.held_tokens) for opened in sessions if opened.session]
        return {
            "id": loaded.id,
            "name": model.info.name,
            "file": printable(str(model.path)),
            "warnings": len(model.findings),
            "current": loaded is self.model,
            "n_ctx": model.n_ctx,
            **model.memory(),
            "holders": [{"session": name, "tokens": tokens} for name, tokens in held if tokens],
        }

    def _session_dict(self, opened: Opened) -> dict[str, Any]:
        return {
            "id": opened.id,
            "name": opened.name,
            "model": opened.trace.model.get("name", ""),
            "tokens": opened.trace.length,
            "state": opened.state,
            "started": opened.started,
            "current": opened is self.shown,
            "live": self.model_of(opened) is not None,
        }

    def _memory(self, models: Sequence[dict[str, Any]]) -> dict[str, Any]:
        told = {"engines": "rss", "weights": "weights", "kv_used": "kv_used", "kv_reserved": "kv_reserved"}
        return {
            **{name: sum(model[part] for model in models) for name, part in told.items()},
            "traces": sum(opened.trace.nodes.nbytes for opened in self.sessions),
            "free": free_memory(),
            "warning": self.warning(),
        }

    def warning(self) -> str:
        """What to do before memory runs out; "" while there is enough."""
        free = free_memory()
        if free >= LOW_MEMORY:
            return ""
        what = "Unload a model" if len(self.models) > 1 else "Close other programs, or take a smaller n_ctx,"
        return f"Only {free / 1e6:,.0f} MB of memory are free. {what} before the system ends one."

    def close(self) -> None:
        """Close what the workbench made; what was handed in goes on."""
        while self._actions:
            self._actions.pop().forget()
        for opened in self.sessions:
            opened.forget()
            _close(opened)
        for loaded in self.models:
            if loaded.owned:
                loaded.model.close()


def prompt_of(trace: Trace) -> str:
    """What a trace's current path begins with, as one would write it."""
    path = trace.path()
    generated = trace.nodes["kind"][path] != Kind.PROMPT
    n = int(generated.argmax()) if generated.any() else len(path)
    ids = trace.nodes["token_id"][path[:n]].tolist()
    begins = ids[:1] != [] and ids[0] in trace.control and ids[0] not in ids[1:]
    inner = ids[1:] if begins else ids
    if trace.control.isdisjoint(inner):
        return "".join(trace.texts(path[:n]))
    return b"".join(trace.pieces[token] for token in inner).decode(errors="replace")


def written_prompt(session: Session) -> str:
    """A session's prompt as one would write it: with the special tokens that a chat template put into it."""
    model, ids = session.model, session.prompt_ids
    inner = ids[1:] if ids[0] == model.info.bos_id else ids
    special = model.control.intersection(inner)
    if not special:
        return session.prompt
    pieces = session.trace.pieces
    if not pieces.keys() >= set(inner):  # not scored yet
        pieces = {token: model.detokenize([token]) for token in set(inner)}
    if any(pieces[token].decode(errors="replace") in session.prompt for token in special):
        return session.prompt  # it was written so
    return b"".join(pieces[token] for token in inner).decode(errors="replace")


def _close(opened: Opened) -> None:
    if opened.session and opened.owned:
        opened.session.close()


def _by_id(things: Sequence[Any], number: int, kind: str) -> Any:
    found = next((thing for thing in things if thing.id == number), None)
    if found is None:
        raise InfernoError(f"there is no {kind} {number}: it was closed")
    return found


def _fingerprint(trace: Trace) -> object:
    return trace.model.get("fingerprint", "unknown")


def _why_recorded(trace: Trace, models: Sequence[Loaded]) -> str:
    name, file = (trace.model.get(part, "an unknown one") for part in ("name", "file"))
    if not models:
        return (
            "this is a recorded run, without a model: it can be looked at, but not continued; "
            f"to go on, load its model, {name} ({file})"
        )
    loaded = ", ".join(f"{m.model.info.name} ({m.model.path.name})" for m in models)
    return (
        f"this is a recorded run of {name} ({file}), and no loaded model has the fingerprint of that file "
        f"(loaded: {loaded}); load it to go on, or press Run to begin anew"
    )
