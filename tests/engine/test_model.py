"""Models: what is refused by name, what a file says, and that no process outlives its use."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from inferno_widget import Cancelled, EngineDiedError, InfernoError, Model, ModelFileError, ModelLoadError, Sampler
from inferno_widget.memory import default_n_ctx
from inferno_widget.model import default_threads, demo_path, usable_cores
from inferno_widget.source import fingerprint
from tests.engine.tools import DEMO
from tests.hub import Hub
from tests.make_models import split_llama, tiny_chat, tiny_llama, tiny_qwen2


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


@pytest.mark.parametrize("given", [0, 1, -1])
def test_a_split_model_is_loaded_by_any_of_its_parts(given: int, tmp_path: Path) -> None:
    files = split_llama(tmp_path)
    assert len(files) == 3
    with Model(files[given], n_ctx=256, n_threads=1) as model:
        assert model.path == files[0]
        session = model.session("once upon a time")
        session.generate(2)
        assert session.finish == "length"


def test_a_split_model_is_told_by_all_of_its_parts(tmp_path: Path) -> None:
    files, same = split_llama(tmp_path / "one"), split_llama(tmp_path / "same")
    others = split_llama(tmp_path / "other", change=lambda name, w: w + 1 if name == "output_norm.weight" else w)
    cards = []
    for parts in (files, same, others):
        with Model(parts[0], n_ctx=256, n_threads=1) as model:
            cards.append(model.card)
    assert [files[i].read_bytes() == others[i].read_bytes() for i in range(3)] == [True, True, False]
    assert cards[0] == cards[1]
    assert cards[0]["fingerprint"] != cards[2]["fingerprint"]


def test_a_model_stays_where_it_was_found(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.parent)
    with Model("tiny.gguf", n_ctx=256, n_threads=1) as model, model.session("once") as session:
        session.generate(2)
        monkeypatch.chdir(tmp_path)
        psutil.Process(model.engine.pid).kill()
        with pytest.raises(EngineDiedError):
            session.generate(2)
        session.generate(2)  # in a new process
        assert session.finish == "length"


def test_a_home_folder_is_found(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny.parent))
    monkeypatch.setenv("USERPROFILE", str(tiny.parent))
    with Model("~/tiny.gguf", n_ctx=256, n_threads=1) as model:
        assert model.path == tiny


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
        large = type("Info", (), {"parameters": 10**9})()
        assert default_threads(large) == 7
        patch.setattr("inferno_widget.model.usable_cores", lambda: 1)
        assert default_threads(large) == 1


def test_the_demo_model_is_the_default() -> None:
    assert demo_path() == DEMO
    with Model() as model:
        assert model.path == DEMO
        assert model.session("Once upon a time", Sampler(seed=1)).generate(3)


# --- looking into it --------------------------------------------------------------------------------------


def test_tokens_are_found_by_their_text(model: Model) -> None:
    found = model.find_tokens("On")
    assert [text for _, text in found][:2] == ["on", "onc"], "the exact text, then the shortest"
    assert all("on" in text.lower() for _, text in found)
    assert all(model.detokenize([token]).decode() == text for token, text in found)
    everything = [model.detokenize([token]) for token in range(model.info.n_vocab)]
    assert len(model.find_tokens("on", 1000)) == sum(b"on" in piece.lower() for piece in everything)
    assert model.find_tokens(" once")[0] == (model.tokenize(" once", special=False)[-1], " once")
    assert len(model.find_tokens("o", 3)) == 3
    assert model.find_tokens("</s>") == [(2, "</s>")]
    assert model.find_tokens(r"\xf0") == [(3 + 0xF0, r"\xf0")], "bytes that are no character"
    assert model.find_tokens("") == model.find_tokens("nowhere in it") == []


def test_all_metadata_in_short(model: Model) -> None:
    rows = {row["key"]: (row["type"], row["value"]) for row in model.metadata_rows()}
    assert rows.keys() == set(model.info.metadata)
    assert rows["general.name"] == ("str", "tiny llama")
    assert rows["llama.block_count"] == ("int", "2")
    assert rows["llama.attention.layer_norm_rms_epsilon"] == ("float", "1e-05")
    assert rows["tokenizer.ggml.add_bos_token"] == ("bool", "True")
    assert rows["tokenizer.ggml.tokens"] == (
        "str[512]",
        "<unk>, <s>, </s>, <0x00>, <0x01>, <0x02>, <0x03>, <0x04>, ...",
    )
    assert rows["tokenizer.ggml.scores"][0] == "float[512]"
    json.dumps(model.metadata_rows())


def test_what_it_takes_of_memory(tiny: Path) -> None:
    with Model(tiny, n_ctx=512, n_threads=1) as model:
        before = model.memory()
        assert before.keys() == {"rss", "weights", "kv_reserved", "kv_used"}
        # 2 layers, 2 KV heads of 16 numbers, K and V, 2 bytes each; llama.cpp tells hundredths of a MiB
        assert before["kv_reserved"] == pytest.approx(2 * 2 * 16 * 2 * 2 * 512, abs=0.01 * 2**20)
        assert before["kv_used"] == 0
        assert 0 < before["weights"] < tiny.stat().st_size
        assert before["rss"] == pytest.approx(model.rss, rel=0.1)
        session = model.session("once upon a time", Sampler(seed=1))
        session.generate(5)
        assert model.memory()["kv_used"] == (session.trace.length - 1) * before["kv_reserved"] // 512
    assert model.memory() == {"rss": 0, "weights": 0, "kv_reserved": 0, "kv_used": 0}


def test_unloading_gives_the_memory_back() -> None:
    """The whole system's figure would tell it too, but anything else that runs here moves that."""
    here = psutil.Process()
    before = here.memory_info().rss
    model = Model(n_ctx=32_768, type_k="f32", type_v="f32")
    pid, reserved = model.engine.pid, model.memory()["kv_reserved"]
    assert reserved == 2 * 6 * 2 * 64 * 4 * 32_768  # 201 MB
    assert psutil.Process(pid).memory_info().rss > reserved
    model.close()
    assert ended(pid, 0.5)
    assert model.rss == 0
    assert here.memory_info().rss - before < 0.1 * reserved, "nothing of it stays in this process"


# --- chat -------------------------------------------------------------------------------------------------

HELLO = [{"role": "user", "content": "once upon"}]


def test_a_chat_is_a_session_of_the_rendered_prompt(tmp_path: Path) -> None:
    with Model(tiny_chat(tmp_path / "chat.gguf"), n_ctx=256, n_threads=1) as model:
        start, end = model.info.n_vocab - 2, model.info.n_vocab - 1
        ids = model.render(HELLO)
        assert model.detokenize(ids[1:]).decode() == "<|im_start|>user\nonce upon<|im_end|>\n<|im_start|>assistant\n"
        assert (ids[0], ids[1], ids.count(start), ids.count(end)) == (model.info.bos_id, start, 2, 1)
        session = model.chat(HELLO, Sampler(seed=1), k=5, on_full="slide", keep=3)
        assert (session.prompt_ids, session.k, session.on_full, session.keep) == (ids, 5, "slide", 3)
        assert session.prompt.startswith("user\nonce upon"), "control tokens are no text"
        session.generate(4)
        assert session.trace.length == len(ids) + 4
        with pytest.raises(TypeError, match="chat has no parameter 'tmperature'"):
            model.chat(HELLO, tmperature=1)
        with pytest.raises(InfernoError, match="there is no message yet"):
            model.chat([])


@pytest.mark.parametrize("begin", ["{{ bos_token }}", ""])
def test_bos_is_there_once_whoever_writes_it(begin: str, tmp_path: Path) -> None:
    path = tiny_chat(tmp_path / "chat.gguf", template=begin + "{{ messages[0].content }}{{ eos_token }}")
    with Model(path, n_ctx=256, n_threads=1) as model:
        ids = model.render(HELLO)
        assert ids.count(model.info.bos_id) == 1
        assert (ids[0], ids[-1]) == (model.info.bos_id, model.info.eos_id)


def test_a_base_model_says_that_it_is_one(model: Model) -> None:
    assert model.template is None
    for call in (model.chat, model.render):
        with pytest.raises(InfernoError, match="tiny llama is a base model without a chat template"):
            call(HELLO)


def test_a_template_that_refuses_says_so(tmp_path: Path) -> None:
    path = tiny_chat(tmp_path / "chat.gguf", template="{{ raise_exception('no ' ~ messages[0].role) }}")
    with Model(path, n_ctx=256, n_threads=1) as model:
        assert "raise_exception" in model.template
        with pytest.raises(InfernoError, match="refuses the messages: no user"):
            model.render(HELLO)


# --- from the hub -----------------------------------------------------------------------------------------


def test_a_model_from_the_hub(tiny: Path, tmp_path: Path) -> None:
    """In a process of its own, since huggingface_hub reads its settings once."""
    code = """
from inferno_widget import Model
told = []
with Model.from_hub("ann/tales-GGUF", "*q8_0*", progress=told.append, n_ctx=256) as model:
    print(model.info.name, model.path.name, model.n_ctx, told[-1])
"""
    hub = Hub({"ann/tales-GGUF": {"tales.Q8_0.gguf": tiny.read_bytes(), "tales.F16.gguf": b"other"}})
    with hub.serving():
        environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.url}
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout == "tiny llama tales.Q8_0.gguf 256 1.0\n", run.stderr


def test_a_wrong_option_is_named_before_anything_is_downloaded() -> None:
    with pytest.raises(TypeError, match=re.escape("Model has no parameter 'n_ctxt'; did you mean 'n_ctx'?")):
        Model.from_hub("nobody/nothing", n_ctxt=5)


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
    assert repr(model) == "<Model 'tiny llama', n_ctx 256, closed>"
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
