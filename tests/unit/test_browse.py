"""The file browser: what it lists, how quickly, and that nothing leads above its root."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest

from inferno_widget.browse import Files, caches, hub_cache, llama_cpp_cache, natural
from inferno_widget.errors import InfernoError, ModelFileError
from inferno_widget.model import demo_path
from tests.make_models import tiny_llama

posix = pytest.mark.skipif(os.name == "nt", reason="needs links, pipes and permissions as POSIX has them")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own, without caches."""
    home = tmp_path.resolve() / "home"
    home.mkdir()
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "LLAMA_CACHE", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    return home


@pytest.fixture
def root(home: Path) -> Path:
    root = home / "models"
    root.mkdir()
    return root


def filled(path: Path, size: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def names(listing: dict[str, object], what: str = "files") -> list[str]:
    return [each["name"] for each in listing[what]]


# --- listing ----------------------------------------------------------------------------------------------


def test_folders_models_and_recordings_in_natural_order(root: Path) -> None:
    for name in ("v10.gguf", "V2.GGUF", "a.gguf", "run.inferno", "notes.txt", "config.json", "gguf"):
        filled(root / name, 5)
    for name in ("z", "b 10", "B 9", "x.gguf"):
        (root / name).mkdir()
    listing = Files(root).list()
    assert names(listing) == ["a.gguf", "run.inferno", "V2.GGUF", "v10.gguf"]
    assert names(listing, "folders") == ["B 9", "b 10", "x.gguf", "z"]
    assert listing["files"][1] == {
        "name": "run.inferno",
        "path": str(root / "run.inferno"),
        "kind": "inferno",
        "bytes": 5,
        "parts": 1,
    }
    assert listing["path"] == str(root)


def test_natural_order() -> None:
    given = ["q10", "Q9", "q", "1", "02", "10b", "10a2", "10a10", "²", ""]
    assert sorted(given, key=natural) == ["", "1", "02", "10a2", "10a10", "10b", "q", "Q9", "q10", "²"]


def test_hidden_files_are_shown_when_asked_for(root: Path) -> None:
    filled(root / ".secret.gguf")
    (root / ".git").mkdir()
    assert (names(Files(root).list()), names(Files(root).list(), "folders")) == ([], [])
    listing = Files(root).list(hidden=True)
    assert (names(listing), names(listing, "folders")) == ([".secret.gguf"], [".git"])


def test_a_split_model_is_one_entry(root: Path) -> None:
    for part in (2, 1, 3):
        filled(root / f"big-{part:05}-of-00003.gguf", 10**part)
    filled(root / "big-00001-of-00002.gguf", 7)  # another model, of which a part is missing
    filled(root / "other-00001-of-00001.gguf", 8)  # split into one: nothing to join
    first, second, other = Files(root).list()["files"]
    assert (first["name"], first["bytes"], first["parts"]) == ("big.gguf", 7, 2)
    assert (second["name"], second["bytes"], second["parts"]) == ("big.gguf", 1110, 3)
    assert second["path"] == str(root / "big-00001-of-00003.gguf")
    assert (other["name"], other["parts"]) == ("other-00001-of-00001.gguf", 1)


def test_crumbs_lead_from_the_root_to_the_folder(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    crumbs = Files(root).list("a/b")["crumbs"]
    assert crumbs == [
        {"name": "models", "path": str(root)},
        {"name": "a", "path": str(root / "a")},
        {"name": "b", "path": str(root / "a" / "b")},
    ]
    assert Files(root).list(str(root / "a" / "b"))["crumbs"] == crumbs


def test_five_thousand_files_are_listed_in_a_moment(root: Path) -> None:
    for i in range(5000):
        (root / f"model-{i}.gguf").touch()
    files = Files(root)
    start = time.perf_counter()
    listing = files.list()
    assert time.perf_counter() - start < 2  # 0.05 s on an idle machine
    assert names(listing)[:3] == ["model-0.gguf", "model-1.gguf", "model-2.gguf"]
    assert len(listing["files"]) == 5000


@posix
def test_nothing_is_opened_and_nothing_hangs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe.gguf")
    (root / "dangling.gguf").symlink_to(root / "nowhere.gguf")
    (root / "loop.gguf").symlink_to(root / "loop.gguf")
    (root / "device.gguf").symlink_to("/dev/zero")
    monkeypatch.chdir(root)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.gguf")
        filled(root / "real.gguf")
        assert names(Files(root).list()) == ["real.gguf"]
    with pytest.raises(ModelFileError, match="pipe"):
        Files(root).inspect("pipe.gguf")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only names in Unicode")
def test_a_name_that_the_page_cannot_be_told_is_left_out(root: Path) -> None:
    (root / os.fsdecode(b"caf\xe9.gguf")).touch()
    filled(root / "café.gguf")
    assert names(Files(root).list()) == ["café.gguf"]


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_says_so(root: Path) -> None:
    closed = root / "closed"
    closed.mkdir(mode=0o000)
    files = Files(root)
    assert names(files.list(), "folders") == ["closed"]
    with pytest.raises(InfernoError, match=r"closed may not be read \(permission denied\)"):
        files.list("closed")


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (PermissionError(13, "no"), r"models may not be read \(permission denied\)"),
        (OSError(5, "Input/output error"), "models cannot be read: .*Input/output error"),
    ],
)
def test_a_folder_that_fails_is_named(error: OSError, match: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(InfernoError, match=match):
        Files(root).list()


def test_what_is_no_folder_is_named(root: Path) -> None:
    filled(root / "a.gguf")
    with pytest.raises(InfernoError, match=r"none: there is no such folder"):
        Files(root).list("none")
    with pytest.raises(InfernoError, match=r"a\.gguf is a file, not a folder"):
        Files(root).list("a.gguf")
    for wrong, name in (("a.gguf", r"a\.gguf"), ("n" * 300, "n{300}"), ("\u202eabc", r"\\u202eabc")):
        with pytest.raises(InfernoError, match=rf"{name} is not a folder; give an existing one"):
            Files(root / wrong)


# --- the root ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["..", "../x.gguf", "a/../..", "/", "/etc/passwd", "~", "~/x.gguf", "//etc", "..\0", "a/../../models2"]
)
def test_nothing_above_the_root(path: str, root: Path) -> None:
    filled(root.parent / "x.gguf")
    (root / "a").mkdir()
    (root.parent / "models2").mkdir()  # its name begins like the root's
    for call in (Files(root).resolve, Files(root).list, Files(root).inspect):
        with pytest.raises(InfernoError, match=r"outside of|zero byte"):
            call(path)


@posix
def test_a_link_does_not_lead_out(root: Path) -> None:
    outside = filled(root.parent / "outside" / "x.gguf")
    (root / "link").symlink_to(outside.parent)
    (root / "x.gguf").symlink_to(outside)
    files = Files(root)
    assert (names(files.list()), names(files.list(), "folders")) == ([], [])
    for path in ("link", "link/x.gguf", "x.gguf", str(root / "link" / "x.gguf"), "link/new.inferno"):
        with pytest.raises(InfernoError, match="outside of"):
            files.resolve(path)


@posix
def test_a_link_inside_keeps_its_name(root: Path) -> None:
    filled(root / "real" / "x.gguf", 9)
    (root / "link").symlink_to(root / "real")
    (root / "y.gguf").symlink_to(root / "real" / "x.gguf")
    files = Files(root)
    assert names(files.list(), "folders") == ["link", "real"]
    assert files.list()["files"][0]["bytes"] == 9
    assert files.resolve("y.gguf") == root / "y.gguf"
    assert names(files.list("link"), "crumbs") == ["models", "link"]


@posix
def test_a_root_that_is_a_link_is_where_it_leads(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    filled(root / "x.gguf")
    files = Files(root.parent / "link")
    assert files.root == root
    assert files.resolve(str(root.parent / "link" / "x.gguf")) == root / "x.gguf"


def test_a_path_to_be_written_need_not_exist(root: Path) -> None:
    assert Files(root).resolve("new.inferno") == root / "new.inferno"
    assert Files(root).resolve("~/models/new.inferno") == root / "new.inferno"


def test_the_root_is_the_home_where_the_work_is_there(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    assert Files().root == root.parent
    assert Files().places()["root"] == {"name": "Home", "path": str(root.parent)}
    monkeypatch.chdir(tmp_path)
    assert Files().root == tmp_path.resolve()
    assert Files("~").root == root.parent


# --- other places -----------------------------------------------------------------------------------------


def test_only_places_that_exist(root: Path) -> None:
    recent = filled(root.parent / "recent.gguf")
    places = Files(root).places([str(recent), str(root / "gone.gguf"), "a\0b"])
    assert places["recent"] == [{"name": "recent.gguf", "path": str(recent)}]
    split = filled(root.parent / "big-00001-of-00003.gguf")
    assert Files(root).places([str(split)])["recent"] == [{"name": "big.gguf", "path": str(split)}]
    assert places["demo"] == {"name": "Demo model", "path": str(demo_path())}
    assert places["caches"] == []


def test_recent_files_and_the_demo_are_within_reach(root: Path) -> None:
    recent = filled(root.parent / "recent.gguf")
    files = Files(root)
    with pytest.raises(InfernoError, match="outside of"):
        files.resolve(str(recent))
    files.places([str(recent)])
    assert files.resolve(str(recent)) == recent
    assert files.resolve(str(demo_path())) == demo_path()
    assert files.inspect(str(demo_path()))["name"] == "Fairy Tales"
    with pytest.raises(InfernoError, match="outside of"):
        files.resolve(str(recent.with_name("beside.gguf")))
    with pytest.raises(InfernoError, match="outside of"):
        files.list(str(recent.parent))


def test_where_the_caches_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_cache() == home / ".cache" / "huggingface" / "hub"
    for name, value, folder in (
        ("XDG_CACHE_HOME", home / "xdg", home / "xdg" / "huggingface" / "hub"),
        ("HF_HOME", "~/hf", home / "hf" / "hub"),
        ("HUGGINGFACE_HUB_CACHE", home / "old", home / "old"),
        ("HF_HUB_CACHE", home / "new", home / "new"),
    ):
        monkeypatch.setenv(name, str(value))
        assert hub_cache() == folder
    monkeypatch.setenv("LLAMA_CACHE", str(home / "llama"))
    assert caches() == []
    (home / "llama").mkdir()
    assert caches() == [("llama.cpp cache", home / "llama")]


@pytest.mark.parametrize(
    ("platform", "folder"),
    [("linux", ".cache/llama.cpp"), ("darwin", "Library/Caches/llama.cpp"), ("win32", "AppData/Local/llama.cpp")],
)
def test_the_cache_of_llama_cpp_on_each_system(
    platform: str, folder: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert llama_cpp_cache() == home / folder


@posix
def test_a_cache_that_cannot_be_looked_at_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CACHE", "/" + "n" * 300)
    assert "llama.cpp cache" not in dict(caches())


def test_the_cache_of_hugging_face(home: Path, root: Path) -> None:
    """Its files are links with good names to files without one; a repository is one step, or none without a model."""
    hub = home / ".cache" / "huggingface" / "hub"
    repository = hub / "models--ann--tales-GGUF"
    blob = tiny_llama(filled(repository / "blobs" / "abc"))
    for revision, name in (("old", "old.gguf"), ("new", "deep/tales.gguf")):
        link = repository / "snapshots" / revision / name
        link.parent.mkdir(parents=True)
        link.symlink_to(blob)
        os.utime(repository / "snapshots" / revision, (0, 0) if revision == "old" else None)
    filled(hub / "models--ann--other" / "snapshots" / "a" / "config.json")
    filled(hub / "datasets--ann--words" / "snapshots" / "a" / "x.gguf")
    files = Files(root)
    assert files.places()["caches"] == [{"name": "Hugging Face cache", "path": str(hub)}]
    snapshot = repository / "snapshots" / "new"
    assert files.list(str(hub))["folders"] == [{"name": "ann/tales-GGUF", "path": str(snapshot)}]
    deep = files.list(str(snapshot / "deep"))
    assert names(deep, "crumbs") == ["Hugging Face cache", "ann/tales-GGUF", "deep"]
    assert (names(deep), deep["files"][0]["bytes"]) == (["tales.gguf"], blob.stat().st_size)
    assert files.resolve(deep["files"][0]["path"]).name == "tales.gguf", "the name tells of split models"
    assert files.inspect(deep["files"][0]["path"])["name"] == "tiny llama"


# --- headers ----------------------------------------------------------------------------------------------


def test_inspect_reads_the_header(root: Path) -> None:
    path = tiny_llama(root / "tiny.gguf")
    assert Files(root).inspect("tiny.gguf") == {
        "name": "tiny llama",
        "architecture": "llama",
        "parameters": Files(root).info("tiny.gguf").parameters,
        "quantisation": "F32",
        "n_ctx_train": 1024,
        "n_vocab": 512,
        "bytes": path.stat().st_size,
        "n_layer": 2,
        "chat": False,
        "findings": [],
    }


def test_a_file_that_changed_is_read_again(root: Path) -> None:
    path = tiny_llama(root / "tiny.gguf", name="first one")
    files = Files(root)
    assert files.inspect("tiny.gguf")["name"] == "first one"
    shutil.copy(tiny_llama(root / "other.gguf", name="other"), path)
    assert files.inspect("tiny.gguf")["name"] == "other"


def test_a_wrong_file_says_what_is_wrong(root: Path) -> None:
    filled(root / "wrong.gguf", 100)
    with pytest.raises(ModelFileError, match=r"wrong\.gguf: is not a GGUF file"):
        Files(root).inspect("wrong.gguf")
    with pytest.raises(ModelFileError, match="there is no such file"):
        Files(root).inspect("none.gguf")
