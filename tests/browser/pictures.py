"""Pictures of the real widget: ``make pictures`` for the README, ``make pictures ARGS=states`` one of every state."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, expect

from inferno_widget.model import demo_path
from tests.browser.lab import NEVER_ENDS, PICTURES, Lab, LabPage
from tests.make_models import tiny_chat

DOCS = Path(__file__).parents[2] / "docs" / "pictures"
RUN = """\
from inferno_widget import Inferno, Model, Sampler
session = Model().session("Once upon a time there was a king who had three", Sampler(temperature=0.75, seed=12))
session.generate(150)
w = Inferno(session)
w"""
PROMPT = "Once upon a time there was a king who had three"
MODELS = PICTURES / "models"
EMPTY = f'from inferno_widget import Inferno\nw = Inferno(prompt="{PROMPT}")\nw'
ENDLESS = f"""\
{NEVER_ENDS}
w.workbench.set("seed", 3)
w"""
LONG = f"""\
from inferno_widget import Inferno, Model
w = Inferno(Model(n_ctx=8192), prompt="{PROMPT}", max_tokens=8000)
{ENDLESS}"""
SLID = f"""\
from inferno_widget import Inferno
w = Inferno(prompt="{PROMPT}", max_tokens=1200)
w.workbench.set("on_full", "slide")
{ENDLESS}"""
LOADING = """\
import time
from inferno_widget import Inferno, Model
from inferno_widget.gestures import models
class Slow(Model):
    def __init__(self, *args, progress, **options):
        while progress(0.4) is not False:
            time.sleep(0.05)
        super().__init__(*args, progress=progress, **options)
models.Model = Slow
w = Inferno()
w"""
FOLDER = f"""\
from inferno_widget import Inferno
w = Inferno(root={str(MODELS)!r})
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
        if name == "light":
            look_further(page, page.widget())
        page.close()


def look_further(page: LabPage, widget: Locator) -> None:
    """What would follow each alternative, above the X-ray of the token; and the inside."""
    widget.locator("[data-action=ahead]").click()
    expect(widget.locator(".logits-item").nth(7).locator(".ghost-word:not([hidden])")).to_have_count(12)
    for name, tab, there in (("road", "X-ray", ".xray-stage"), ("inside", "Logit lens", ".lens-cell")):
        widget.get_by_role("tab", name=tab).click()
        expect(widget.locator(there).first).to_be_visible()
        rest(page)
        shutil.copy(page.screenshot(name), DOCS / f"{name}.png")
        widget.get_by_role("tab", name=tab).click()


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
    widget.get_by_test_id("strip").click()
    rest(page)


def loading(page: LabPage, widget: Locator) -> None:
    reach(widget, "loading")
    expect(widget.get_by_test_id("state")).to_contain_text("40%")
    rest(page)


def slid(page: LabPage, widget: Locator) -> None:
    """The context was full, and the model sees the beginning no more."""
    reach(widget, "empty")
    act(widget, "run")
    page.kernel_until("w.session is not None and w.session.state == 'ready'", timeout=120)
    reach(widget, "ready")
    widget.get_by_test_id("stream").press("Home")
    expect(widget.locator(".unseen").first).to_be_visible()
    widget.get_by_test_id("stream").press("Escape")
    rest(page)


def found(page: LabPage, widget: Locator) -> None:
    reach(widget, "ready")
    widget.get_by_test_id("stream").press("Control+f")
    widget.get_by_label("Find in the text").fill("king")
    rest(page)


def pointed(page: LabPage, widget: Locator) -> None:
    """The pointer rests on a token."""
    reach(widget, "ready")
    widget.locator("[data-node='40']").first.hover()
    expect(widget.get_by_test_id("card")).to_be_visible()


def picked(name: str) -> Callable[[LabPage, Locator], None]:
    """A file of the folder is chosen."""

    def chosen(page: LabPage, widget: Locator) -> None:
        reach(widget, "empty")
        widget.locator("[data-tool=model]").click()
        widget.locator(".browser-row").filter(has_text=name).click()
        expect(widget.locator(".loader .failure, .loader-need").filter(visible=True).first).to_contain_text(" ")
        rest(page)

    return chosen


def talking(page: LabPage, widget: Locator) -> None:
    picked("chat.gguf")(page, widget)
    widget.locator(".loader [data-action=load]").click()
    expect(widget.locator(".loaded-row")).to_have_count(2)
    widget.locator("[data-tool=chat]").click()
    widget.locator(".message-text").fill("once upon a time there was a dragon")
    expect(widget.locator(".chat-prompt")).to_contain_text("dragon")
    act(widget, "send")
    page.kernel_until("w.session is not None and w.session.state == 'ready'")
    reach(widget, "ready")
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
    "loading": (LOADING, loading),
    "generating": (LONG, generating),
    "paused": (LONG, paused),
    "finished": (RUN, finished),
    "long": (LONG, long),
    "error": (MISSING, error),
    "dead": (LONG, dead),
    "no-kernel": (RUN, no_kernel),
    "slid": (SLID, slid),
    "found": (RUN, found),
    "pointed": (RUN, pointed),
    "file": (FOLDER, picked("fairy-tales.gguf")),
    "broken-file": (FOLDER, picked("broken.gguf")),
    "talking": (FOLDER, talking),
    **{f"tool-{name}": (RUN, tool(name)) for name in TOOLS},
}


def make_models() -> None:
    MODELS.mkdir(parents=True, exist_ok=True)
    shutil.copy(demo_path(), MODELS / "fairy-tales.gguf")
    (MODELS / "broken.gguf").write_bytes(demo_path().read_bytes()[:100_000])
    tiny_chat(MODELS / "chat.gguf")


def take_every_state(lab: Lab, *names: str) -> None:
    """Into build/pictures/states: light, dark and narrow."""
    folder = PICTURES / "states"
    folder.mkdir(parents=True, exist_ok=True)
    make_models()
    for name in names or STATES:
        cell, go = STATES[name]
        for look, (theme, width) in LOOKS.items():
            page = lab.open([cell], theme=theme, width=width, height=2100)  # type: ignore[arg-type]
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
