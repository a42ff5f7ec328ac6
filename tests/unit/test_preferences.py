"""The settings file: believed in nothing, changed by many at once, and never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from inferno_widget import Sampler, preferences
from inferno_widget.preferences import LOOK, RECENT, VARIABLE, Preferences, default_folder
from inferno_widget.presets import BUILTIN, applied, settings_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "config"


def stored(folder: Path) -> Any:
    return json.loads((folder / "preferences.json").read_text())


def put(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "preferences.json").write_text(text)


# --- what is kept -----------------------------------------------------------------------------------------


def test_looking_writes_nothing(folder: Path) -> None:
    mine = Preferences(folder)
    assert (mine.look, mine.presets, mine.recent, mine.note) == (LOOK, {}, [], "")
    assert not folder.exists()


def test_what_is_changed_is_there_the_next_time(folder: Path) -> None:
    mine = Preferences(folder)
    mine.set_look("palette", "viridis")
    mine.set_look("font_size", 20)
    mine.save_preset("cool", {"temperature": 0.3})
    mine.add_recent("/a.gguf")
    again = Preferences(folder)
    assert again.look == mine.look == {**LOOK, "palette": "viridis", "font_size": 20}
    assert again.presets == {"cool": {"temperature": 0.3}}
    assert again.recent == ["/a.gguf"]
    assert stored(folder)["look"] == {"palette": "viridis", "font_size": 20}, "only what was chosen"
    assert {path.name for path in folder.iterdir()} == {"preferences.json", "preferences.lock"}
    assert again.drop_preset("cool") == {"temperature": 0.3}
    assert Preferences(folder).presets == {}


def test_recent_models_are_few_and_the_latest_comes_first(folder: Path) -> None:
    mine = Preferences(folder)
    for i in range(RECENT + 3):
        mine.add_recent(f"/{i}.gguf")
    mine.add_recent("/5.gguf")
    assert mine.recent[:2] == ["/5.gguf", f"/{RECENT + 2}.gguf"]
    assert len(mine.recent) == len(set(mine.recent)) == RECENT


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("metric", "heat", "metric must be one of probability, surprisal, entropy, rank, time, not 'heat'"),
        ("palette", ["inferno"], "palette must be one of"),
        ("palette", None, "palette must be one of"),
        ("top_k", 0, "top_k must be between 1 and 32, not 0"),
        ("top_k", True, "top_k must be a whole number, not True"),
        ("font_size", 17.5, "font_size must be a whole number, not 17.5"),
        ("glyphs", 1, "glyphs must be True or False, not 1"),
        ("colour", "red", "the look has no setting 'colour'; it has metric, palette"),
        ("presets", [], "the look has no setting 'presets'"),
    ],
)
def test_a_look_that_is_none_is_refused(name: str, value: object, match: str, folder: Path) -> None:
    mine = Preferences(folder)
    with pytest.raises((TypeError, ValueError), match=match):
        mine.set_look(name, value)
    assert mine.look == LOOK
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("  ", {}, "needs a name"),
        ("greedy", {}, "came with the package"),
        ("x", {"temperature": -1}, "temperature must be between"),
        ("x", {"temprature": 1}, "did you mean 'temperature'"),
        ("x", {"seed": 3}, "seed is no part of a preset"),
        ("x", {"logit_bias": {}}, "logit_bias is no part of a preset"),
        ("x", 5, "must be an object, not 5"),
    ],
)
def test_a_preset_that_is_none_is_refused(name: str, settings: Any, match: str, folder: Path) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        Preferences(folder).save_preset(name, settings)
    assert not folder.exists()


def test_what_is_not_there_cannot_be_dropped(folder: Path) -> None:
    with pytest.raises(ValueError, match="there is no preset 'x'"):
        Preferences(folder).drop_preset("x")
    with pytest.raises(ValueError, match="cannot be dropped"):
        Preferences(folder).drop_preset("greedy")


# --- damage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "5", "null", "[]", '"look"', '{"look": {"palette": "vir', "\0" * 100])
def test_a_damaged_file_gives_the_defaults_and_is_kept_aside(text: str, folder: Path) -> None:
    put(folder, text)
    mine = Preferences(folder)
    assert mine.look == LOOK
    assert "preferences.json is damaged" in mine.note
    assert (folder / "preferences.json").read_text() == text, "reading changes nothing"
    mine.set_look("glyphs", False)
    assert "It is kept as preferences.damaged.json." in mine.note
    assert (folder / "preferences.damaged.json").read_text() == text
    assert stored(folder)["look"] == {"glyphs": False}
    mine.set_look("glyphs", True)
    assert mine.note == "", "said once"


def test_bytes_that_are_no_text_are_damage(folder: Path) -> None:
    folder.mkdir()
    (folder / "preferences.json").write_bytes(b"\xff\xfe{}")
    assert "is damaged" in Preferences(folder).note


def test_one_wrong_value_spoils_no_other(folder: Path) -> None:
    wrong = {"palette": "neon", "top_k": 10, "sound": True}
    presets = {"a": {"temperature": 0.5}, "b": {"heat": 1}, "greedy": {}, "c": 5}
    put(folder, json.dumps({"look": wrong, "presets": presets, "recent": ["/a", 5, None], "tips": {"seen": 3}}))
    mine = Preferences(folder)
    assert mine.look == {**LOOK, "top_k": 10}
    assert mine.presets == {"a": {"temperature": 0.5}}
    assert mine.recent == ["/a"]
    assert "passed over what cannot be used" in mine.note
    mine.set_look("follow", False)
    assert stored(folder)["tips"] == {"seen": 3}, "a newer version's values stay"


@pytest.mark.parametrize("document", [{"look": 5, "presets": [], "recent": {}}, {"look": None}, {}])
def test_parts_of_another_shape_are_passed_over(document: object, folder: Path) -> None:
    put(folder, json.dumps(document))
    mine = Preferences(folder)
    assert (mine.look, mine.presets, mine.recent) == (LOOK, {}, [])


def test_where_nothing_can_be_written_the_change_holds_and_says_so(folder: Path) -> None:
    folder.write_text("a file where the folder would be")
    mine = Preferences(folder)
    mine.set_look("palette", "cividis")
    assert mine.look["palette"] == "cividis"
    assert "The settings cannot be kept" in mine.note
    mine.add_recent("/a.gguf")
    assert mine.look["palette"] == "cividis"
    assert mine.recent == ["/a.gguf"]


def test_a_write_that_fails_leaves_the_file_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Preferences(folder)
    mine.set_look("top_k", 5)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preferences.json, "dumps", full)
    mine.set_look("top_k", 6)
    assert "preferences.json cannot be written: the disk is full; make room" in mine.note
    assert mine.look["top_k"] == 6
    assert stored(folder)["look"] == {"top_k": 5}
    assert {path.name for path in folder.iterdir()} == {"preferences.json", "preferences.lock"}


# --- several kernels --------------------------------------------------------------------------------------


def test_two_kernels_keep_each_others_changes(folder: Path) -> None:
    one, other = Preferences(folder), Preferences(folder)
    one.set_look("palette", "viridis")
    other.set_look("metric", "rank")
    one.save_preset("a", {})
    other.save_preset("b", {})
    expected = {**LOOK, "palette": "viridis", "metric": "rank"}
    assert Preferences(folder).look == other.look == expected
    assert Preferences(folder).presets.keys() == {"a", "b"}


def test_many_at_once_lose_nothing(folder: Path) -> None:
    """Processes, as kernels are, and threads within them."""
    code = """
import sys, threading
from inferno_widget.preferences import Preferences
def work(number):
    mine = Preferences(sys.argv[1])
    for i in range(5):
        mine.save_preset(f"{sys.argv[2]} {number} {i}", {})
        assert not mine.note, mine.note
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(folder), str(i)], stderr=subprocess.PIPE) for i in (1, 2)]
    assert [run.communicate()[1] for run in runs] == [b"", b""]
    assert len(Preferences(folder).presets) == 2 * 3 * 5


def test_a_lock_that_is_never_released_holds_nobody_up_for_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferences, "LOCK_SECONDS", 0.05)
    folder.mkdir()
    entered, done = threading.Event(), threading.Event()

    def hold() -> None:
        with preferences._locked(folder / "preferences.lock"):
            entered.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(20)
    Preferences(folder).set_look("top_k", 3)
    done.set()
    holder.join()
    assert Preferences(folder).look["top_k"] == 3


# --- where --------------------------------------------------------------------------------------------------


def test_the_folder_is_the_users_or_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert default_folder() == tmp_path
    assert Preferences().path.parent == tmp_path
    monkeypatch.delenv(VARIABLE)
    assert default_folder().name == "inferno_widget"


def test_no_test_can_reach_the_users_own_file() -> None:
    assert VARIABLE in os.environ
    assert not Path(os.environ[VARIABLE]).is_relative_to(Path.home() / ".config")


# --- presets ------------------------------------------------------------------------------------------------


def test_the_presets_that_come_along_are_samplers() -> None:
    assert list(BUILTIN) == ["greedy", "balanced", "creative", "llama.cpp"]
    for settings in BUILTIN.values():
        assert settings_of(applied(Sampler(), settings)) == settings, "and hold nothing that is a default anyway"
    assert applied(Sampler(temperature=3), BUILTIN["llama.cpp"]) == Sampler()


def test_a_preset_leaves_dice_and_bias_alone() -> None:
    sampler = Sampler(temperature=0.3, top_k=3, seed=5, logit_bias={2: -1.0})
    assert settings_of(sampler) == {"temperature": 0.3, "top_k": 3}
    assert applied(sampler, {"top_p": 0.5}) == Sampler(top_p=0.5, seed=5, logit_bias={2: -1.0})
