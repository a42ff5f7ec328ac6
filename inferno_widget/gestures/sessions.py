"""The list of sessions, and the files that are made of them."""

from __future__ import annotations

import re
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InfernoError
from ..jobs import Job
from ..preferences import LOOK
from ..trace import Trace
from .base import JOBS, alone
from .following import Following
from .surgery import Operating

NAME = 200
"""Most characters of a session's name."""


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


class Sessions(Following, Operating):
    """Show, duplicate, rename, delete, undo, open, save, export, verify."""

    @alone
    def show(self, session: int) -> None:
        """Put a session on display; the one that was there goes on if it runs."""
        opened = self.library.find_session(session)
        if opened is not self.library.shown:
            self._end_following()
        self._show(opened)

    @alone
    def duplicate(self, session: int) -> None:
        """A second session that has all that the first has."""
        opened = self.library.find_session(session)
        self._end_following()
        self._show(self.library.duplicate(opened))
        self.code = "session = model.session(session.trace)" if self.session else "trace = trace.copy()"

    @alone
    def rename(self, session: int, name: str) -> None:
        name = name.strip()
        if not name or len(name) > NAME:
            raise ValueError(f"a name has 1 to {NAME} characters, not {len(name)}")
        self.library.rename(self.library.find_session(session), name)
        self.code = f"session.name = {name!r}"

    @alone
    def delete(self, session: int) -> None:
        """Take a session from the list; `undo` brings it back."""
        before, opened = self.library.shown, self.library.find_session(session)
        self._end_jobs(opened, JOBS)
        if opened is before:
            self._end_following()
        self._leave(opened)
        self.library.delete(opened)
        self._follow(before)
        self.code = "session.close()"

    @alone
    def undo(self) -> None:
        """Take back the last action that changed the list, or the sampler."""
        before = self.library.shown
        self.library.undo()
        if self.library.shown is not before:
            self._end_following()
        self._sweep()
        self._follow(before)

    def open(self, path: str) -> Future[int]:
        """Show an ``.inferno`` file; returns the id of the session. No model is needed for that."""
        file = self.files.resolve(path)

        def work() -> int:
            trace = Trace.load(file)
            self.preferences.add_recent(str(file))
            return self._show_recorded(trace, file)

        return self._crew.submit(work)

    @alone
    def _show_recorded(self, trace: Trace, file: Path) -> int:
        self._end_following()
        opened = self.library.add_trace(trace, file.stem)
        self._show(opened)
        self.code = f"trace = Trace.load({str(file)!r})"
        return opened.id

    def save(self, path: str) -> Future[Export]:
        """Write the ``.inferno`` file of the run on display, or make its bytes if `path` is empty."""
        return self.export("inferno", path)

    @alone
    def export(self, format: str, path: str, theme: str = "light") -> Future[Export]:  # noqa: A002  the message's own name
        """Write the run on display to a file as it looks now, or make its bytes if `path` is empty."""
        from ..export import FORMATS

        if format not in FORMATS:
            raise ValueError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")
        shown, form = self._something(), FORMATS[format]
        trace, name = shown.trace, f"{_file_name(shown.name)}{form.suffix}"
        file = self._target(path, name) if path else None
        options = self._seen(format, theme)
        self.code = f"{self._trace_code}.{_export_code(format, str(file) if file else name, options)}"

        def work() -> Export:
            from ..export import write

            data = write(trace, format, file, **options)
            return Export(file.name, form.mime, str(file), b"") if file else Export(name, form.mime, "", data)

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

    @alone
    def verify(self) -> Job[dict[str, Any]]:
        """Score the run on display again, with a loaded model: `Verified`. Stop ends it."""
        shown = self._something()
        loaded = self.library.model_of(shown) or self.library.model
        if not loaded:
            raise InfernoError("verifying needs a model: load the one that the run was made with")
        self.code = f"verify({self._trace_code}, model)"

        def work(_: Job[dict[str, Any]]) -> dict[str, Any]:
            from ..verification import verify

            return verify(shown.trace.copy(), loaded.model).to_dict()  # a copy: it may go on meanwhile

        return self._start_job("verify", work)

    def _target(self, path: str, name: str) -> Path:
        """Where to write: below the root, and never over a file of another kind; in a folder under that name."""
        file = self.files.resolve(path)
        if not file.is_relative_to(self.files.root):
            raise InfernoError(f"{file} is outside of {self.files.root}, and nothing is written there")
        if file.is_dir():
            file /= name
        suffix = Path(name).suffix
        if file.suffix.lower() != suffix:
            file = file.with_name(file.name + suffix)
        return file


def _file_name(name: str) -> str:
    """A session's name as one that every file system takes; the page's `fileName` gives the same."""
    return re.sub(r'[\x00-\x1f\x7f-\x9f"*/:<>?\\|]+', "-", name)[:80].strip() or "session"


def _export_code(form: str, path: str, options: dict[str, Any]) -> str:
    if form == "inferno":
        return f"save({path!r})"
    form, _, what = form.partition("_")
    given = {**({"what": what} if what else {}), **options}
    return f"to_{form}({', '.join([repr(path), *(f'{name}={value!r}' for name, value in given.items())])})"
