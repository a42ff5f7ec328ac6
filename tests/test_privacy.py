"""Nothing goes out, and nothing is kept that nobody asked for: the whole workbench, watched from outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from inferno_widget import Model
from inferno_widget.model import demo_path
from tests.engine.tools import DEMO

ROOT = Path(__file__).parents[1]
MARKER = "marzipanferkel"
WATCH = """\
import os, sys

WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
NOTES = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(what, *details):
    os.write(NOTES, (repr((os.getpid(), what, *map(str, details))) + "\\n").encode(errors="backslashreplace"))

def is_here(address):
    if address is None or isinstance(address, (str, bytes)):  # that of a connection, or a name in the file system
        return True
    return str(address[0]) in ("127.0.0.1", "::1", "localhost")

def hook(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg") and not is_here(arguments[1]):
        note("network", event, arguments[1])
        raise ConnectionRefusedError("no network here")
    elif event.startswith(("socket.get", "urllib", "http.client", "ftplib", "smtplib", "webbrowser")):
        if event != "socket.gethostname":
            note("network", event, *arguments)
            raise ConnectionRefusedError("no network here")
    elif event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & WRITES:
        note("write", os.path.abspath(os.fsdecode(arguments[0])))
    elif event in ("subprocess.Popen", "os.system", "os.exec"):
        note("start", arguments[0], arguments[1] if len(arguments) > 1 else "")

note("watched", getattr(sys, "orig_argv", ""))
sys.addaudithook(hook)
"""
"""``sitecustomize.py``: every Python that is started refuses to reach another machine, and notes what it does."""


class Told(NamedTuple):
    """What a process did.

    Attributes
    ----------
    home : where all that is written lies; what was asked for is in ``asked-for``
    out : what it printed
    said : the texts that were generated
    errors : what the person was told
    notes : (process, what, details ...) of all processes
    """

    home: Path
    out: str
    said: list[str]
    errors: list[str]
    notes: list[tuple[str, ...]]

    def of(self, what: str) -> list[tuple[str, ...]]:
        return [note[2:] for note in self.notes if note[1] == what]


def told(home: Path, *before: str) -> Told:
    """`tests.everything` in a home, with temporary files, caches and settings of its own."""
    folders = {name: home / name.lower() for name in ("TMPDIR", "INFERNO_WIDGET_CONFIG", "IPYTHONDIR", "HF_HOME")}
    watch = home / "watch"
    for folder in (home, watch, *folders.values()):
        folder.mkdir(exist_ok=True)
    (watch / "sitecustomize.py").write_text(WATCH)
    environment = {
        **os.environ,
        **{name: str(folder) for name, folder in folders.items()},
        **{name: str(home) for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")},
        "PYTHONPATH": os.pathsep.join([str(watch), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "WATCHED": str(home / "notes"),
    }
    command = [*before, sys.executable, "-m", "tests.everything", str(home), MARKER]
    ran = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, timeout=250, check=False, errors="replace"
    )
    out = ran.stdout + ran.stderr
    assert not ran.returncode, out[-5_000:]
    document = json.loads((home / "asked-for" / "said.json").read_text())
    notes = [eval(line) for line in (home / "notes").read_text().splitlines()]  # literals of ours
    return Told(home, out, document["said"], document["errors"], notes)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return told(tmp_path_factory.mktemp("home"))


def test_it_did_what_it_is_there_to_do(everything: Told) -> None:
    """The word was read, written and complained of; children died; every process was watched."""
    assert all(MARKER in text for text in everything.said)
    died = [error for error in everything.errors if error.startswith("EngineDiedError")]
    assert len(died) == (3 if os.name != "nt" else 1)
    assert [error for error in everything.errors if MARKER in error], "a person is told what was wrong with it"
    assert len([error for error in everything.errors if error]) <= len(died) + 5
    workers = [argv for (argv,) in everything.of("watched") if "engine.worker" in argv]
    assert len(workers) >= 1 + len(died)
    assert [argv for (argv,) in everything.of("watched") if "grammar_worker" in argv]
    assert (everything.home / "log").read_text().startswith("DEBUG:")


def test_nothing_asks_for_another_machine(everything: Told) -> None:
    assert everything.of("network") == []


def test_only_our_own_processes_are_started(everything: Told) -> None:
    """And uname, which Python's own `platform` asks."""
    started = [(Path(program).name, argv) for program, argv in everything.of("start")]
    assert {name for name, _ in started} <= {Path(sys.executable).name, "uname"}
    ours = re.compile(r"inferno_widget[./\\\\]+engine[./\\\\]+\w+")
    assert all(ours.search(argv) for name, argv in started if name != "uname")


def test_no_log_holds_a_prompt_or_what_came_of_it(everything: Told) -> None:
    """At the lowest level, in what is printed, and in all that is left behind: settings, caches, temporary files."""
    words = [MARKER, *(text[-12:] for text in everything.said)]
    places = [path for path in everything.home.rglob("*") if path.is_file() and "asked-for" not in path.parts]
    found = [(word, "printed") for word in words if word in everything.out]
    for path in places:
        data = path.read_bytes()
        found += [(word, str(path)) for word in words if word.encode() in data or word.encode("utf-16-le") in data]
    noted = str(everything.home / "notes")  # of ours: its command lines and paths hold the word that it was given
    assert [place for place in found if place[1] != noted] == []


def test_what_is_written_was_asked_for(everything: Told) -> None:
    """Temporary files have no name; settings are settings."""
    home, settings = everything.home, everything.home / "inferno_widget_config"
    for (name,) in everything.of("write"):
        path = Path(name)
        asked = path.is_relative_to(home / "asked-for") or path in (home / "log", home / "chat.gguf")
        system = path in (Path(os.devnull), Path("/proc/self/oom_score_adj"))
        kept = path.parent == settings and path.name.startswith("preferences.")
        temporary = path.is_relative_to(home / "tmpdir") and not path.is_file()
        assert asked or system or kept or temporary, path
    assert list((home / "tmpdir").iterdir()) == []
    assert json.loads((settings / "preferences.json").read_text()).keys() == {"look", "presets", "recent"}


@pytest.mark.skipif(not shutil.which("unshare"), reason="there are no network namespaces")
def test_it_all_works_where_there_is_no_network_at_all(tmp_path: Path) -> None:
    """Native code is not seen by the hooks above; here not even it has a network."""
    ways = (["unshare", "-n"], ["unshare", "-rn"])
    allowed = [way for way in ways if not subprocess.run([*way, "true"], check=False, capture_output=True).returncode]
    if not allowed:
        pytest.skip("this machine allows no network namespaces")
    ran = told(tmp_path, *allowed[0])
    assert ran.of("network") == []
    assert all(MARKER in text for text in ran.said)


# --- model files ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process holds open is read from /proc")
def test_a_model_file_is_opened_to_be_read(tmp_path: Path) -> None:
    """By no process that has it open, and not through its mapped pages."""
    file = tmp_path / "model.gguf"
    shutil.copy(demo_path(), file)
    file.chmod(0o444)
    before = (hashlib.sha256(file.read_bytes()).digest(), file.stat().st_mtime_ns)
    with Model(file) as model:
        session = model.session("Once upon a time")
        session.generate(4)
        session.inspect(2)
        for process in (model.engine.pid, os.getpid()):
            assert holds(process, file) <= {"r"}
        assert (hashlib.sha256(file.read_bytes()).digest(), file.stat().st_mtime_ns) == before
        assert "r" in holds(model.engine.pid, file), "it is mapped"
    assert sorted(tmp_path.iterdir()) == [file]
    assert DEMO.stat().st_size == file.stat().st_size


def holds(process: int, file: Path) -> set[str]:
    """How a process has a file open or mapped: "r", "w"."""
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        if descriptor.resolve() == file:
            (flags,) = re.findall(r"flags:\s+(\d+)", Path(f"/proc/{process}/fdinfo/{descriptor.name}").read_text())
            found.add("w" if int(flags, 8) & (os.O_WRONLY | os.O_RDWR) else "r")
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        if line.endswith(str(file)):
            rights = line.split()[1]
            found.add("w" if rights[1] == "w" and rights[3] == "s" else "r")
    return found
