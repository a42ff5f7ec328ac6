"""The estimate against what the engine's process really takes, once a prompt has filled its batches."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from inferno_widget import Ablate, Model, NotEnoughMemoryError, Sampler, memory
from inferno_widget.memory import CGROUPS, cache_bytes, estimate, kv_bytes
from tests.engine.tools import DEMO
from tests.make_models import Shape, random_weights, spm_vocabulary, tiny_llama, tiny_qwen2, write_model
from tests.more_architectures import make

TOLERANCE = 0.15
"""The module says a tenth, which holds where it was measured; Python and numpy differ a little between systems."""


def wide(path: Path) -> Path:
    """Buffers, cache and weights that are larger than the process."""
    shape = Shape(n_layer=3, n_embd=1024, n_head=16, n_head_kv=8, n_ff=4096, n_ctx=8192)
    return write_model(path, shape, spm_vocabulary(512), random_weights("Q8_0", 0), dtype="Q8_0", name="wide")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "demo": DEMO,
        "tiny": tiny_llama(folder / "tiny.gguf"),
        "large vocabulary": tiny_qwen2(folder / "large.gguf", n_vocab=40_000),
        "wide": wide(folder / "wide.gguf"),
    }


@pytest.mark.parametrize(
    ("name", "n_ctx", "n_batch", "kind"),
    [
        ("demo", 512, 512, "f16"),
        ("demo", 2048, 512, "q8_0"),
        ("tiny", 1024, 128, "f16"),
        ("large vocabulary", 1024, 512, "f16"),
        ("wide", 1024, 256, "f16"),
        ("wide", 2048, 512, "f32"),
        ("wide", 2048, 1024, "q8_0"),
    ],
)
def test_the_estimate_is_what_the_process_takes(
    name: str, n_ctx: int, n_batch: int, kind: str, files: dict[str, Path]
) -> None:
    options = {"n_batch": n_batch, "type_k": kind, "type_v": kind}
    with Model(files[name], n_ctx=n_ctx, **options) as model:
        expected = estimate(model.info, n_ctx, **options)
        # llama.cpp tells its buffers in hundredths of a MiB
        assert model.memory()["kv_reserved"] == pytest.approx(kv_bytes(model.info, n_ctx, kind, kind), abs=0.01 * 2**20)
        prompt = np.random.default_rng(0).integers(3, model.info.n_vocab, n_ctx - 8).tolist()
        model.session(prompt, Sampler(seed=1)).generate(4)
        assert expected.total == pytest.approx(model.rss, rel=TOLERANCE)


@pytest.mark.parametrize("name", ["jamba", "lfm2", "falcon-h1"])
def test_states_are_weighed_beside_keys_and_values(name: str, tmp_path: Path) -> None:
    """In some blocks instead of attention, short convolutions, and beside attention."""
    with Model(make(tmp_path / "model.gguf", name), n_ctx=256, n_threads=1) as model:
        assert model.memory()["kv_reserved"] == pytest.approx(cache_bytes(model.info, 256), abs=0.02 * 2**20)


# --- too little of it -------------------------------------------------------------------------------------


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has next to nothing left."""
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000_000)


@pytest.mark.usefixtures("little")
def test_a_model_that_does_not_fit_is_refused_before_there_is_a_process_unless_it_is_forced() -> None:
    children = set(psutil.Process().children())
    with pytest.raises(NotEnoughMemoryError, match=r"needs [\d,]+ MB of memory, and 1 MB are free.*force=True"):
        Model(DEMO)
    assert set(psutil.Process().children()) <= children
    with Model(DEMO, force=True) as model:
        assert model.session("a king").generate(2)


def test_a_giant_context_is_refused_with_what_would_fit() -> None:
    with pytest.raises(NotEnoughMemoryError, match="n_ctx=512") as caught:
        Model(DEMO, n_ctx=2**24, n_batch=2**16)
    assert caught.value.needed > caught.value.free
    assert caught.value.n_ctx_fit == 512


def test_a_file_that_asks_for_a_giant_cache_never_reaches_the_child(tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "giant.gguf")
    data = bytearray(path.read_bytes())
    key = b"llama.attention.head_count_kv"
    at = data.index(key) + len(key) + 4
    data[at : at + 4] = (2**32 - 1).to_bytes(4, "little")
    path.write_bytes(data)
    children = set(psutil.Process().children())
    with pytest.raises(NotEnoughMemoryError, match="no context fits"):
        Model(path)
    assert set(psutil.Process().children()) <= children


def test_a_second_context_that_does_not_fit_is_refused_and_the_session_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with Model(DEMO) as model, Model(DEMO, force=True) as forced:
        session = model.session("a king", Sampler(seed=1))
        session.generate(3)
        monkeypatch.setattr(memory, "free_memory", lambda: 1_000_000)
        looks: list[Callable[[], object]] = [
            lambda: session.inspect(-1, "residual"),
            session.attribution,
            session.causal_map,
            session.capture,
            session.intervene(Ablate(0)).__enter__,
        ]
        for look in looks:
            with pytest.raises(NotEnoughMemoryError, match="second context"):
                look()
        session.generate(3)
        assert session.trace.length == len(session.prompt_ids) + 6
        other = forced.session("a king", Sampler(seed=1))
        other.score()
        assert other.inspect(-1, "residual").residual.shape


FORCED = """
import resource, sys
from inferno_widget import Model, ModelLoadError

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
try:
    Model(sys.argv[1], n_ctx=2**24, force=True)
except ModelLoadError as error:
    print(error)
print(len(Model(sys.argv[1]).session("a king").generate(3)) > 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system bounds a process so")
def test_memory_that_the_system_refuses_is_an_error_in_words(tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "tiny.gguf")
    few = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # whose stacks are within the bound too
    command = [sys.executable, "-c", FORCED, path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=few)
    assert "cannot make a context of 16,777,216 tokens" in run.stdout
    assert "failed to allocate" in run.stdout
    assert run.stdout.endswith("True\n"), "and the next model is loaded"


# --- the end of it ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux alone tells whom it would end first")
def test_the_system_would_end_the_child_first() -> None:
    with Model(DEMO) as model:
        child, kernel = (int(Path(f"/proc/{who}/oom_score_adj").read_text()) for who in (model.engine.pid, "self"))
    assert child >= kernel + 500 or child == 1000


OUT_OF_MEMORY = """
import sys
from pathlib import Path
from inferno_widget import EngineDiedError, Model, Sampler

with open(sys.argv[2], "w") as group:
    group.write("0")
model = Model(sys.argv[1], force=True)
session = model.session("a king", Sampler(seed=1))
session.generate(5)
before = session.trace.nodes.tobytes()
try:
    Model(sys.argv[1], n_ctx=2**22, force=True)
except EngineDiedError as error:
    print(error.exitcode)
session.generate(5)
print(session.trace.nodes.tobytes()[: len(before)] == before, session.trace.length - len(session.prompt_ids))
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """The list of members of a control group that may take 400 MB; skips where none can be made."""
    first = CGROUPS / "memory" / "inferno-test"
    if not first.parent.is_dir() or not os.access(first.parent, os.W_OK):
        pytest.skip("no control group can be made here")
    first.mkdir()
    try:
        (first / "memory.limit_in_bytes").write_text(str(400 << 20))
        yield first / "cgroup.procs"
    finally:
        first.rmdir()


def test_where_memory_runs_out_the_child_ends_and_the_kernel_goes_on(group: Path, tmp_path: Path) -> None:
    """A cache of 1 GB in a group of 400 MB: the system ends the process that has it."""
    path = tiny_llama(tmp_path / "tiny.gguf")
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, path, group], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["-9", "True 10"], run.stderr
