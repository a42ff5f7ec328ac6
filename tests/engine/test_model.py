"""Models: what is refused by name, what a file says, and that no process outlives its use."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from inferno_widget import Cancelled, InfernoError, Model, ModelFileError, ModelLoadError, Sampler
from inferno_widget.memory import default_n_ctx
from inferno_widget.model import default_threads, demo_path, fingerprint, usable_cores
from tests.engine.tools import DEMO
from tests.make_models import tiny_llama, tiny_qwen2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Iterator[Model]:
    with Model(tiny, n_ctx=300, n_threads=1) as model:
        yield model


def ended(pid: int | None, seconds: float = 20) -> bool:
    """Whether the process is gone, or will be soon."""
    assert pid is not None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


# --- what it is -------------------------------------------------------------------------------------------


def test_the_context_is_as_llama_cpp_rounds_it(model: Model) -> None:
    assert model.options.n_ctx == 300
    assert model.n_ctx == 512
    assert repr(model) == "<Model 'tiny llama', n_ctx 512, loaded>"


def test_the_models_own_context_is_the_default_up_to_4096(model: Model) -> None:
    assert default_n_ctx(model.info) == model.info.n_ctx_train == 1024


def test_the_card_tells_which_model_it_was(model: Model, tiny: Path, tmp_path: Path) -> None:
    assert model.card["name"] == "tiny llama"
    assert model.card["file"] == "tiny.gguf"
    assert model.card["n_ctx_train"] == 1024
    assert model.card["fingerprint"] == fingerprint(tiny)
    copy = Path(shutil.copy(tiny, tmp_path / "copy.gguf"))
    assert fingerprint(copy) == fingerprint(tiny)
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert fingerprint(copy) != fingerprint(tiny)
    assert fingerprint(tiny_llama(tmp_path / "other.gguf", seed=1)) != fingerprint(tiny)
    (tmp_path / "empty").touch()
    assert len(fingerprint(tmp_path / "empty")) == 64


def test_text_there_and_back(model: Model) -> None:
    for text in ("once upon a time", "🔥 火 é\n\t", ""):
        ids = model.tokenize(text, special=False)
        assert model.detokenize(ids).decode() == text
    assert model.tokenize("once")[0] == model.info.bos_id
    assert model.tokenize("</s>")[-1] == model.info.eos_id
    assert model.info.eos_id not in model.tokenize("</s>", special=False)


def test_control_tokens_are_known(model: Model, tmp_path: Path) -> None:
    assert model.control == {1, 2}
    with Model(tiny_qwen2(tmp_path / "q.gguf"), n_ctx=256, n_threads=1) as other:
        assert other.control == {511}


def test_memory_is_that_of_the_process(model: Model) -> None:
    assert model.rss == pytest.approx(psutil.Process(model.engine.pid).memory_info().rss, rel=0.2)
    assert model.rss > 10e6


def test_a_model_is_small_for_many_threads(model: Model) -> None:
    assert default_threads(model.info) == 1
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inferno_widget.model.usable_cores", lambda: 8)
        assert default_threads(model.info) == 1
        large = type("Info", (), {"n_params": 10**9})()
        assert default_threads(large) == 7
        patch.setattr("inferno_widget.model.usable_cores", lambda: 1)
        assert default_threads(large) == 1


def test_the_demo_model_is_the_default() -> None:
    assert demo_path() == DEMO
    with Model() as model:
        assert model.path == DEMO
        assert model.session("Once upon a time", Sampler(seed=1)).generate(3)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_ctx": 0}, ValueError, "^n_ctx must be between 1 and 16,777,216, not 0"),
        ({"n_ctx": -1}, ValueError, "^n_ctx must be"),
        ({"n_ctx": 2**31}, ValueError, "^n_ctx must be"),
        ({"n_ctx": "512"}, TypeError, "^n_ctx must be a whole number, not '512'"),
        ({"n_ctx": 512.0}, TypeError, "^n_ctx must be a whole number"),
        ({"n_ctx": True}, TypeError, "^n_ctx must be a whole number, not True"),
        ({"n_threads": 0}, ValueError, "^n_threads must be between 1 and 1,024"),
        ({"n_batch": -1}, ValueError, "^n_batch must be"),
        ({"n_gpu_layers": -2}, ValueError, "^n_gpu_layers must be between -1"),
        ({"type_k": "q3"}, ValueError, "^type_k must be one of f32, f16, bf16, q8_0, not 'q3'"),
        ({"type_v": 1}, ValueError, "^type_v must be one of"),
        ({"n_ctxt": 5}, TypeError, "^Model has no parameter 'n_ctxt'; did you mean 'n_ctx'?"),
        ({"verbose": 5}, TypeError, "^Model has no parameter 'verbose'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], error: type, match: str, tiny: Path) -> None:
    before = psutil.Process().children()
    with pytest.raises(error, match=match):
        Model(tiny, **options)
    assert psutil.Process().children() == before


def test_a_wrong_file_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.gguf"):
        Model(tmp_path / "none.gguf")
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"this is no model" * 100)
    with pytest.raises(ModelFileError, match="magic") as caught:
        Model(garbage)
    assert caught.value.path == str(garbage)


def test_what_llama_cpp_refuses_comes_with_its_reason_and_leaves_no_process(tiny: Path, tmp_path: Path) -> None:
    data = tiny.read_bytes()
    assert data.count(b"blk.1.ffn_up.weight") == 1
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(data.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"))
    before = psutil.Process().children()
    with pytest.raises((ModelLoadError, ModelFileError), match="ffn_up"):
        Model(renamed)
    assert psutil.Process().children() == before


def test_loading_tells_how_far_it_is_and_can_be_cancelled(tiny: Path) -> None:
    told: list[float] = []
    with Model(tiny, n_ctx=256, progress=told.append):
        assert told == sorted(told)
        assert told[-1] == 1.0
        assert all(0 <= fraction <= 1 for fraction in told)
    before = psutil.Process().children()
    with pytest.raises(Cancelled, match="cancelled"):
        Model(tiny, n_ctx=256, progress=lambda fraction: False)
    assert psutil.Process().children() == before


def test_an_exception_in_progress_comes_out_and_leaves_no_process(tiny: Path) -> None:
    before = psutil.Process().children()
    with pytest.raises(ZeroDivisionError):
        Model(tiny, progress=lambda fraction: 1 / 0)
    assert psutil.Process().children() == before


# --- the end ----------------------------------------------------------------------------------------------


def test_close_ends_the_process(tiny: Path) -> None:
    with Model(tiny, n_ctx=256) as model:
        pid = model.engine.pid
        assert pid is not None
    assert ended(pid, 0.5)
    assert (model.rss, model.engine.pid) == (0, None)
    assert repr(model) == "<Model 'tiny llama', n_ctx 256, not running>"
    model.close()
    for call in (lambda: model.tokenize("x"), lambda: model.detokenize([5]), lambda: model.session("x")):
        with pytest.raises(InfernoError, match="the model is closed"):
            call()


def test_a_model_that_nobody_holds_ends_its_process(tiny: Path) -> None:
    model = Model(tiny, n_ctx=256)
    session = model.session("once", Sampler(seed=1))
    session.generate(3)
    pid = model.engine.pid
    del model
    gc.collect()
    assert psutil.pid_exists(pid), "the session still needs it"
    del session
    gc.collect()
    assert ended(pid)


@pytest.mark.parametrize(
    "end",
    ["", "session.start(100_000)", "import os; os._exit(3)", "raise RuntimeError('mine')", "import sys; sys.exit()"],
)
def test_no_process_outlives_the_interpreter(end: str, tiny: Path) -> None:
    code = f"""
from inferno_widget import Model, Sampler
model = Model({str(tiny)!r}, n_ctx=256)
session = model.session("once", Sampler(seed=1))
session.step()
print(model.engine.pid, flush=True)
{end}
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended(int(run.stdout)), run.stderr
    complaints = "" if "mine" in end else run.stderr
    assert not complaints, "it ends without a word"


def test_a_script_needs_no_guard(tiny: Path, tmp_path: Path) -> None:
    """Nothing runs the user's script a second time, as multiprocessing does."""
    script = tmp_path / "script.py"
    lines = ["print('once')", "from inferno_widget import Model", f"print(Model({str(tiny)!r}, n_ctx=256).rss > 0)"]
    script.write_text("\n".join(lines))
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["once", "True"]
