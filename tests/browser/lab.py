"""A private JupyterLab (or Notebook 7) and a Chromium to look at it with.

    with Lab.running() as lab:
        page = lab.open(["from inferno_widget import Inferno", "Inferno()"], theme="dark")
        page.run_all()
        page.widget().get_by_role("button", name="Run").click()
        page.screenshot("workbench")

The tests get `lab` as a fixture (see conftest.py); a script that takes pictures uses it as above.
"""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright
from playwright.sync_api import TimeoutError as PageTimeoutError

from inferno_widget.preferences import VARIABLE
from tests.browser import chromium

KERNELS = ("ipykernel-7.4", "ipykernel-7.3")
PICTURES = Path(__file__).parents[2] / "build" / "pictures"
WIDGET = ".inferno-widget"
READY = 60_000
"""Milliseconds that a page, a kernel or a first widget may take; it ends a hang and measures nothing."""

NEVER_ENDS = 'w.workbench.set("logit_bias", {"2": None})'
"""Forbids the demo model's end-of-text token in a widget `w`, so that a run has as many tokens as it was asked for."""

FLAGS = [
    "--no-sandbox",  # of no use for our own page, and impossible for root
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
]

SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}

# JupyterLab's own, seen with nothing of ours on the page
NOISE = re.compile(r"favicon|Failed to load resource: .*40[49]|ResizeObserver loop")

# Width of a cell's output, once JupyterLab has laid itself out: that of the cell less the output's padding, and the
# prompt where it stands beside.
ROOM = """async () => {
    const box = part => document.querySelector(`.jp-CodeCell ${part}`).getBoundingClientRect();
    const room = () => {
        const prompt = box(".jp-InputArea-prompt");
        const beside = prompt.right <= box(".jp-InputArea-editor").left;
        return Math.round(box(".jp-Cell-outputWrapper").width - 8 - (beside ? prompt.width : 0));
    };
    const pause = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)));
    let before;
    do {
        before = room();
        await pause();
        await pause();
    } while (room() !== before);
    return before;
}"""

NOTEBOOK = "[...jupyterapp.shell.widgets('main')].find(panel => panel.sessionContext)"

# Up to 7.3 ipykernel answers past the stream that reads its shell socket, and thereby loses, rarely, the signal that a
# message came: the message lies there until another client connects (ipykernel issue 1554, mended in 7.4). So a page on
# that kernel asks now and then, and connects anew where an idle kernel gives no answer.
WATCHDOG = f"""setInterval(async () => {{
    const kernel = globalThis.jupyterapp && {NOTEBOOK}?.sessionContext?.session?.kernel;
    if (kernel?.connectionStatus !== "connected" || kernel.status === "busy") return;
    const late = new Promise(done => setTimeout(() => done("late"), 4000));
    const answer = await Promise.race([kernel.requestKernelInfo().catch(() => null), late]);
    if (answer === "late" && kernel.status !== "busy") await kernel.reconnect();
}}, 5000);"""


@dataclass
class LabPage:
    """One notebook, open in a tab of its own.

    Attributes
    ----------
    page : Playwright's page, for whatever has no method here
    errors : what the console and the page complained of so far
    forgiven : parts of complaints that are Jupyter's own and no fault of ours, in a test that provokes them
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    forgiven: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error.stack or error}"))

    def run_all(self, *, wait: bool = False) -> None:
        """Run all cells; with `wait`, return when the kernel has done them."""
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
        if wait:
            self.page.wait_for_function(
                """() => [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
                    .every(prompt => /\\d/.test(prompt.textContent))""",
            )

    def widget(self, index: int = 0) -> Locator:
        """The widget that was drawn first (or at `index`), once it is there."""
        widget = self.page.locator(WIDGET).nth(index)
        widget.wait_for()
        return widget

    def output(self, cell: int) -> str:
        """The text below a cell, counted from 0."""
        return self.page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea-output").inner_text()

    def new_view(self, cell: int) -> None:
        """A second view of a cell's output, in a tab beside the notebook."""
        self.page.evaluate(
            f"""async cell => {{
                const panel = {NOTEBOOK};
                panel.content.activeCellIndex = cell;
                await jupyterapp.commands.execute('notebook:create-output-view');
            }}""",
            cell,
        )

    def kernel_eval(self, expression: str) -> Any:
        """Value of a Python expression in the kernel, which must be a literal (str, int, list, ...).

        It waits for the running cell, as the kernel does one thing at a time.
        """
        reply = self._execute("", {"value": expression})["value"]
        if reply["status"] == "error":
            raise RuntimeError(f"{reply['ename']}: {reply['evalue']}")
        return ast.literal_eval(reply["data"]["text/plain"])

    def kernel_run(self, code: str) -> None:
        """Run statements in the kernel, outside any cell."""
        self._execute(code, {})

    def kernel_until(self, expression: str, *, timeout: float = 60) -> Any:
        """The value of an expression in the kernel as soon as it is true."""
        end = time.monotonic() + timeout
        while not (value := self.kernel_eval(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} is still {value!r} after {timeout} s")
            self.page.wait_for_timeout(50)
        return value

    def restart_kernel(self) -> None:
        """Restart the kernel, as the button does, without its question."""
        self.page.evaluate(f"() => {NOTEBOOK}.sessionContext.session.kernel.restart()")
        self._wait_for_kernel()

    def screenshot(self, name: str, *, of: Locator | None = None) -> Path:
        """A picture of the first widget (or of another place), in build/pictures."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        (of or self.widget()).screenshot(path=path)
        return path

    def close(self) -> None:
        """Shut the kernel down and close the tab."""
        try:
            self.page.evaluate(f"() => {NOTEBOOK}?.sessionContext.shutdown()")
        finally:
            self.page.context.close()

    def _execute(self, code: str, expressions: dict[str, str]) -> dict[str, Any]:
        content: dict[str, Any] = self.page.evaluate(
            f"""async ([code, user_expressions]) => {{
                const kernel = {NOTEBOOK}.sessionContext.session.kernel;
                const request = {{ code, user_expressions, silent: true, store_history: false }};
                return (await kernel.requestExecute(request).done).content;
            }}""",
            [code, expressions],
        )
        if content["status"] == "error":
            raise RuntimeError(f"{content['ename']}: {content['evalue']}")
        expressed: dict[str, Any] = content["user_expressions"]
        return expressed

    def _visit(self, url: str) -> None:
        """Open a notebook and wait for its kernel.

        A kernel that does not come up is shut down and started again, as a person would do: no code of ours has run
        by then.
        """
        for attempt in range(3):
            self.page.goto(url)
            try:
                self._wait_for_kernel(READY / 2)
            except PageTimeoutError:
                if attempt == 2:
                    raise
                self.page.evaluate(f"() => {NOTEBOOK}?.sessionContext.shutdown()")
            else:
                return

    def _wait_for_kernel(self, timeout: float = READY) -> None:
        idle = f"() => globalThis.jupyterapp && {NOTEBOOK}?.sessionContext.session?.kernel?.status === 'idle'"
        self.page.wait_for_function(idle, timeout=timeout)

    def _fit(self, width: int, height: int) -> None:
        """Size the window so that a cell's output is `width` wide, as a widget in it would be."""
        self.page.evaluate("() => { jupyterapp.shell.collapseLeft(); jupyterapp.shell.collapseRight(); }")
        window = width
        for _ in range(10):  # what a busy page measured may be behind, and narrow windows put the prompt above
            self.page.set_viewport_size({"width": window, "height": height})
            room = self.page.evaluate(ROOM)
            if room == width:
                return
            window = max(window + width - room, width)
        raise TimeoutError(f"JupyterLab does not settle on outputs {width} px wide: {room} in a window of {window}")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not NOISE.search(message.text):
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


@dataclass(frozen=True)
class Interface:
    """One of Jupyter's faces.

    Attributes
    ----------
    module : what `python -m` starts
    app : the class that the command line calls by name
    route : where it opens a notebook
    """

    module: str
    app: str
    route: str


JUPYTERLAB = Interface("jupyterlab", "LabApp", "lab/tree")
NOTEBOOK_7 = Interface("notebook", "JupyterNotebookApp", "notebooks")


@dataclass
class Lab:
    """A Jupyter server, and the browser that looks at it. Its home holds its log, settings and all it keeps."""

    url: str
    root: Path
    settings: Path
    browser: Browser
    home: Path

    @classmethod
    @contextmanager
    def running(
        cls, interface: Interface = JUPYTERLAB, *, browser: Browser | None = None, flags: Sequence[str] = ()
    ) -> Iterator[Lab]:
        """Start both, or the server (with more flags) for a browser that runs; end what was started."""
        browsing = nullcontext(browser) if browser else _browser()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, browsing as browser:
            home = Path(folder)
            root, settings = home / "notebooks", home / "settings"
            root.mkdir()
            _write_settings(settings, SETTINGS)
            _write_kernels(home / "data" / "kernels")
            with _server(interface, home, root, settings, flags) as url:
                yield cls(f"{url}/{interface.route}", root, settings, browser, home)

    def open(
        self,
        cells: list[str],
        *,
        kernel: str = KERNELS[0],
        theme: Literal["light", "dark"] = "light",
        width: int = 960,
        height: int = 1000,
        reduced_motion: bool = False,
        scale: float = 1,
        script: str = "",
    ) -> LabPage:
        """A notebook of these code cells, none of them run yet, with its kernel idle.

        `width` is that of a cell's output in CSS pixels; `scale` is device pixels in one of them; `script` runs before
        anything else does in the page.
        """
        name = f"test-{time.monotonic_ns()}.ipynb"
        (self.root / name).write_text(json.dumps(_notebook(cells, kernel)))
        look: dict[str, Any] = {"theme": f"JupyterLab {theme.title()}"}
        _write_settings(self.settings, {"@jupyterlab/apputils-extension/themes": look})
        context = self.browser.new_context(
            viewport={"width": 1400, "height": height},
            color_scheme=theme,
            reduced_motion="reduce" if reduced_motion else "no-preference",
            device_scale_factor=scale,
        )
        context.set_default_timeout(READY)
        opened = LabPage(context.new_page())
        if kernel == KERNELS[1]:
            opened.page.add_init_script(WATCHDOG)
        if script:
            opened.page.add_init_script(script)
        opened._visit(f"{self.url}/{name}?reset")
        opened.page.wait_for_selector(f"body[data-jp-theme-name='{look['theme']}']", state="attached")
        opened._fit(width, height)
        return opened


@contextmanager
def _browser() -> Iterator[Browser]:
    path = chromium.find()
    if path is None:
        raise RuntimeError("no Chromium was found and none could be installed: see tests/browser/chromium.py")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _server(interface: Interface, home: Path, root: Path, settings: Path, flags: Sequence[str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", interface.module, "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={root}", "--IdentityProvider.token="),
        f"--{interface.app}.expose_app_in_browser=True",
        f"--{interface.app}.user_settings_dir={settings}",
        f"--{interface.app}.workspaces_dir={home / 'workspaces'}",
        *flags,
    ]
    environment = {
        VARIABLE: str(
            home / "preferences"
        ),  # pictures show nobody's own look; the tests' settings have a folder already
        **os.environ,
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_PREFER_ENV_PATH": "0",  # our kernels are in the data folder
    }
    log = home / "server.log"
    with log.open("wb") as sink, subprocess.Popen(command, env=environment, stdout=sink, stderr=sink) as server:
        try:
            _wait_until_it_answers(f"{url}/api", server, log)
            yield url
        finally:
            server.terminate()  # asks it to shut its kernels down
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY / 1000
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"Jupyter did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _write_settings(folder: Path, settings: dict[str, dict[str, Any]]) -> None:
    for name, values in settings.items():
        path = folder / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


def _write_kernels(folder: Path) -> None:
    """This Python with its own ipykernel, and with the other one first on its path."""
    other = Path(sys.prefix) / KERNELS[1]
    if not other.is_dir():
        raise RuntimeError(f"there is no {other}: `make test` puts it there")
    for name, environment in zip(KERNELS, ({}, {"PYTHONPATH": str(other)}), strict=True):
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "env": environment,
        }
        path = folder / name / "kernel.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(spec))


def _notebook(cells: list[str], kernel: str) -> dict[str, Any]:
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
        "cells": [
            {
                "id": f"cell-{number}",
                "cell_type": "code",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells)
        ],
    }
