"""The same widget where people also keep notebooks: Notebook 7 and marimo."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import KERNELS, NEVER_ENDS, NOTEBOOK_7, READY, WIDGET, Lab

PROMPT = "Once upon a time there was a king who had three"
MARIMO = f"""\
import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    from inferno_widget import Inferno

    w = Inferno(prompt="{PROMPT}", max_tokens=30)
    {NEVER_ENDS}
    w
    return (w,)


if __name__ == "__main__":
    app.run()
"""


def run_and_look(widget: Locator) -> None:
    """Generate, choose a token, take the road not taken."""
    status = widget.get_by_test_id("status")
    expect(status).to_have_attribute("data-state", "empty")
    widget.locator("button[data-action=run]").click()
    expect(status).to_have_attribute("data-state", "ready")
    expect(widget.locator("[data-node='41']").first).to_be_attached()
    widget.locator("[data-node='12']").first.click()
    expect(widget.locator(".logits-head .fact").first).to_have_text("token 12")  # the list is of that token now
    widget.locator(".logits-row[data-token-id]:not(.chosen)").first.click()
    expect(widget.locator("[data-node='42'].forced").first).to_be_attached()
    expect(status).to_have_attribute("data-state", re.compile("ready"))


def test_notebook_7(running_lab):
    with Lab.running(NOTEBOOK_7, browser=running_lab.browser) as server:
        page = server.open(
            [f'from inferno_widget import Inferno\nw = Inferno(prompt="{PROMPT}", max_tokens=30)\n{NEVER_ENDS}\nw'],
            kernel=KERNELS[0],
            width=900,
        )
        page.run_all()
        run_and_look(page.widget())
        assert page.kernel_eval("len(w.trace)") > 42
        page.screenshot("notebook-7")
        page.close()
        # Notebook 7.6 itself stumbles over a setting of an extension, with an empty notebook too.
        assert not [error for error in page.errors if "notebook_core" not in error]


@contextmanager
def marimo_app(folder: Path, theme: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = folder / "app.py"
    app.write_text(MARIMO)
    (folder / "pyproject.toml").write_text(f'[tool.marimo.display]\ntheme = "{theme}"\n')
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "marimo", "run", str(app), "--headless", "--no-token", "--port", str(port)]
    log = folder / "marimo.log"
    with log.open("wb") as sink, subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink) as server:
        try:
            end = time.monotonic() + READY / 1000
            while True:
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                except (urllib.error.URLError, ConnectionError, TimeoutError):
                    if server.poll() is not None or time.monotonic() > end:
                        raise RuntimeError(f"marimo did not start:\n{log.read_text(errors='replace')}") from None
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marimo(tmp_path, running_lab, theme):
    """In marimo a module is shared by its widgets, and each lives in a shadow tree."""
    with marimo_app(tmp_path, theme) as url:
        context = running_lab.browser.new_context(viewport={"width": 1000, "height": 1300})
        context.set_default_timeout(READY)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        widget = page.locator(WIDGET).first
        widget.wait_for()
        run_and_look(widget)
        assert widget.get_attribute("data-theme") == theme
        page.screenshot(path=f"build/pictures/marimo-{theme}.png")
        context.close()
    assert not errors
