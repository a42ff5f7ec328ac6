"""What a person likes, from one kernel to the next: the one file that is written without being named.

It is ``preferences.json`` in the user's config directory (the folder that the environment variable
``INFERNO_WIDGET_CONFIG`` names, where it is set)::

    {"look": {"palette": "viridis", ...}, "presets": {"mine": {"temperature": 0.6}}, "recent": ["/x.gguf", ...]}

Only what differs from the defaults stands there. Whatever cannot be read is passed over, and `Preferences.note`
says so; what is not known here, a newer version's say, is left as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import platformdirs

from .arguments import flag, one_of, whole
from .errors import check_text
from .presets import BUILTIN, applied
from .reading import open_regular, parsed_json
from .sampling import Sampler
from .writing import whole_file

VARIABLE = "INFERNO_WIDGET_CONFIG"
RECENT = 10
"""Models that are remembered."""
LOCK_SECONDS = 2.0
MAX_BYTES = 1 << 20
"""Of the file: what is longer is none of ours."""
MAX_PRESETS = 500
NAME = 200
"""Letters of a preset's name, at most."""
_HALF = re.compile("[\ud800-\udfff]")
"""Half a character, as in the name of a file that is no UTF-8: a page cannot be told of it."""
_NOTE = 300
"""Letters of what is wrong with an entry that are told, at most."""

LOOK: dict[str, Any] = {
    "metric": "surprisal",
    "palette": "inferno",
    "top_k": 20,
    "glyphs": True,
    "font_size": 17,
    "follow": True,
}
"""Every setting of the look, with its default."""
CHOICES = {
    "metric": ("probability", "surprisal", "entropy", "rank", "time"),
    "palette": ("inferno", "viridis", "cividis", "contrast"),
}
RANGES = {"top_k": (1, 32), "font_size": (8, 48)}


class Preferences:
    """Look, own presets and recent models, as the file has them.

    A change is written at once, into the file as it is by then: other kernels' changes are kept. What cannot be
    written holds for this object all the same, and `note` says why.

    Parameters
    ----------
    folder : where the file lies; `default_folder` when None

    Attributes
    ----------
    note : what is wrong with the file, in words; "" where nothing is
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.path = Path(folder if folder is not None else default_folder()) / "preferences.json"
        self._document: dict[str, Any] = {}
        self._document = self._read()

    @property
    def look(self) -> dict[str, Any]:
        """Every setting of `LOOK`."""
        return {**LOOK, **self._document["look"]}

    @property
    def presets(self) -> dict[str, dict[str, Any]]:
        """Own presets: name -> sampler parameters that differ from the defaults."""
        return dict(self._document["presets"])

    @property
    def recent(self) -> list[str]:
        """Models that were loaded, the latest first; not those whose path cannot be told, or is none."""
        return [path for path in self._document["recent"] if "\0" not in path and not _HALF.search(path)]

    def set_look(self, name: str, value: object) -> None:
        """Change one setting of the look. Raises ValueError or TypeError if it is none, or cannot have that value."""
        checked = check_look(name, value)
        self._change(lambda document: document["look"].update({name: checked}))

    def save_preset(self, name: str, settings: Mapping[str, Any]) -> None:
        """Keep sampler parameters under a name; one that exists is replaced."""
        check_preset(name, settings)
        if len(self.presets.keys() | {name}) > MAX_PRESETS:
            raise ValueError(f"there are {MAX_PRESETS} presets already: drop one")
        self._change(lambda document: document["presets"].update({name: dict(settings)}))

    def drop_preset(self, name: str) -> dict[str, Any]:
        """Forget a preset, and return what it was."""
        if name in BUILTIN:
            raise ValueError(f"the preset {name!r} came with the package and cannot be dropped")
        if name not in self.presets:
            raise ValueError(f"there is no preset {name!r}")
        dropped = self.presets[name]
        self._change(lambda document: document["presets"].pop(name, None))
        return dropped

    def add_recent(self, path: str) -> None:
        """Put a model at the head of the recent ones."""

        def change(document: dict[str, Any]) -> None:
            document["recent"] = [path, *(other for other in document["recent"] if other != path)][:RECENT]

        self._change(change)

    # --- the file -------------------------------------------------------------------------------------

    def _read(self) -> dict[str, Any]:
        """The file's content, as far as it makes sense; what was last known where it cannot be read."""
        self.note, self._damaged = "", False
        try:
            found = parsed_json(_bytes_of(self.path))
        except FileNotFoundError:
            found = {}
        except OSError as error:
            self.note = f"The settings cannot be read: {error}"
            found = self._document
        except ValueError as error:
            self.note = f"{self.path} is damaged, so the defaults hold: {error}."
            self._damaged, found = True, {}
        return self._sensible(found)

    def _sensible(self, found: dict[str, Any]) -> dict[str, Any]:
        """`found` without what this version cannot use."""
        look, presets, recent = (_as(kind, found.get(name)) for name, kind in _PARTS.items())
        if len(presets) > MAX_PRESETS:
            self.note = f"{self.path}: of {len(presets):,} presets the first {MAX_PRESETS} are used"
        first = dict(islice(presets.items(), MAX_PRESETS))
        kept = {
            "look": {name: value for name, value in look.items() if self._passes(check_look, name, value)},
            "presets": {name: value for name, value in first.items() if self._passes(check_preset, name, value)},
            "recent": [path for path in recent if isinstance(path, str)][:RECENT],
        }
        return {**found, **kept}

    def _passes(self, check: Callable[[str, Any], object], name: str, value: object) -> bool:
        try:
            check(name, value)
        except (TypeError, ValueError) as error:
            self.note = f"{self.path}: passed over what cannot be used ({str(error)[:_NOTE]})"
            return False
        return True

    def _change(self, change: Callable[[dict[str, Any]], object]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_suffix(".lock")):
                self._document = self._read()
                if self._damaged:
                    aside = self.path.with_suffix(".damaged.json")
                    self.path.replace(aside)
                    self.note += f" It is kept as {aside.name}."
                change(self._document)
                _write(self.path, self._document)
        except OSError as error:
            change(self._document)
            self.note = f"The settings cannot be kept: {error}"


_PARTS: dict[str, type] = {"look": dict, "presets": dict, "recent": list}


def _as(kind: type, value: object) -> Any:
    return value if isinstance(value, kind) else kind()


def default_folder() -> Path:
    """Where the file lies: the folder that ``INFERNO_WIDGET_CONFIG`` names, else the user's config directory."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_config_dir("inferno_widget", appauthor=False))


def check_look(name: str, value: object) -> object:
    """`value`, if the look has such a setting, which may have it; else ValueError or TypeError."""
    if name not in LOOK:
        raise ValueError(f"the look has no setting {name!r}; it has {', '.join(LOOK)}")
    if name in CHOICES:
        return one_of(name, value, CHOICES[name])
    return whole(name, value, *RANGES[name]) if name in RANGES else flag(name, value)


def check_preset(name: str, settings: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError unless a person's preset may have this name and these settings."""
    if not name.strip() or len(name) > NAME:
        raise ValueError(f"a preset needs a name, of at most {NAME} letters")
    check_text("the name of a preset", name)
    if name in BUILTIN:
        raise ValueError(f"the preset {name!r} came with the package: choose another name")
    if not isinstance(settings, Mapping):
        raise TypeError(f"the preset {name!r} must be an object, not {settings!r}")
    applied(Sampler(), settings)
    check_text(f"the preset {name!r}", json.dumps(dict(settings), ensure_ascii=False))


def _bytes_of(path: Path) -> bytes:
    with open_regular(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    return data


def _write(path: Path, document: dict[str, Any]) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(document, indent=1).encode())


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold a lock that ends with its process; after `LOCK_SECONDS`, or where there are none, go on without."""
    with path.open("ab") as file:
        end = time.monotonic() + LOCK_SECONDS
        while not (held := _try_lock(file)) and time.monotonic() < end:
            time.sleep(0.01)
        try:
            yield
        finally:
            if held:
                _unlock(file)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(0)
        with contextlib.suppress(OSError):
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            return True
        return False

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
