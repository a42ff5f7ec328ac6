"""What all tests share: their order."""

from __future__ import annotations

from pathlib import Path

import pytest

LAST = ("notebooks", "test_packaging.py", "browser")
"""Under tests/: what is slow comes after what is quick, and browsers after everything.

Playwright's own event loop also stays in this thread once it is started, where others could not start theirs.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        part = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return LAST.index(part) + 1 if part in LAST else 0

    items.sort(key=rank)
    for item in items:
        if rank(item) == len(LAST):
            item.add_marker(pytest.mark.browser)
