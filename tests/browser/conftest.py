"""The fixtures of the browser tests: one server and one browser for all, a tab for each test."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import pytest

from tests.browser.lab import KERNELS, PICTURES, Lab, LabPage

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Lab]:
    with Lab.running() as lab:
        yield lab


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    """Each test runs on each; `@pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)` runs it on one."""
    return request.param


class Tabs:
    """`Lab.open` on the kernel of this test, remembering what was opened."""

    def __init__(self, lab: Lab, kernel: str) -> None:
        self._open = partial(lab.open, kernel=kernel)
        self.opened: list[LabPage] = []

    def open(self, cells: list[str], **options: object) -> LabPage:
        page = self._open(cells, **options)
        self.opened.append(page)
        return page


@pytest.fixture
def lab(running_lab: Lab, kernel: str, request: pytest.FixtureRequest) -> Iterator[Tabs]:
    """Opens notebooks; afterwards closes them, and fails the test if a page complained.

    A test that provokes a complaint clears `page.errors` when it has looked at them.
    """
    tabs = Tabs(running_lab, kernel)
    yield tabs
    for number, page in enumerate(tabs.opened):
        if request.node.stash.get(FAILED, False):
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.page.screenshot(path=PICTURES / f"failed-{request.node.name}-{number}.png")
        page.close()
    errors = [
        error for page in tabs.opened for error in page.errors if not any(part in error for part in page.forgiven)
    ]
    assert not errors, "the browser's console holds errors:\n" + "\n".join(errors)
