"""Notebooks that nbconvert ran or was given: what they show without a kernel and without a network."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest

CELL = """\
from inferno_widget import Inferno, Model, Sampler
session = Model().session("Once upon a time there was a king", Sampler(seed=7))
session.generate(20)
open("text.txt", "w", encoding="utf-8").write(session.trace.text)
Inferno(session{options})"""


def executed(folder: Path, options: str = "") -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(options=options))])
    nbformat.write(notebook, folder / "given.ipynb")
    nbconvert(folder, "--to", "notebook", "--execute", "--output", "run.ipynb", "given.ipynb")
    return nbformat.read(folder / "run.ipynb", 4)


def nbconvert(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def text_of(folder: Path) -> str:
    return (folder / "text.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    executed(folder)
    return folder


def test_html_shows_the_picture_and_the_text(run):
    nbconvert(run, "--to", "html", "run.ipynb")
    html = (run / "run.html").read_text(encoding="utf-8")
    source = re.search(r'<img[^>]* src="data:image/svg\+xml;base64,([^"]+)"', html)[1]
    assert ET.fromstring(base64.b64decode(source)).tag.endswith("svg")
    shown = html.split('class="inferno-fallback"', 1)[1]
    assert "Once upon a time there was a king" in shown
    assert "20 generated tokens" in shown


def test_the_plain_text_is_the_whole_text(run):
    (output,) = [
        output
        for output in nbformat.read(run / "run.ipynb", 4).cells[0].outputs
        if "text/html" in output.get("data", {})
    ]
    assert text_of(run) in output.data["text/plain"]


@pytest.mark.parametrize("form", ["markdown", "rst"])
def test_other_formats_show_something_true(run, form):
    nbconvert(run, "--to", form, "--output", f"made-{form}", "run.ipynb")
    (made,) = run.glob(f"made-{form}.*")
    assert "Once upon a time there was a king" in made.read_text(encoding="utf-8")


def test_the_saved_state_holds_the_run(run):
    state = nbformat.read(run / "run.ipynb", 4).metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    (model,) = [model for model in state.values() if "ident" in model["state"]]
    (snapshot,) = [buffer for buffer in model["buffers"] if buffer["path"] == ["snapshot"]]
    assert len(base64.b64decode(snapshot["data"])) > 1_000


def test_without_fallback_nothing_is_kept(tmp_path):
    notebook = executed(tmp_path, ", fallback=False")
    told = text_of(tmp_path).removeprefix("Once upon a time there was a king")
    assert len(told) > 20
    file = (tmp_path / "run.ipynb").read_text(encoding="utf-8")
    assert told.split("\n")[0][:20] not in file
    assert file.count("Once upon a time") == 1, "in the source, and nowhere else"
    assert not [output for output in notebook.cells[0].outputs if "text/html" in output.get("data", {})]
