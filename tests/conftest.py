"""What all tests share: their order, and a settings file that is not the person's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferno_widget.preferences import VARIABLE

LAST = ("notebooks", "test_packaging.py", "browser")
"""Under tests/: what is slow comes after what is quick, and browsers after everything.

Playwright's own event loop also stays in this thread once it is started, where others could not start theirs.
"""


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let Ctrl-C reach the tests that send it, also where the run was started in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that kernels and their children keep settings in, for the whole run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("config")
        patch.setenv(VARIABLE, str(folder))
        yield folder


@pytest.fixture(autouse=True)
def config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test's own folder of settings, so that none sees what another liked."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        part = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return LAST.index(part) + 1 if part in LAST else 0

    items.sort(key=rank)
    for item in items:
        if rank(item) == len(LAST):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.flaky(reruns=1))  # two cores, a server, kernels, a browser: see CONTRIBUTING.md
