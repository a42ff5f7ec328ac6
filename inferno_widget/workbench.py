"""Everything that a person can do at the widget, without the widget: each gesture of the page is a method here."""

from __future__ import annotations

import functools
import re
import textwrap
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from .browse import Files
from .controls import Controls
from .errors import Cancelled, InfernoError, told
from .export.card import MODEL_FACTS
from .library import Action, Library, Loaded, Opened
from .memory import estimate
from .model import Model, demo_path
from .preferences import LOOK, Preferences
from .presets import BUILTIN
from .record import Kind
from .session import Session
from .tasks import Crew, Task
from .trace import Trace

if TYPE_CHECKING:
    import numpy as np

SPEED_TOKENS = 64
CLOSE_SECONDS = 5
FOUND = 50
"""Tokens that a search of the vocabulary yields at most."""
NAME, NAME_SHOWN = 200, 40
"""Most characters of a session's name, and of one that nobody gave."""

P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[Workbench, P], R]) -> Callable[Concatenate[Workbench, P], R]:
    """Only one gesture at a time changes what is open: they come from the page's thread and from tasks'."""

    @functools.wraps(method)
    def locked(self: Workbench, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            if self._closed:
                raise InfernoError("the workbench is closed")
            return method(self, *args, **kwargs)

    return cast("Callable[Concatenate[Workbench, P], R]", locked)


@dataclass(frozen=True)
class Export:
    """A file that was made.

    Attributes
    ----------
    name, mime : what to call it, and what it is
    path : where it was written; "" where it was not
    data : its bytes, where it was not written
    """

    name: str
    mime: str
    path: str
    data: bytes


class Workbench:
    """Models, sessions and settings, and every gesture of the page as a method.

    Names and arguments are those of ``to_kernel`` in ``protocol.json``. What takes long returns a
    `concurrent.futures.Future`, or the id of a task that `tasks` lists, and a run that goes on is not held up.

    Parameters
    ----------
    root : the folder that files are browsed from, and never above; see `browse.Files`
    max_tokens : tokens to generate when Run is pressed
    preferences : the settings file; the user's own when None
    news : called after every change, from any thread; it must only take note

    Attributes
    ----------
    library : what is open
    controls : settings of the next run
    prompt : what the next run begins with
    selection : node that is looked at; -1: the newest
    code : the line of Python that does what was done last
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        max_tokens: int = 128,
        preferences: Preferences | None = None,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        self.controls = Controls(max_tokens=max_tokens)
        self.preferences = preferences or Preferences()
        self.files = Files(root)
        self.library = Library(news)
        self.prompt = self.code = ""
        self.selection = -1
        self._news = news
        self._lock = threading.RLock()
        self._crew = Crew()
        self._tasks: list[Task] = []
        self._count = 0
        self._load_error: BaseException | None = None
        self._closed = False

    def __repr__(self) -> str:
        library = self.library
        return f"<Workbench {len(library.models)} models, {len(library.sessions)} sessions>"

    def close(self) -> None:
        """End what was made here; a session or model that was handed in goes on."""
        for opened in list(self.library.sessions):
            if opened.session and opened.owned:
                opened.session.stop()  # before the lock, which a gesture may hold until something ends
        with self._lock:
            self._closed = True
            tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._crew.close()
        for task in tasks:
            task.join(CLOSE_SECONDS)
        self.library.close()

    # --- what is there --------------------------------------------------------------------------------

    @property
    def model(self) -> Model | None:
        """What the next run is made with."""
        return self.library.model.model if self.library.model else None

    @property
    def session(self) -> Session | None:
        """What goes on with the run on display; None for a recorded one."""
        return self.library.shown.session if self.library.shown else None

    @property
    def trace(self) -> Trace | None:
        """What is on display."""
        return self.library.shown.trace if self.library.shown else None

    @property
    def settings(self) -> dict[str, Any]:
        """`Settings` of ``state.ts``."""
        return self.controls.to_dict()

    @property
    def look_dict(self) -> dict[str, Any]:
        """`Look` of ``state.ts``."""
        own = self.preferences.presets
        presets = [{"name": name, "builtin": name in BUILTIN, "settings": s} for name, s in {**BUILTIN, **own}.items()]
        return {**self.preferences.look, "presets": presets, "note": self.preferences.note}

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Models on their way, and those that did not arrive."""
        return [task.to_dict() for task in self._tasks]

    @property
    def loading(self) -> Task | None:
        """The task that everything waits for, because there is nothing else yet."""
        if self.library.model or self.library.shown:
            return None
        return next((task for task in self._tasks if not task.over), None)

    @_alone
    def take(self, target: Session | Model | Trace | str | Path | None) -> None:
        """Begin with what was handed in; a path, or None for the demo model, is loaded by a task."""
        if isinstance(target, Session):
            self.controls = Controls.of(target, self.controls.max_tokens)
            self.library.add_model(target.model, owned=False)
            self._show(self.library.add_session(target, owned=False))
        elif isinstance(target, Model):
            self.library.add_model(target, owned=False)
        elif isinstance(target, Trace):
            self._show(self.library.add_trace(target))
        else:
            self._start_load(Path(target) if target is not None else None, None)

    # --- running --------------------------------------------------------------------------------------

    @_alone
    def run(self, prompt: str) -> None:
        """Begin a new session; the one on display is stopped, and stays in the list."""
        session = self._new_session(prompt)
        self.code = f"session = model.session({prompt!r}, {self._session_code()}); {self.controls.generate_code}"
        self._start(session)

    @_alone
    def chat(self, messages: Sequence[dict[str, Any]]) -> None:
        """Begin a new session with a conversation, as the model's template writes it."""
        c = self.controls
        session = self._model().chat(messages, c.sampler, on_full=c.on_full, keep=c.keep)
        session.name = textwrap.shorten(messages[-1]["content"], NAME_SHOWN, placeholder="…") or session.name
        self._begin(session)
        self.code = f"session = model.chat({messages!r}, {self._session_code()}); {c.generate_code}"
        self._start(session)

    @_alone
    def step(self, prompt: str) -> None:
        """One token more, or the first of a new session if the prompt is another one."""
        shown = self.library.shown
        same = shown and shown.prompt == prompt and self.library.model_of(shown)
        session = self._awake() if same else self._new_session(prompt)
        self.controls.rule(session)
        session.start(1)
        self.code = "session.step()"

    @_alone
    def resume(self) -> None:
        """Go on after a pause, or for another `max_tokens`."""
        session = self._awake()
        self.controls.rule(session)
        if session.resumable:
            session.resume()
            self.code = "session.resume()"
        else:
            self._start(session)
            self.code = self.controls.generate_code

    @_alone
    def pause(self) -> None:
        self._awake().pause()
        self.code = "session.pause()"

    @_alone
    def stop(self) -> None:
        """End the run on display, or the loading of the first model."""
        if self.session:
            self.session.stop()
            self.code = "session.stop()"
        elif self.loading:
            self.loading.cancel()

    @_alone
    def fork(self, node: int, token_id: int) -> None:
        """Replace a token of the current path, and go on from there."""
        session = self._awake()
        path = session.trace.path().tolist()
        if node not in path:
            raise InfernoError("this token is on another branch")
        at = path.index(node)
        session.fork(at, token_id)
        self.selection = session.trace.head  # where the next road not taken can be tried
        self.controls.rule(session)
        self._start(session)
        piece = session.trace.pieces[token_id].decode(errors="backslashreplace")
        self.code = f"session.fork(at={at}, token={token_id}); {self.controls.generate_code}  # {piece!r}"

    @_alone
    def select(self, node: int) -> None:
        """Look at a node; what is none is passed over."""
        if self.trace is not None and -1 <= node < len(self.trace):
            self.selection = node

    def _new_session(self, prompt: str) -> Session:
        model, old = self._model(), self.session
        shown = self.library.shown
        again = shown is not None and old is not None and old.model is model and shown.prompt == prompt
        c = self.controls
        ids = old.prompt_ids if old and again else prompt
        session = model.session(ids, c.sampler, on_full=c.on_full, keep=c.keep)
        if old and again and old.prompt != prompt:  # a conversation, which is named after what was asked
            session.name = old.name
        self._begin(session)
        self.prompt = prompt
        return session

    def _begin(self, session: Session) -> None:
        earlier = self.session
        self._show(self.library.add_session(session, owned=True))
        if earlier:
            earlier.stop()

    def _start(self, session: Session) -> None:
        session.start(self.controls.max_tokens, stop=self.controls.stop)

    def _session_code(self) -> str:
        return self.controls.session_code

    def _awake(self) -> Session:
        """The session on display; a recorded run gets one where its model is loaded."""
        shown = self.library.shown
        if shown is None:
            self._model()
            raise InfernoError("nothing has been generated yet: press Run")
        session = self.library.awake(shown)
        self.library.show(shown)
        return session

    def _model(self) -> Model:
        if self.model:
            return self.model
        if self.library.shown:
            self.library.awake(self.library.shown)  # says what is missing
        if self._load_error:
            raise InfernoError(f"no model is loaded: {self._load_error}")
        raise InfernoError("no model is loaded: choose one under Model")

    def _show(self, opened: Opened) -> None:
        self.library.show(opened)
        self.selection = -1
        self.prompt = opened.prompt

    # --- settings -------------------------------------------------------------------------------------

    @_alone
    def set(self, name: str, value: Any) -> None:
        """Change one setting; it holds from the next gesture on."""
        self.controls = self.controls.with_(name, value)
        self.code = self.controls.set_code(name)

    @_alone
    def preset(self, name: str) -> None:
        """Take a preset's sampler; seed and logit bias stay."""
        before = self.controls
        self.controls = before.with_preset(name, self.preferences.presets)
        self.code = self.controls.set_code("temperature")
        if self.controls != before:
            self.library.did(Action(f"preset “{name}”", lambda: setattr(self, "controls", before)))

    @_alone
    def save_preset(self, name: str) -> None:
        """Keep the sampler's settings under a name."""
        self.preferences.save_preset(name.strip(), self.controls.preset)

    @_alone
    def drop_preset(self, name: str) -> None:
        """Forget a preset."""
        dropped = self.preferences.drop_preset(name)
        self.library.did(Action(f"drop preset “{name}”", lambda: self.preferences.save_preset(name, dropped)))

    @_alone
    def look(self, name: str, value: Any) -> None:
        """Change how things look, here and in later kernels."""
        self.preferences.set_look(name, value)

    def vocabulary(self, query: str) -> Future[list[dict[str, Any]]]:
        """Tokens whose text contains `query`: `FoundTokens`."""
        model = self._model()
        return self._crew.submit(
            lambda: [{"id": token, "text": text} for token, text in model.find_tokens(query, FOUND)]
        )

    def render(self, messages: Sequence[dict[str, Any]]) -> Future[dict[str, Any]]:
        """The prompt that a conversation becomes: `Rendered`."""
        model = self._model()
        return self._crew.submit(lambda: _rendered(model, messages))

    # --- files and models -----------------------------------------------------------------------------

    def places(self) -> Future[dict[str, Any]]:
        """Where to begin looking: `Places`."""
        return self._crew.submit(lambda: self.files.places(self.preferences.recent))

    def browse(self, path: str, hidden: bool = False) -> Future[dict[str, Any]]:
        """What is in a folder: `Listing`."""
        return self._crew.submit(lambda: self.files.list(path, hidden=hidden))

    def inspect(self, path: str) -> Future[dict[str, Any]]:
        """What a model's file says of itself: `Header`."""
        return self._crew.submit(lambda: self.files.inspect(path))

    def estimate(self, path: str, n_ctx: int = 0) -> Future[dict[str, Any]]:
        """The memory that a model will need: `Estimate`. `n_ctx` 0 is the one that it would be loaded with."""
        return self._crew.submit(lambda: estimate(self.files.info(path), n_ctx or None).to_dict())

    @_alone
    def load(self, path: str, n_ctx: int = 0) -> int | None:
        """Begin to load a model, and return the task's id; None if it is loaded with this `n_ctx` already."""
        file = self.files.resolve(path) if path else demo_path()
        for loaded in self.library.models:
            if loaded.model.path == file and n_ctx in (0, loaded.model.n_ctx):
                self.use(loaded.id)
                return None
        return self._start_load(file, n_ctx or None)

    @_alone
    def download(self, repo: str, pattern: str = "*.gguf") -> int:
        """Begin to fetch a model from the Hugging Face hub and to load it, and return the task's id."""
        self.code = f"model = Model.from_hub({repo!r}, {pattern!r})"

        def work(task: Task) -> None:
            from .hub import fetch

            task.at("downloading")
            self._load(task, fetch(repo, pattern, progress=task.report), None)

        return self._start_task("download", repo, work)

    @_alone
    def cancel(self, task: int) -> None:
        """Stop a task, or take one that failed from the list."""
        found = next((known for known in self._tasks if known.number == task), None)
        if found:
            found.cancel()
            if found.over:
                self._tasks.remove(found)

    @_alone
    def use(self, model: int) -> None:
        """Make the next run with this model."""
        self.library.use(self.library.find_model(model))
        if not self.library.shown:
            self.selection = -1

    @_alone
    def unload(self, model: int) -> Future[None]:
        """End a model's process and free its memory; its sessions stay, as recorded runs."""
        self.code = "model.close()"
        return self._crew.submit(self.library.remove_model(self.library.find_model(model)))

    def metadata(self, model: int) -> Future[dict[str, Any]]:
        """All that a model's file says: `Metadata`."""
        loaded = self.library.find_model(model).model
        return self._crew.submit(lambda: _metadata(loaded))

    def _start_load(self, file: Path | None, n_ctx: int | None) -> int:
        given = [repr(str(file))] if file not in (None, demo_path()) else []
        self.code = f"model = Model({', '.join([*given, *([f'n_ctx={n_ctx}'] if n_ctx else [])])})"
        path = file or demo_path()
        return self._start_task("load", path.name, lambda task: self._load(task, path, n_ctx))

    def _start_task(self, kind: Any, name: str, work: Callable[[Task], object]) -> int:
        def noted(task: Task) -> None:
            try:
                work(task)
            except Cancelled as error:
                self._gave_up(task, error)
            except Exception as error:
                self._load_error = error
                raise

        self._count += 1
        task = Task(self._count, kind, name, noted, self._news)
        self._tasks.append(task)
        task.start()
        return task.number

    def _load(self, task: Task, path: Path, n_ctx: int | None) -> None:
        task.at("loading")
        model = Model(path, n_ctx=n_ctx, progress=task.report)
        try:
            self._arrived(task, model)
        except InfernoError:  # the workbench was closed meanwhile
            model.close()
            return
        if path != demo_path():
            self.preferences.add_recent(str(path.resolve()))

    @_alone
    def _arrived(self, task: Task, model: Model) -> None:
        shown = self.library.shown
        self.library.add_model(model, owned=True)
        if self.library.shown is not shown:
            self.selection = -1
        self._load_error = None
        self._tasks.remove(task)

    def _gave_up(self, task: Task, error: Cancelled) -> None:
        with self._lock:
            self._load_error = error
            self._tasks.remove(task)

    # --- sessions -------------------------------------------------------------------------------------

    @_alone
    def show(self, session: int) -> None:
        """Put a session on display; the one that was there goes on if it runs."""
        self._show(self.library.find_session(session))

    @_alone
    def duplicate(self, session: int) -> None:
        """A second session that has all that the first has."""
        self._show(self.library.duplicate(self.library.find_session(session)))
        self.code = "session = model.session(session.trace)" if self.session else "trace = trace.copy()"

    @_alone
    def rename(self, session: int, name: str) -> None:
        name = name.strip()
        if not name or len(name) > NAME:
            raise ValueError(f"a name has 1 to {NAME} characters, not {len(name)}")
        self.library.rename(self.library.find_session(session), name)
        self.code = f"session.name = {name!r}"

    @_alone
    def delete(self, session: int) -> None:
        """Take a session from the list; `undo` brings it back."""
        before = self.library.shown
        self.library.delete(self.library.find_session(session))
        self._follow(before)
        self.code = "session.close()"

    @_alone
    def undo(self) -> None:
        """Take back the last action that changed the list, or the sampler."""
        before = self.library.shown
        self.library.undo()
        self._follow(before)

    def _follow(self, before: Opened | None) -> None:
        """Look at what is on display now, if it is not what was there before."""
        if self.library.shown is before:
            return
        self.selection = -1
        if self.library.shown:
            self._show(self.library.shown)

    def open(self, path: str) -> Future[int]:
        """Show an ``.inferno`` file; returns the id of the session. No model is needed for that."""
        file = self.files.resolve(path)

        def work() -> int:
            trace = Trace.load(file)
            self.preferences.add_recent(str(file))
            return self._show_recorded(trace, file)

        return self._crew.submit(work)

    @_alone
    def _show_recorded(self, trace: Trace, file: Path) -> int:
        opened = self.library.add_trace(trace, file.stem)
        self._show(opened)
        self.code = f"trace = Trace.load({str(file)!r})"
        return opened.id

    def save(self, path: str) -> Future[Export]:
        """Write the ``.inferno`` file of the run on display, or make its bytes if `path` is empty."""
        return self.export("inferno", path)

    @_alone
    def export(self, format: str, path: str, theme: str = "light") -> Future[Export]:  # noqa: A002  the message's own name
        """Write the run on display to a file as it looks now, or make its bytes if `path` is empty."""
        from .export import FORMATS

        if format not in FORMATS:
            raise ValueError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
        shown = self._something()
        trace, suffix, mime = shown.trace, FORMATS[format].suffix, FORMATS[format].mime
        file = self._target(path, suffix) if path else None
        options = self._seen(format, theme)
        self.code = _export_code(format, str(file) if file else f"{_file_name(shown.name)}{suffix}", options)
        name = file.name if file else f"{_file_name(shown.name)}{suffix}"

        def work() -> Export:
            from .export import write

            data = write(trace, format, file, **options)
            return Export(name, mime, str(file), b"") if file else Export(name, mime, "", data)

        return self._crew.submit(work)

    def _seen(self, form: str, theme: str) -> dict[str, Any]:
        """What makes an export look like the page: keywords of its function, where they are not its defaults."""
        look = self.preferences.look
        other = {name: look[name] for name in LOOK if name != "follow" and look[name] != LOOK[name]}
        kind, _, what = form.partition("_")
        if kind == "html":
            return {"look": other} if other else {}
        if kind not in ("svg", "png"):
            return {}
        dark = {"theme": theme} if theme != "light" else {}
        if not what:
            return {**dark, **{name: other[name] for name in ("metric", "palette") if name in other}}
        trace = self._something().trace
        last = max(0, trace.length - 1)
        return {"at": min(int(trace.nodes["position"][self.selection]), last) if self.selection >= 0 else last, **dark}

    def verify(self) -> Future[dict[str, Any]]:
        """Score the run on display again, with a loaded model: `Verified`."""
        shown = self._something()
        loaded = self.library.model_of(shown) or self.library.model
        if not loaded:
            raise InfernoError("verifying needs a model: load the one that the run was made with")
        self.code = "verify(session.trace, model)"

        def work() -> dict[str, Any]:
            from .verification import verify

            return verify(shown.trace.copy(), loaded.model).to_dict()  # a copy: it may go on meanwhile

        return self._crew.submit(work)

    def _something(self) -> Opened:
        if not self.library.shown:
            raise InfernoError("there is nothing yet: press Run, or open a recorded run")
        return self.library.shown

    def _target(self, path: str, suffix: str) -> Path:
        """Where to write: below the root, and never over a file of another kind."""
        file = self.files.resolve(path)
        if not file.is_relative_to(self.files.root):
            raise InfernoError(f"{file} is outside of {self.files.root}, and nothing is written there")
        if file.is_dir():
            file /= f"{_file_name(self._something().name)}{suffix}"
        if file.suffix.lower() != suffix:
            file = file.with_name(file.name + suffix)
        return file

    # --- what is told ---------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """The part of `Status` that is told at once when it changes."""
        session, trace, model = self.session, self.trace, self._shown_model()
        state = self._state()  # before the rest, which is then at least as new
        card = trace.model if trace is not None else model.card if model else {}
        error = session.error if session else None if trace is not None or self.model else self._load_error
        return {
            "state": state,
            "model": {name: card.get(name) for name in MODEL_FACTS} if card else None,
            "n_ctx": model.n_ctx if model else 0,
            "error": told(error) if error and state != "loading" else None,
            "finish": session.finish if session else None,
            "code": self.code,
            "chat": self.model is not None and self.model.template is not None,
            "keep": trace.runs[-1].get("keep", 0) if trace is not None and trace.runs else 0,
        }

    def figures(self) -> dict[str, Any]:
        """The part of `Status` that changes all the time."""
        session, trace, model, task = self.session, self.trace, self._shown_model(), self.loading
        return {
            "used": trace.window().size(trace.length) if trace is not None else 0,
            "tokens_per_second": speed(trace) if trace is not None else 0.0,
            "rss": model.rss if model else 0,
            "progress": session.progress if session else task.progress if task else None,
        }

    def outline(self) -> list[Any]:
        """The part of `library_dict` that is told at once when it changes."""
        with self._lock:
            return [*self.library.outline(), [task.outline() for task in self._tasks]]

    def library_dict(self) -> dict[str, Any]:
        """`Library` of ``state.ts``."""
        with self._lock:
            return self.library.to_dict(self.tasks)

    @property
    def busy(self) -> bool:
        """Whether anything is generated, here or in another session of the list."""
        return any(opened.busy for opened in self.library.sessions)

    def _state(self) -> str:
        if self.library.shown:
            return self.library.shown.state
        if self.loading:
            return "loading"
        if self.library.model:
            return "empty"
        return "error" if self._load_error else "closed"

    def _shown_model(self) -> Model | None:
        shown = self.library.shown
        loaded: Loaded | None = self.library.model_of(shown) if shown else self.library.model
        return loaded.model if loaded else None


def speed(trace: Trace) -> float:
    """Tokens per second of the latest that were generated on the current path."""
    rows: np.ndarray[Any, Any] = trace.nodes[trace.path()[-SPEED_TOKENS:]]
    ms = rows["ms"][(rows["kind"] == Kind.GENERATED) & (rows["ms"] > 0)]
    return round(1000 / float(ms.mean()), 1) if len(ms) else 0.0


def _rendered(model: Model, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ids = model.render(messages)
    texts = [model.detokenize([token]).decode(errors="backslashreplace") for token in ids]
    tokens = [{"id": i, "text": text, "special": i in model.control} for i, text in zip(ids, texts, strict=True)]
    return {"text": model.detokenize(ids).decode(errors="backslashreplace"), "tokens": tokens}


def _metadata(model: Model) -> dict[str, Any]:
    info = model.info
    shape = {"n_layer": info.n_layer, "n_embd": info.n_embd, "n_head": info.n_head}
    facts = {name: model.card[name] for name in (*MODEL_FACTS, "bytes")}
    card = {**facts, "file": str(model.path), "n_ctx": model.n_ctx, **shape}
    return {"card": card, "rows": model.metadata_rows(), "template": model.template}


def _file_name(name: str) -> str:
    """A session's name as one that every file system takes; the page's `fileName` gives the same."""
    return re.sub(r'[\x00-\x1f\x7f-\x9f"*/:<>?\\|]+', "-", name)[:80].strip() or "session"


def _export_code(form: str, path: str, options: dict[str, Any]) -> str:
    if form == "inferno":
        return f"session.trace.save({path!r})"
    form, _, what = form.partition("_")
    given = {**({"what": what} if what else {}), **options}
    return (
        f"session.trace.to_{form}({', '.join([repr(path), *(f'{name}={value!r}' for name, value in given.items())])})"
    )
