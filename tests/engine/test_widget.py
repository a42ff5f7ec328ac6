"""The widget without a browser: a page is played here that says what a page may say, and checks what it hears."""

from __future__ import annotations

import gc
import inspect
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import IPython
import numpy as np
import psutil
import pytest
from ipywidgets.widgets.widget import _instances

from inferno_widget import Inferno, InfernoError, Model, Sampler, Trace, cells, library
from inferno_widget import widget as widget_module
from inferno_widget.feed import Feed
from inferno_widget.gestures import models
from inferno_widget.gestures.telling import speed
from inferno_widget.jobs import Job
from inferno_widget.wire import PROTOCOL
from inferno_widget.workbench import Workbench
from tests.engine.page import Page
from tests.engine.tools import PROMPT, dice, loaded, slowly, until
from tests.make_models import tiny_llama
from tests.traces import PIECES, forked_trace, made_trace, record

LONG = 3_000
"""Tokens of a run that a test means to disturb."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("widget") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Iterator[Model]:
    with loaded(tiny, n_ctx=8192) as model:
        yield model


@pytest.fixture
def opened() -> Iterator[Callable[..., Page]]:
    """Opens a widget with a page; afterwards closes it, and looks for what was left behind."""
    threads, widgets = set(threading.enumerate()), set(_instances)
    pages: list[Page] = []

    def open_(*arguments: object, **options: object) -> Page:
        pages.append(Page(Inferno(*arguments, **options)))
        return pages[-1]

    yield open_
    for page in pages:
        page.widget.close()
    until(lambda: not [t for t in set(threading.enumerate()) - threads if t.name.startswith("inferno-w")])
    assert set(_instances) <= widgets | {
        page.widget.layout.model_id for page in pages if hasattr(page.widget, "layout")
    }


@pytest.fixture
def page(opened: Callable[..., Page], model: Model) -> Page:
    """A page on a session that will not end by itself."""
    return opened(model.session(PROMPT, dice()))


# --- messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PROTOCOL["to_kernel"])
def test_every_kind_of_message_has_its_handler(kind: str) -> None:
    """The page's own in the widget, and every gesture in the workbench, where Python has it too."""
    handler = getattr(Inferno, f"_on_{kind}") if kind in widget_module.PAGE else getattr(Workbench, kind)
    fields = [name for name in PROTOCOL["to_kernel"][kind] if name != "id"]
    assert list(inspect.signature(handler).parameters)[1:] == fields
    assert handler.__doc__ or kind in (*widget_module.PAGE, "pause", "rename"), "what it does is not said by its name"


def test_every_command_is_answered(page: Page) -> None:
    """Each with its own id, in a run from beginning to end."""
    page.order("set", name="max_tokens", value=LONG)
    page.order("run", prompt=PROMPT)
    page.until("generating")
    page.order("pause")
    page.until("paused")
    page.order("resume")
    page.until("generating")
    page.order("stop")
    page.until("ready")
    page.order("set", name="max_tokens", value=3)
    page.order("step", prompt=PROMPT)
    page.until("ready")
    token = int(page.widget.trace.record(8).top_ids[5])
    page.order("fork", node=8, token_id=token)
    until(lambda: page.widget.trace.length == 8 + 1 + 3 and page.state == "ready")
    page.assert_shows(page.widget.trace)
    page.post({"kind": "select", "node": 2})
    until(lambda: page.widget.selection == 2)
    shown = len(page.frames)
    page.post({"kind": "alive", "seq": page.frames[-1]["header"]["seq"], "views": 1})
    page.post({"kind": "replay", "epoch": 0, "have": 0, "seq": 0})
    until(lambda: len(page.frames) > shown)
    page.assert_shows(page.widget.trace)


GARBAGE = [
    None,
    5,
    "run",
    [],
    {},
    {"kind": None},
    {"kind": ["run"]},
    {"kind": "rows"},
    {"kind": "__init__"},
    {"kind": "close"},
    {"kind": "run"},
    {"kind": "run", "prompt": 5},
    {"kind": "run", "prompt": None},
    {"kind": "step"},
    {"kind": "set", "name": "temperature"},
    {"kind": "set", "name": 5, "value": 5},
    {"kind": "set", "name": "__class__", "value": 5},
    {"kind": "select", "node": "3"},
    {"kind": "select", "node": 10**30},
    {"kind": "select"},
    {"kind": "fork", "node": 5},
    {"kind": "fork", "node": 5, "token_id": 10**12},
    {"kind": "fork", "node": -1, "token_id": 5},
    {"kind": "fork", "node": 0, "token_id": 5},
    {"kind": "replay", "epoch": None, "have": {}, "seq": []},
    {"kind": "alive"},
]


@pytest.mark.parametrize("content", GARBAGE, ids=str)
def test_garbage_is_answered_and_harms_nothing(content: object, page: Page) -> None:
    page.widget.session.generate(3)
    page.post(content)
    if isinstance(content, dict):
        page.post({**content, "id": 99})
        if content.get("kind") not in ("select", "replay", "alive"):
            until(lambda: 99 in page.replies)
            assert page.replies[99]["ok"] is False
            assert page.replies[99]["error"]["message"]
    page.order("step", prompt=PROMPT)
    page.until("ready")
    assert page.widget.selection == -1
    page.assert_shows(page.widget.trace)


def test_an_error_that_nobody_expected_is_answered_too(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(prompt: str) -> None:
        raise ZeroDivisionError(prompt)

    monkeypatch.setattr(page.widget.workbench, "run", broken)
    assert page.refused("run", prompt="x") == {"type": "ZeroDivisionError", "message": "x"}
    page.order("step", prompt=PROMPT)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("temperature", -1, "temperature must be between"),
        ("temperature", "hot", "temperature must be a number"),
        ("top_k", 1.5, "top_k must be a whole number"),
        ("top_p", None, "top_p must be a number"),
        ("min_p", True, "min_p must be a number"),
        ("seed", -1, "seed must be between"),
        ("max_tokens", 0, "max_tokens must be a whole number of at least 1, not 0"),
        ("max_tokens", 1.5, "max_tokens must be"),
        ("logit_bias", 5, "logit_bias must be an object of token ids and numbers, not 5"),
        ("logit_bias", {"x": 1}, "logit_bias must name token ids, not 'x'"),
        ("logit_bias", {"5": "much"}, r"logit_bias[5] must be a number, not 'much'"),
        ("stop", "x", "stop must be a list of texts"),
        ("stop", [""], "stop must be a list of texts that are not empty"),
        ("on_full", "explode", "on_full must be one of stop, slide, error, not 'explode'"),
        ("keep", -1, "keep must be a whole number of at least 0, not -1"),
        ("keep", 1.5, "keep must be a whole number"),
        ("nonsense", 1, "there is no setting 'nonsense'"),
    ],
)
def test_a_setting_is_checked(name: str, value: object, match: str, page: Page) -> None:
    before = page.widget.settings
    assert match in page.refused("set", name=name, value=value)["message"]
    assert page.widget.settings == before


def test_settings_are_shown_and_hold_from_the_next_gesture_on(page: Page) -> None:
    assert page.widget.settings == {
        **Sampler().to_dict(),
        "temperature": 1.0,
        "seed": 7,
        "logit_bias": {"2": None},  # minus infinity, in JSON
        "grammar": "",  # none
        "max_tokens": 128,
        "stop": [],
        "on_full": "stop",
        "keep": 1,
    }
    chosen = {"temperature": 0.5, "top_k": 3, "top_p": 1, "min_p": 0, "seed": None, "max_tokens": 4}
    for name, value in {**chosen, "logit_bias": {"2": None, "300": 0.5}, "on_full": "slide", "keep": 3}.items():
        page.order("set", name=name, value=value)
        assert page.widget.settings[name] == value
    page.order("run", prompt=PROMPT)
    page.until("ready")
    until(lambda: page.widget.trace.length > 4 and page.state == "ready")
    sampler = page.widget.trace.runs[0]["sampler"]
    assert (sampler["temperature"], sampler["top_k"]) == (0.5, 3)
    assert sampler["seed"] is not None
    assert sampler["logit_bias"] == {"2": -float("inf"), "300": 0.5}
    assert (page.widget.session.on_full, page.widget.session.keep) == ("slide", 3)
    assert page.widget.trace.column("kept").max() <= 3
    page.order("set", name="temperature", value=0)
    page.order("step", prompt=PROMPT)
    until(lambda: len(page.widget.trace.runs) == 2 and page.state == "ready")
    again = page.widget.trace.runs[1]["sampler"]
    assert (again["temperature"], again["seed"]) == (0, sampler["seed"]), "the dice stay while no seed is asked for"


def test_selection(page: Page) -> None:
    page.widget.session.generate(3)
    for node, selected in ((3, 3), (-1, -1), (0, 0), (100, 0), (-2, 0)):
        page.post({"kind": "select", "node": node})
        page.order("set", name="top_k", value=40)  # an answer means that what came before is done
        assert page.widget.selection == selected


# --- what the workbench does, through messages ------------------------------------------------------------


def test_the_traits_are_the_workbench(page: Page) -> None:
    """Each by its gesture, and each is there when the answer comes."""
    page.order("look", name="palette", value="cividis")
    assert page.widget.look["palette"] == "cividis"
    assert page.refused("look", name="palette", value="neon")["message"].startswith("palette must be one of")
    page.order("preset", name="greedy")
    assert page.widget.settings["temperature"] == 0
    page.order("save_preset", name="mine")
    assert page.widget.look["presets"][-1] == {"name": "mine", "builtin": False, "settings": {"temperature": 0}}
    page.order("undo")
    assert page.widget.settings["temperature"] == 1
    page.order("drop_preset", name="mine")
    assert [preset["name"] for preset in page.widget.look["presets"]][-1] == "llama.cpp"
    json.dumps([page.widget.library, page.widget.look, page.widget.settings, page.widget.status], allow_nan=False)


def test_the_list_of_sessions(page: Page) -> None:
    page.order("set", name="max_tokens", value=3)
    page.order("run", prompt="once upon")
    page.until("ready")
    until(lambda: [opened["name"] for opened in page.widget.library["sessions"]] == [PROMPT, "once upon"])
    first, second = (opened["id"] for opened in page.widget.library["sessions"])
    page.order("show", session=first)
    assert page.widget.prompt == PROMPT
    page.assert_shows(page.widget.trace)
    page.order("rename", session=second, name="mine")
    page.order("duplicate", session=second)
    page.assert_shows(page.widget.trace)
    page.order("delete", session=second)
    assert [opened["name"] for opened in page.widget.library["sessions"]] == [PROMPT, "mine (copy)"]
    assert page.widget.library["undo"] == "delete “mine”"
    page.order("undo")
    assert [opened["name"] for opened in page.widget.library["sessions"]] == [PROMPT, "mine", "mine (copy)"]
    for opened in page.widget.library["sessions"]:
        page.order("delete", session=opened["id"])
    assert page.state == "empty"
    until(lambda: page.frames[-1]["header"]["rows"] == 0)
    shown = page.frames[-1]["header"]
    assert (shown["rows"], shown["head"]) == (0, -1), "an empty page"
    page.order("step", prompt="anew")
    until(lambda: page.widget.trace is not None and len(page.widget.trace) > 1)
    page.assert_shows(page.widget.trace)


def test_what_is_made_for_the_page_comes_as_bytes(page: Page, tmp_path: Path) -> None:
    page.widget.session.generate(3)
    number = page.tell("save", path="")
    until(lambda: number in page.replies)
    name = "once upon a time there was a king.inferno"
    assert page.replies[number]["value"] == {"name": name, "mime": "application/zip", "path": ""}
    (tmp_path / name).write_bytes(page.buffers[number][0])
    assert Trace.load(tmp_path / name).text == page.widget.session.text
    number = page.tell("export", format="markdown", path="", theme="light")
    until(lambda: number in page.replies)
    assert page.replies[number]["value"]["mime"] == "text/markdown"
    assert page.buffers[number][0].decode() == page.widget.trace.to_markdown()
    assert "there is no format 'pdf'" in page.refused("export", format="pdf", path="", theme="light")["message"]


def test_files_are_browsed_below_the_root(opened: Callable[..., Page], model: Model, tiny: Path) -> None:
    page = opened(model, root=tiny.parent)
    assert [file["name"] for file in page.value("browse", path="", hidden=False)["files"]] == ["tiny.gguf"]
    assert page.value("places")["root"]["path"] == str(tiny.parent.resolve())
    assert page.value("inspect", path="tiny.gguf")["architecture"] == "llama"
    assert page.value("estimate", path="tiny.gguf", n_ctx=512)["n_ctx"] == 512
    assert "outside" in page.refused("browse", path="/", hidden=False)["message"]
    task = page.value("load", path="tiny.gguf", n_ctx=256, force=False)
    assert isinstance(task, int)
    until(lambda: len(page.widget.library["models"]) == 2 and not page.widget.library["tasks"])
    assert page.value("load", path="tiny.gguf", n_ctx=256, force=False) is None
    loaded_model = page.widget.library["models"][1]
    assert (loaded_model["current"], page.widget.status["n_ctx"]) == (True, 256)
    pid = page.widget.model.engine.pid
    page.order("unload", model=loaded_model["id"])
    assert not psutil.pid_exists(pid)
    assert len(page.widget.library["models"]) == 1
    page.tell("load", path="nothing.gguf", n_ctx=0, force=False)
    until(lambda: page.widget.library["tasks"] and page.widget.library["tasks"][0]["error"])
    failed = page.widget.library["tasks"][0]
    assert "nothing.gguf" in failed["error"]["message"]
    assert page.widget.status["error"] is None
    page.order("cancel", task=failed["id"])
    assert not page.widget.library["tasks"]


def test_a_file_can_be_looked_for_and_loaded_while_the_first_model_loads(
    opened: Callable[..., Page], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    class Slow(Model):
        def __init__(self, path: Path, **options: Any) -> None:
            go_on.wait(20)
            super().__init__(path, **options)

    monkeypatch.setattr(models, "Model", Slow)
    page = opened(tiny, root=tiny.parent, max_tokens=3)
    run = page.tell("run", prompt=PROMPT)
    assert page.value("browse", path="", hidden=False)["files"]
    page.order("set", name="top_k", value=5)
    assert run not in page.replies
    go_on.set()
    until(lambda: run in page.replies)
    assert page.replies[run]["ok"] is True
    until(lambda: page.widget.status["finish"] == "length")
    assert page.widget.session.sampler.top_k == 5


def test_slow_work_holds_up_no_frame(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(page.widget.workbench.files, "list", lambda path, hidden: go_on.wait(20) and {})
    page.order("set", name="max_tokens", value=100)
    waiting = [page.tell("browse", path="", hidden=False) for _ in range(3)]
    page.order("run", prompt=PROMPT)
    until(lambda: page.widget.status["finish"] == "length")
    page.assert_shows(page.widget.trace)
    assert not set(waiting) & page.replies.keys()
    go_on.set()
    until(lambda: set(waiting) <= page.replies.keys())


def test_verify_and_open(page: Page, opened: Callable[..., Page], tmp_path: Path) -> None:
    page.widget.session.generate(5)
    assert page.value("verify")["same"] is True
    page.widget.trace.save(tmp_path / "one.inferno")
    other = opened(forked_trace(), root=tmp_path)
    number = other.value("open", path="one.inferno")
    until(lambda: other.widget.library["sessions"][-1]["id"] == number)
    other.assert_shows(page.widget.trace)
    assert other.widget.prompt == PROMPT
    assert other.widget.selection == -1
    assert "one.inferno" in other.widget.status["code"]


def test_the_library_costs_little_while_a_run_goes_on(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.order("set", name="max_tokens", value=1_500)
    page.order("run", prompt=PROMPT)
    page.until("generating")
    begun, told = time.monotonic(), len(page.libraries)
    page.until("ready")
    taken = time.monotonic() - begun
    assert len(page.libraries) - told <= taken * widget_module.LIBRARY_BYTES / 500 + 2
    until(lambda: page.widget.library["sessions"][-1]["tokens"] == page.widget.trace.length)
    assert page.widget.library["sessions"][-1]["state"] == "ready"


def test_a_warning_does_not_wait_for_the_end_of_a_run(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widget_module, "WARNING_SECONDS", 0.1)
    monkeypatch.setattr(widget_module, "LIBRARY_BYTES", 1)
    page.widget.session.logits_processor = slowly
    page.widget.session.start(LONG)
    page.until("generating")
    monkeypatch.setattr(library, "free_memory", lambda: 1_000_000)
    until(lambda: page.widget.library["memory"]["warning"].startswith("Only 1 MB of memory are free"))
    assert page.state == "generating"
    page.order("stop")


def test_a_page_that_only_listens_hears_nothing_new(page: Page) -> None:
    page.widget.session.generate(3)
    page.assert_shows(page.widget.trace)
    until(lambda: page.widget.library["sessions"][0]["tokens"] == page.widget.trace.length)
    told = len(page.libraries)
    for _ in range(8):
        page.post({"kind": "alive", "seq": page.frames[-1]["header"]["seq"], "views": 1})
        time.sleep(0.15)
    assert len(page.libraries) == told


# --- frames -----------------------------------------------------------------------------------------------


def test_frames_are_numbered_and_together_are_the_trace(page: Page) -> None:
    page.widget.session.generate(50)
    page.assert_shows(page.widget.trace)
    assert [frame["header"]["seq"] for frame in page.frames] == list(
        range(page.frames[0]["header"]["seq"], page.frames[0]["header"]["seq"] + len(page.frames))
    )


@pytest.mark.parametrize("have", [0, 5, 30, 10_000, -5])
def test_a_replay_sends_everything_from_there_on(have: int, page: Page) -> None:
    page.widget.session.generate(30)
    page.assert_shows(page.widget.trace)
    n, shown, epoch = len(page.widget.trace), len(page.frames), page.frames[-1]["header"]["epoch"]
    page.post({"kind": "replay", "epoch": epoch, "have": have, "seq": 1})
    until(lambda: len(page.frames) > shown)
    again = page.frames[shown]["header"]
    assert again["start"] == min(max(have, 0), n)
    assert again["start"] + again["rows"] == n
    assert again["seq"] == page.frames[shown - 1]["header"]["seq"] + 1
    page.assert_shows(page.widget.trace)


def test_a_page_that_knows_another_trace_is_sent_all(page: Page) -> None:
    page.widget.session.generate(10)
    page.assert_shows(page.widget.trace)
    shown = len(page.frames)
    page.post({"kind": "replay", "epoch": 0, "have": 8, "seq": 0})
    until(lambda: len(page.frames) > shown)
    assert page.frames[shown]["header"]["start"] == 0


def long_trace(n: int) -> Trace:
    trace = made_trace()
    said = record(3, 1)
    for position in range(4, n):
        trace.append(said._replace(position=position), PIECES)
    return trace


def test_a_long_trace_comes_in_frames_of_bounded_size_at_a_bounded_rate(opened: Callable[..., Page]) -> None:
    page = opened(long_trace(9_000))
    page.post({"kind": "replay", "epoch": 0, "have": 0, "seq": 0})
    page.assert_shows(page.widget.trace)
    sizes = [frame["header"]["rows"] for frame in page.frames]
    assert max(sizes) == PROTOCOL["limits"]["rows_per_frame"]
    gaps = np.diff(page.times)
    assert gaps.min() > 0.9 / PROTOCOL["limits"]["frames_per_second"]


def test_at_most_thirty_frames_a_second_while_it_generates(page: Page) -> None:
    begun = time.monotonic()
    page.widget.session.generate(1_000)
    page.assert_shows(page.widget.trace)
    taken = time.monotonic() - begun
    assert len(page.frames) <= 30 * taken + 2
    assert len(page.frames) < 500, "many tokens go together"
    assert sum(frame["header"]["rows"] for frame in page.frames) == len(page.widget.trace), "each goes once"


def test_a_page_that_missed_frames_is_sent_them_when_it_says_so(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.widget.session.generate(20)
    page.assert_shows(page.widget.trace)
    last = page.frames[-1]["header"]["seq"]
    shown = len(page.frames)
    page.post({"kind": "alive", "seq": last, "views": 1})
    page.post({"kind": "alive", "seq": 0, "views": 1})  # its frames may still be on their way
    page.order("set", name="top_k", value=40)
    time.sleep(0.1)
    assert len(page.frames) == shown
    monkeypatch.setattr(Feed, "quiet", lambda _: True)
    page.post({"kind": "alive", "seq": last, "views": 1})
    page.order("set", name="top_k", value=40)
    time.sleep(0.1)
    assert len(page.frames) == shown
    page.post({"kind": "alive", "seq": page.frames[0]["header"]["seq"], "views": 1})
    until(lambda: len(page.frames) > shown)
    first = page.frames[0]["header"]
    assert page.frames[shown]["header"]["start"] == first["start"] + first["rows"]


def test_a_new_run_is_a_new_epoch_and_empties_the_page(page: Page) -> None:
    page.widget.session.generate(5)
    page.assert_shows(page.widget.trace)
    epoch = page.frames[-1]["header"]["epoch"]
    page.order("run", prompt="once there was")
    until(lambda: page.frames[-1]["header"]["epoch"] == epoch + 1)
    first = next(frame for frame in page.frames if frame["header"]["epoch"] == epoch + 1)
    assert first["header"]["start"] == 0
    page.until("ready")
    page.assert_shows(page.widget.trace)


def test_going_back_moves_the_head_and_sends_no_rows_again(page: Page) -> None:
    page.widget.session.generate(10)
    page.assert_shows(page.widget.trace)
    shown = len(page.frames)
    page.widget.session.goto(4)
    until(lambda: len(page.frames) > shown)
    assert (page.frames[-1]["header"]["rows"], page.frames[-1]["header"]["head"]) == (0, 4)


# --- gestures ---------------------------------------------------------------------------------------------


def test_run_starts_afresh_and_shows_each_state(page: Page) -> None:
    first = page.widget.session
    page.order("set", name="max_tokens", value=300)
    page.order("run", prompt="once upon")
    until(lambda: page.widget.status["finish"] == "length")
    states = page.states()
    assert states[0] == states[-1] == "ready"
    assert set(states) <= {"ready", "prefill", "generating"}
    assert "generating" in states
    assert page.widget.prompt == "once upon"
    assert page.widget.session is not first
    assert page.widget.trace.length == len(page.widget.session.prompt_ids) + 300
    assert page.widget.status["code"].startswith("session = model.session('once upon', Sampler(temperature=1.0")
    assert page.widget.status["code"].endswith("; session.generate(300)")
    same = page.widget.model.session("once upon", dice()).generate(300)
    assert page.widget.session.text == "once upon" + same


def test_the_line_of_code_makes_the_same_text(page: Page) -> None:
    page.order("set", name="max_tokens", value=8)
    page.order("run", prompt="once upon")
    until(lambda: page.widget.status["finish"] == "length")
    names: dict[str, Any] = {"model": page.widget.model, "Sampler": Sampler}
    exec(page.widget.status["code"], names)
    assert names["session"].text == page.widget.session.text


def test_step_begins_with_the_prompt_and_goes_on(opened: Callable[..., Page], model: Model) -> None:
    page = opened(model, prompt=PROMPT)
    assert page.state == "empty"
    page.order("step", prompt=PROMPT)
    until(lambda: page.state == "ready" and page.widget.trace.length == len(page.widget.session.prompt_ids) + 1)
    session = page.widget.session
    page.order("step", prompt=PROMPT)
    until(lambda: session.trace.length == len(session.prompt_ids) + 2)
    assert page.widget.session is session
    page.order("step", prompt="another")
    assert page.widget.session is not session
    assert session.state == "ready", "it stays in the list"
    until(lambda: [listed["name"] for listed in page.widget.library["sessions"]] == [session.name, "another"])
    assert page.widget.status["code"] == "session = model.session('another', Sampler()); session.step()"
    page.order("step", prompt="another")
    assert page.widget.status["code"] == "session.step()"


def test_pause_and_resume(page: Page) -> None:
    page.order("set", name="max_tokens", value=LONG)
    page.order("run", prompt=PROMPT)
    page.until("generating")
    page.order("pause")
    page.until("paused")
    n = len(page.widget.trace)
    page.assert_shows(page.widget.trace)
    time.sleep(0.1)
    assert len(page.widget.trace) == n
    page.order("step", prompt=PROMPT)
    until(lambda: len(page.widget.trace) == n + 1 and page.state == "ready")
    page.order("resume")
    page.until("generating")
    page.order("pause")
    page.until("paused")
    page.order("stop")
    page.until("ready")
    assert page.widget.status["finish"] == "cancelled"


def test_gestures_in_quick_succession(page: Page) -> None:
    page.order("set", name="max_tokens", value=LONG)
    numbers = [
        page.tell("run", prompt=PROMPT),
        page.tell("pause"),
        page.tell("resume"),
        page.tell("pause"),
        page.tell("step", prompt=PROMPT),
        page.tell("run", prompt=PROMPT),
        page.tell("run", prompt="once upon"),
        page.tell("stop"),
        page.tell("resume"),
        page.tell("stop"),
    ]
    until(lambda: set(numbers) <= page.replies.keys())
    assert [page.replies[number]["ok"] for number in numbers] == [True] * len(numbers)
    page.until("ready")
    assert page.widget.session.prompt == "once upon"
    page.assert_shows(page.widget.trace)


def test_a_resume_that_comes_before_the_pause_goes_on_with_the_same_run(page: Page) -> None:
    page.order("set", name="max_tokens", value=700)
    page.order("run", prompt=PROMPT)
    for kind in ("pause", "resume", "pause", "resume"):
        page.tell(kind)
    until(lambda: page.widget.status["finish"] == "length")
    assert page.widget.trace.length == len(page.widget.session.prompt_ids) + 700
    assert page.widget.status["code"] == "session.resume()"


def test_a_second_run_while_one_goes_on_is_refused_where_it_would_be_a_step(page: Page) -> None:
    page.order("set", name="max_tokens", value=LONG)
    page.order("run", prompt=PROMPT)
    page.until("generating")
    assert "already running" in page.refused("step", prompt=PROMPT)["message"]
    assert "already running" in page.refused("resume")["message"]
    page.order("stop")


def test_fork_replaces_a_token_and_goes_on(page: Page) -> None:
    page.order("set", name="max_tokens", value=LONG)
    page.order("run", prompt=PROMPT)
    until(lambda: len(page.widget.trace) > 20)
    page.order("set", name="max_tokens", value=5)
    token = int(page.widget.trace.record(15).top_ids[7])
    page.order("fork", node=15, token_id=token)
    until(lambda: page.state == "ready" and page.widget.status["finish"] == "length")
    path = page.widget.trace.path()
    assert len(path) == 15 + 1 + 5
    assert page.widget.trace.record(int(path[15])).token_id == token
    assert page.widget.selection == path[15], "the next alternative can be tried at once"
    page.assert_shows(page.widget.trace)
    assert f"session.fork(at=15, token={token}); session.generate(5)  # " in page.widget.status["code"]
    assert page.refused("fork", node=18, token_id=token)["message"] == "this token is on another branch"


def test_what_cannot_be_done_is_said(opened: Callable[..., Page], model: Model) -> None:
    page = opened(model, prompt=PROMPT)
    for kind, fields in (("pause", {}), ("resume", {}), ("fork", {"node": 1, "token_id": 1})):
        assert page.refused(kind, **fields) == {
            "type": "InfernoError",
            "message": "nothing has been generated yet: press Run",
        }
    page.order("stop")
    session = model.session([1] * 8_300, dice())
    too_long = opened(session)
    too_long.order("step", prompt=too_long.widget.prompt)
    too_long.until("error")
    assert too_long.widget.status["error"]["type"] == "ContextFullError"
    assert "8,300 tokens do not fit" in too_long.widget.status["error"]["message"]


# --- the road not taken -----------------------------------------------------------------------------------


@pytest.fixture
def road(opened: Callable[..., Page], model: Model) -> Page:
    """A page on a session of thirty tokens, whose model takes its time."""
    session = model.session(PROMPT, dice())
    session.generate(30)
    session.logits_processor = slowly
    return opened(session)


def test_every_gesture_of_the_road_not_taken(page: Page) -> None:
    """Through real messages, one after the other."""
    session = page.widget.session
    session.generate(30)
    page.order("goto", node=20)
    page.order("rewind", n=2)
    assert session.trace.head == 18
    text = page.value("text")
    assert text == session.text
    page.order("edit", text=f"{text}xyz")
    assert session.text == f"{text}xyz"
    page.order("name_branch", node=38, name="first")
    page.order("prune", node=38)
    none = {"diverged": [], "watches": [], "edits": [], "altered": []}
    assert page.widget.marks == {"names": {"first": 38}, "pruned": [19], **none}
    page.order("restore", node=38)
    page.order("goto", node=38)
    ahead = page.value("lookahead", node=12, k=3, depth=4, sampled=False)
    assert [len(way["tokens"]) for way in ahead["ways"]] == [5, 5, 5]
    page.order("take", index=1, n=2)
    assert session.trace.length == 14
    page.order("goto", node=38)
    xray = page.value("explain", node=20, settings=None)
    assert xray["stages"][-1]["name"] == "draw"
    assert page.value("explain", node=20, settings={"temperature": 2})["settings"]["temperature"] == 2
    assert page.value("what_if", parameter="temperature", values=[0.5, 2], rows=True)["length"] == 39
    page.order("set", name="temperature", value=2)
    page.order("same_dice", node=10)
    until(lambda: page.widget.marks["diverged"] and page.state == "ready")
    assert page.value("resample", node=-1, n=4, max_tokens=3, by="")["done"] == 4
    assert page.value("commitment", node=int(session.trace.path()[30]), n=2, every=4, by="")["of"] == 3
    variants = page.value("variants", text="e")
    page.order("watch", name="e", tokens=[token["id"] for token in variants], variants=False)
    assert page.widget.marks["watches"] == [{"name": "e", "tokens": variants}]
    page.order("unwatch", name="e")
    assert page.widget.status["code"] == "session.unwatch('e')"
    page.order("enough", request=1)
    page.assert_shows(session.trace)


@pytest.mark.parametrize(
    ("kind", "fields", "error", "match"),
    [
        ("goto", {"node": 10**9}, "InfernoError", "there is no node 1000000000"),
        ("rewind", {"n": 0}, "InfernoError", "cannot be rewound by 0"),
        ("edit", {"text": "\ud800"}, "ValueError", "half a character"),
        ("name_branch", {"node": -1, "name": "x"}, "ValueError", "there is no token to name"),
        ("prune", {"node": 3}, "ValueError", "there is no other branch"),
        ("restore", {"node": 10**9}, "IndexError", "is not in a trace"),
        ("lookahead", {"node": 3, "k": 0, "depth": 3, "sampled": True}, "ValueError", "k must be"),
        ("lookahead", {"node": 3, "k": 3, "depth": -1, "sampled": True}, "ValueError", "depth must be"),
        (
            "lookahead",
            {"node": 0, "k": 3, "depth": 3, "sampled": True},
            "IndexError",
            "nothing predicts the first token",
        ),
        ("take", {"index": 0, "n": 1}, "InfernoError", "look ahead first"),
        ("explain", {"node": 0, "settings": None}, "ValueError", "nothing predicts the first token"),
        ("explain", {"node": 9, "settings": {"top_p": 2}}, "ValueError", "top_p must be between"),
        ("explain", {"node": 9, "settings": 5}, "TypeError", "settings must be an object"),
        ("same_dice", {"node": 10**9}, "InfernoError", "this token is on another branch"),
        ("what_if", {"parameter": "x", "values": [1], "rows": False}, "TypeError", "has no parameter 'x'"),
        ("what_if", {"parameter": "top_p", "values": ["x"], "rows": False}, "TypeError", "top_p must be a number"),
        ("resample", {"node": 3, "n": 2, "max_tokens": 2, "by": "("}, "ValueError", "by is no regular expression"),
        ("commitment", {"node": 3, "n": 2, "every": 0, "by": ""}, "ValueError", "every must be"),
        ("watch", {"name": "x", "tokens": [], "variants": False}, "ValueError", "names no token"),
        ("unwatch", {"name": "x"}, "InfernoError", "'x' is not watched"),
    ],
)
def test_what_cannot_be_meant_is_a_typed_error(
    kind: str, fields: dict[str, Any], error: str, match: str, page: Page
) -> None:
    page.widget.session.generate(10)
    before = (page.widget.trace.head, len(page.widget.trace))
    refused = page.refused(kind, **fields)
    assert refused["type"] == error
    assert match in refused["message"]
    assert (page.widget.trace.head, len(page.widget.trace)) == before


def test_parts_come_at_a_bounded_rate_and_lists_go_together(road: Page) -> None:
    number = road.tell("lookahead", node=12, k=3, depth=300, sampled=False)
    until(lambda: number in road.replies)
    parts, told = road.parts[number], road.replies[number]["value"]
    tokens = [token for part in parts for token in part]
    for index, way in enumerate(told["ways"]):
        heard = [token for token in tokens if token["index"] == index]
        assert heard == [{**token, "index": index} for token in way["tokens"][: len(heard)]]
        assert len(heard) > 100, "the last ones are in the answer alone"
    assert len(parts) < len(tokens) / 3
    assert np.diff(road.part_times).min() > 0.9 / PROTOCOL["limits"]["frames_per_second"]


def test_parts_of_what_ended_meanwhile_are_in_the_answer_alone(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def gesture(**_: object) -> Job[str]:
        job: Job[str] = Job(lambda job: "whole" if job.tell("part") else "")
        job.set_result(job())
        return job

    monkeypatch.setattr(page.widget.workbench, "lookahead", gesture)
    number = page.tell("lookahead", node=1, k=1, depth=1, sampled=False)
    until(lambda: number in page.replies)
    assert page.replies[number]["value"] == "whole"
    until(lambda: not page.widget._parts)
    page.order("look", name="top_k", value=7)
    assert (page.parts, page.notes) == ({}, [])


def test_of_other_parts_the_latest_is_told(road: Page) -> None:
    number = road.tell("resample", node=12, n=8, max_tokens=150, by="")
    until(lambda: number in road.replies)
    assert all(part["n"] == 8 for part in road.parts[number])
    assert len(road.parts[number]) > 1


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("lookahead", {"node": 12, "k": 3, "depth": LONG, "sampled": False}),
        ("resample", {"node": 12, "n": 8, "max_tokens": LONG, "by": ""}),
        ("commitment", {"node": 12, "n": 8, "every": 1, "by": ""}),
    ],
)
def test_enough_is_answered_with_what_there_is(kind: str, fields: dict[str, Any], road: Page) -> None:
    number = road.tell(kind, **fields)
    until(lambda: number in road.parts or (kind == "commitment" and road.widget._jobs))
    begun = time.monotonic()
    road.order("enough", request=number)
    until(lambda: number in road.replies)
    assert time.monotonic() - begun < 1
    assert road.replies[number]["ok"] is True
    assert not road.widget._jobs
    assert not road.widget._parts


def test_a_gesture_while_a_preview_comes_is_not_refused(road: Page) -> None:
    number = road.tell("lookahead", node=12, k=3, depth=LONG, sampled=False)
    until(lambda: number in road.parts)
    road.order("goto", node=9)
    assert road.replies[number]["ok"] is True
    assert road.widget.trace.head == 9
    number = road.tell("lookahead", node=8, k=3, depth=LONG, sampled=False)
    until(lambda: number in road.parts)
    road.order("run", prompt="a knight")
    until(lambda: number in road.replies)
    road.order("stop")


def test_a_run_is_shown_while_a_preview_of_another_session_comes(road: Page, model: Model) -> None:
    number = road.tell("lookahead", node=12, k=3, depth=LONG, sampled=False)
    until(lambda: number in road.parts)
    road.order("duplicate", session=road.widget.library["sessions"][0]["id"])
    road.order("set", name="max_tokens", value=10)
    road.order("resume")
    until(lambda: road.widget.status["finish"] == "length")
    road.assert_shows(road.widget.trace)
    assert number not in road.replies, "it goes on"
    road.order("enough", request=number)
    until(lambda: number in road.replies)


def test_closing_with_work_under_way_leaves_no_thread(model: Model) -> None:
    threads = set(threading.enumerate())
    session = model.session(PROMPT, dice())
    session.generate(20)
    session.logits_processor = slowly
    for kind, fields in (
        ("lookahead", {"node": 12, "k": 3, "depth": LONG, "sampled": False}),
        ("resample", {"node": 12, "n": 8, "max_tokens": LONG, "by": ""}),
        ("commitment", {"node": 12, "n": 8, "every": 1, "by": ""}),
    ):
        page = Page(Inferno(session))
        page.tell(kind, **fields)
        until(lambda page=page: page.widget._jobs)
        time.sleep(0.05)
        page.widget.close()
        until(lambda: not [t for t in set(threading.enumerate()) - threads if t.name.startswith("inferno")])
    assert session.state == "ready"


def test_what_is_watched_comes_beside_the_rows(page: Page) -> None:
    session = page.widget.session
    session.generate(20)
    page.assert_shows(session.trace)
    assert not page.watched
    token = int(session.trace.record(15).token_id)
    page.order("watch", name="mine", tokens=[token], variants=False)

    def known(name: str) -> bool:
        values = page.values(name)
        return np.array_equal(values, session.trace.watched(name, tree=True), equal_nan=True)

    until(lambda: known("mine"))
    session.generate(5)
    until(lambda: known("mine"))
    session.watch({"python": [300, 301]})
    until(lambda: known("python"))
    assert [watch["name"] for watch in page.widget.marks["watches"]] == ["mine", "python"]
    page.watched.clear()
    page.post({"kind": "replay", "epoch": 0, "have": 0, "seq": 0})  # a second view, or a late one
    until(lambda: known("mine") and known("python"))
    page.order("unwatch", name="mine")
    page.order("unwatch", name="python")
    shown = len(page.watched)
    session.generate(3)
    page.assert_shows(session.trace)
    assert len(page.watched) == shown


def test_who_watches_nothing_pays_nothing(page: Page) -> None:
    """A message of rows is what it was: a kind, and one buffer."""
    said: list[Any] = []
    hear = page.widget.send
    page.widget.send = lambda content, buffers=(): (said.append((content, len(buffers or ()))), hear(content, buffers))
    page.widget.session.generate(20)
    page.assert_shows(page.widget.trace)
    assert {json.dumps(content) for content, _ in said if content["kind"] == "rows"} == {'{"kind": "rows"}'}


def test_marks_hold_text_and_are_kept_out_of_the_notebook_with_it(opened: Callable[..., Page], model: Model) -> None:
    session = model.session(PROMPT, dice())
    session.generate(5)
    page = opened(session, fallback=False)
    page.order("name_branch", node=9, name="a secret")
    until(lambda: page.told.get("marks", {}).get("names") == {"a secret": 9})
    assert "a secret" not in json.dumps(
        {k: v for k, v in page.widget.get_state().items() if k != "layout"}, default=str
    )
    page.told.clear()
    page.post({"kind": "replay", "epoch": 0, "have": 0, "seq": 0})
    until(lambda: page.told.get("marks", {}).get("names") == {"a secret": 9})
    kept = opened(session)
    assert kept.widget.get_state()["marks"]["names"] == {"a secret": 9}


def test_marks_follow_what_python_does(page: Page) -> None:
    session = page.widget.session
    session.generate(10)
    session.name_branch("mine")
    until(lambda: page.widget.marks["names"] == {"mine": session.trace.head})
    session.watch(300)
    until(lambda: [len(watch["tokens"]) for watch in page.widget.marks["watches"]] == [1])


def test_gestures_are_answered_within_a_frame(page: Page) -> None:
    """Frames are bounded, answers are not: what is asked between two of them is answered at once."""
    page.widget.session.logits_processor = slowly
    page.widget.session.start(LONG)
    page.until("generating")
    taken = []
    for i in range(20):
        begun = time.monotonic()
        page.order("set", name="top_k", value=20 + i)
        taken.append(time.monotonic() - begun)
    assert float(np.median(taken)) < 0.05
    page.order("stop")


# --- status -----------------------------------------------------------------------------------------------


def test_the_last_status_is_exact(page: Page) -> None:
    """Also after runs that are over before the figures were due again."""
    session = page.widget.session
    for n in (1, 1, 7, 1, 1):
        session.generate(n)
        time.sleep(0.01)
    until(lambda: page.widget.status["used"] == session.trace.length, 5)
    for _ in range(5):
        session.step()
    until(lambda: page.widget.status["used"] == session.trace.length, 5)
    rows = session.trace.nodes[-64:]
    ms = rows["ms"][rows["kind"] == 1]
    until(lambda: page.widget.status["tokens_per_second"] == round(1000 / float(ms.mean()), 1), 5)
    assert page.widget.status["rss"] > 10e6
    assert page.widget.status["n_ctx"] == 8192
    assert page.widget.status["progress"] is None


def test_status_is_told_seldom_while_only_figures_change(page: Page) -> None:
    begun = time.monotonic()
    page.widget.session.generate(1_500)
    taken = time.monotonic() - begun
    told = [status for status in page.statuses if status["state"] == "generating"]
    assert len(told) <= taken / widget_module.STATUS_SECONDS + 2


def test_status_is_true_when_python_drives(page: Page) -> None:
    session = page.widget.session
    session.start(LONG)
    page.until("generating")
    session.pause()
    page.until("paused")
    session.resume()
    page.until("generating")
    session.stop()
    page.until("ready")
    assert page.widget.status["finish"] == "cancelled"
    session.fork(5, "x")
    until(lambda: page.widget.status["finish"] is None)
    session.logits_processor = lambda ids, logits: 1 / 0
    with pytest.raises(InfernoError):
        session.generate(3)
    page.until("error")
    assert "division by zero" in page.widget.status["error"]["message"]
    session.logits_processor = None
    session.generate(3)
    page.until("ready")
    assert page.widget.status["error"] is None
    session.close()
    page.until("closed")


def test_speed_is_of_what_was_generated_on_this_path(opened: Callable[..., Page]) -> None:
    trace = made_trace((0, 1, 2, 3))
    assert speed(made_trace((0,))) == 0
    ms = trace.nodes["ms"][1:].mean()
    assert speed(trace) == round(1000 / float(ms), 1)
    trace.goto(0)
    trace.append(record(1, 1)._replace(ms=0.5), PIECES)
    assert speed(trace) == 2000


def test_the_model_is_described(page: Page) -> None:
    described = page.widget.status["model"]
    assert described == {
        "name": "tiny llama",
        "architecture": "llama",
        "parameters": page.widget.model.info.parameters,
        "quantisation": "F32",
        "n_ctx_train": 1024,
        "n_vocab": 512,
    }


# --- what it shows ----------------------------------------------------------------------------------------


def test_a_path_is_loaded_in_the_background(opened: Callable[..., Page], tiny: Path) -> None:
    page = opened(str(tiny), prompt=PROMPT, max_tokens=5)
    assert page.statuses[0]["state"] == "loading"
    page.order("run", prompt=PROMPT)  # waits for the model
    until(lambda: page.widget.status["finish"] in ("length", "eog"))
    assert page.states()[0] == "loading"
    pid = page.widget.model.engine.pid
    page.widget.close()
    assert not psutil.pid_exists(pid), "the widget had loaded it"
    assert page.widget.session.state == "closed"


def test_a_file_that_is_none_shows_why_until_it_is_replaced(opened: Callable[..., Page]) -> None:
    page = opened("nope.gguf")
    page.until("error")
    error = page.widget.status["error"]
    assert error["type"] == "ModelFileError"
    assert "nope.gguf" in error["message"]
    page.post({"kind": "replay", "epoch": 0, "have": 0, "seq": 0})
    page.post({"kind": "alive", "seq": 0, "views": 1})
    page.order("set", name="top_k", value=3)
    refused = page.refused("run", prompt="x")
    assert refused["message"].startswith("no model is loaded: nope.gguf")
    assert page.widget.status["error"] == error
    assert page.state == "error"
    assert repr(page.widget) == "<Inferno error>"


def test_loading_can_be_stopped(opened: Callable[..., Page], tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Model] = []

    class Slow(Model):
        def __init__(self, path: Path, *, n_ctx: None, force: bool, progress: Callable[[float], object]) -> None:
            def slow(fraction: float) -> object:
                time.sleep(0.2)
                return progress(fraction)

            made.append(self)
            super().__init__(path, n_ctx=256, force=force, progress=slow)

    monkeypatch.setattr(models, "Model", Slow)
    page = opened(tiny)
    until(lambda: made)
    page.order("stop")
    page.until("error")
    assert page.widget.status["error"]["type"] == "Cancelled"
    until(lambda: not hasattr(made[0], "engine") or made[0].engine.pid is None)


def test_closing_while_it_loads_leaves_no_process(tiny: Path) -> None:
    before = psutil.Process().children()
    for wait in (0, 0.05, 0.1, 0.2, 0.4):
        widget = Inferno(tiny)
        time.sleep(wait)
        widget.close()
        assert [child for child in psutil.Process().children() if child not in before] == []


def test_a_recorded_run_can_be_looked_at_but_not_continued(opened: Callable[..., Page]) -> None:
    trace = forked_trace()
    page = opened(trace)
    page.assert_shows(trace)
    assert (page.state, page.widget.status["used"], page.widget.status["error"]) == ("closed", 3, None)
    assert page.widget.status["model"]["name"] == "none"
    for kind, fields in (
        ("run", {"prompt": "x"}),
        ("step", {"prompt": "x"}),
        ("pause", {}),
        ("resume", {}),
        ("fork", {"node": 1, "token_id": 2}),
    ):
        assert page.refused(kind, **fields)["message"].startswith("this is a recorded run, without a model")
    page.order("stop")
    page.order("set", name="top_k", value=3)
    page.post({"kind": "select", "node": 3})
    page.order("set", name="top_k", value=3)
    assert page.widget.selection == 3
    assert len(trace.nodes) == 7


def test_a_session_of_ids_is_run_again_with_the_same_ids(opened: Callable[..., Page], model: Model) -> None:
    ids = [1, 300, 301, 259, 2, 302]  # which no text gives
    session = model.session(ids, dice())
    page = opened(session, max_tokens=3)
    assert (session.prompt, page.widget.prompt) == ("OP Q", "OP </s>Q"), "special tokens are shown"
    page.order("run", prompt=page.widget.prompt)
    until(lambda: page.widget.status["finish"] == "length")
    assert page.widget.session is not session
    assert page.widget.session.prompt_ids == ids
    assert page.widget.trace.column("token_id")[:6].tolist() == ids


def test_two_widgets_on_one_session_agree(opened: Callable[..., Page], model: Model) -> None:
    session = model.session(PROMPT, dice())
    one, other = opened(session), opened(session)
    one.order("step", prompt=PROMPT)
    for page in (one, other):
        page.assert_shows(session.trace)
        page.until("ready")
    one.widget.close()
    session.generate(3)
    other.assert_shows(session.trace)


@pytest.mark.parametrize("make", [lambda m: m, lambda m: m.session(PROMPT), lambda m: m.session(PROMPT).score()])
def test_things_draw_themselves(make: Callable[[Model], object], model: Model) -> None:
    before = set(_instances)
    bundle = make(model)._repr_mimebundle_(include=None, exclude=None)
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    try:
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert bundle["text/plain"].startswith("<Inferno <")
    finally:
        for key in set(_instances) - before:
            _instances[key].close()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((), {"pannels": ()}, TypeError, "Inferno has no parameter 'pannels'; did you mean 'panels'"),
        ((5,), {}, TypeError, "target must be a Session, a Model, a Trace or a GGUF file to show, not 5"),
        ((), {"max_tokens": 0}, ValueError, "max_tokens must be a whole number of at least 1"),
        ((), {"panels": ("stream", "strem")}, Exception, "strem"),
        ((), {"root": "no/such/folder"}, InfernoError, "no/such/folder is not a folder"),
    ],
)
def test_a_wrong_argument_is_named_and_leaves_nothing(
    arguments: tuple[object, ...], options: dict[str, object], error: type, match: str
) -> None:
    threads, widgets = threading.active_count(), len(_instances)
    with pytest.raises(error, match=match):
        Inferno(*arguments, **options)
    gc.collect()  # a complaint of __del__ would be an error here
    assert (threading.active_count(), len(_instances)) == (threads, widgets)


def test_panels_and_prompt_are_as_asked(opened: Callable[..., Page], model: Model) -> None:
    page = opened(model, panels=("logits", "stream"), prompt="once", max_tokens=9)
    assert page.widget.panels == ["logits", "stream"]
    assert page.widget.prompt == "once"
    assert page.widget.settings["max_tokens"] == 9
    assert repr(page.widget) == f"<Inferno {model}>"


# --- the end ----------------------------------------------------------------------------------------------


def test_closing_ends_what_the_widget_made_and_nothing_else(model: Model) -> None:
    session = model.session(PROMPT, dice())
    widget = Inferno(session)
    page = Page(widget)
    page.order("set", name="max_tokens", value=LONG)
    page.order("run", prompt=PROMPT)
    page.until("generating")
    made = widget.session
    assert made is not session
    widget.close()
    widget.close()
    assert made.state == "closed"
    assert session.state == "ready"
    assert model.engine.pid is not None
    session.generate(3)
    assert session.trace.length == len(session.prompt_ids) + 3
    assert widget.comm is None


def test_closing_leaves_a_session_that_was_handed_in_running(model: Model) -> None:
    session = model.session(PROMPT, dice())
    widget = Inferno(session)
    session.start(500)
    widget.close()
    assert session.wait()
    assert session.finish == "length"
    assert session._listeners == []


def test_a_killed_model_shows_why_and_run_works_again(opened: Callable[..., Page], tiny: Path) -> None:
    with loaded(tiny, n_ctx=8192) as model:
        page = opened(model.session(PROMPT, dice()), max_tokens=LONG)
        page.order("run", prompt=PROMPT)
        until(lambda: len(page.widget.trace) > 30)
        os.kill(model.engine.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        page.until("error")
        assert page.widget.status["error"]["type"] == "EngineDiedError"
        kept = len(page.widget.trace)
        page.assert_shows(page.widget.trace)
        page.order("set", name="max_tokens", value=4)
        page.order("resume")
        until(lambda: page.state == "ready" and len(page.widget.trace) == kept + 4)
        assert page.widget.status["error"] is None
        os.kill(model.engine.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        until(lambda: model.engine.pid is None)
        page.order("run", prompt=PROMPT)
        until(lambda: page.widget.trace.length == len(page.widget.session.prompt_ids) + 4 and page.state == "ready")
        page.assert_shows(page.widget.trace)


class Kernel:
    """A notebook's kernel, as far as it tells which cell runs."""

    def __init__(self) -> None:
        self.cell, self.run = "", ""

    @property
    def kernel(self) -> Kernel:
        return self

    def get_parent(self) -> dict[str, Any]:
        return {"metadata": {"cellId": self.cell}, "header": {"msg_id": self.run}}


def test_running_a_cell_again_replaces_its_widgets(tiny: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    monkeypatch.setattr(IPython, "get_ipython", lambda: kernel)
    monkeypatch.setattr(cells, "_made", {})
    session = model.session(PROMPT, dice())
    threads, widgets, children = threading.active_count(), len(_instances), len(psutil.Process().children())
    kernel.cell, kernel.run = "other cell", "0"
    elsewhere = Inferno(session)
    made: list[Inferno] = []

    def idle() -> bool:
        return made[-1].status["state"] == "empty"

    for run in range(4):
        kernel.cell, kernel.run = "cell", str(run)
        made += [Inferno(session), Inferno(tiny)]
        assert [widget._closed for widget in made] == [*[True] * (2 * run), False, False], "two of one run both live"
        assert not elsewhere._closed
        until(idle)
        assert len(psutil.Process().children()) == children + 1
        assert len(session._listeners) == 2
    assert len([t for t in threading.enumerate() if t.name == "inferno-widget"]) == 3
    made[-1].close()
    made[-2].close()
    elsewhere.close()
    until(lambda: threading.active_count() == threads)
    assert len(_instances) - widgets <= 2 * len(made) + 2, "layouts at most"
    assert len(psutil.Process().children()) == children
    assert session.state == "ready"


def test_outside_a_notebook_nothing_is_closed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in (None, object(), type("Shell", (), {"kernel": Kernel()})()):
        monkeypatch.setattr(IPython, "get_ipython", lambda shell=shell: shell)
        one, other = Inferno(model), Inferno(model)
        assert not one._closed
        one.close()
        other.close()


def test_replies_go_where_the_question_came_from() -> None:
    """ipykernel 7.4 asks the comm, which must not answer with the shell that published last."""

    class Comm:
        def _reply_subshell_for(self, data: object, default: object) -> object:
            return "the last"

    holder = type("Holder", (), {"comm": Comm()})()
    widget_module._answer_where_asked(holder)
    assert holder.comm._reply_subshell_for({}, "the asker") == "the asker"
