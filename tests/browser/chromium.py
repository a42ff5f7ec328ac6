"""Finds a Chromium for the browser tests; ``python tests/browser/chromium.py`` gets one if there is none.

An installed one first, else Debian's package where we may install it, else Playwright's own download.
Getting none is no error here: the tests that need it fail and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Path of a Chromium, or None."""
    for name in INSTALLED:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def get() -> str | None:
    """Path of a Chromium, installing one if need be; None if that did not work either."""
    if path := find():
        return path
    apt = shutil.which("apt-get")
    if apt and os.geteuid() == 0:
        quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = [apt, "install", "--yes", "--no-install-recommends", "chromium"]
        if _runs([apt, "update"], quietly) and _runs(install, quietly):
            return find()
    _runs([sys.executable, "-m", "playwright", "install", "chromium"])
    return find()


def _runs(command: list[str], environment: dict[str, str] | None = None) -> bool:
    print("+", *command, file=sys.stderr, flush=True)  # noqa: T201
    return subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode == 0


if __name__ == "__main__":
    print("browser:", get() or "none could be installed; the browser tests will fail")  # noqa: T201
