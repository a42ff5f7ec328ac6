"""How models are found, weighed, loaded and let go."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ..errors import Cancelled, InfernoError, printable
from ..export.card import MODEL_FACTS
from ..memory import estimate
from ..model import Model, demo_path
from ..tasks import Task
from .base import JOBS, alone
from .following import Following
from .surgery import Operating


class Models(Following, Operating):
    """Browse, inspect, load, download, use, unload."""

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

    @alone
    def load(self, path: str, n_ctx: int = 0, force: bool = False) -> int | None:
        """Begin to load a model, and return the task's id; None if it is loaded with this `n_ctx` already.

        With `force` also where it needs more memory than is free.
        """
        file = self.files.resolve(path) if path else demo_path()
        for loaded in self.library.models:
            if loaded.model.path == file and n_ctx in (0, loaded.model.n_ctx):
                self.use(loaded.id)
                return None
        return self._start_load(file, n_ctx or None, force=force)

    @alone
    def download(self, repo: str, pattern: str = "*.gguf") -> int:
        """Begin to fetch a model from the Hugging Face hub and to load it, and return the task's id."""
        self.code = f"model = Model.from_hub({repo!r}, {pattern!r})"

        def work(task: Task) -> None:
            from ..hub import fetch

            task.at("downloading")
            self._load(task, fetch(repo, pattern, progress=task.report), None)

        return self._start_task("download", repo, work)

    @alone
    def cancel(self, task: int) -> None:
        """Stop a task, or take one that failed from the list."""
        found = next((known for known in self._tasks if known.number == task), None)
        if found:
            found.cancel()
            if found.over:
                self._tasks.remove(found)

    @alone
    def use(self, model: int) -> None:
        """Make the next run with this model."""
        before = self.library.shown
        self.library.use(self.library.find_model(model))
        if not self.library.shown:
            self.selection = -1
            self._end_following()
            self._end_jobs(before)

    @alone
    def unload(self, model: int) -> Future[None]:
        """End a model's process and free its memory; its sessions stay, as recorded runs."""
        self.code = "model.close()"
        loaded = self.library.find_model(model)
        for opened in self.library.sessions:
            if self.library.model_of(opened) is loaded:
                self._end_jobs(opened, JOBS)
                if opened is self.library.shown:
                    self._end_following()
                self._leave(opened)
        return self._crew.submit(self.library.remove_model(loaded))

    def metadata(self, model: int) -> Future[dict[str, Any]]:
        """All that a model's file says: `Metadata`."""
        loaded = self.library.find_model(model).model
        return self._crew.submit(lambda: _metadata(loaded))

    def _start_load(self, file: Path | None, n_ctx: int | None, *, force: bool = False) -> int:
        given = [repr(str(file))] if file not in (None, demo_path()) else []
        options = [f"{name}={value}" for name, value in (("n_ctx", n_ctx), ("force", force)) if value]
        self.code = f"model = Model({', '.join([*given, *options])})"
        path = file or demo_path()
        return self._start_task("load", printable(path.name), lambda task: self._load(task, path, n_ctx, force=force))

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

    def _load(self, task: Task, path: Path, n_ctx: int | None, *, force: bool = False) -> None:
        task.at("loading")
        model = Model(path, n_ctx=n_ctx, force=force, progress=task.report)
        try:
            self._arrived(task, model)
        except InfernoError:  # the workbench was closed meanwhile
            model.close()
            return
        if path != demo_path():
            self.preferences.add_recent(str(path.resolve()))

    @alone
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


def _metadata(model: Model) -> dict[str, Any]:
    info = model.info
    shape = {"n_layer": info.n_layer, "n_embd": info.n_embd, "n_head": info.n_head}
    facts = {name: model.card[name] for name in (*MODEL_FACTS, "bytes")}
    card = {**facts, "file": printable(str(model.path)), "n_ctx": model.n_ctx, **shape}
    findings = [finding.to_dict() for finding in model.findings]
    return {"card": card, "findings": findings, "rows": model.metadata_rows(), "template": model.template}
