"""What a page lives through while a run goes on: sleep, slowness, a flood, a line that breaks. It catches up."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tabs
from tests.browser.lab import KERNELS, NEVER_ENDS, LabPage
from tests.browser.test_inferno import act, state

pytestmark = pytest.mark.parametrize("kernel", KERNELS[:1], indirect=True)

N = 2_500
"""Tokens of a run: several seconds of the demo model's, so that something can happen meanwhile."""
CELL = f"""\
from inferno_widget import Inferno, Model
w = Inferno(Model(n_ctx=8192), prompt="Once upon a time", max_tokens={N})
{NEVER_ENDS}
w"""
SLOW = """{
    const real = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (draw) => real((now) => {
        draw(now);
        for (const end = performance.now() + 60; performance.now() < end; );
    });
}"""
"""Every drawing takes 60 ms more."""
SOCKETS = """{
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            if (String(given[0]).includes("/channels")) {
                window.sockets.push(this);
                this.came = 0;
                this.addEventListener("message", () => this.came++);
            }
        }
    };
}"""
"""Keeps the lines to kernels, and counts what comes on them."""
PULSE = """() => {
    window.pause = 0;
    let last = performance.now();
    setInterval(() => {
        window.pause = Math.max(window.pause, performance.now() - last);
        last = performance.now();
    }, 50);
}"""
"""Takes note of the longest time in which the page did nothing."""


def opened(lab: Tabs, script: str = "") -> tuple[LabPage, Locator]:
    page = lab.open([CELL], script=script)
    page.run_all()
    widget = page.widget()
    state(widget, "empty")
    return page, widget


def begin(page: LabPage, widget: Locator) -> None:
    """Press Run, and wait until tokens come."""
    act(widget, "run")
    page.kernel_until("w.trace is not None and len(w.trace) > 100")
    expect(widget.locator("[data-token]").first).to_be_visible()


def assert_caught_up(page: LabPage, widget: Locator) -> None:
    """The run has ended by itself, and the page has all of its text, token by token."""
    page.kernel_until("w.session.state == 'ready'")
    assert page.kernel_eval("(w.session.finish, w.trace.length - len(w.session.prompt_ids))") == ("length", N)
    state(widget, "ready")
    expect(widget.locator(f"[data-node='{page.kernel_eval('w.trace.head')}']")).to_be_visible()
    page.page.evaluate(
        "addEventListener('copy', (event) => { window.copied = event.clipboardData.getData('text/plain'); })"
    )
    widget.locator(".stream-text").press("Control+a")
    page.page.keyboard.press("Control+c")
    copied = page.page.evaluate("window.copied")
    assert copied.removeprefix("<s>") == page.kernel_eval("w.trace.text")  # the page shows control tokens too
    expect(widget.get_by_test_id("error")).to_be_hidden()


def test_a_page_that_sleeps(lab: Tabs) -> None:
    page, widget = opened(lab)
    page.page.evaluate(PULSE)
    begin(page, widget)
    browser = page.page.context.new_cdp_session(page.page)
    browser.send("Page.setWebLifecycleState", {"state": "frozen"})
    browser.send("Debugger.enable")
    browser.send("Debugger.pause")  # a page that is seen is not frozen whole
    page.page.wait_for_timeout(3_000)
    browser.send("Debugger.disable")
    browser.send("Page.setWebLifecycleState", {"state": "active"})
    assert_caught_up(page, widget)
    assert page.page.evaluate("window.pause") > 2_000, "it has slept"


def test_a_page_that_takes_60_ms_a_drawing(lab: Tabs) -> None:
    page, widget = opened(lab, SLOW)
    begin(page, widget)
    assert_caught_up(page, widget)


def test_a_line_that_breaks_again_and_again(lab: Tabs) -> None:
    page, widget = opened(lab, SOCKETS)
    begin(page, widget)
    page.forgiven = ("Canceled future",)  # JupyterLab's own questions on that line
    before = page.page.evaluate("window.sockets.length")
    for broken in range(1, 4):
        page.page.evaluate("window.sockets.at(-1).close()")
        page.page.wait_for_function(
            f"window.sockets.length >= {before + broken} && window.sockets.at(-1).readyState === 1"
        )
    assert_caught_up(page, widget)


FLOOD = """\
import threading
def flood():
    for _ in range(8_000):
        w.send({"kind": "partial", "id": 0, "value": 0})
flooding = threading.Thread(target=flood)
flooding.start()
"""


def test_a_flood_at_which_the_server_drops_messages(lab: Tabs) -> None:
    """Jupyter's server passes 1,000 a second on, and drops the rest: ours among them."""
    page, widget = opened(lab, SOCKETS)
    page.forgiven = ("stream.stderr",)  # JupyterLab cannot read its server's word on the flood
    begin(page, widget)
    came = "window.sockets.reduce((sum, { came }) => sum + came, 0)"
    for _ in range(4):
        before = page.page.evaluate(came)
        page.kernel_run(FLOOD)
        page.kernel_until("not flooding.is_alive()")
        if page.page.evaluate(came) - before < 8_000:
            break
    else:
        pytest.skip("this machine is too slow to send more than the server passes on")
    assert_caught_up(page, widget)
