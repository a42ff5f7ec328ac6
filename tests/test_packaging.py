"""What people install: the sdist, the wheel made from it, and a clean environment with that wheel."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pytest

import inferno_widget

ROOT = Path(__file__).parents[1]
BUILT = tuple(f"static/{name}" for name in ("widget.js", "widget.css", "page.js", "page.css"))
NEEDED = ("protocol.json", "py.typed", "models/demo.gguf", *BUILT)

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1800)]


@dataclass
class Archives:
    """The two archives, and what pip said while it made the wheel from the sdist."""

    sdist: Path
    wheel: Path
    log: str


def run(*command: str | Path, **options) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}"
    return done.stdout


def without_node() -> dict[str, str]:
    """This environment with no folder on PATH that holds a node."""
    folders = os.environ["PATH"].split(os.pathsep)
    return {
        **os.environ,
        "PATH": os.pathsep.join(folder for folder in folders if not shutil.which("node", path=folder)),
    }


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    folder = tmp_path_factory.mktemp("archives")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-cache-dir")
    log = run(*pip, "-w", folder, sdist, env=without_node())
    (wheel,) = folder.glob("*.whl")
    return Archives(sdist, wheel, log)


def test_both_archives_hold_what_is_needed(archives: Archives):
    with tarfile.open(archives.sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    in_wheel = set(zipfile.ZipFile(archives.wheel).namelist())
    needed = {f"inferno_widget/{name}" for name in NEEDED}
    assert needed <= in_sdist
    assert needed <= in_wheel
    assert {"LICENSE", "README.md", "js/package-lock.json", "hatch_build.py"} <= in_sdist


def test_the_readme_leads_nowhere_that_the_sdist_does_not_hold(archives: Archives):
    with tarfile.open(archives.sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    links = set(re.findall(r"\]\(([^):#]+)", (ROOT / "README.md").read_text()))
    assert {"docs/pictures/light.png", "notebooks/quickstart.ipynb"} <= links
    assert links <= in_sdist
    imported = {path.parent.name for path in ROOT.glob("*/*.py")} - {"build", "dist"}
    assert imported <= {name.split("/")[0] for name in in_sdist}, "what the tests import"


def test_nothing_else_is_in_them(archives: Archives):
    with tarfile.open(archives.sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    in_wheel = zipfile.ZipFile(archives.wheel).namelist()
    assert {name.split("/")[0] for name in in_wheel} == {
        "inferno_widget",
        f"inferno_widget-{inferno_widget.__version__}.dist-info",
    }
    assert not [name for name in {*in_sdist, *in_wheel} if "node_modules" in name or name.endswith(".pyc")]


def test_an_sdist_needs_no_node(archives: Archives):
    assert "hatchling" in archives.log
    assert "nodejs" not in archives.log


def test_the_version_agrees_everywhere(archives: Archives):
    version = inferno_widget.__version__
    assert archives.sdist.name == f"inferno_widget-{version}.tar.gz"
    assert archives.wheel.name.split("-")[1] == version
    with zipfile.ZipFile(archives.wheel) as wheel:
        metadata = wheel.read(f"inferno_widget-{version}.dist-info/METADATA").decode()
    assert f"\nVersion: {version}\n" in metadata
    newest = re.search(r"^## \[?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == version
    assert "version" not in json.loads((ROOT / "js" / "package.json").read_text())


FIRST_USE = """
import json, shutil
import inferno_widget
from inferno_widget import Inferno, Model, Sampler

with Model() as model:
    session = model.session("Once upon a time", Sampler(temperature=0))
    before = len(session.trace)
    session.generate(8)
    print(json.dumps({
        "file": inferno_widget.__file__,
        "version": inferno_widget.__version__,
        "node": shutil.which("node"),
        "tokens": len(session.trace) - before,
        "esm": len(str(Inferno._esm)),
    }))
"""


def test_a_clean_environment_generates(archives: Archives, tmp_path: Path):
    """Everything comes from the registry or pip's cache, as for anybody; the versions are the ones tested here.

    pip keeps the wheel of llama-cpp-python that it built for this environment, so it need not be compiled again.
    """
    clean = tmp_path / "clean"
    venv.create(clean)
    python = clean / ("Scripts" if os.name == "nt" else "bin") / "python"
    versions = tmp_path / "versions.txt"
    versions.write_text(
        "\n".join(f"{found.name}=={found.version}" for found in distributions() if found.name != "inferno_widget")
    )
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "-c", versions, archives.wheel)
    answer = json.loads(run(python, "-I", "-c", FIRST_USE, env=without_node(), cwd=tmp_path).splitlines()[-1])
    assert Path(answer["file"]).is_relative_to(clean)
    assert answer["version"] == inferno_widget.__version__
    assert answer["node"] is None
    assert answer["tokens"] >= 8  # the prompt's too, where it is scored with the first
    assert answer["esm"] > 1000


HEAVY = ("anywidget", "ipywidgets", "llama_cpp", "matplotlib", "pandas", "plotly")


def test_importing_is_cheap():
    code = f"import sys, inferno_widget; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(sys.executable, "-c", code).strip() == "[]"


def test_every_public_name_is_there():
    home = inferno_widget._HOME
    assert sorted(home) == inferno_widget.__all__
    for name, module in home.items():
        assert getattr(inferno_widget, name) is getattr(importlib.import_module(f"inferno_widget.{module}"), name)
        assert name in dir(inferno_widget)
    with pytest.raises(AttributeError, match="Infernal"):
        inferno_widget.Infernal  # noqa: B018
