"""The kernel's file system as a person may see it from the page: from a root, and never above it."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from .arguments import LONGEST_PATH, file_path, flag
from .errors import InfernoError, brief, printable
from .gguf import ModelInfo, read_info
from .model import demo_path

SUFFIXES = {".gguf": "gguf", ".inferno": "inferno"}
SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)
HUB_FOLDER = re.compile(r"models--(.+)")

Place = dict[str, str]


class Files:
    """Folders, models and recordings below a root.

    Beside the root there are the caches of Hugging Face and of llama.cpp, the demo model and the files that were
    used recently. Everything else is refused, whether it is asked for by ``..``, by an absolute path or through a link.

    Parameters
    ----------
    root : a folder. When None the home folder if the working directory lies in it, else the working directory:
        where a notebook server usually starts

    Attributes
    ----------
    root : the folder, with all links resolved
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = _default_root() if root is None else _real(file_path("root", root))
        if not _is_folder(self.root):
            raise InfernoError(
                f"{printable(str(root))} is not a folder; give an existing one as the root of the file browser"
            )
        self._recent: set[Path] = set()

    def places(self, recent: Sequence[str] = ()) -> dict[str, Any]:
        """Where to begin: the root, the demo model, those of the `recent` files that still exist, and the caches."""
        existing = [path for path in map(Path, recent) if _is_file(path)]
        self._recent |= {Path(os.path.normpath(path)) for path in existing}
        return {
            "root": _place(self._root_name(), self.root),
            "demo": _place("Demo model", demo_path()),
            "recent": [_place(_whole_name(path.name), path) for path in existing],
            "caches": [_place(name, path) for name, path in caches()],
        }

    def list(self, path: str = "", *, hidden: bool = False) -> dict[str, Any]:
        """Folders, models and recordings in the folder at `path`. A split model is one entry: its first part.

        Nothing is opened, and left out is whatever is no regular file, has no name in Unicode, or is a link to a
        place that is out of reach.
        """
        hidden = flag("hidden", hidden)
        folder, within = self.resolve(path), self._within()
        seen = [each for each in _entries(folder) if (hidden or not _hidden(each)) and _reachable(each, within)]
        folders = [_place(each.name, Path(each.path)) for each in seen if _is_dir(each)]
        files = [file for each in seen for file in _found(each)]
        hub = hub_cache()
        folders = _repositories(folders) if folder == hub else folders
        return {
            "path": str(folder),
            "crumbs": self._crumbs(folder, hub),
            "folders": sorted(folders, key=lambda each: natural(each["name"])),
            "files": sorted(_joined(files), key=lambda each: natural(each["name"])),
        }

    def info(self, path: str) -> ModelInfo:
        """What the file at `path` says of its model; remembered as long as the file stays the same."""
        return _info(*_identity(self.resolve(path)))

    def inspect(self, path: str) -> dict[str, Any]:
        """The few figures that a list shows of a model, and what is odd about its file.

        Raises
        ------
        ModelFileError
            If it is not a model.
        InfernoError
            If it is out of reach.
        """
        return dict(_header(*_identity(self.resolve(path))))

    def resolve(self, path: str) -> Path:
        """The absolute path of something within reach, existing or not; a relative `path` starts at the root.

        Raises
        ------
        InfernoError
            If it is out of reach.
        """
        if not isinstance(path, str):
            raise TypeError(f"path must be text, not {brief(path)}")
        if "\0" in path or len(path) > LONGEST_PATH:
            why = "holds a zero byte" if "\0" in path else f"has {len(path):,} characters"
            raise InfernoError(f"path: {brief(path)} is no path: it {why}")
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            raise InfernoError(f"{path!r} is no path: it holds half a character") from None
        wanted = Path(os.path.normpath(self.root / _at_home(Path(path))))
        # The name as it was given where that leads to a place, since a cache's links have better names than its files.
        for candidate in (wanted, _real(wanted.parent) / wanted.name):
            if _lies_in(candidate, self._within()) and _lies_in(_real(candidate), self._within()):
                return candidate
        if wanted == demo_path() or wanted in self._recent:
            return wanted
        raise InfernoError(
            f"{printable(str(wanted))} is outside of {printable(str(self.root))}, where the file browser starts; start "
            "it elsewhere (root=...), or load the file from Python"
        )

    def _within(self) -> Sequence[Path]:
        return [self.root, *(folder for _, folder in caches())]

    def _root_name(self) -> str:
        return "Home" if self.root == _home() else self.root.name or str(self.root)

    def _crumbs(self, folder: Path, hub: Path) -> Sequence[Place]:
        """The way to `folder` from the place it lies in; a repository of the Hugging Face cache is one step."""
        starts = [*caches(), (self._root_name(), self.root)]
        name, start = next(each for each in starts if folder.is_relative_to(each[1]))
        crumbs = [_place(name, start)]
        at = start
        for part in folder.relative_to(start).parts:
            at /= part
            inside = at.relative_to(hub).parts if at.is_relative_to(hub) else ()
            repository = HUB_FOLDER.fullmatch(inside[0]) if len(inside) == 3 and inside[1] == "snapshots" else None
            if repository:
                crumbs[-2:] = [_place(repository[1].replace("--", "/"), at)]
            else:
                crumbs.append(_place(part, at))
        return crumbs


# --- places -----------------------------------------------------------------------------------------------


def caches() -> list[tuple[str, Path]]:
    """Name and folder of the caches that exist."""
    known = (("Hugging Face cache", hub_cache()), ("llama.cpp cache", llama_cpp_cache()))
    return [(name, path) for name, path in known if _is_folder(path)]


def hub_cache() -> Path:
    """Where huggingface_hub keeps its downloads."""
    environment = os.environ
    home = environment.get("HF_HOME") or _user_cache() / "huggingface"
    given = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return _real(Path(os.path.expandvars(given or Path(home) / "hub")))


def llama_cpp_cache() -> Path:
    """Where llama.cpp's own programs keep their downloads."""
    given = os.environ.get("LLAMA_CACHE")
    if given:
        return _real(Path(given))
    if sys.platform == "darwin":
        return _real(_home() / "Library" / "Caches" / "llama.cpp")
    if sys.platform == "win32":
        return _real(Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "llama.cpp")
    return _real(_user_cache() / "llama.cpp")


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")


def _default_root() -> Path:
    home = _home()
    try:
        here = _real(Path.cwd())
    except OSError:  # it was removed
        return home
    return home if here.is_relative_to(home) else here


def _home() -> Path:
    return _real(Path("~"))


def _at_home(path: Path) -> Path:
    """`path` with a leading ~ replaced; as it is where nobody knows by what."""
    with suppress(RuntimeError):
        return path.expanduser()
    return path


def _real(path: Path) -> Path:
    return Path(os.path.realpath(_at_home(path)))


def _lies_in(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _place(name: str, path: Path) -> Place:
    return {"name": name, "path": str(path)}


# --- what is in a folder ----------------------------------------------------------------------------------


def natural(name: str) -> list[str | int]:
    """Sorts "v2" before "v10", and letters whatever their case."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name.casefold()))]


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError as error:
        raise InfernoError(f"{folder}: there is no such folder") from error
    except NotADirectoryError as error:
        raise InfernoError(f"{folder} is a file, not a folder") from error
    except PermissionError as error:
        raise InfernoError(f"{folder} may not be read (permission denied)") from error
    except OSError as error:
        raise InfernoError(f"{folder} cannot be read: {error}") from error


def _hidden(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return True
    if sys.platform != "win32":
        return False
    with suppress(OSError):
        return bool(entry.stat(follow_symlinks=False).st_file_attributes & stat.FILE_ATTRIBUTE_HIDDEN)
    return False


def _reachable(entry: os.DirEntry[str], within: Iterable[Path]) -> bool:
    """Whether it may be shown: the page can be told its name, and a link does not lead out."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return False
    return not entry.is_symlink() or _lies_in(_real(Path(entry.path)), within)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        return entry.is_dir()
    return False


def _is_file(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def _is_folder(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def _found(entry: os.DirEntry[str]) -> Iterator[dict[str, Any]]:
    """The entry as the page wants it, if it is a file to show."""
    kind = SUFFIXES.get(Path(entry.name).suffix.lower())
    if kind is None:
        return
    with suppress(OSError):  # a link to nothing, or gone just now
        status = entry.stat()
        if stat.S_ISREG(status.st_mode):
            yield {"name": entry.name, "path": entry.path, "kind": kind, "bytes": status.st_size, "parts": 1}


def _joined(files: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same files with the parts of a split model as one: named like the whole, at the path of the first part."""
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for file in sorted(files, key=lambda each: each["name"]):
        split = _split(file["name"])
        if not split:
            yield file
            continue
        whole = {**file, "name": _whole_name(file["name"]), "bytes": 0, "parts": int(split[3])}
        models.setdefault((split[1], split[3]), whole)["bytes"] += file["bytes"]
    yield from models.values()


def _split(name: str) -> re.Match[str] | None:
    """The parts of a name that is one of several files of a model."""
    split = SPLIT.fullmatch(name)
    return split if split and int(split[3]) > 1 else None


def _whole_name(name: str) -> str:
    """A file's name; where it is a part of a split model, that of the whole."""
    split = _split(name)
    return f"{split[1]}.gguf" if split else name


def _repositories(folders: Iterable[Place]) -> list[Place]:
    """Of the Hugging Face cache: the repositories with a model, by their names, at what was downloaded last."""
    found = []
    for folder in folders:
        name = HUB_FOLDER.fullmatch(folder["name"])
        snapshot = _snapshot(Path(folder["path"])) if name else None
        if name and snapshot:
            found.append(_place(name[1].replace("--", "/"), snapshot))
    return found


def _snapshot(repository: Path) -> Path | None:
    """The newest revision that holds a model."""
    with suppress(OSError):
        revisions = sorted((repository / "snapshots").iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        return next((each for each in revisions if any(each.rglob("*.gguf"))), None)
    return None


# --- what is in a file ------------------------------------------------------------------------------------


def _identity(path: Path) -> tuple[Path, int, int]:
    """What changes when the file does."""
    with suppress(OSError):
        status = path.stat()
        return path, status.st_size, status.st_mtime_ns
    return path, 0, 0  # `read_info` says what is wrong


@lru_cache(maxsize=2)
def _info(path: Path, _size: int, _changed: int) -> ModelInfo:
    return read_info(path)


@lru_cache(maxsize=1024)
def _header(path: Path, size: int, changed: int) -> dict[str, Any]:
    info = _info(path, size, changed)
    return {
        "name": info.name,
        "architecture": info.architecture,
        "parameters": info.parameters,
        "quantisation": info.quantisation,
        "n_ctx_train": info.n_ctx_train,
        "n_vocab": info.n_vocab,
        "bytes": info.size_bytes,
        "n_layer": info.n_layer,
        "chat": info.chat_template is not None,
        "findings": [finding.to_dict() for finding in info.findings],
    }
