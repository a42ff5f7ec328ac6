"""Everything that a person can do at the widget, without the widget: each gesture of the page is a method here."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .controls import Controls
from .errors import InfernoError
from .gestures.base import JOBS, alone
from .gestures.branches import Branches
from .gestures.chances import Chances
from .gestures.choices import Choices
from .gestures.following import Following
from .gestures.inside import Insides
from .gestures.models import Models
from .gestures.roads import Roads
from .gestures.runs import Runs
from .gestures.sessions import Sessions
from .gestures.surgery import Operating
from .gestures.telling import Telling
from .gestures.watches import Watches
from .gestures.xrays import Xrays
from .model import Model
from .session import Session
from .trace import Trace

CLOSE_SECONDS = 5


class Workbench(
    Runs,
    Branches,
    Roads,
    Chances,
    Xrays,
    Watches,
    Insides,
    Choices,
    Models,
    Sessions,
    Telling,
    Following,
    Operating,
):
    """Models, sessions and settings, and every gesture of the page as a method.

    Names and arguments are those of ``to_kernel`` in ``protocol.json``. What takes long returns a
    `concurrent.futures.Future`, or the id of a task that `tasks` lists, and a run that goes on is not held up. What
    also tells of its result as it grows returns a `jobs.Job`; it can be ended early, and a gesture that changes the
    path which it looks at ends it.

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
    code : the line of Python that does what was done last. What the page asks by itself, such as a look-ahead or an
        X-ray, has its line in the answer
    """

    @alone
    def begin_with(self, target: Session | Model | Trace | str | Path | None) -> None:
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

    def close(self) -> None:
        """End what was made here; a session or model that was handed in goes on."""
        if self._closed:
            return
        for opened in list(self.library.sessions):
            if opened.session and opened.owned:
                opened.session.stop()  # before the lock, which a gesture may hold until something ends
        with self._lock:
            self._closed = True
            tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._end_following()
        self._crew.close()
        for opened in tuple(self._jobs):
            with contextlib.suppress(InfernoError):  # what does not end here ends with its model
                self._end_jobs(opened, JOBS)
        for opened in tuple(self._surgeries):
            with contextlib.suppress(InfernoError):  # what is begun in Python inside them ends there
                self._leave(opened)
        for task in tasks:
            task.join(CLOSE_SECONDS)
        self.library.close()
