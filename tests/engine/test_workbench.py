"""The workbench without a page: what a person can do with models, sessions and files, and how it is taken back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferno_widget import InfernoError, Model, ModelFileError, Sampler, Session, TraceFileError, library
from inferno_widget.model import demo_path
from inferno_widget.preferences import Preferences
from inferno_widget.workbench import Workbench
from tests.engine.tools import PROMPT, dice, kill, loaded, slowly, until, workbenches
from tests.make_models import tiny_chat, tiny_llama, tiny_qwen2
from tests.traces import forked_trace

WAIT = 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models."""
    folder = tmp_path_factory.mktemp("workbench")
    tiny_llama(folder / "tiny.gguf")
    tiny_qwen2(folder / "qwen.gguf")
    return folder


@pytest.fixture(scope="module")
def model(files: Path) -> Iterator[Model]:
    with loaded(files / "tiny.gguf", n_ctx=2048) as model:
        yield model


@pytest.fixture
def benches(files: Path) -> Iterator[Callable[..., Workbench]]:
    with workbenches(root=files, max_tokens=5) as make:
        yield make


@pytest.fixture
def bench(benches: Callable[..., Workbench], model: Model) -> Workbench:
    bench = benches(model)
    bench.set("seed", 7)
    bench.set("logit_bias", {"2": None})
    return bench


def run(bench: Workbench, prompt: str = PROMPT) -> Session:
    bench.run(prompt)
    session = bench.session
    session.wait()
    return session


def names(bench: Workbench) -> list[str]:
    return [opened["name"] for opened in bench.library_dict()["sessions"]]


def shown(bench: Workbench) -> int:
    return bench.library.shown.id


def arrived(bench: Workbench, number: int | None) -> None:
    until(lambda: all(task["id"] != number or task["error"] for task in bench.tasks))
    assert not [task for task in bench.tasks if task["id"] == number], bench.tasks


# --- sessions ---------------------------------------------------------------------------------------------


def test_a_run_leaves_the_earlier_ones_in_the_list(bench: Workbench) -> None:
    first = run(bench)
    text = first.text
    second = run(bench, "a knight")
    assert names(bench) == [first.name, second.name] == [PROMPT, "a knight"]
    assert bench.session is second
    assert (first.state, first.text) == ("ready", text)
    bench.show(bench.library.sessions[0].id)
    assert (bench.session, bench.prompt, bench.trace) == (first, PROMPT, first.trace)
    bench.resume()
    first.wait()
    assert len(first.text) > len(text)
    assert first.text.startswith(text)


def test_a_run_stops_the_one_on_display(bench: Workbench) -> None:
    bench.set("max_tokens", 1000)
    bench.run(PROMPT)
    first = bench.session
    first.logits_processor = slowly
    bench.run("a knight")
    first.wait()
    assert first.finish == "cancelled"
    bench.session.stop()


def test_a_session_goes_on_while_another_is_looked_at(bench: Workbench) -> None:
    bench.set("max_tokens", 400)
    bench.run(PROMPT)
    running = bench.session
    running.logits_processor = slowly
    bench.duplicate(shown(bench))
    assert bench.session is not running
    until(lambda: running.state == "generating")
    listed = {opened["name"]: opened for opened in bench.library_dict()["sessions"]}
    assert listed[PROMPT]["state"] in ("prefill", "generating")
    assert listed[f"{PROMPT} (copy)"]["state"] == "ready"
    running.stop()


def test_what_the_list_says(bench: Workbench, model: Model) -> None:
    before = time.time()
    session = run(bench)
    told = bench.library_dict()
    json.dumps(told, allow_nan=False)
    (one,) = told["sessions"]
    assert before <= one.pop("started") <= time.time()
    assert one == {
        "id": shown(bench),
        "name": PROMPT,
        "model": "tiny llama",
        "tokens": session.trace.length,
        "state": "ready",
        "current": True,
        "live": True,
    }
    (loaded_model,) = told["models"]
    assert loaded_model["current"] is True
    assert (loaded_model["n_ctx"], loaded_model["file"]) == (2048, str(model.path))
    assert loaded_model["holders"] == [{"session": PROMPT, "tokens": session.held_tokens}]
    assert session.held_tokens >= session.trace.length - 1
    assert loaded_model["rss"] > 10e6
    memory = told["memory"]
    assert memory["engines"] == loaded_model["rss"]
    assert memory["traces"] == session.trace.nodes.nbytes
    assert memory["free"] > 0


def test_a_warning_comes_before_memory_runs_out(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "free_memory", lambda: 8_000_000_000)
    assert bench.library_dict()["memory"]["warning"] == ""
    monkeypatch.setattr(library, "free_memory", lambda: 210_000_000)
    assert bench.library_dict()["memory"]["warning"].startswith("Only 210 MB of memory are free.")


def test_rename_and_undo(bench: Workbench) -> None:
    session = run(bench)
    bench.rename(shown(bench), "  the king  ")
    assert names(bench) == ["the king"] == [session.name]
    assert bench.code == "session.name = 'the king'"
    assert bench.library_dict()["undo"] == f"rename “{PROMPT}”"
    bench.undo()
    assert names(bench) == [PROMPT] == [session.name]
    assert bench.library_dict()["undo"] is None
    with pytest.raises(InfernoError, match="nothing to undo"):
        bench.undo()


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_name_that_is_none_is_refused(name: str, bench: Workbench) -> None:
    run(bench)
    with pytest.raises(ValueError, match="a name has 1 to 200 characters"):
        bench.rename(shown(bench), name)
    assert names(bench) == [PROMPT]


def test_a_duplicate_is_a_run_of_its_own(bench: Workbench) -> None:
    first = run(bench)
    number = shown(bench)
    bench.duplicate(number)
    copy = bench.session
    assert names(bench) == [PROMPT, f"{PROMPT} (copy)"]
    assert copy.text == first.text
    n = len(first.trace.nodes)
    assert copy.generate(4) == first.generate(4), "the same dice"
    copy.fork(3, "x")
    assert (len(first.trace.nodes), len(copy.trace.nodes)) == (n + 4, n + 5)
    bench.undo()
    assert names(bench) == [PROMPT]
    assert shown(bench) == number
    assert copy.state == "closed"


def test_a_duplicate_of_what_has_not_begun_begins_alike(benches: Callable[..., Workbench], model: Model) -> None:
    session = model.session([1, 300, 301], dice())
    bench = benches(session)
    bench.duplicate(shown(bench))
    assert bench.session.prompt_ids == [1, 300, 301]
    assert bench.session.sampler == session.sampler


def test_what_was_deleted_comes_back_as_it_was(bench: Workbench) -> None:
    sessions = [run(bench, text) for text in ("one", "two", "three")]
    ids = [opened.id for opened in bench.library.sessions]
    bench.select(2)
    bench.delete(ids[2])
    assert names(bench) == ["one", "two"]
    assert (bench.session, bench.prompt, bench.selection) == (sessions[1], "two", -1), "its neighbour is shown"
    bench.delete(ids[0])
    assert bench.session is sessions[1], "what is shown stays"
    bench.undo()
    bench.undo()
    assert names(bench) == ["one", "two", "three"]
    assert bench.session is sessions[2]
    before = sessions[2].trace.length
    bench.resume()
    sessions[2].wait()
    assert sessions[2].trace.length == before + 5
    assert [session.state for session in sessions] == ["ready"] * 3


def test_the_last_one_leaves_an_empty_page(bench: Workbench) -> None:
    run(bench)
    bench.delete(shown(bench))
    assert (bench.session, bench.trace, bench.facts()["state"]) == (None, None, "empty")
    with pytest.raises(InfernoError, match="press Run"):
        bench.resume()
    bench.undo()
    assert bench.trace is not None


def test_deleting_stops_a_run_and_lets_go_of_it_when_it_cannot_come_back(bench: Workbench) -> None:
    bench.set("max_tokens", 1000)
    bench.run(PROMPT)
    session = bench.session
    bench.delete(shown(bench))
    session.wait()
    assert session.finish == "cancelled"
    bench.set("max_tokens", 2)
    for i in range(library.UNDOABLE):
        assert session.state == "ready"
        run(bench, f"number {i}")
        bench.delete(shown(bench))
    assert session.state == "closed"
    assert session.held_tokens == 0


def test_a_session_that_was_handed_in_is_never_closed(benches: Callable[..., Workbench], model: Model) -> None:
    session = model.session(PROMPT, dice())
    bench = benches(session)
    session.generate(3)
    bench.delete(shown(bench))
    bench.close()
    assert session.state == "ready"
    assert session._listeners == []


def test_a_session_without_a_token_gives_its_place(bench: Workbench, model: Model) -> None:
    long = "x" * 20_000  # its prompt does not fit
    bench.run(long)
    failed = bench.session
    until(lambda: failed.state == "error")
    run(bench)
    assert names(bench) == [PROMPT]
    assert failed.state == "closed"


def test_the_list_has_an_end(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "SESSIONS", 3)
    bench.set("max_tokens", 1)
    first = run(bench, "one")
    bench.rename(shown(bench), "kept")
    second = run(bench, "two")
    for text in ("three", "four", "five"):
        run(bench, text)
    assert names(bench) == ["kept", "four", "five"], "the oldest that nobody named goes first"
    assert (first.state, second.state) == ("ready", "closed")
    for opened in bench.library.sessions:
        bench.rename(opened.id, f"mine {opened.id}")
    bench.set("max_tokens", 500)
    bench.resume()
    with pytest.raises(InfernoError, match="3 sessions are open, and each was named or opened: delete one first"):
        bench.run("six")
    assert len(names(bench)) == 3
    bench.session.wait()
    assert bench.session.finish == "length", "what is refused stops nothing"


def test_an_id_that_is_gone_is_said_to_be(bench: Workbench) -> None:
    for gesture in (bench.show, bench.delete, bench.duplicate):
        with pytest.raises(InfernoError, match="there is no session 99: it was closed"):
            gesture(99)
    for gesture in (bench.use, bench.unload, bench.metadata):
        with pytest.raises(InfernoError, match="there is no model 99"):
            gesture(99)


# --- models -----------------------------------------------------------------------------------------------


def test_the_demo_model_is_loaded_unless_something_else_is(benches: Callable[..., Workbench]) -> None:
    bench = benches()
    assert bench.facts()["state"] == "loading"
    assert bench.tasks[0]["kind"] == "load"
    with pytest.raises(InfernoError, match="the model is still being loaded"):
        bench.run(PROMPT)
    until(lambda: bench.model)
    until(lambda: not bench.tasks)
    assert bench.model.path == demo_path()
    assert bench.facts()["state"] == "empty"
    assert bench.code == "model = Model()"
    assert Preferences().recent == [], "which everybody has"


def test_another_model_is_loaded_while_one_generates(bench: Workbench, files: Path) -> None:
    bench.set("max_tokens", 2000)
    bench.run(PROMPT)
    running, first = bench.session, bench.model
    running.logits_processor = slowly
    until(lambda: running.state == "generating")
    n = len(running.trace.nodes)
    arrived(bench, bench.load("qwen.gguf", 512))
    assert len(running.trace.nodes) > n, "it went on"
    assert bench.session is running
    assert bench.model is first, "what runs stays on display"
    assert [m["current"] for m in bench.library_dict()["models"]] == [True, False]
    bench.use(bench.library.models[1].id)
    assert (bench.session, bench.facts()["state"], bench.facts()["n_ctx"]) == (None, "empty", 512)
    assert running.state == "generating", "in the list"
    other = run(bench)
    assert other.model is bench.library.models[1].model
    bench.show(bench.library.sessions[0].id)
    assert bench.model is first, "the model follows what is shown"
    running.stop()
    assert bench.code == f"session = model.session({PROMPT!r}, {bench.controls.session_code}); session.generate(2000)"


def test_a_model_that_is_loaded_takes_the_page_unless_something_runs(bench: Workbench) -> None:
    first = run(bench)
    task = bench.load("qwen.gguf", 0)
    assert bench.code == f"model = Model({str(bench.files.root / 'qwen.gguf')!r})"
    arrived(bench, task)
    assert bench.session is None
    assert bench.facts()["model"]["architecture"] == "qwen2"
    assert names(bench) == [first.name]
    assert Preferences().recent == [str(bench.files.root / "qwen.gguf")]


def test_loading_the_same_again_uses_it(bench: Workbench) -> None:
    arrived(bench, bench.load("qwen.gguf", 512))
    assert bench.load("qwen.gguf", 512) is None
    assert bench.load("qwen.gguf", 0) is None
    assert len(bench.library.models) == 2
    arrived(bench, bench.load("qwen.gguf", 256))
    assert [m["n_ctx"] for m in bench.library_dict()["models"]] == [2048, 512, 256]


def test_unloading_frees_the_memory_and_keeps_what_was_recorded(bench: Workbench) -> None:
    def taken() -> int:
        return sum(child.memory_info().rss for child in psutil.Process().children())

    before = taken()
    arrived(bench, bench.load("qwen.gguf", 512))
    session = run(bench)
    text, process = session.text, psutil.Process(bench.model.engine.pid)
    cost = bench.library_dict()["models"][1]["rss"]
    assert taken() - before > 0.9 * cost > 20e6
    bench.unload(bench.library.models[1].id).result(WAIT)
    assert not process.is_running()
    assert abs(taken() - before) < 0.1 * cost
    assert session.state == "closed"
    assert len(bench.library.models) == 1
    assert (bench.trace.text, bench.session) == (text, None)
    (one,) = bench.library_dict()["sessions"]
    assert (one["live"], one["state"]) == (False, "closed")
    with pytest.raises(InfernoError, match=r"recorded run of .*qwen.gguf.*no loaded model has the fingerprint"):
        bench.resume()
    arrived(bench, bench.load("qwen.gguf", 512))
    assert bench.trace.text == text, "its own model leaves it on display"
    assert bench.library_dict()["sessions"][0]["live"] is True
    bench.resume()
    bench.session.wait()
    assert bench.trace.text.startswith(text)
    assert bench.trace.length == session.trace.length + 5


def test_a_file_that_is_loaded_twice_goes_on_with_the_other(bench: Workbench) -> None:
    arrived(bench, bench.load("qwen.gguf", 512))
    run(bench)
    task = bench.load("qwen.gguf", 256)
    arrived(bench, task)
    bench.show(bench.library.sessions[0].id)
    arrived(bench, bench.load("tiny.gguf", 256))
    bench.show(bench.library.sessions[0].id)
    bench.unload(bench.library.models[1].id).result(WAIT)
    assert [m["n_ctx"] for m in bench.library_dict()["models"] if m["current"]] == [256]
    assert bench.model.info.architecture == "qwen2"
    bench.resume()
    bench.session.wait()
    assert bench.session.model is bench.model


def test_what_was_deleted_before_its_model_went_comes_back_as_a_recorded_run(bench: Workbench) -> None:
    arrived(bench, bench.load("qwen.gguf", 512))
    session = run(bench)
    bench.delete(shown(bench))
    bench.unload(bench.library.models[1].id).result(WAIT)
    bench.undo()
    assert bench.trace is session.trace
    assert (bench.session, session.state) == (None, "closed")


def test_a_load_that_fails_says_why_until_it_is_dismissed(bench: Workbench, files: Path) -> None:
    (files / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    number = bench.load("broken.gguf")
    until(lambda: bench.tasks and bench.tasks[0]["error"])
    error = bench.tasks[0]["error"]
    assert error["type"] == "ModelFileError"
    assert "broken.gguf" in error["message"]
    assert bench.facts()["error"] is None, "there is a model; the loader shows it"
    assert bench.facts()["state"] == "empty"
    bench.cancel(number)
    assert bench.tasks == []
    bench.cancel(number)


def test_a_load_can_be_cancelled(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Model):
        def __init__(self, path: Path, **options: Any) -> None:
            begun.set()
            go_on.wait(WAIT)
            super().__init__(path, **options)

    monkeypatch.setattr("inferno_widget.gestures.models.Model", Slow)
    number = bench.load("qwen.gguf", 512)
    begun.wait(WAIT)
    assert (bench.tasks[0]["stage"], bench.tasks[0]["progress"]) == ("loading", None)
    bench.cancel(number)
    go_on.set()
    until(lambda: not bench.tasks)
    assert len(bench.library.models) == 1
    assert bench.facts()["error"] is None


def test_progress_is_told(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    told = bench._news
    monkeypatch.setattr(bench, "_news", lambda: (seen.append(bench.tasks and bench.tasks[0]["progress"]), told()))
    arrived(bench, bench.load("qwen.gguf", 512))
    numbers = [value for value in seen if isinstance(value, float)]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 1


def test_closing_ends_what_is_on_its_way(benches: Callable[..., Workbench]) -> None:
    for wait in (0, 0.05, 0.2):
        bench = benches()
        bench.load("qwen.gguf")
        time.sleep(wait)
        bench.close()
        assert not any(m.model.engine.pid for m in bench.library.models)
        with pytest.raises(InfernoError, match="the workbench is closed"):
            bench.run(PROMPT)


def test_a_killed_engine_costs_nothing_but_time(benches: Callable[..., Workbench], files: Path) -> None:
    with loaded(files / "tiny.gguf") as mine:
        bench = benches(mine)
        session = run(bench)
        kill(mine)
        until(lambda: mine.engine.pid is None)
        assert bench.library_dict()["models"][0]["rss"] == 0
        bench.duplicate(shown(bench))
        bench.resume()
        bench.session.wait()
        assert bench.session.text.startswith(session.text)


def test_a_download_is_fetched_and_loaded(bench: Workbench, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Any] = []

    def fetch(repo: str, pattern: str, *, progress: Callable[[float], object]) -> Path:
        assert (repo, pattern) == ("owner/qwen-GGUF", "*Q8_0.gguf")
        assert progress(0.5) is True
        stages.append(bench.tasks[0])
        return files / "qwen.gguf"

    monkeypatch.setattr("inferno_widget.hub.fetch", fetch)
    number = bench.download("owner/qwen-GGUF", "*Q8_0.gguf")
    assert bench.code == "model = Model.from_hub('owner/qwen-GGUF', '*Q8_0.gguf')"
    arrived(bench, number)
    task = {"id": number, "kind": "download", "name": "owner/qwen-GGUF", "error": None}
    assert stages == [{**task, "stage": "downloading", "progress": 0.5}]
    assert bench.model.info.architecture == "qwen2"


def test_a_download_that_fails_says_why(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> Path:
        raise InfernoError("there is no repository nobody/nothing")

    monkeypatch.setattr("inferno_widget.hub.fetch", fetch)
    bench.download("nobody/nothing")
    until(lambda: bench.tasks and bench.tasks[0]["error"])
    assert bench.tasks[0]["error"] == {"type": "InfernoError", "message": "there is no repository nobody/nothing"}


def test_the_card_of_a_model(bench: Workbench, model: Model) -> None:
    told = bench.metadata(bench.library.models[0].id).result(WAIT)
    json.dumps(told, allow_nan=False)
    facts = {"name": "tiny llama", "architecture": "llama", "n_ctx": 2048, "n_layer": model.info.n_layer}
    assert facts.items() <= told["card"].items()
    assert told["card"]["file"] == str(model.path)
    assert {"general.architecture", "tokenizer.ggml.tokens"} <= {row["key"] for row in told["rows"]}
    assert told["template"] is None


def test_the_vocabulary_is_searched(bench: Workbench, model: Model) -> None:
    found = bench.vocabulary("e").result(WAIT)
    assert 0 < len(found) <= 50
    for token in found:
        assert "e" in token["text"].lower()
        assert model.detokenize([token["id"]]).decode(errors="backslashreplace") == token["text"]


# --- chat -------------------------------------------------------------------------------------------------

TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
TALK = [{"role": "user", "content": "once upon a time"}]


@pytest.fixture
def talking(benches: Callable[..., Workbench], files: Path) -> Iterator[Workbench]:
    """A workbench whose model has a chat template."""
    with loaded(files / "tiny.gguf") as mine:
        mine.info = replace(mine.info, chat_template=TEMPLATE)
        bench = benches(mine)
        bench.set("seed", 7)
        yield bench


def test_a_conversation_is_what_the_template_makes_of_it(talking: Workbench) -> None:
    assert talking.facts()["chat"] is True
    told = talking.render(TALK).result(WAIT)
    tokens = told["tokens"]
    assert (tokens[0]["special"], [token["special"] for token in tokens[1:]]) == (True, [False] * (len(tokens) - 1))
    assert "user: once upon a time\nassistant:" in told["text"]
    talking.chat(TALK)
    session = talking.session
    session.wait()
    assert session.prompt_ids == [token["id"] for token in tokens]
    assert talking.prompt == session.prompt
    names: dict[str, Any] = {"model": talking.model, "Sampler": Sampler}
    exec(talking.code, names)
    assert names["session"].text == session.text
    talking.step(talking.prompt)
    session.wait()
    assert talking.session is session, "the same conversation goes on"


def test_a_character_of_several_tokens_is_shown_whole_in_the_prompt(talking: Workbench) -> None:
    said = "— 你好 مرحبا 👨‍👩‍👧"
    told = talking.render([{"role": "user", "content": said}]).result(WAIT)
    assert len(told["tokens"]) > len(said) + 10, "of bytes"
    assert said in "".join(token["text"] for token in told["tokens"])
    assert said in told["text"]


def test_the_prompt_of_a_conversation_is_shown_with_its_special_tokens(
    benches: Callable[..., Workbench], tmp_path: Path
) -> None:
    with loaded(tiny_chat(tmp_path / "chat.gguf")) as model:
        bench = benches(model, max_tokens=5)
        bench.chat(TALK)
        session = bench.session
        session.wait()
        assert bench.prompt == "<|im_start|>user\nonce upon a time<|im_end|>\n<|im_start|>assistant\n"
        assert session.name == "once upon a time"
        assert run(bench, bench.prompt).prompt_ids == session.prompt_ids
        other = run(bench, bench.prompt.replace("once", "there"))
        assert other.prompt_ids == model.render([{"role": "user", "content": "there upon a time"}])
        prompt = bench.prompt
        bench.step(prompt)
        other.wait()
        assert (bench.session, bench.prompt) == (other, prompt)
        bench.unload(bench.library.models[0].id).result(WAIT)
        bench.show(bench.library.sessions[0].id)
        assert bench.prompt == "<|im_start|>user\nonce upon a time<|im_end|>\n<|im_start|>assistant\n"


def test_a_base_model_says_that_it_has_no_template(bench: Workbench) -> None:
    assert bench.facts()["chat"] is False
    with pytest.raises(InfernoError, match="base model without a chat template"):
        bench.render(TALK).result(WAIT)
    with pytest.raises(InfernoError, match="base model without a chat template"):
        bench.chat(TALK)
    assert bench.session is None


# --- settings ---------------------------------------------------------------------------------------------


def test_every_setting_reaches_the_run(bench: Workbench) -> None:
    chosen: dict[str, Any] = {
        "temperature": 0.9,
        "top_k": 30,
        "top_p": 0.9,
        "min_p": 0.01,
        "typical_p": 0.95,
        "top_n_sigma": 3.0,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "penalty_last_n": 32,
        "dry_multiplier": 0.8,
        "dry_base": 1.5,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": -1,
        "dry_sequence_breakers": ["\n", "king"],
        "xtc_probability": 0.2,
        "xtc_threshold": 0.15,
        "mirostat_mode": 0,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
        "logit_bias": {"5": -1.5, "2": None},
        "grammar": "root ::= .*",
        "seed": 3,
    }
    rest = {"max_tokens": 9, "stop": ["zzz"], "on_full": "slide", "keep": 4}
    for name, value in {**chosen, **rest}.items():
        bench.set(name, value)
        assert bench.settings[name] == value
    assert bench.settings == {**chosen, **rest}
    session = run(bench)
    assert session.sampler == Sampler.from_dict({**chosen, "logit_bias": {"5": -1.5, "2": -float("inf")}})
    assert (session.on_full, session.keep) == ("slide", 4)
    sampler = repr(session.sampler)
    assert bench.code == (
        f"session = model.session({PROMPT!r}, {sampler}, on_full='slide', keep=4); session.generate(9, stop=['zzz'])"
    )
    names: dict[str, Any] = {"model": bench.model, "Sampler": Sampler}
    exec(bench.code, names)
    assert names["session"].text == session.text


def test_a_stop_string_ends_a_run(bench: Workbench) -> None:
    bench.set("max_tokens", 30)
    session = run(bench)
    tokens = session.trace.column("token_id")[len(session.prompt_ids) + 5 : -5].tolist()
    words = [piece.decode() for piece in map(session.trace.pieces.get, tokens) if piece.isascii()]
    bench.set("stop", ["not there", words[0]])
    again = run(bench)
    assert again.finish == "stop"
    assert again.trace.length < session.trace.length


def test_a_slide_keeps_the_token_that_begins_the_text(bench: Workbench, benches: Callable[..., Workbench]) -> None:
    assert bench.settings["keep"] == 1
    assert run(bench).keep == 1
    assert "keep" not in bench.code, "which means nothing without a slide"
    bench.set("on_full", "slide")
    run(bench)
    assert "on_full='slide', keep=1)" in bench.code
    plain = bench.model.session(PROMPT)
    assert benches(plain).settings["keep"] == 1
    chosen = bench.model.session(PROMPT, on_full="slide", keep=0)
    assert benches(chosen).settings["keep"] == 0


def test_a_full_context_slides_if_asked(benches: Callable[..., Workbench], files: Path) -> None:
    with loaded(files / "tiny.gguf", n_ctx=256) as small:
        bench = benches(small, max_tokens=300)
        bench.set("logit_bias", {"2": None})
        assert run(bench).finish == "context"
        bench.set("on_full", "slide")
        bench.set("keep", 4)
        bench.resume()
        bench.session.wait()
        assert bench.session.finish == "length"
        assert bench.facts()["keep"] == 4
        assert bench.session.held_tokens <= bench.figures()["used"] <= 256 < bench.trace.length
        assert bench.trace.column("left_out").max() > 0


def test_a_refused_setting_changes_nothing(bench: Workbench) -> None:
    before, code = bench.settings, bench.code
    for name, value in (("temperature", -1), ("stop", 5), ("on_full", None), ("keep", True), ("nope", 1)):
        with pytest.raises((ValueError, TypeError), match=name):
            bench.set(name, value)
    assert (bench.settings, bench.code) == (before, code)


def test_presets(bench: Workbench) -> None:
    assert [(p["name"], p["builtin"]) for p in bench.look_dict["presets"]] == [
        ("greedy", True),
        ("balanced", True),
        ("creative", True),
        ("llama.cpp", True),
    ]
    bench.preset("creative")
    assert (bench.settings["temperature"], bench.settings["seed"]) == (1.2, 7)
    assert bench.code == f"session.sampler = {bench.controls.sampler!r}"
    bench.set("top_p", 0.5)
    bench.save_preset("wild")
    assert bench.look_dict["presets"][-1] == {
        "name": "wild",
        "builtin": False,
        "settings": {"temperature": 1.2, "top_k": 0, "top_p": 0.5, "min_p": 0.1},
    }
    bench.preset("greedy")
    bench.preset("wild")
    assert bench.settings["top_p"] == 0.5
    run(bench)
    bench.select(2)
    bench.prompt = "half a sentence"
    bench.undo()
    assert bench.settings["temperature"] == 0, "the preset before"
    assert (bench.selection, bench.prompt) == (2, "half a sentence"), "nothing else moved"
    bench.drop_preset("wild")
    with pytest.raises(ValueError, match="there is no preset 'wild'"):
        bench.preset("wild")
    bench.undo()
    bench.preset("wild")
    with pytest.raises(ValueError, match="cannot be dropped"):
        bench.drop_preset("greedy")
    with pytest.raises(ValueError, match="came with the package"):
        bench.save_preset("greedy")


def test_the_look_is_kept_for_the_next_kernel(
    bench: Workbench, benches: Callable[..., Workbench], model: Model
) -> None:
    bench.look("palette", "viridis")
    with pytest.raises(ValueError, match="metric must be one of"):
        bench.look("metric", "heat")
    assert bench.look_dict["palette"] == "viridis"
    assert benches(model).look_dict["palette"] == "viridis"


def test_a_damaged_settings_file_is_told(benches: Callable[..., Workbench], model: Model, config: Path) -> None:
    (config / "preferences.json").write_text("{")
    bench = benches(model)
    assert "is damaged" in bench.look_dict["note"]
    run(bench)


# --- files ------------------------------------------------------------------------------------------------


def test_files_are_found_and_read(bench: Workbench, files: Path) -> None:
    assert bench.places().result(WAIT)["root"]["path"] == str(bench.files.root)
    listed = bench.browse("").result(WAIT)
    assert {"tiny.gguf", "qwen.gguf"} <= {file["name"] for file in listed["files"]}
    assert bench.inspect("qwen.gguf").result(WAIT)["architecture"] == "qwen2"
    told = bench.estimate("qwen.gguf", 512).result(WAIT)
    assert (told["n_ctx"], told["fits"]) == (512, True)
    with pytest.raises(InfernoError, match="outside"):
        bench.browse("..").result(WAIT)
    with pytest.raises(InfernoError, match="outside"):
        bench.load("../x.gguf")
    with pytest.raises(ModelFileError):
        bench.estimate("nothing.gguf").result(WAIT)


def test_save_and_open(bench: Workbench, benches: Callable[..., Workbench], files: Path) -> None:
    session = run(bench)
    session.fork(len(session.prompt_ids) + 2, "x")
    saved = bench.save("a run").result(WAIT)
    assert (saved.name, saved.path) == ("a run.inferno", str(bench.files.root / "a run.inferno"))
    assert bench.code == f"session.trace.save({saved.path!r})"
    inline = bench.save("").result(WAIT)
    assert inline.name == "once upon a time there was a king.inferno"
    assert (inline.path, len(inline.data) > 500) == ("", True)
    other = benches(forked_trace())
    number = other.open("a run.inferno").result(WAIT)
    assert shown(other) == number
    assert names(other)[-1] == "a run"
    assert other.prompt == PROMPT
    assert other.trace.text == session.text
    assert other.facts()["state"] == "closed"
    assert Preferences().recent == [saved.path]
    with pytest.raises(InfernoError, match=r"to go on, load its model, tiny llama \(tiny.gguf\)"):
        other.resume()
    with pytest.raises(TraceFileError):
        other.open("tiny.gguf").result(WAIT)


def test_an_opened_run_goes_on_with_the_model_of_the_same_file(bench: Workbench, files: Path) -> None:
    session = run(bench)
    recorded = session.trace.copy()
    recorded.save(files / "mine.inferno")
    bench.open("mine.inferno").result(WAIT)
    assert bench.session is None
    assert bench.library_dict()["sessions"][-1]["live"] is True
    bench.step(bench.prompt)
    bench.session.wait()
    assert bench.session.trace.length == recorded.length + 1
    assert bench.trace.nodes[: len(recorded)].tobytes() == recorded.nodes.tobytes(), "what was recorded never changes"
    session.step()
    assert bench.trace.text == session.text, "the same dice"
    assert names(bench) == [PROMPT, "mine"]


def test_an_opened_run_of_another_model_says_which(bench: Workbench, files: Path) -> None:
    trace = run(bench).trace.copy()
    trace.model["fingerprint"] = "0" * 64
    trace.save(files / "other.inferno")
    bench.open("other.inferno").result(WAIT)
    with pytest.raises(InfernoError, match=r"no loaded model has the fingerprint of that file \(loaded: tiny llama"):
        bench.resume()
    run(bench, "a new one")
    assert bench.trace.text.startswith("a new one")


def test_a_recorded_run_is_duplicated_without_a_model(benches: Callable[..., Workbench]) -> None:
    bench = benches(forked_trace())
    bench.duplicate(shown(bench))
    first, second = bench.library.sessions
    assert first.trace is not second.trace
    assert first.trace.nodes.tobytes() == second.trace.nodes.tobytes()
    bench.undo()
    assert bench.library.sessions == [first]


@pytest.mark.parametrize("form", ["html", "json", "markdown", "svg", "svg_distribution", "inferno"])
def test_exports(form: str, bench: Workbench) -> None:
    run(bench)
    inline = bench.export(form, "").result(WAIT)
    assert inline.data
    code = bench.code.replace(repr(inline.name), "None")
    written = bench.export(form, "out").result(WAIT)
    path = Path(written.path)
    assert (path.stem, path.parent, written.mime) == ("out", bench.files.root, inline.mime)
    assert path.exists()
    if form in ("markdown", "svg", "svg_distribution"):
        assert eval(code, {"session": bench.session}) == inline.data.decode()


def test_an_export_looks_as_the_page_does(bench: Workbench) -> None:
    session = run(bench)
    for name, value in (("metric", "entropy"), ("palette", "viridis"), ("follow", False)):
        bench.look(name, value)
    bench.select(4)

    def made(form: str, theme: str) -> str:
        data: bytes = bench.export(form, "", theme).result(WAIT).data
        return data.decode()

    trace = session.trace
    look = {"metric": "entropy", "palette": "viridis"}
    assert made("svg", "dark") == trace.to_svg(theme="dark", **look)
    assert bench.code.endswith("theme='dark', metric='entropy', palette='viridis')")
    assert made("svg_distribution", "light") == trace.to_svg(what="distribution", at=4)
    assert bench.code.endswith("what='distribution', at=4)")
    assert made("html", "dark") == trace.to_html(look=look)
    assert bench.code.endswith("look={'metric': 'entropy', 'palette': 'viridis'})")
    bench.select(-1)
    assert made("svg_distribution", "dark") == trace.to_svg(what="distribution", at=-1, theme="dark")


def test_a_closed_session_goes_on_with_a_copy(bench: Workbench, benches: Callable[..., Workbench]) -> None:
    mine = bench.model.session(PROMPT, Sampler(seed=1))
    mine.generate(5)
    mine.name = "mine"
    other = benches(mine, max_tokens=3)
    n = mine.trace.length
    mine.close()
    other.resume()
    other.session.wait()
    assert (mine.trace.length, other.trace.length) == (n, n + 3)
    assert [entry["name"] for entry in other.library_dict()["sessions"]] == ["mine"]


def test_an_export_goes_nowhere_else(
    bench: Workbench, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InfernoError, match="there is nothing yet"):
        bench.export("json", "")
    run(bench)
    with pytest.raises(ValueError, match="there is no format 'pdf'; there are html"):
        bench.export("pdf", "")
    with pytest.raises(InfernoError, match="outside"):
        bench.export("json", str(tmp_path / "x.json"))
    monkeypatch.setattr("inferno_widget.browse.caches", lambda: [("a cache", tmp_path)])
    assert bench.browse(str(tmp_path)).result(WAIT)["files"] == []
    with pytest.raises(InfernoError, match="and nothing is written there"):
        bench.export("json", str(tmp_path / "x.json"))
    before = (files / "tiny.gguf").read_bytes()
    written = bench.export("json", "tiny.gguf").result(WAIT)
    assert written.name == "tiny.gguf.json", "never over a file of another kind"
    assert (files / "tiny.gguf").read_bytes() == before
    (files / "folder").mkdir()
    assert bench.save("folder").result(WAIT).path == str(
        bench.files.root / "folder" / "once upon a time there was a king.inferno"
    )
    with pytest.raises(OSError, match="there is no folder"):
        bench.save("no folder/x").result(WAIT)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("der König", "der König"),
        ("a/b\\c: what?\n", "a-b-c- what-"),
        ("../..", "..-.."),
        ("x" * 100, "x" * 80),
        ("\x00", "-"),
    ],
)
def test_a_session_is_written_under_its_name(name: str, file: str, bench: Workbench) -> None:
    run(bench)
    bench.rename(shown(bench), name)
    assert bench.save("").result(WAIT).name == f"{file}.inferno"
    written = Path(bench.save(".").result(WAIT).path)
    assert written == bench.files.root / f"{file}.inferno"
    written.unlink()


def test_verify(bench: Workbench, benches: Callable[..., Workbench]) -> None:
    run(bench)
    told = bench.verify().result(WAIT)
    assert told["same"] is True
    assert told["compared"] > 5
    bench.trace._rows["logprob"][5] -= 1
    told = bench.verify().result(WAIT)
    assert (told["same"], round(told["largest"], 2)) == (False, 1.0)
    with pytest.raises(InfernoError, match="verifying needs a model"):
        benches(forked_trace()).verify()


def test_long_work_holds_up_no_gesture(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(bench.files, "list", lambda path, hidden: go_on.wait(WAIT))
    run(bench)
    waiting = [bench.browse("") for _ in range(10)]
    run(bench)
    assert not any(future.done() for future in waiting)
    go_on.set()
    assert all(future.result(WAIT) for future in waiting)
