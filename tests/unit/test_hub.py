"""Downloads from a small hub on loopback, each in its own process: huggingface_hub reads its settings once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inferno_widget.errors import InfernoError
from inferno_widget.hub import choose, fetch
from tests.hub import COMMIT, Hub

REPO = "ann/tales-GGUF"
DATA = bytes(range(256)) * 12_000  # 3 MB
FILES = {
    "README.md": b"read me",
    "tales.Q8_0.gguf": DATA,
    "tales.Q4_K_M.gguf": b"small",
    "big/tales-F16-00001-of-00002.gguf": b"one",
    "big/tales-F16-00002-of-00002.gguf": b"three",
}
RESOLVE = f"/{REPO}/resolve/main/tales.Q8_0.gguf"
Run = Callable[..., str]

FETCH = """
from inferno_widget.hub import fetch
told = []
path = fetch({repo!r}, {pattern!r}, revision={revision!r}, progress=told.append)
print(path)
print(told == sorted(told) and (not told or told[-1] == 1.0), len(told))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub({REPO: dict(FILES)}, gated={"ann/gated"}).serving() as hub:
        yield hub


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Run:
    """Run Python with the hub of this test and a cache of its own; gives what it printed, and fails as it does."""

    def run(code: str, fails: bool = False, **environment: str) -> str:
        # AI_AGENT makes some versions of huggingface_hub ask the hub for a list of agents, to tell it which one it is.
        variables = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "AI_AGENT": "test", **environment}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        done = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", code],
            env={**inherited, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture
def download(run: Run) -> Callable[..., Path]:
    def download(pattern: str = "*q8_0*", revision: str = "main", **environment: str) -> Path:
        path, rising = run(FETCH.format(repo=REPO, pattern=pattern, revision=revision), **environment).splitlines()
        assert rising.startswith("True")
        return Path(path)

    return download


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    def refused(repo: str = REPO, pattern: str = "*q8_0*", revision: str = "main", **environment: str) -> str:
        said = run(FETCH.format(repo=repo, pattern=pattern, revision=revision), fails=True, **environment)
        last = said.split("inferno_widget.errors.InfernoError: ")
        assert len(last) == 2, said
        return last[1].strip()

    return refused


def blobs(tmp_path: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in tmp_path.rglob("blobs/*")}


# --- downloading ------------------------------------------------------------------------------------------


def test_download_and_then_from_the_cache(hub: Hub, download: Callable[..., Path], tmp_path: Path) -> None:
    path = download()
    assert path.read_bytes() == DATA
    assert path == tmp_path / f"home/hub/models--ann--tales-GGUF/snapshots/{COMMIT}/tales.Q8_0.gguf"
    listing = f"GET /api/models/{REPO}/revision/main"
    assert hub.requests == [listing, f"HEAD {RESOLVE}", f"GET {RESOLVE}", f"HEAD {RESOLVE}"], "and nothing else"
    assert all("agent/" not in headers["user-agent"] for headers in hub.headers)
    hub.requests.clear()
    assert download() == path
    assert hub.requests == [listing, f"HEAD {RESOLVE}", f"HEAD {RESOLVE}"]


def test_all_parts_of_a_split_model(download: Callable[..., Path]) -> None:
    path = download("*f16*")
    assert path.name == "tales-F16-00001-of-00002.gguf"
    assert path.read_bytes() + path.with_name("tales-F16-00002-of-00002.gguf").read_bytes() == b"onethree"


def test_a_connection_that_breaks_is_taken_up_again(hub: Hub, download: Callable[..., Path]) -> None:
    hub.cuts = [1_000_000, 700_000]
    assert download().read_bytes() == DATA
    starts = [int(start) for start in re.findall(r"bytes=(\d+)-", " ".join(hub.requests))]
    assert len(starts) == 2
    assert 500_000 < starts[0] < starts[1] < 1_700_000


def test_a_download_goes_on_in_another_process(
    hub: Hub, run: Run, download: Callable[..., Path], tmp_path: Path
) -> None:
    code = """
from inferno_widget import Cancelled
from inferno_widget.hub import fetch
import inferno_widget.hub as hub
hub.REPORT_SECONDS = 0
try:
    fetch("ann/tales-GGUF", "*q8_0*", progress=lambda fraction: fraction < 0.4)
except Cancelled as error:
    print(error)
"""
    assert run(code).strip() == "the download was cancelled; what came is kept for the next attempt"
    ((name, have),) = blobs(tmp_path).items()
    assert name.endswith(".incomplete")
    assert 0.2 * len(DATA) < have < 0.6 * len(DATA)
    hub.requests.clear()
    assert download().read_bytes() == DATA
    assert f"GET {RESOLVE} bytes={have}-" in hub.requests
    assert list(blobs(tmp_path).values()) == [len(DATA)]


def test_a_server_that_is_gone_says_how_far_it_came(hub: Hub, refused: Callable[..., str], tmp_path: Path) -> None:
    hub.cuts = [1_000_000, *[0] * 20]
    said = refused()
    assert re.match(r"the download of tales\.Q8_0\.gguf from http://\S+ broke off at [\d,]+ of 3,072,000 bytes", said)
    assert said.endswith("try again, it goes on from there")
    assert 500_000 < next(iter(blobs(tmp_path).values())) <= 1_000_000


def test_an_exception_in_progress_comes_out(run: Run) -> None:
    code = f"from inferno_widget.hub import fetch\nfetch({REPO!r}, '*q8_0*', progress=lambda fraction: 1 / 0)"
    assert run(code, fails=True).strip().endswith("ZeroDivisionError: division by zero")


def test_a_bar_in_a_plain_terminal(run: Run) -> None:
    code = (
        "from inferno_widget.hub import fetch\nimport sys\nsys.stderr = sys.stdout\nfetch('ann/tales-GGUF', '*q8_0*')"
    )
    assert re.search(r"ann/tales-GGUF: 100%.* 3\.07M/3\.07M", run(code))


def test_a_full_disk_is_noticed_before(run: Run, hub: Hub) -> None:
    code = """
import shutil
from inferno_widget.hub import fetch
shutil.disk_usage = lambda path: type("Usage", (), {"free": 1000})
fetch("ann/tales-GGUF", "*q8_0*")
"""
    assert "needs 3.07 MB more, but the disk of" in run(code, fails=True)
    assert not any(request.startswith(f"GET {RESOLVE}") for request in hub.requests)


def test_two_at_once_do_not_write_into_one_file(run: Run) -> None:
    code = """
import threading
import inferno_widget.hub as hub
hub.REPORT_SECONDS = 0
begun, refused = threading.Event(), threading.Event()
def slowly(fraction):
    begun.set()
    refused.wait(60)
first = threading.Thread(target=hub.fetch, args=("ann/tales-GGUF", "*q8_0*"), kwargs={"progress": slowly})
first.start()
begun.wait(60)
try:
    hub.fetch("ann/tales-GGUF", "*q8_0*", progress=print)
except hub.InfernoError as error:
    print(error)
refused.set()
first.join()
print(hub.fetch("ann/tales-GGUF", "*q8_0*").stat().st_size)
"""
    assert run(code).splitlines() == [
        "another process is downloading tales.Q8_0.gguf just now; wait until it is there",
        str(len(DATA)),
    ]


# --- without the hub --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["offline", "no connection", "down"])
def test_without_the_hub_the_cache_is_taken(how: str, hub: Hub, download: Callable[..., Path], refused) -> None:
    settings = {"offline": {"HF_HUB_OFFLINE": "1"}, "no connection": {"HF_ENDPOINT": "http://127.0.0.1:9"}}
    environment = settings.get(how, {})
    path = download()
    hub.down = how == "down"
    hub.requests.clear()
    assert download(**environment) == path
    assert download(revision=COMMIT, **environment) == path
    reason = {"offline": "HF_HUB_OFFLINE forbids", "no connection": "cannot be reached", "down": "failed"}[how]
    assert reason in refused(pattern="*q4*", **environment)
    assert "matches '*q4*'; it holds\n  tales.Q8_0.gguf" in refused(pattern="*q4*", **environment)
    assert "and the cache holds nothing of ann/other at 'main'" in refused("ann/other", **environment)
    assert not hub.requests or how == "down"


def test_parts_that_the_cache_lacks_are_told(download: Callable[..., Path], refused: Callable[..., str]) -> None:
    download("*f16*").with_name("tales-F16-00002-of-00002.gguf").unlink()
    assert "the cache holds 1 of 2 parts of big/tales-F16" in refused(pattern="*f16*", HF_HUB_OFFLINE="1")


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"repo": "ann/none"}, r"there is no http://\S+/ann/none; if it is private, log in: hf auth login"),
        ({"repo": "ann/gated"}, r"http://\S+/ann/gated is gated: accept its terms there, then log in"),
        ({"repo": "ann/../x"}, r"'ann/\.\./x' is no name of a repository; one looks like owner/name"),
        ({"revision": "v9"}, r"http://\S+/ann/tales-GGUF has no revision 'v9'"),
        ({"pattern": "*q5*"}, r"no file of ann/tales-GGUF matches '\*q5\*'; it holds\n.*Q4_K_M"),
        (
            {"pattern": "*"},
            r"3 models of ann/tales-GGUF match '\*'; .* one of\n.*00001-of-00002.gguf and 1 more",
        ),
    ],
)
def test_what_the_hub_refuses(arguments: dict[str, str], words: str, refused: Callable[..., str]) -> None:
    assert re.match(words, refused(**arguments), re.DOTALL)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InfernoError, match=re.escape('install it: pip install "inferno_widget[hub]"')):
        fetch(REPO)


def test_importing_loads_no_library(run: Run) -> None:
    code = "import sys, inferno_widget.hub, inferno_widget.model\nprint('huggingface_hub' in sys.modules)"
    assert run(code).strip() == "False"


# --- choosing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("tales.Q8_0.gguf", ["tales.Q8_0.gguf"]),
        ("*Q4_K*", ["tales.Q4_K_M.gguf"]),
        ("*q8_0.GGUF", ["tales.Q8_0.gguf"]),
        ("big/*", ["big/tales-F16-00001-of-00002.gguf", "big/tales-F16-00002-of-00002.gguf"]),
        ("tales-F16*", ["big/tales-F16-00001-of-00002.gguf", "big/tales-F16-00002-of-00002.gguf"]),
        ("*-00002-of-*", ["big/tales-F16-00001-of-00002.gguf", "big/tales-F16-00002-of-00002.gguf"]),
        ("*[89]_0*", ["tales.Q8_0.gguf"]),
    ],
)
def test_what_a_pattern_means(pattern: str, chosen: list[str]) -> None:
    assert choose(list(FILES), pattern, REPO) == chosen


def test_a_repository_without_models_says_so() -> None:
    with pytest.raises(InfernoError, match="ann/x holds no GGUF file; look for a repository whose"):
        choose(["README.md", "model.safetensors"], "*.gguf", "ann/x")
