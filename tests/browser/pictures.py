"""Pictures of the real widget: ``make pictures`` for the README, ``make pictures ARGS=states`` one of every state."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.browser.lab import PICTURES, Lab, LabPage

DOCS = Path(__file__).parents[2] / "docs" / "pictures"
RUN = """\
from inferno_widget import Inferno, Model, Sampler
session = Model().session("Once upon a time there was a king who had three", Sampler(temperature=0.75, seed=12))
session.generate(150)
w = Inferno(session)
w"""
PROMPT = "Once upon a time there was a king who had three"
EMPTY = f'from inferno_widget import Inferno\nw = Inferno(prompt="{PROMPT}")\nw'
LONG = f"""\
from inferno_widget import Inferno, Model, Sampler
w = Inferno(Model(n_ctx=8192), prompt="{PROMPT}", max_tokens=8000)
w"""
LOOKS = {"light": ("light", 960), "dark": ("dark", 960), "narrow": ("light", 480)}
SHOTS = {"light": ("light", 1100), "dark": ("dark", 1100), "narrow": ("light", 480)}
TOOLS = ("model", "chat", "sampler", "sessions", "exports", "look")


def take_for_the_readme(lab: Lab) -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, (theme, width) in SHOTS.items():
        page = lab.open([RUN], theme=theme, width=width, height=1700, scale=1.5)  # type: ignore[arg-type]
        page.run_all()
        select(page, page.widget())
        shutil.copy(page.screenshot(name), DOCS / f"{name}.png")
        page.close()


# --- every state ------------------------------------------------------------------------------------------


def select(page: LabPage, widget: Locator) -> None:
    widget.locator("[data-node='12']").first.click()
    page.kernel_until("w.selection == 12")
    rest(page)


def rest(page: LabPage) -> None:
    page.page.mouse.move(0, 0)
    page.page.wait_for_timeout(400)  # the last frame and its transition


def reach(widget: Locator, state: str) -> None:
    expect(widget.get_by_test_id("status")).to_have_attribute("data-state", state)


def act(widget: Locator, action: str) -> None:
    widget.locator(f"button[data-action={action}]").click()


def empty(_: LabPage, widget: Locator) -> None:
    reach(widget, "empty")


def generating(page: LabPage, widget: Locator) -> None:
    reach(widget, "empty")
    act(widget, "run")
    reach(widget, "generating")
    page.kernel_until("w.trace is not None and len(w.trace) > 300")


def paused(page: LabPage, widget: Locator) -> None:
    generating(page, widget)
    act(widget, "pause")
    reach(widget, "paused")
    rest(page)


def finished(page: LabPage, widget: Locator) -> None:
    reach(widget, "ready")
    select(page, widget)


def long(page: LabPage, widget: Locator) -> None:
    generating(page, widget)
    page.kernel_until("w.session.state == 'ready'", timeout=120)
    widget.get_by_test_id("stream").press("Home")
    rest(page)


def error(page: LabPage, widget: Locator) -> None:
    expect(widget.get_by_test_id("error")).to_be_visible()
    rest(page)


def dead(page: LabPage, widget: Locator) -> None:
    """The model's process is killed in the middle of a run."""
    generating(page, widget)
    page.kernel_run("import psutil; psutil.Process(w.model.engine.pid).kill()")
    reach(widget, "error")
    rest(page)


def no_kernel(page: LabPage, widget: Locator) -> None:
    reach(widget, "ready")
    page.restart_kernel()
    expect(widget.get_by_test_id("error")).to_be_visible()
    rest(page)


def tool(name: str) -> Callable[[LabPage, Locator], None]:
    def opened(page: LabPage, widget: Locator) -> None:
        reach(widget, "ready")
        widget.locator(f"[data-tool={name}]").click()
        rest(page)

    return opened


MISSING = 'from inferno_widget import Inferno\nw = Inferno("missing.gguf")\nw'
STATES: dict[str, tuple[str, Callable[[LabPage, Locator], None]]] = {
    "empty": (EMPTY, empty),
    "generating": (LONG, generating),
    "paused": (LONG, paused),
    "finished": (RUN, finished),
    "long": (LONG, long),
    "error": (MISSING, error),
    "dead": (LONG, dead),
    "no-kernel": (RUN, no_kernel),
    **{f"tool-{name}": (RUN, tool(name)) for name in TOOLS},
}


def take_every_state(lab: Lab, *names: str) -> None:
    """Into build/pictures/states: light, dark and narrow."""
    folder = PICTURES / "states"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or STATES:
        cell, go = STATES[name]
        for look, (theme, width) in LOOKS.items():
            page = lab.open([cell], theme=theme, width=width, height=1700)  # type: ignore[arg-type]
            page.run_all()
            go(page, page.widget())
            shutil.move(page.screenshot(f"{name}-{look}"), folder / f"{name}-{look}.png")
            page.close()


if __name__ == "__main__":
    with Lab.running() as running:
        if sys.argv[1:2] == ["states"]:
            take_every_state(running, *sys.argv[2:])
        else:
            take_for_the_readme(running)
