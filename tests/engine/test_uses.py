"""Uses that nobody plans: after the end, twice, at once, in a fork, at the interpreter's exit, over and over again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from inferno_widget import InfernoError, Model, Session, verify
from tests.engine.tools import PROMPT, dice, loaded, slowly, until

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.fixture
def own(tiny: Path) -> Iterator[Model]:
    """A model that a test may close."""
    with loaded(tiny) as model:
        yield model


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# --- after the end, and at once -----------------------------------------------------------------------------

USES: dict[str, Callable[[Session], object]] = {
    "score": lambda s: s.model.session("a").score(),
    "step": lambda s: s.step(),
    "generate": lambda s: s.generate(2),
    "stream": lambda s: list(s.stream(2)),
    "start": lambda s: s.start(2),
    "resume": lambda s: s.resume(),
    "fork": lambda s: s.fork(2, 300),
    "edit": lambda s: s.edit("once upon a dragon"),
    "goto": lambda s: s.goto(3),
    "rewind": lambda s: s.rewind(),
    "lookahead": lambda s: s.lookahead(2, 2),
    "resample": lambda s: s.resample(n=2, max_tokens=2),
    "commitment": lambda s: s.commitment(n=2),
    "watch": lambda s: s.watch(300),
    "row": lambda s: s.row(3),
    "replay": lambda s: s.replay(dice(3)),
    "inspect": lambda s: s.inspect(-1),
    "attribution": lambda s: s.attribution(),
    "causal map": lambda s: s.causal_map(),
    "capture": lambda s: s.capture(),
    "take": lambda s: s.take(s.ways[0]),
    "intervene": lambda s: s.intervene().__enter__(),
}


@pytest.mark.parametrize("what", ["session", "model"])
def test_after_the_end_everything_says_so(what: str, own: Model) -> None:
    session = own.session(PROMPT, dice())
    session.generate(5)
    session.ways = session.lookahead(1, 1)
    before = session.trace.nodes.tobytes()
    for _ in range(2):  # a second time is none
        (session if what == "session" else own).close()
    for name, use in USES.items():
        if (what, name) in {("session", "score"), ("model", "goto"), ("model", "rewind"), ("model", "take")}:
            continue  # the model is open; the trace needs none
        with pytest.raises(InfernoError, match=r"closed|not paused"):  # noqa: PT012  a start tells it later
            use(session)
            session.wait()
    assert session.explain()
    assert session.text
    assert what == "model" or session.trace.nodes.tobytes() == before
    if what == "model":
        for call in (lambda: own.tokenize("a"), lambda: own.next("a"), lambda: own.score("a"), lambda: own.token("a")):
            with pytest.raises(InfernoError, match="the model is closed"):
                call()
        assert own.memory()["rss"] == own.rss == 0


def test_a_crowd_at_one_session_and_one_model(own: Model) -> None:
    session, pid = own.session(PROMPT, dice()), own.engine.pid
    session.generate(5)
    session.ways = session.lookahead(1, 1)
    odd: list[BaseException] = []

    def use(mine: int) -> None:
        names = [name for name in USES if name not in ("capture", "intervene")]
        other = own.session(PROMPT, dice(mine))
        other.ways = other.lookahead(1, 1)
        for i in range(12):
            try:
                USES[names[(5 * mine + i) % len(names)]](session if i % 3 else other)
            except (InfernoError, IndexError, ValueError):
                pass  # in words
            except BaseException as error:  # noqa: BLE001
                odd.append(error)

    threads = [threading.Thread(target=use, args=(mine,)) for mine in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "it hangs"
    session.stop()
    session.wait()
    assert not odd
    assert own.engine.pid == pid
    assert verify(session.trace, own, tolerance=0.02).same, "what was recorded is what the model says"


@pytest.mark.parametrize("what", ["session", "model"])
def test_the_end_in_the_midst_of_a_run(what: str, own: Model) -> None:
    session = own.session(PROMPT, dice(), logits_processor=slowly)
    session.start(500)
    until(lambda: session.trace.length > 20)
    (session if what == "session" else own).close()
    n = session.trace.length
    if what == "model":
        with pytest.raises(InfernoError, match=r"^the model (is|was) closed.*: load it again"):
            session.wait()
    assert n > 20
    assert session.trace.length == n
    assert not session.resumable


@pytest.mark.parametrize(
    "work",
    [
        lambda s, each: s.resample(n=10_000, max_tokens=50, each=each),
        lambda s, each: s.lookahead(8, 400, each=each),
        lambda s, each: s.commitment(n=500, each=each),
    ],
)
def test_what_is_done_beside_a_session_ends_with_it(work: Callable[[Session, Any], object], own: Model) -> None:
    session, begun, ended = own.session(PROMPT, dice()), threading.Event(), list[BaseException]()
    session.generate(5)

    def run() -> None:
        try:
            work(session, lambda *_: begun.set())
        except InfernoError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(30)
    session.close()
    thread.join(30)
    assert not thread.is_alive()
    assert "the session is closed" in str(ended[0])


# --- forks --------------------------------------------------------------------------------------------------

BEGIN = """
import os, sys, time, math, multiprocessing
from inferno_widget import Ablate, InfernoError, Model, Sampler
model = Model({path!r}, n_ctx=512, n_threads=1)
def tried(*works):
    for work in works:
        try:
            work()
        except InfernoError as error:
            said = str(error)
            assert "is a fork of the one that loaded the model" in said or "closed" in said, said
        else:
            raise AssertionError("it works")
def ended(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the fork failed"
session = model.session("once upon a time", Sampler(seed=1, logit_bias={{2: -math.inf}}))
session.generate(10)
engine = model.engine.pid
"""


def ran(tiny: Path, script: str, *, seconds: float = 90) -> subprocess.CompletedProcess[str]:
    """A script that begins with a loaded model, to its end; it says nothing but what it prints."""
    code = textwrap.dedent(BEGIN).format(path=str(tiny)) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-3000:]
    return done


FORKED = """
session.start(400)
while session.trace.length < 30:
    time.sleep(0.01)
pid = os.fork()
if not pid:
    tried(session.wait, session.step, lambda: session.generate(2), lambda: list(session.stream(2)),
          lambda: session.lookahead(), lambda: session.resample(), lambda: session.inspect(), lambda: session.row(3),
          lambda: model.session("a").score(), lambda: model.tokenize("abc"), lambda: model.next("a"))
    assert session.text and session.trace.length >= 30
    session.stop(); session.pause(); session.close(); session.close()
    assert model.rss == 0
    {leave}
ended(pid)
assert model.engine.pid == engine
session.wait()
assert session.finish == "length", session.finish
session.generate(5)
"""


@forks
@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)", "model.close(); del model, session; sys.exit(0)"])
def test_a_fork_says_so_in_words_and_disturbs_nobody(leave: str, tiny: Path) -> None:
    ran(tiny, FORKED.format(leave=leave))


@forks
def test_a_fork_in_the_midst_of_a_loop(tiny: Path) -> None:
    ran(
        tiny,
        """
        def fork_once(*_):
            global pid
            if pid is None:
                pid = os.fork()
        for work in (
            lambda: [fork_once() for _ in session.stream(200)],
            lambda: session.lookahead(4, 200, each=fork_once),
            lambda: session.resample(n=100, max_tokens=20, each=fork_once),
        ):
            pid = None
            try:
                work()
            except InfernoError as error:
                assert pid == 0 and "is a fork of the one" in str(error), (pid, error)
                sys.exit(0)
            if not pid:
                os._exit(3)
            ended(pid)
            assert model.engine.pid == engine
        """,
    )


@forks
def test_processes_of_multiprocessing(tiny: Path) -> None:
    ran(
        tiny,
        """
        def use(_=None):
            tried(lambda: session.generate(2), lambda: model.next("a"))
            with Model(model.path, n_ctx=256, n_threads=1) as own:  # which is the fork's own
                assert own.next("a") and own.engine.pid != engine
            return os.getpid()
        context = multiprocessing.get_context("fork")
        process = context.Process(target=use)
        process.start(); process.join()
        assert process.exitcode == 0
        with context.Pool(2) as pool:
            assert os.getpid() not in pool.map(use, range(4))
        assert model.engine.pid == engine
        session.generate(3)
        try:
            context = multiprocessing.get_context("spawn")
            context.Process(target=print, args=(session,)).start()
        except TypeError as error:
            assert "cannot be copied" in str(error), error
        """,
    )


@forks
def test_the_engine_ends_with_its_kernel_though_a_fork_lives(tiny: Path) -> None:
    done = ran(
        tiny,
        """
        pid = os.fork()
        if not pid:
            os.close(1); os.close(2)
            time.sleep(60)
            os._exit(0)
        print(engine, pid, flush=True)
        os._exit(0)
        """,
    )
    engine, fork = map(int, done.stdout.split())
    try:
        until(lambda: not alive(engine))
        assert alive(fork)
    finally:
        psutil.Process(fork).kill()


# --- the interpreter's exit, kernels, notebooks -----------------------------------------------------------------


@pytest.mark.parametrize("leave", ["sys.exit(0)", "", "del model, session", "os._exit(0)"])
@pytest.mark.parametrize(
    "work",
    [
        "session.start(5000)",
        "threading.Thread(target=session.resample, kwargs={'n': 5000}, daemon=True).start()",
        "records = session.stream(5000); next(records)",
        "surgery = session.intervene(Ablate(0)); surgery.__enter__(); session.start(5000)",
    ],
)
def test_the_interpreter_ends_in_the_midst_of_it(work: str, leave: str, tiny: Path) -> None:
    done = ran(tiny, f"import threading\nprint(engine, flush=True)\n{work}\ntime.sleep(0.2)\n{leave}", seconds=60)
    engine = int(done.stdout)
    until(lambda: not alive(engine))


class Notebook:
    """A kernel in which the cells of a notebook run."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, code: str, cell: str = "") -> str:
        """What a cell prints; what goes wrong in it is raised here. `cell` is its id, as notebooks send it."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
            if message["msg_type"] == "error":
                raise AssertionError("\n".join(content["traceback"]))

        content = {"code": textwrap.dedent(code), "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": False, "stop_on_error": True}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        self._follow(message["header"]["msg_id"], hear)
        return "".join(said)

    def interrupted(self, code: str) -> str:
        """What ends a cell that is interrupted as soon as it prints something."""
        ended: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                self.manager.interrupt_kernel()
            if message["msg_type"] == "error":
                ended.append(message["content"]["ename"])

        self._follow(self.client.execute(textwrap.dedent(code)), hear)
        return "".join(ended)

    def _follow(self, ident: str, hear: Callable[[dict[str, Any]], None]) -> None:
        while True:
            message = self.client.get_iopub_msg(timeout=90)
            if message["parent_header"].get("msg_id") != ident:
                continue
            hear(message)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return

    def restart(self) -> None:
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    notebook = Notebook()
    yield notebook
    notebook.close()


CELLS = {
    "import": "from inferno_widget import Inferno, Model, Sampler\nimport gc, math, os, psutil, threading, time",
    "model": "model = Model({path!r}, n_ctx=512, n_threads=1)",
    "session": "session = model.session('once upon a time', Sampler(seed=1, logit_bias={{2: -math.inf}}))",
    "run": "session.start(5000)",
    "draw": "session",
    "widget": "Inferno(session)",
    "demo": "Inferno()",
    "look": "session.stop(); session.wait(); len(session.lookahead(3, 3, at=4)), session.inspect(4)",
}
COUNT = """
import json
gc.collect()
me = psutil.Process()
print(json.dumps({"children": len(me.children(recursive=True)), "threads": threading.active_count(),
    "descriptors": me.num_fds() if hasattr(me, "num_fds") else me.num_handles(),
    "shared": len(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else 0, "rss": me.memory_info().rss}))
"""


def test_a_kernel_is_restarted_in_the_midst_of_a_run(notebook: Notebook, tiny: Path) -> None:
    for _ in range(2):
        for name in ("import", "model", "session", "run"):
            notebook.run(CELLS[name].format(path=str(tiny)), name)
        engine = int(notebook.run("print(model.engine.pid)"))
        assert alive(engine)
        notebook.restart()
        until(lambda engine=engine: not alive(engine))


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        ("session.generate(10**6)", "KeyboardInterrupt"),
        ("[None for _ in session.stream(10**6)]", "KeyboardInterrupt"),
        ("session.start(10**6); session.wait()", "KeyboardInterrupt"),
        ("session.start(10**6); await session", "CancelledError"),
    ],
)
def test_a_cell_is_interrupted_and_what_was_made_is_kept(cell: str, error: str, notebook: Notebook, tiny: Path) -> None:
    for name in ("import", "model", "session"):
        notebook.run(CELLS[name].format(path=str(tiny)), name)
    notebook.run(
        """
        session.on_full = 'slide'
        session.score()
        pid, n = model.engine.pid, len(session.trace)

        def tell():
            while len(session.trace) < n + 10:
                time.sleep(0.01)
            print("go", flush=True)
        """
    )
    assert notebook.interrupted(f"threading.Thread(target=tell).start(); {cell}") == error
    said = notebook.run("session.wait(); print(session.state, session.finish, model.engine.pid == pid); session.step()")
    assert said.split() == ["ready", "cancelled", "True"]


def test_a_notebook_is_run_ten_times(notebook: Notebook, tiny: Path) -> None:
    """Children, threads, descriptors, shared memory and memory do not grow."""
    counts: list[dict[str, int]] = []
    for _ in range(10):
        for name, code in CELLS.items():
            notebook.run(code.format(path=str(tiny)), name)
        counts.append(json.loads(notebook.run(COUNT)))
    most = {name: max(count[name] for count in counts[:4]) for name in counts[0]}
    most["rss"] += 20 << 20

    def settled() -> bool:
        counts.append(json.loads(notebook.run(COUNT)))
        return all(counts[-1][name] <= n for name, n in most.items())

    until(settled, 40)  # ipykernel lets go of what threads sent by every ten seconds


def test_what_a_thread_makes_is_of_no_cell(notebook: Notebook, tiny: Path) -> None:
    """A widget loads its model in a thread, whichever cell the kernel runs by then."""
    notebook.run(CELLS["import"])
    notebook.run(
        f"""
        go = threading.Event()
        made = []
        thread = threading.Thread(target=lambda: go.wait() and made.append(Model({str(tiny)!r}, n_threads=1)))
        thread.start()
        """,
        "starts it",
    )
    again = "go.set(); thread.join(); own = Model(made[0].path, n_threads=1)"
    notebook.run(again, "runs by then")
    notebook.run(again, "runs by then")
    pids = notebook.run("print(made[0].engine.pid is None, own.engine.pid is None)")
    assert pids.split() == ["False", "False"]
