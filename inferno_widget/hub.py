"""Models from the Hugging Face hub, or from a server that speaks like it (``HF_ENDPOINT``).

Files go into the hub's own cache, where every other program finds them. huggingface_hub throws away what it
has of a file when a download breaks off; here it is kept, and the next attempt goes on from there.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from . import __version__
from .arguments import function
from .errors import Cancelled, InfernoError, brief, check_text
from .gguf import scaled

PART = re.compile(r"(.*)-\d{5}-of-(\d{5})\.gguf", re.DOTALL)
PIECE = 1 << 18
"""Bytes that are read at once. Only between two of them can a download be cancelled."""
REPORT_SECONDS = 0.05
"""Time between two reports of the progress."""
MOST_BY_HTTP = 50 * 10**9
"""Bytes of a file; the hub sends larger ones by its own protocol only."""
LONGEST_NAME = 1_000
BUSY = (408, 429)
"""Status codes of a hub that has no time just now."""

Report = Callable[[int], None]
"""Told how many bytes are there."""


def fetch(
    repo: str,
    pattern: str = "*.gguf",
    *,
    revision: str = "main",
    progress: Callable[[float], object] | None = None,
) -> Path:
    """Download a model, unless it is in the cache, and return where it is: the first part of a split one.

    A download that broke off goes on where it stopped. Without a connection, or with ``HF_HUB_OFFLINE=1``, what
    the cache holds is taken. The hub is asked for nothing else; it sees the login that huggingface_hub may hold,
    which private repositories need.

    Parameters
    ----------
    repo : such as "owner/name-GGUF"
    pattern : which of its files, such as "*Q8_0.gguf", in upper or lower case. It must match one model
    revision : a branch, a tag or a commit
    progress : called with the fraction, 0 to 1; when it returns False the download stops. A bar is shown when None

    Raises
    ------
    InfernoError
        If huggingface_hub is not installed, there is no such repository or file, or the connection broke.
    Cancelled
        If `progress` returned False; what was downloaded is kept for the next attempt.
    """
    for name, value in (("repo", repo), ("pattern", pattern), ("revision", revision)):
        check_text(name, value)
        if not value or not value.isprintable() or len(value) > LONGEST_NAME:
            raise ValueError(f"{name} cannot be {brief(value)}: give it as the hub shows it, such as 'owner/name-GGUF'")
    function("progress", progress)
    repository = _Repository(_library(), repo, revision)
    with repository.refusals():
        try:
            names = repository.names()
        except _NotReachedError as error:
            return repository.from_cache(pattern, str(error))
        files = [repository.file(name) for name in choose(names, pattern, repo)]
        missing = [file for file in files if not repository.has(file)]
        if missing:
            repository.check_room(missing)
            with _reporting(repository, sum(file.size for file in missing), progress) as report:
                for i, file in enumerate(missing):
                    repository.complete(file, report, before=sum(other.size for other in missing[:i]))
        paths = [repository.placed(file) for file in files]
    return paths[0]


def choose(names: Sequence[str], pattern: str, where: str) -> list[str]:
    """The one file, or all parts of the one split model, that match `pattern`; it may name any part.

    Raises
    ------
    InfernoError
        If none or several match; it lists them.
    """
    models: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names):
        if name.lower().endswith(".gguf"):
            part = PART.fullmatch(name)
            models.setdefault((part[1], part[2]) if part else (name, ""), []).append(name)
    matching = [each for each in models.values() if any(_matches(name, pattern) for name in each)]
    if len(matching) == 1:
        return matching[0]
    listed = matching or list(models.values())
    found = "\n".join(f"  {each[0]}" + (f" and {len(each) - 1} more parts" if each[1:] else "") for each in listed)
    if not models:
        raise InfernoError(f"{where} holds no GGUF file; look for a repository whose name ends with -GGUF")
    if not matching:
        raise InfernoError(f"no file of {where} matches {pattern!r}; it holds\n{found}")
    raise InfernoError(f"{len(matching)} models of {where} match {pattern!r}; make it match one of\n{found}")


def _matches(name: str, pattern: str) -> bool:
    """A pattern without a folder is about the file's own name too."""
    name, pattern = name.lower(), pattern.lower()
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)


class _NotReachedError(Exception):
    """The hub did not answer; says why."""


class _File(NamedTuple):
    """A file of a repository, as the hub describes it."""

    name: str
    url: str
    etag: str
    commit: str
    size: int


class _Repository:
    """One repository, at the hub and in the cache."""

    def __init__(self, hub: Any, repo: str, revision: str) -> None:
        self.hub, self.repo, self.revision = hub, repo, revision
        self.endpoint: str = hub.constants.ENDPOINT
        # What a broken connection raises is of requests, httpx or httpx2, whichever this version is built on.
        self.failures: tuple[type[Exception], ...] = (OSError, hub.utils.HfHubHTTPError.__mro__[1])

    @cached_property
    def folder(self) -> Path:
        return Path(self.hub.constants.HF_HUB_CACHE) / f"models--{self.repo.replace('/', '--')}"

    # --- at the hub -----------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Of all its files."""
        utils = self.hub.utils
        if self.hub.constants.HF_HUB_OFFLINE:
            utils.validate_repo_id(self.repo)
            raise _NotReachedError("HF_HUB_OFFLINE forbids to ask the hub")
        try:
            info = self.hub.HfApi(library_name="inferno_widget").model_info(self.repo, revision=self.revision)
        except (utils.HFValidationError, utils.HfHubHTTPError) as error:
            response = getattr(error, "response", None)
            if response is None or (response.status_code < 500 and response.status_code not in BUSY):
                raise
            raise _NotReachedError(f"{self.endpoint} failed ({_brief(error)})") from error
        except self.failures as error:
            raise _NotReachedError(f"{self.endpoint} cannot be reached ({_brief(error)})") from error
        return [sibling.rfilename for sibling in info.siblings or ()]

    def file(self, name: str) -> _File:
        url = self.hub.hf_hub_url(self.repo, name, revision=self.revision)
        data = self.hub.get_hf_file_metadata(url)
        if not re.fullmatch(r"[\w-]+", data.etag or "") or not data.commit_hash or data.size is None:
            raise InfernoError(f"{url} lacks a plain ETag, X-Repo-Commit or Content-Length; is {self.endpoint} a hub?")
        return _File(name, url, data.etag, data.commit_hash, data.size)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Say in words what the hub or the way to it refused."""
        utils, where = self.hub.utils, f"{self.endpoint}/{self.repo}"
        try:
            yield
        except InfernoError:
            raise
        except utils.HFValidationError as error:
            raise InfernoError(f"{self.repo!r} is no name of a repository; one looks like owner/name") from error
        except utils.GatedRepoError as error:
            raise InfernoError(f"{where} is gated: accept its terms there, then log in: hf auth login") from error
        except utils.RepositoryNotFoundError as error:
            raise InfernoError(f"there is no {where}; if it is private, log in: hf auth login") from error
        except utils.RevisionNotFoundError as error:
            raise InfernoError(f"{where} has no revision {self.revision!r}") from error
        except utils.HfHubHTTPError as error:
            raise InfernoError(f"{where} was refused: {_brief(error)}") from error
        except self.failures as error:
            raise InfernoError(f"{where} could not be downloaded: {_brief(error)}") from error

    # --- in the cache ---------------------------------------------------------------------------------

    def from_cache(self, pattern: str, reason: str) -> Path:
        """What an earlier download left of the model."""
        reference = self.folder / "refs" / self.revision
        commit = reference.read_text().strip() if reference.is_file() else self.revision
        snapshot = self.folder / "snapshots" / commit
        names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
        if not names:
            raise InfernoError(
                f"{reason}, and the cache holds nothing of {self.repo} at {self.revision!r}; go online and try again"
            )
        chosen = choose(names, pattern, f"{self.repo} in the cache ({reason})")
        part = PART.fullmatch(chosen[0])
        if part and len(chosen) < int(part[2]):
            raise InfernoError(f"{reason}, and the cache holds {len(chosen)} of {int(part[2])} parts of {part[1]}")
        return snapshot / chosen[0]

    def has(self, file: _File) -> bool:
        """Whether the whole file is there; where links are not allowed it is not among the blobs."""
        return self._blob(file).exists() or (self.folder / "snapshots" / file.commit / file.name).exists()

    def begun(self, file: _File) -> int:
        """Bytes that an attempt before this one left."""
        partial = self._partial(file)
        return min(partial.stat().st_size, file.size) if partial.exists() else 0

    def check_room(self, files: Sequence[_File]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        need = sum(file.size - self.begun(file) for file in files)
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise InfernoError(
                f"{self.repo} needs {scaled(need)}B more, but the disk of {self.folder} has only {scaled(free)}B free; "
                "make room, or set HF_HOME to a folder on another disk"
            )

    def complete(self, file: _File, report: Report, *, before: int) -> None:
        """Download what is missing of a file, and make it a blob of the cache; `before` counts other files' bytes."""
        if file.size > MOST_BY_HTTP:
            return  # to `placed`, which speaks that protocol and cannot go on where it stopped
        partial = self._partial(file)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with self._alone(file):
            if self.has(file):  # somebody else was quicker
                return
            if partial.exists() and partial.stat().st_size > file.size:
                partial.unlink()
            partial.touch()
            report(before + self.begun(file))
            while (have := self.begun(file)) < file.size:
                try:
                    self._append(file, partial, lambda at: report(before + at))
                except (InfernoError, self.hub.utils.HfHubHTTPError):
                    raise
                except self.failures as error:
                    if self.begun(file) > have:
                        continue
                    raise InfernoError(
                        f"the download of {file.name} from {self.endpoint} broke off at {have:,} of {file.size:,} "
                        f"bytes ({_brief(error)}); try again, it goes on from there"
                    ) from error
            report(before + file.size)
            partial.replace(self._blob(file))

    def _append(self, file: _File, partial: Path, report: Report) -> None:
        from huggingface_hub.file_download import http_get

        headers = self.hub.utils.build_hf_headers(library_name="inferno_widget", library_version=__version__)
        headers["Accept-Encoding"] = "identity"  # so that a byte of the file is a byte of the answer
        with partial.open("ab") as out:
            http_get(
                file.url,
                out,
                resume_size=out.tell(),
                headers=headers,
                expected_size=file.size,
                displayed_filename=file.name,
                _tqdm_bar=_Bar(lambda: report(out.tell())),
            )

    @contextmanager
    def _alone(self, file: _File) -> Iterator[None]:
        """Nobody else writes to this file; the lock is that of huggingface_hub."""
        import filelock

        path = self.folder.parent / ".locks" / self.folder.name / f"{file.etag}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.hub.utils.WeakFileLock(path, timeout=1):
                yield
        except filelock.Timeout as error:
            raise InfernoError(
                f"another process is downloading {file.name} just now; wait until it is there"
            ) from error

    def placed(self, file: _File) -> Path:
        """Let huggingface_hub put the blob where it belongs; there is nothing left to download."""
        return Path(self.hub.hf_hub_download(self.repo, file.name, revision=self.revision))

    def _blob(self, file: _File) -> Path:
        return self.folder / "blobs" / file.etag

    def _partial(self, file: _File) -> Path:
        return self.folder / "blobs" / f"{file.etag}.incomplete"


# --- the library and its progress -------------------------------------------------------------------------


def _library() -> Any:
    """huggingface_hub, told to send no telemetry and to read in pieces small enough to stop between two."""
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.utils
    except ImportError as error:
        raise InfernoError(
            f'downloading models needs huggingface_hub; install it: pip install "inferno_widget[hub]" ({error})'
        ) from error
    constants = huggingface_hub.constants
    constants.HF_HUB_DISABLE_TELEMETRY = True
    constants.DOWNLOAD_CHUNK_SIZE = min(constants.DOWNLOAD_CHUNK_SIZE, PIECE)
    return huggingface_hub


class _Bar:
    """What huggingface_hub takes for its progress bar. It counts bytes that a broken connection loses again."""

    def __init__(self, moved: Callable[[], None]) -> None:
        self._moved = moved

    def update(self, _: int) -> None:
        self._moved()


@contextmanager
def _reporting(repository: _Repository, total: int, progress: Callable[[float], object] | None) -> Iterator[Report]:
    """Tell `progress` the fraction of `total` bytes, or show a bar."""
    if progress is None:
        with repository.hub.utils.tqdm(total=total, unit="B", unit_scale=True, desc=repository.repo) as bar:
            yield lambda have: bar.update(have - bar.n)
        return

    told = 0.0

    def report(have: int) -> None:
        nonlocal told
        if have < total and time.monotonic() - told < REPORT_SECONDS:
            return
        told = time.monotonic()
        if progress(have / max(1, total)) is False:
            raise Cancelled("the download was cancelled; what came is kept for the next attempt")

    yield report


def _brief(error: BaseException) -> str:
    """The first line that an error says of itself."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
