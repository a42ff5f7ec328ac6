"""A short run of the demo model in a notebook, with which many browser tests begin."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import NEVER_ENDS, LabPage

PROMPT = "Once upon a time there was a king who had three"
TOKENS = 12
AT = 14
"""Position of the token that is looked into: the third after the prompt's."""
CELL = f"""\
from inferno_widget import Ablate, Inferno
w = Inferno(prompt="{PROMPT}", max_tokens={TOKENS})
{NEVER_ENDS}
w.workbench.set("seed", 7)
w"""


def told(lab: Tabs, at: int | None = AT, tab: str = "", **options: object) -> tuple[LabPage, Locator]:
    """A finished run of which the token at `at` is selected, and a tab of the widget open."""
    page = lab.open([CELL], **options)
    page.run_all()
    widget = page.widget()
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "empty")
    run(page, widget)
    if at is not None:
        choose(widget, at)
    if tab:
        widget.get_by_role("tab", name=tab).click()
    return page, widget


def run(page: LabPage, widget: Locator) -> None:
    """Press Run, and wait until the new run has come to its end."""
    before = page.kernel_eval("id(w.session)")
    widget.locator("button[data-action=run]").click()
    settled(page, widget, f"id(w.session) != {before} and len(w.trace) > {TOKENS}")


def settled(page: LabPage, widget: Locator, what: str) -> None:
    """Wait until `what` is true in the kernel, nothing runs, and the page knows."""
    page.kernel_until(f"w.session is not None and w.session.state == 'ready' and {what}")
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", "ready")


def choose(widget: Locator, position: int) -> None:
    """Select a token, and wait until the distribution names it."""
    widget.locator(f"[data-node='{position}']").first.click()
    expect(widget.locator(".logits-head")).to_contain_text(f"token {position}")
