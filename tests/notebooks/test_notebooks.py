"""Every notebook runs from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CLAIMS = {
    "03-inside-the-model": [
        r'^ wolf, ".*"I am the wolf,"',
        r"layer 3, head 2: (4|5)\d% of its attention goes to the token before",
        r"the best is layer 5, head 1: (9|1\d)%",
        r"-12\.\d nats the first time, -1[01]\.\d the second",
        r"   4  ' little' [\s\S]*   5  ' wolf' ",
        "decided behind layer 5",
        r"<CausalMap of ' wolf' at 24: 24 of 24 heads>\nlayer   5  head   0  KL  1\.\d+ ",
        '"I am the king\'s son," said the king',
        r"' mouse' +hangs most on layer 5, head 0",
        r"' fox' +hangs most on layer 5, head 0",
        r"' king' +hangs most on layer 5, head 0: KL 0\.\d+, \+",
        r"' queen' +hangs most on layer [0-4]",
        r"\+2:' was so poor that he could not bear to die",
        r"\+8:.*(\w+) \1 \1 \1",
    ]
}
"""What the text of a notebook says of what its cells print."""


def test_the_quickstart_is_as_short_as_the_readme_says():
    notebook = nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4)
    lengths = [len(cell.source.splitlines()) for cell in notebook.cells if cell.cell_type == "code"]
    assert len(lengths) == 10, "the README says ten cells"
    assert max(lengths) <= 5


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path):
    notebook = nbformat.read(path, as_version=4)
    # `allow_errors` stays off, so a cell that raises ends the run; what it writes lands in tmp_path
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"], "a warning is in the reader's way"
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert "nan" not in re.findall(r"\w+", printed)
    for claim in CLAIMS.get(path.stem, []):
        assert re.search(claim, printed), claim
