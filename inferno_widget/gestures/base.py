"""What every gesture works with: what is open, the settings, and who may change them now."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from ..browse import Files
from ..controls import Controls
from ..errors import InfernoError
from ..forks import tell
from ..jobs import Job
from ..library import Library, Opened
from ..lookahead import Lookahead
from ..model import Model
from ..preferences import Preferences
from ..record import Floats
from ..session import Session
from ..tasks import Crew, Task
from ..trace import Trace
from .seen import Seen

if TYPE_CHECKING:
    from ..altered import Altered
    from ..sampling import Sampler
    from .following import Follower
    from .surgery import Surgery

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B", bound="Base")


def alone(method: Callable[Concatenate[B, P], R]) -> Callable[Concatenate[B, P], R]:
    """Only one gesture at a time changes what is open: they come from the page's thread and from tasks'."""

    @functools.wraps(method)
    def locked(self: B, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            if self._closed:
                raise InfernoError("the workbench is closed")
            return method(self, *args, **kwargs)

    return cast("Callable[Concatenate[B, P], R]", locked)


PREVIEWS = (
    *("lookahead", "resample", "commitment", "what_if", "explain", "edit", "fork"),
    *("heads", "attention", "head_map", "lens", "attribution", "causal_map", "try_edits", "intervene"),
)
"""Jobs that look at a path, and so end before it changes. A watch does not: it looks at nodes, which never change."""
STOPPED = (*PREVIEWS, "verify")
"""Jobs that Stop ends. Verifying looks at a copy."""
JOBS = (*STOPPED, "watch")
"""All of them: they end with their session."""
END_SECONDS = 5
"""How long a gesture waits for the end of what it ends: a token or two, as a rule."""


class Answer(NamedTuple):
    """What a gesture came to, with bytes beside it.

    Attributes
    ----------
    value : as JSON has it
    buffers : in the order in which ``js/src/answers/`` names them
    """

    value: dict[str, Any]
    buffers: list[bytes]


class Base:
    """Models, sessions and settings; see `workbench.Workbench` for parameters and attributes."""

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
        self._jobs: WeakKeyDictionary[Opened, dict[str, Job[Any]]] = WeakKeyDictionary()
        self._ahead: WeakKeyDictionary[Session, tuple[Lookahead, str]] = WeakKeyDictionary()
        self._rows: WeakKeyDictionary[Opened, OrderedDict[int, Floats]] = WeakKeyDictionary()
        self._looked = Seen()
        self._surgeries: dict[Opened, Surgery] = {}
        self._altered: WeakKeyDictionary[Trace, Altered] = WeakKeyDictionary()
        self._follower: Follower | None = None
        self._tasks: list[Task] = []
        self._count = 0
        self._load_error: BaseException | None = None
        self._closed = False
        tell(self)

    def forked(self) -> None:
        """See `forks.Forkable`."""
        self._lock, self._closed = threading.RLock(), True

    def __repr__(self) -> str:
        library = self.library
        return f"<Workbench {len(library.models)} models, {len(library.sessions)} sessions>"

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
    def loading(self) -> Task | None:
        """The task that everything waits for, because there is nothing else yet."""
        if self.library.model or self.library.shown:
            return None
        return next((task for task in self._tasks if not task.over), None)

    # --- what the gestures share ----------------------------------------------------------------------

    def _awake(self) -> Session:
        """The session on display; a recorded run gets one where its model is loaded."""
        shown = self.library.shown
        if shown is None:
            self._model()
            raise InfernoError("nothing has been generated yet: press Run")
        session = self.library.awake(shown)
        self.library.show(shown)
        return session

    def _settled(self) -> Session:
        """The session on display, with no preview under way: its path may change."""
        session = self._awake()
        self._end_jobs(self._something())
        return session

    def _model(self) -> Model:
        if self.model:
            return self.model
        if self.library.shown:
            self.library.awake(self.library.shown)  # says what is missing
        if self.loading:
            raise InfernoError("the model is still being loaded: wait until it is there")
        if self._load_error:
            raise InfernoError(f"no model is loaded: {self._load_error}")
        raise InfernoError("no model is loaded: choose one under Model")

    def _position(self, node: int) -> int:
        """Of a node on the path that is shown."""
        path: list[int] = self._something().trace.path().tolist()
        if node not in path:
            raise InfernoError("this token is on another branch")
        return path.index(node)

    def _place(self, node: int) -> int | None:
        """What a session calls the place of a node's token; that of the token to come for -1."""
        return None if node < 0 else self._position(node)

    def _marked(self) -> tuple[Session | Trace, str]:
        """What notes marks, and its name in Python: a recorded run can be marked without its model."""
        shown = self._something()
        if shown.session and shown.state != "closed":
            return shown.session, "session"
        return shown.trace, "trace"

    @property
    def _trace_code(self) -> str:
        """The trace on display, in Python."""
        return "session.trace" if self._marked()[1] == "session" else "trace"

    def _shown_model(self) -> Model | None:
        """The model of what is on display."""
        shown = self.library.shown
        loaded = self.library.model_of(shown) if shown else self.library.model
        return loaded.model if loaded else None

    def _other_sampler(self, session: Session) -> Sampler | None:
        """How tokens are chosen now, where that is not how the session chooses them."""
        sampler = self.controls.sampler_of(session)
        return sampler if sampler != session.sampler else None

    def _something(self) -> Opened:
        if not self.library.shown:
            raise InfernoError("there is nothing yet: press Run, or open a recorded run")
        return self.library.shown

    def _show(self, opened: Opened) -> None:
        self.library.show(opened)
        self.selection = -1
        self.prompt = opened.prompt

    def _follow(self, before: Opened | None) -> None:
        """Look at what is on display now, if it is not what was there before."""
        if self.library.shown is before:
            return
        self.selection = -1
        if self.library.shown:
            self._show(self.library.shown)

    # --- work beside a run ----------------------------------------------------------------------------

    def _start_job(self, kind: str, work: Callable[[Job[R]], R]) -> Job[R]:
        """Begin work beside the run on display; that of the same kind which is under way ends."""
        jobs = self._jobs.setdefault(self._something(), {})
        if kind in jobs:
            jobs[kind].enough()
        job = jobs[kind] = Job(work)  # known before it begins
        return self._crew.run(job)

    def _end_jobs(self, opened: Opened | None, kinds: Sequence[str] = PREVIEWS) -> None:
        """End what is under way beside a run, with what there is of it.

        Raises
        ------
        InfernoError
            If something does not end soon.
        """
        jobs = self._jobs.get(opened, {}) if opened else {}
        ending = [jobs[kind] for kind in kinds if kind in jobs]
        for job in ending:
            job.enough()
        if not all(job.end(END_SECONDS) for job in ending):
            raise InfernoError("what was begun before has not come to its end: try again in a moment")
