"""The engine in its child process: the same records, and whatever may happen to a process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from inferno_widget.engine import Options
from inferno_widget.engine.client import EngineClient
from inferno_widget.engine.stop import Stop
from inferno_widget.errors import Cancelled, ContextFullError, EngineDiedError, InfernoError, ModelLoadError
from inferno_widget.sampling import Sampler
from tests.engine.conftest import EXACT
from tests.engine.tools import Driver, Switch, assert_same, drain, tokens

TEXT = "once upon a time there was a king who had three sons and the dragon in the forest said to her"
WARM = Sampler(temperature=1.2, top_k=0, top_p=1.0, min_p=0.0, seed=5)
POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

Models = dict[str, tuple[Path, int]]


@pytest.fixture
def mortal(models: Models) -> Iterator[Driver]:
    """A client that a test may do anything to."""
    path, n_vocab = models["tiny"]
    engine = EngineClient(str(path), EXACT, n_vocab)
    engine.start()
    yield Driver(engine, Stop)
    engine.close()


def prompt(driver: Driver, text: str = TEXT) -> list[int]:
    return driver.engine.tokenize(text, special=True)


def until(condition: object, seconds: float = 10) -> bool:
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


# --- the same engine --------------------------------------------------------------------------------------


def test_records_equal_those_of_the_engine_in_this_process(client: Driver, native: Driver) -> None:
    ids = prompt(native)
    assert prompt(client) == ids
    assert client.engine.n_ctx == native.engine.n_ctx
    assert client.engine.pieces(ids) == native.engine.pieces(ids)
    here, there = native.prefill(ids), client.prefill(ids)
    assert_same(native.records, client.records, nats=1e-5)
    for sampler in (WARM, Sampler(seed=8), Sampler(temperature=0)):
        for n in (1, 40):
            assert_same(native.generate(here, n, sampler), client.generate(there, n, sampler), nats=1e-5)
            assert native.finish == client.finish == "length"


def test_a_whole_row_crosses_unchanged(client: Driver, native: Driver) -> None:
    ids = prompt(native)
    expected = native.engine.logits(native.prefill(ids), len(ids), cancel=Switch())
    assert np.abs(client.engine.logits(client.prefill(ids), len(ids)) - expected).max() < 1e-3


def test_branches_append_and_drop(client: Driver) -> None:
    ids = prompt(client)
    parent = client.prefill(ids)
    fork = client.engine.branch(parent, 10)
    client.engine.append(fork, ids[10:])
    assert tokens(client.generate(fork, 8, WARM)) == tokens(client.generate(parent, 8, WARM))
    client.engine.drop(fork)
    with pytest.raises(InfernoError):
        client.generate(fork, 1)
    assert len(client.generate(parent, 3, WARM)) == 3


def test_errors_keep_their_type(client: Driver) -> None:
    with pytest.raises(ContextFullError, match="2,000 tokens do not fit into a context of 1,024"):
        client.prefill([5] * 2_000)
    with pytest.raises(InfernoError, match="outside the vocabulary"):
        client.engine.pieces([512])
    with pytest.raises(InfernoError, match="logit_bias names token 600"):
        client.generate(client.prefill([1]), 1, Sampler(temperature=0, logit_bias={600: 1.0}))


def test_stop_strings_and_ends(client: Driver) -> None:
    ids = prompt(client)
    made = tokens(client.generate(client.prefill(ids), 10))
    stop = b"".join(client.engine.pieces(made[2:4])).decode(errors="ignore")
    client.generate(client.prefill(ids), 10, stop=(stop,))
    assert client.finish == "stop"
    client.generate(client.prefill(ids), 10, Sampler(temperature=0, logit_bias={2: 1e3}))
    assert client.finish == "eog"
    client.generate(client.prefill(ids), 5_000, WARM)
    assert client.finish == "context"


def test_two_threads_do_not_disturb_each_other(client: Driver) -> None:
    """Prompts scored and tokens made at the same time, each as if alone."""
    texts = [TEXT * 6, "who said that a dragon " * 25]
    samplers = [WARM, Sampler(temperature=0.9, seed=6)]

    def work(i: int, out: dict[int, list]) -> None:
        driver = Driver(client.engine, Stop)
        branch = driver.prefill(prompt(driver, texts[i]))
        scored = driver.records
        out[i] = scored + driver.generate(branch, 60, samplers[i])
        driver.engine.drop(branch)

    alone: dict[int, list] = {}
    for i in range(2):
        work(i, alone)
    for _ in range(3):
        together: dict[int, list] = {}
        threads = [threading.Thread(target=work, args=(i, together)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(2):
            assert_same(alone[i], together[i], nats=1e-3)


# --- cancelling -------------------------------------------------------------------------------------------


def test_cancel_while_generating_loses_nothing(client: Driver) -> None:
    ids = prompt(client)
    whole = tokens(client.generate(client.prefill(ids), 300, WARM))
    branch, cancel = client.prefill(ids), Stop()
    steps = client.steps(branch, 300, WARM, cancel=cancel)
    made = [next(steps) for _ in range(30)]
    cancel.set()
    rest, finish = drain(steps)
    assert finish == "cancelled"
    made += rest
    assert 30 <= len(made) < 300
    made += client.generate(branch, 300 - len(made), WARM)
    assert tokens(made) == whole
    assert [record.position for record in made] == list(range(len(ids), len(ids) + 300))


def test_cancel_reaches_into_a_long_prompt(models: Models) -> None:
    path, n_vocab = models["tiny"]
    engine = EngineClient(str(path), Options(n_ctx=16_384, n_threads=1), n_vocab)
    engine.start()
    driver = Driver(engine, Stop)
    branch, cancel = engine.branch(None, 0), Stop()
    engine.append(branch, (prompt(driver) * 1_000)[:16_000])
    asked: list[float] = []

    def stop() -> None:
        asked.append(time.monotonic())
        cancel.set()

    threading.Timer(0.4, stop).start()
    assert drain(driver.steps(branch, 5, WARM, cancel=cancel)) == ([], "cancelled")
    assert time.monotonic() - asked[0] < 0.2  # 10 to 30 ms here; the whole prompt takes 8 s
    assert len(driver.generate(driver.prefill([1, 300]), 3, WARM)) == 3
    engine.close()


def test_who_loses_interest_ends_the_work(client: Driver) -> None:
    branch = client.prefill(prompt(client))
    steps = client.steps(branch, 900, WARM)
    next(steps)
    steps.close()
    other = client.prefill([1, 300])
    assert len(client.generate(other, 5, WARM)) == 5
    assert client.generate(branch, 1, WARM)[0].position < 500


def test_cancel_before_it_begins(client: Driver) -> None:
    cancel = Stop()
    cancel.set()
    branch = client.prefill(prompt(client), cancel=cancel)
    assert (client.records, client.finish) == ([], "cancelled")
    assert client.prefill([1, 300], branch=branch) == branch
    assert tokens(client.records) == [1, 300]


# --- processors -------------------------------------------------------------------------------------------


def test_a_processor_in_the_kernel_sees_and_decides(client: Driver) -> None:
    ids = prompt(client)
    branch, seen = client.prefill(ids), []

    def only_300(now: np.ndarray, logits: np.ndarray) -> np.ndarray:
        seen.append((now.tolist(), logits.copy()))
        return np.where(np.arange(512) == 300, 0.0, -np.inf)

    assert tokens(client.generate(branch, 3, WARM, processor=only_300)) == [300] * 3
    assert [now for now, _ in seen] == [ids, [*ids, 300], [*ids, 300, 300]]
    assert np.abs(seen[0][1] - client.engine.logits(client.prefill(ids), len(ids))).max() < 1e-3


def test_a_processor_that_changes_nothing_changes_nothing(client: Driver) -> None:
    ids = prompt(client)
    plain = client.generate(client.prefill(ids), 30, WARM)
    assert_same(plain, client.generate(client.prefill(ids), 30, WARM, processor=lambda _, row: row), nats=1e-3)


def test_a_processor_may_ask_the_engine(client: Driver) -> None:
    asked = []

    def curious(now: np.ndarray, logits: np.ndarray) -> np.ndarray:
        asked.append(client.engine.tokenize(TEXT, special=True))
        return logits

    client.generate(client.prefill(prompt(client)), 3, WARM, processor=curious)
    assert asked == [prompt(client)] * 3


def test_what_a_processor_raises_comes_back_as_the_cause(client: Driver) -> None:
    ids = prompt(client)
    branch, made = client.prefill(ids), []

    def fails_at_once_more(now: np.ndarray, logits: np.ndarray) -> np.ndarray:
        if len(now) == len(ids) + 2:
            raise LookupError("no such word")
        return logits

    steps = client.steps(branch, 9, WARM, processor=fails_at_once_more)
    with pytest.raises(InfernoError, match=r"logits processor failed: LookupError\('no such word'\)") as caught:
        made.extend(steps)
    assert isinstance(caught.value.__cause__, LookupError)
    assert len(made) == 2
    assert client.generate(branch, 1, WARM)[0].position == len(ids) + 2
    for wrong, found in ((lambda row: row[:5], r"float32 \[5\]"), (lambda row: None, "None"), (lambda row: 1.0, "1.0")):
        with pytest.raises(InfernoError, match=rf"must return the logits, float32 \[512\], not {found}"):
            client.generate(branch, 1, WARM, processor=lambda ids, row, wrong=wrong: wrong(row))
    assert client.generate(branch, 1, WARM, processor=lambda ids, row: row[None].tolist())[0].position == len(ids) + 3


# --- loading ----------------------------------------------------------------------------------------------


def test_loading_tells_how_far_it_is(models: Models) -> None:
    path, n_vocab = models["demo"]
    engine, seen = EngineClient(str(path), EXACT, n_vocab), []
    assert engine.pid is None
    engine.start(progress=seen.append)
    engine.start(progress=seen.append)  # it lives already
    assert engine.generation == 1
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    engine.close()
    assert engine.pid is None
    with pytest.raises(InfernoError, match="closed"):
        engine.tokenize("x", special=False)


def test_cancel_of_loading(models: Models) -> None:
    path, n_vocab = models["demo"]
    engine, cancel = EngineClient(str(path), EXACT, n_vocab), Stop()
    cancel.set()  # later it might be done before it is noticed
    with pytest.raises(Cancelled):
        engine.start(cancel=cancel)
    assert engine.pid is None
    engine.start()
    assert engine.generation == 1
    engine.close()


def test_a_file_that_llama_cpp_refuses(models: Models, tmp_path: Path) -> None:
    data = models["tiny"][0].read_bytes()
    for content, reason in (
        (data[: len(data) // 2], "data"),
        (data.replace(b"llama", b"lumma"), "architecture: 'lumma'"),
    ):
        path = tmp_path / "broken.gguf"
        path.write_bytes(content)
        engine = EngineClient(str(path), EXACT, 512)
        with pytest.raises(ModelLoadError, match=reason):
            engine.start()
        assert engine.pid is None
        engine.close()


# --- death ------------------------------------------------------------------------------------------------


@POSIX
def test_kill_in_the_middle_and_go_on(mortal: Driver) -> None:
    ids = prompt(mortal)
    whole = tokens(mortal.generate(mortal.prefill(ids), 60, WARM))
    branch = mortal.prefill(ids)
    steps, made = mortal.steps(branch, 900, WARM), []
    made += [next(steps) for _ in range(20)]
    os.kill(mortal.engine.pid, signal.SIGKILL)
    with pytest.raises(EngineDiedError, match="during generate: killed by signal 9") as caught:
        made.extend(steps)
    assert (caught.value.stage, caught.value.exitcode) == ("generate", -9)
    assert mortal.engine.pid is None
    with pytest.raises(EngineDiedError):
        mortal.engine.tokenize("x", special=False)
    mortal.engine.start()
    assert mortal.engine.generation == 2
    if len(made) < 60:
        branch = mortal.engine.branch(None, 0)
        mortal.engine.append(branch, ids + tokens(made))
        made += mortal.generate(branch, 60 - len(made), WARM)
    assert tokens(made)[:60] == whole


@POSIX
def test_what_came_before_the_end_is_handed_on_before_it_is_told(mortal: Driver) -> None:
    """Whoever is slow to take the records loses none that the process had sent."""
    steps = mortal.steps(mortal.prefill(prompt(mortal)), 900, WARM)
    made = [next(steps)]
    (asked,) = mortal.engine._child._asked.values()
    assert until(lambda: asked.answers.qsize() > 2)
    os.kill(mortal.engine.pid, signal.SIGKILL)
    assert until(lambda: mortal.engine.pid is None)
    assert until(lambda: mortal.engine._child.process.poll() is not None)
    waiting = [asked.answers.get(timeout=10) for _ in range(asked.answers.qsize())]
    for answer in waiting:
        asked.answers.put(answer)
    sent = [record for kind, value in waiting if kind == "records" for record in value[0].records()]
    assert len(sent) > 1
    with pytest.raises(EngineDiedError):
        made.extend(steps)
    assert tokens(made[-len(sent) :]) == tokens(sent)
    assert [record.position for record in made] == list(range(made[0].position, made[0].position + len(made)))


@POSIX
def test_everybody_who_waits_hears_of_the_death(mortal: Driver) -> None:
    begun, ends = threading.Barrier(4), []

    def work() -> None:
        driver = Driver(mortal.engine, Stop)
        steps = driver.steps(driver.prefill([1, 300]), 900, WARM)
        next(steps)
        begun.wait()
        with pytest.raises(EngineDiedError):
            drain(steps)
        ends.append(True)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    os.kill(mortal.engine.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    assert len(ends) == 3


@POSIX
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_names_its_signal_and_place(mortal: Driver, number: signal.Signals) -> None:
    os.kill(mortal.engine.pid, number)
    assert until(lambda: mortal.engine.pid is None)
    with pytest.raises(EngineDiedError, match=rf"{number.name}.*Fatal Python error.* in _?\w+") as caught:
        mortal.engine.tokenize("x", special=False)
    assert caught.value.exitcode == -number


@POSIX
def test_ctrl_c_does_not_end_the_child(mortal: Driver) -> None:
    steps = mortal.steps(mortal.prefill(prompt(mortal)), 200, WARM)
    next(steps)
    pid = mortal.engine.pid
    for _ in range(3):
        os.kill(pid, signal.SIGINT)
    assert len(drain(steps)[0]) == 199
    assert mortal.engine.pid == pid


PARENT = """
import sys, time
from inferno_widget.engine import Options
from inferno_widget.engine.client import EngineClient
engine = EngineClient(sys.argv[1], Options(n_ctx=256, n_threads=1), 512)
engine.start()
print(engine.pid, flush=True)
if sys.argv[2] == "stay":
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("how", ["killed", "interrupted", "returns"])
def test_the_child_ends_with_its_parent(models: Models, how: str) -> None:
    if os.name == "nt" and how == "interrupted":
        pytest.skip("POSIX signals")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(models["tiny"][0]), "return" if how == "returns" else "stay"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with parent:
        child = int(parent.stdout.readline())
        if how == "killed":
            parent.kill()
        elif how == "interrupted":
            os.killpg(parent.pid, signal.SIGINT)
        parent.wait(60)
    assert until(lambda: not alive(child))


def test_the_working_directory_is_not_imported_from(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "signal", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')\n")
    monkeypatch.chdir(tmp_path)
    path, n_vocab = models["tiny"]
    engine = EngineClient(str(path), EXACT, n_vocab)
    engine.start()
    engine.close()


def test_nothing_is_left_behind(models: Models) -> None:
    me = psutil.Process()
    path, n_vocab = models["tiny"]

    def once() -> None:
        engine = EngineClient(str(path), EXACT, n_vocab)
        engine.start()
        driver = Driver(engine, Stop)
        driver.generate(driver.prefill([1, 300]), 3, WARM)
        engine.close()

    def left() -> tuple[int, int, int]:
        return me.num_fds() if os.name != "nt" else me.num_handles(), threading.active_count(), len(me.children())

    once()
    gc.collect()  # what earlier tests left
    before = left()
    for _ in range(10):
        once()
    assert until(lambda: all(now <= then for now, then in zip(left(), before, strict=True))), (left(), before)


def test_branches_of_a_new_child_are_none_of_the_old_ones(mortal: Driver) -> None:
    client = mortal.engine
    old = client.branch(None, 0)
    os.kill(client.pid, signal.SIGKILL)
    assert until(lambda: client.pid is None)
    client.start()
    assert client.branch(None, 0) != old
