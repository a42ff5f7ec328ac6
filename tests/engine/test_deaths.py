"""However the engine's process ends, hangs or babbles: it is noticed, told in words, and nothing is lost."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from inferno_widget import Ablate, EngineDiedError, Model, Session
from inferno_widget.engine import child as child_module
from inferno_widget.engine import death
from inferno_widget.engine.channel import Channel, GarbledError, OwnFlag, is_stopped
from inferno_widget.engine.client import EngineClient
from inferno_widget.engine.llama import LlamaEngine
from inferno_widget.engine.patience import Patience
from inferno_widget.engine.stop import Stop
from inferno_widget.errors import InfernoError
from inferno_widget.sampling import draw
from tests.engine.conftest import EXACT
from tests.engine.tools import NATS, PROMPT, Driver, assert_seen, dice, loaded, opened, until

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
SEED = 20_261_123
ROUNDS = 200


def process_of(engine: EngineClient) -> psutil.Process:
    return psutil.Process(engine.pid)


def shared() -> set[str]:
    """Names of our shared memory that would outlive its process; there should be none."""
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir() if "inferno" in path.name} if folder.exists() else set()


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def bad(models: dict[str, tuple[Path, int]], monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineClient]:
    """An engine whose process does what it is told."""
    script = Path(__file__).with_name("bad_worker.py")
    monkeypatch.setattr(child_module, "COMMAND", (sys.executable, "-P", str(script)))
    path, n_vocab = models["tiny"]
    engine = EngineClient(str(path), EXACT, n_vocab)
    engine.start()
    yield engine
    engine.close()


def misbehave(engine: EngineClient, how: str) -> object:
    return engine.child().call("misbehave", how, cancel=Stop())


# --- ways to end --------------------------------------------------------------------------------------------

ENDS = {
    "exits": (3, r"exit code 3; it last said: .*libgomp: Thread creation failed"),
    "leaves": (0, r"exit code 0\."),
    "closes": (-9, r"it closed its pipe, and was ended for it"),
    "babbles": (-9, r"what it sent makes no sense \(it begins with b'llama_print_"),
    "misleads": (-9, r"what it sent makes no sense \(ModuleNotFoundError: No module named 'no_such_module'\)"),
    "surprises": (-9, r"what it sent makes no sense \(.*_answered\(\) takes"),
    "crashes": (-11, r"killed by signal 11 \(SIGSEGV\); it last said: .*Fatal Python error.* in string_at"),
    "aborts": (-6, r"signal 6 \(SIGABRT\); it last said: ggml.c:1234: GGML_ASSERT\(ne00 == ne10\) failed \| Fatal"),
    "dies": (-9, r"signal 9 \(SIGKILL\): somebody ended it, or perhaps memory ran out: it held [\d,]+ MiB, and [\d,]+"),
}


@POSIX
@pytest.mark.parametrize("how", ENDS)
def test_every_end_is_noticed_and_told_in_words(bad: EngineClient, how: str) -> None:
    code, message = ENDS[how]
    process = process_of(bad)
    with pytest.raises(EngineDiedError, match=f"ended during misbehave: .*{message}") as caught:
        misbehave(bad, how)
    error = caught.value
    assert (error.stage, error.exitcode, bad.pid) == ("misbehave", code, None)
    assert gone(process)
    assert any(line.startswith("[info] llama_model_loader: ") for line in error.log)
    assert (how in ("exits", "crashes", "aborts")) == bool(error.said)
    with pytest.raises(EngineDiedError):
        bad.tokenize("x", special=False)
    bad.start()
    assert misbehave(bad, "waits") == "done"


@POSIX
def test_whatever_fills_the_log_the_last_words_are_a_few_printable_lines(bad: EngineClient) -> None:
    with pytest.raises(EngineDiedError) as caught:
        misbehave(bad, "boasts")
    said, error = caught.value.said, str(caught.value)
    assert said[0].startswith(r"it \x1b[31m failed: xxx")
    assert said[1] == "Fatal Python error: Aborted"
    assert "long" not in error
    assert error.isprintable()
    assert len(error) < 1_500


@POSIX
def test_somebody_who_keeps_its_log_open_holds_nobody_up(bad: EngineClient) -> None:
    with pytest.raises(EngineDiedError, match="exit code 5; it last said: heir") as caught:
        misbehave(bad, "dies_with_heirs")
    heir = psutil.Process(int(caught.value.said[-1].split()[1]))
    assert not gone(heir)
    assert bad.child  # it is asked while the heir lives
    until(lambda: not [t for t in threading.enumerate() if t.name == "inferno-log"])
    heir.kill()


def test_what_cannot_be_sent_is_an_error_and_no_death(bad: EngineClient) -> None:
    for _ in range(3):
        with pytest.raises(InfernoError, match=r"(?i)pickle"):
            misbehave(bad, "hides")
        with pytest.raises(InfernoError, match="in the engine's process there is no memory left for this"):
            misbehave(bad, "starves")
        with pytest.raises(Exception, match=r"(?i)pickle"):
            bad.child().call("tokenize", lambda: None, cancel=Stop())
    assert misbehave(bad, "waits") == "done"
    until(lambda: not bad.child()._asked or len(bad.child()._asked) == 3)


@POSIX
def test_an_end_is_noticed_while_many_wait(bad: EngineClient) -> None:
    """Each hears of it once, with what it had asked for itself; how long it takes is in docs/reliability.md."""
    driver, errors = Driver(bad, Stop), dict[str, EngineDiedError]()

    def wait_for(name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except EngineDiedError as error:
            errors[name] = error

    def generate() -> None:
        list(driver.steps(driver.prefill([1, 300]), 900))

    works: dict[str, Callable[[], object]] = {
        "misbehave": lambda: misbehave(bad, "sleeps"),
        "tokenize": lambda: bad.tokenize("x", special=False),
        "generate": generate,
        "branch": lambda: bad.branch(None, 0),
    }
    child = bad.child()
    threads = [threading.Thread(target=wait_for, args=each) for each in works.items()]
    for thread in threads:
        thread.start()
    until(lambda: len(child._asked) == len(works))
    os.kill(bad.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    stages = {name: error.stage for name, error in errors.items()}
    assert stages == {**{name: name for name in works}, "generate": stages["generate"]}


# --- hanging ------------------------------------------------------------------------------------------------


def test_patience_counts_what_was_looked_at() -> None:
    patience = Patience(10)
    assert patience.tick == 1.0
    assert not any(patience.over({1: (5, 0)}, at) for at in np.arange(0, 10.5))
    assert patience.over({1: (5, 0)}, 11)
    assert not patience.over({1: (4, 0)}, 12)  # progress
    assert not any(patience.over({1: (4, 0), at: (9, 9)}, at) for at in range(13, 22))  # asking more is none
    assert patience.over({1: (4, 0)}, 24) is False  # what was asked last has come
    assert not any(patience.over({}, at) for at in range(25, 60))
    patience = Patience(10)
    assert not any(patience.over({1: (1, 1)}, at) for at in (0, 1e6, 2e6, 3e6))  # the machine slept
    assert patience.waited == 6.0


def test_a_flag_stops_and_shows_who_looks_at_it() -> None:
    flag = OwnFlag()

    def stopped() -> int:
        return int(is_stopped(ctypes.c_void_p(flag.address)))

    seen = {flag.looks}
    for _ in range(3):
        assert stopped() == 0
        assert not flag.is_set()
        seen.add(flag.looks)
    assert len(seen) == 4
    if sys.platform == "linux":
        before = flag.looks
        assert stopped() == 0
        assert flag.looks != before
        flag._left.value = 5  # as after hours
        assert not flag.is_set()
        assert flag.looks[0] > 1 << 30
    flag.set()
    assert stopped() != 0
    assert flag.is_set()
    assert stopped() != 0
    flag.clear()
    assert not flag.is_set()
    assert stopped() == 0


@POSIX
def test_a_child_that_hangs_is_ended_and_says_where(bad: EngineClient) -> None:
    bad.close()
    hanging = EngineClient(bad.path, EXACT, bad.n_vocab, hang_seconds=3)
    hanging.start()
    with pytest.raises(
        EngineDiedError, match=r"no progress for 3[\d.]* seconds.*limit is .* hang_seconds, 3\)"
    ) as caught:
        misbehave(hanging, "sleeps")
    assert "in sleeps" in "\n".join(caught.value.log)  # where it was
    hanging.start()
    os.kill(hanging.pid, signal.SIGSTOP)
    with pytest.raises(EngineDiedError, match=r"during tokenize.*\(somebody had stopped it with a signal; "):
        hanging.tokenize("x", special=False)
    hanging.start()
    assert misbehave(hanging, "waits") == "done"
    hanging.close()


def test_what_takes_long_is_no_hang(models: dict[str, tuple[Path, int]]) -> None:
    """A long prompt whose graph goes on; a processor of the kernel that takes its time; nothing at all."""
    path, n_vocab = models["tiny"]
    engine = EngineClient(str(path), EXACT, n_vocab, hang_seconds=120)
    engine.start()
    child = engine.child()
    driver = Driver(engine, Stop)
    looks = []

    def take_long(ids: np.ndarray, row: np.ndarray) -> np.ndarray:
        for _ in range(12):  # a look every half second of the child's
            looks.append(child._looks())
            time.sleep(0.1)
        return row

    driver.generate(driver.prefill([1, 300]), 1, processor=take_long)
    assert len({tuple(each.values()) for each in looks}) > 1
    if sys.platform == "linux":  # elsewhere only batches count
        branch = engine.branch(None, 0)
        engine.append(branch, list(range(3, 503)) * 2)
        work = threading.Thread(target=lambda: driver.generate(branch, 1))
        work.start()
        until(lambda: child._asked)
        (asked,) = child._asked.values()
        work.join()
        assert asked.flag._PLENTY - asked.flag.looks[0] > 20 * 1000 / EXACT.n_batch, "nodes of each batch"
    assert child._looks() == {}
    engine.close()


@POSIX
def test_who_asks_in_passing_does_not_hide_a_hang(bad: EngineClient) -> None:
    child = bad.child()

    def hang() -> None:
        with pytest.raises(EngineDiedError):
            misbehave(bad, "sleeps")

    work = threading.Thread(target=hang)
    work.start()
    until(lambda: len(child._asked) == 1)
    patience, clock = Patience(30), 0.0
    over = False
    while not over:
        request, asked = child._enter("holdings")  # as if it were answered behind this look
        over = patience.over(child._looks(), clock)
        child._answered(request, "done", None)
        child._leave(request, asked)
        clock += 1
        assert clock < 60
    assert bad.holdings()  # which another thread of the child answers
    os.kill(bad.pid, signal.SIGKILL)
    work.join(20)


# --- memory -------------------------------------------------------------------------------------------------


def test_sigkill_says_what_memory_there_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tmp_path / "vmstat"
    counts.write_text("nr_free_pages 5\noom_kill 7\n")
    monkeypatch.setattr(death, "_VMSTAT", counts)
    witness = death.Witness(os.getpid())
    assert death.reason_of(-9, witness) == (
        "killed by signal 9 (SIGKILL): somebody ended it, or perhaps memory ran out"
        if os.name != "nt"
        else "killed by signal 9"
    )
    witness.look()
    counts.write_text("nr_free_pages 5\noom_kill 8\n")
    said = death.reason_of(-9, witness)
    if os.name != "nt":
        assert "the system ended it because memory ran out: it held " in said
        assert f"it held {witness.held / 2**20:,.0f} MiB, and {witness.free / 2**20:,.0f} MiB were free" in said
    assert death.reason_of(3, witness) == "exit code 3"
    assert "does not end" in death.reason_of(None, witness)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_child_without_memory_is_an_error_in_words(tiny: Path) -> None:
    """Whether llama.cpp says so, throws or is ended: the kernel goes on, and so does the session with more memory."""
    import resource

    with loaded(tiny) as model, model.session(PROMPT, dice()) as session:
        session.generate(5)
        process = process_of(model.engine)
        assert int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) >= 500
        used = process.memory_info().vms
        resource.prlimit(process.pid, resource.RLIMIT_AS, (used + (4 << 20), -1))
        kept = session.trace.nodes.tobytes()
        with pytest.raises(InfernoError) as caught:
            model.taps.start()  # another context
        assert len(str(caught.value)) > 40
        if model.engine.pid is not None:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (-1, -1))
        assert session.trace.nodes.tobytes() == kept
        session.generate(5)
        session.inspect(what="residual")


# --- messages -----------------------------------------------------------------------------------------------


def test_a_message_may_be_larger_than_four_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 5 << 30
    written: list[int] = []

    class Sink:
        def write(self, data: bytes) -> None:
            written.append(len(data))

        def flush(self) -> None: ...

    with mmap.mmap(-1, size) as data:  # of which no page is touched
        monkeypatch.setattr("inferno_widget.engine.channel.packed", lambda _: data)
        Channel(None, Sink()).send("large")
    assert written[1] == size


@pytest.mark.parametrize("sent", [b"\0" * 12, b"\xf0inf" + struct.pack("<Q", 3) + b"abc", b"GGML_ASSERT(x) failed"])
def test_what_is_no_message_is_known_for_it(sent: bytes, tmp_path: Path) -> None:
    file = tmp_path / "pipe"
    file.write_bytes(sent)
    with file.open("rb") as reader, pytest.raises(GarbledError):
        Channel(reader, None).receive()


# --- the kernel's end ---------------------------------------------------------------------------------------

KERNEL = """
import sys, threading, time
from pathlib import Path
from inferno_widget.engine import Options, child
from inferno_widget.engine.client import EngineClient
from inferno_widget.engine.stop import Stop
child.COMMAND = (sys.executable, "-P", sys.argv[2])
engine = EngineClient(sys.argv[1], Options(n_ctx=256, n_threads=1), 512)
engine.start()
print(engine.pid, flush=True)
engine.child().call("misbehave", "sleeps", cancel=Stop())
"""


@POSIX
def test_a_killed_kernel_takes_its_child_out_of_native_code_and_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL, str(tiny), str(Path(__file__).with_name("bad_worker.py"))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
    )
    with kernel:
        child = psutil.Process(int(kernel.stdout.readline()))
        time.sleep(0.2)  # it is in native code by then, or on the way: either is to be ended
        kernel.kill()
    until(lambda: gone(child))
    assert list(tmp_path.iterdir()) == []
    assert not shared()


# --- several over one child -----------------------------------------------------------------------------------


@POSIX
def test_everybody_over_one_child_hears_once_and_goes_on(tiny: Path) -> None:
    """Three sessions, one who looks inside, and one under an intervention."""
    with loaded(tiny) as model:
        sessions = [model.session(PROMPT, dice(seed)) for seed in range(5)]
        for session in sessions:
            session.generate(5)
        errors, enough = [0] * len(sessions), threading.Event()

        def go_on(i: int) -> None:
            session = sessions[i]
            while not enough.is_set():
                try:
                    if i == 3:
                        session.inspect(what="residual")
                    elif i == 4:
                        with session.intervene(Ablate(0, 0)):
                            session.generate(3)
                    else:
                        session.generate(3)
                    if session.trace.length > 200:
                        session.rewind(190)
                except EngineDiedError:
                    errors[i] += 1

        threads = [threading.Thread(target=go_on, args=(i,)) for i in range(len(sessions))]
        for thread in threads:
            thread.start()
        for kills in range(1, 6):
            until(lambda: model.engine.pid is not None)
            time.sleep(0.3)
            generation, pid = model.engine.generation, model.engine.pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            until(lambda g=generation: model.engine.generation > g)
            assert max(errors) <= kills
        enough.set()
        for thread in threads:
            thread.join(30)
        assert not [thread for thread in threads if thread.is_alive()]
        judge = opened(tiny)
        for session in sessions[:4]:
            session.generate(5)
            assert_seen(session.trace, judge, n_ctx=1024)
        judge.close()


def test_what_a_dead_child_made_is_never_asked_of_the_next(tiny: Path) -> None:
    """Also when somebody else had it replaced: the error is that of the death."""
    with loaded(tiny) as model:
        engine = model.engine
        old, second = engine.branch(None, 0), model.taps
        second.start()
        other = second.branch(None, 0)
        process_of(engine).kill()
        until(lambda: engine.pid is None)
        engine.start()
        for of, branch in ((engine, old), (second, other)):
            for call in (
                lambda of=of, b=branch: of.branch(b, 0),
                lambda of=of, b=branch: of.append(b, [1]),
                lambda of=of, b=branch: of.logits(b, 1),
                lambda of=of, b=branch: of.drop(b),
                lambda of=of, b=branch: next(of.rows(b, [1], [0], cancel=Stop())),
                lambda of=of, b=branch: Driver(of, Stop).generate(b, 1),
                lambda of=of, b=branch: Driver(of, Stop).prefill([1], branch=b),
            ):
                with pytest.raises(EngineDiedError, match=r"SIGKILL|exit code"):
                    call()
        second.start()
        with pytest.raises(EngineDiedError):
            second.drop(other)
        assert second.branch(None, 0) != other


# --- two hundred deaths -------------------------------------------------------------------------------------


def generate(session: Session, at: int) -> None:
    session.generate(25)


def fork(session: Session, at: int) -> None:
    options = session.trace.alternatives(at)
    session.fork(at, options[at % len(options)].token_id if options else 300)
    session.generate(10)


def look_ahead(session: Session, at: int) -> None:
    session.lookahead(k=6, depth=8, at=at)


def resample(session: Session, at: int) -> None:
    session.resample(at, n=6, max_tokens=10)


def take(session: Session, at: int) -> None:
    session.take(session.lookahead(k=3, depth=8, at=at, sampler=session.sampler)[1], 4)


def capture(session: Session, at: int) -> None:
    with session.capture("residual"):
        session.generate(10)


def inspect(session: Session, at: int) -> None:
    session.inspect(at, "attention")


def causal(session: Session, at: int) -> None:
    session.causal_map(at)


def row(session: Session, at: int) -> None:
    session.row(at)


def prefill(session: Session, at: int) -> None:
    ids = np.random.default_rng(at).integers(3, 510, 600).tolist()
    with session.model.session(ids, dice()) as other:
        other.generate(2)


def load(session: Session, at: int) -> None:
    process = process_of(session.model.engine)
    process.kill()
    until(lambda: session.model.engine.pid is None)
    session.generate(3)


def intervene(session: Session, at: int) -> None:
    """What is made under an intervention is compared with what a fresh scoring under it says."""
    with session.model.session(PROMPT, dice(at)) as other, other.intervene(Ablate(0, 0)):
        died = None
        try:
            other.generate(15)
        except EngineDiedError as error:
            died = error
            other.generate(5)
        ids = other.trace.column("token_id").tolist()
        said = other.trace.column("logprob")
        with session.model.session(ids, dice()) as again, again.intervene(Ablate(0, 0)):
            fresh = again.score().column("logprob")
        np.testing.assert_allclose(said, fresh, rtol=0, atol=5 * NATS, equal_nan=True)
        if died:
            raise died


ACTIONS = [generate, fork, look_ahead, resample, take, capture, inspect, causal, row, prefill, load, intervene]
SIGNALS = ["SIGKILL"] * 6 + ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGTERM"]
STOPS = (50, 100, 150)
"""Rounds in which the process is stopped, and hangs."""


class Killer(threading.Thread):
    """Sends a signal to the newest of this process's children after a while."""

    def __init__(self, others: set[psutil.Process], number: int, delay: float) -> None:
        super().__init__(daemon=True)
        self._others, self._number, self._delay = others, number, delay
        self.hit: psutil.Process | None = None

    def run(self) -> None:
        time.sleep(self._delay)
        while self.hit is None:
            found = [child for child in psutil.Process().children() if child not in self._others and not gone(child)]
            if found:
                self.hit = found[-1]
                self.hit.send_signal(self._number)


class Ground:
    """A model whose process dies, a judge of what was recorded, and what is there of this process."""

    def __init__(self, model: Model, judge: LlamaEngine) -> None:
        self.model, self.judge = model, judge
        self.rng = np.random.default_rng(SEED)
        self.others = set(psutil.Process().children()) - {process_of(model.engine)}
        self.session = model.session(PROMPT, dice(11))
        self.session.generate(10)
        self.deaths, self.told = 0, 0

    def round(self, i: int) -> None:
        """An action, in the midst of which, or just behind which, the process dies."""
        session, action = self.session, ACTIONS[i % len(ACTIONS)]
        before = session.trace.nodes.tobytes()
        number = getattr(signal, "SIGSTOP" if i in STOPS else SIGNALS[self.rng.integers(len(SIGNALS))])
        at = int(self.rng.integers(len(session.prompt_ids), session.trace.length))
        session.engine.start()
        killer = Killer(self.others, number, self.rng.uniform(0, 0.5 if action is load else 0.1))
        killer.start()
        try:
            action(session, at)
        except EngineDiedError:
            self.told += 1
        killer.join()
        if number == signal.SIGSTOP:
            with (
                pytest.raises(EngineDiedError, match="no progress")
                if not gone(killer.hit)
                else contextlib.nullcontext()
            ):
                session.model.engine.tokenize("x", special=False)
        until(lambda: gone(killer.hit))
        self.deaths += 1
        assert session.trace.nodes.tobytes().startswith(before), (i, action.__name__)
        until(lambda: self.model.engine.pid is None or self.model.engine.pid != killer.hit.pid)
        n = session.trace.length
        session.generate(2)
        assert session.trace.length == n + 2

    def judged(self) -> int:
        """Compare every record of the session with a fresh scoring, and begin another. How many there were."""
        trace = self.session.trace
        for branch in self.session.branches:
            assert_seen(trace, self.judge, node=branch.node, n_ctx=1024)
        rows = trace.nodes
        drawn = rows[~np.isnan(rows["draw"])]
        assert [draw(11, int(row["position"])) for row in drawn] == drawn["draw"].tolist()
        self.session.close()
        self.session = self.model.session(PROMPT, dice(11))
        self.session.generate(10)
        return len(rows)


def left() -> dict[str, int]:
    """What a process may leak."""
    gc.collect()  # arrays of an inspection keep a descriptor each as long as they live
    me = psutil.Process()
    return {
        "descriptors": me.num_fds(),
        "threads": threading.active_count(),
        "children": len(me.children()),
        "shared": len(shared()),
    }


@POSIX
@pytest.mark.timeout(600)
def test_two_hundred_deaths_lose_nothing_and_leave_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # most of a restart's time goes into importing numpy
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    judge = opened(tiny)
    with Model(tiny, n_ctx=1024, n_threads=1, n_batch=64, type_k="f32", type_v="f32", hang_seconds=5) as model:
        ground = Ground(model, judge)
        records, settled, rss = 0, None, 0
        for i in range(ROUNDS):
            ground.round(i)
            if i % 20 == 19:
                records += ground.judged()
            if i == 59:
                settled, rss = left(), psutil.Process().memory_info().rss
        ground.session.close()
        assert ground.deaths == ROUNDS
        assert ground.told > ROUNDS // 8  # the others died between two actions
        end = time.monotonic() + 20
        while any(now > settled[name] for name, now in left().items()):
            assert time.monotonic() < end, (settled, left())
            time.sleep(0.05)
        grown = psutil.Process().memory_info().rss - rss
        note = f"{ROUNDS} deaths, {ground.told} told, {records} records judged, {grown / 2**20:.1f} MiB more"
        sys.stdout.write(f"{note} than after 60\n")  # shown by pytest -s; see docs/reliability.md
        assert grown < 64 << 20, note
    judge.close()


# --- what the system refuses ----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[object, str, Exception]] = {
    "memory": (os, "ftruncate", OSError(27, "File too large")),
    "sockets": (socket, "socketpair", OSError(24, "Too many open files")),
    "pipes": (os, "pipe", OSError(24, "Too many open files")),
    "processes": (subprocess.Popen, "__init__", OSError(11, "Resource temporarily unavailable")),
    "first thread": (threading.Thread, "start", RuntimeError("can't start new thread")),
    "third thread": (threading.Thread, "start", RuntimeError("can't start new thread")),
}


@POSIX
@pytest.mark.parametrize("what", REFUSED)
def test_what_the_system_does_not_give_is_told_and_nothing_is_left(
    what: str, models: dict[str, tuple[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, error = REFUSED[what]
    real, calls = getattr(owner, name), itertools.count(1)

    def refuse(*arguments: object, **options: object) -> object:
        if next(calls) == (3 if what.startswith("third") else 1):
            raise type(error)(*error.args)  # one that keeps nothing alive afterwards
        return real(*arguments, **options)

    path, n_vocab = models["tiny"]
    engine, before = EngineClient(str(path), EXACT, n_vocab), left()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, refuse)
        with pytest.raises(EngineDiedError, match=f"the system does not let it begin: .*{error.args[-1]}"):
            engine.start()
    until(lambda: all(n <= before[kind] for kind, n in left().items()))
    engine.start()
    assert engine.tokenize("once", special=False)
    engine.close()
