"""Files that are odd, or change while a model lives: what kills the engine is named, and the kernel goes on."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferno_widget import EngineDiedError, Model, ModelFileError, ModelLoadError, Session
from inferno_widget.gguf import check
from tests.engine.tools import PROMPT, dice, kill, loaded, until, workbenches
from tests.fuzz.bases import base
from tests.fuzz.draft import F32, TEXT, U32, Draft
from tests.make_models import tiny_llama

posix = pytest.mark.skipif(os.name == "nt", reason="needs files as POSIX has them")


@pytest.fixture
def path(tiny: Path, tmp_path: Path) -> Path:
    """A model's file of our own."""
    return Path(shutil.copy(tiny, tmp_path / "model.gguf"))


@pytest.fixture
def model(path: Path) -> Iterator[Model]:
    with loaded(path) as model:
        yield model


def written(folder: Path, key: str, kind: int, value: object) -> Path:
    """A good file but for one key."""
    draft = base("llama")
    draft.set(key, kind, value)
    return draft.write(folder)


def tokens_twice(draft: Draft) -> None:
    draft.get("tokenizer.ggml.tokens")[300] = b"<s>"


def deaths(session: Session) -> list[str]:
    """What is said until the session goes on; it may notice a death before or while it works."""
    said: list[str] = []
    for _ in range(3):
        try:
            session.generate(4)
            break
        except EngineDiedError as error:
            said.append(str(error))
    return said


# --- files that change while they are mapped --------------------------------------------------------------


@posix
def test_a_file_that_shrinks_ends_the_engine_and_not_the_kernel(model: Model, path: Path) -> None:
    with model.session(PROMPT, dice()) as session:
        session.generate(4)
        before = session.trace.text
        whole = path.read_bytes()
        os.truncate(path, 4096)
        with pytest.raises(
            EngineDiedError, match=r"has changed since it was loaded: it had .* bytes, and has 4,096 now"
        ):
            session.generate(50)
        assert session.trace.text.startswith(before)
        with pytest.raises(ModelFileError, match=r"has changed since it was loaded.*load the model again"):
            session.generate(4)
        path.write_bytes(whole)  # the same file again, if a younger one
        session.generate(4)
        assert session.trace.text.startswith(before)


def test_weights_of_another_file_never_go_on_with_a_text(model: Model, path: Path, tmp_path: Path) -> None:
    with model.session(PROMPT, dice()) as session:
        session.generate(4)
        kill(model)
        tiny_llama(tmp_path / "other.gguf", seed=1).replace(path)
        assert path.stat().st_size == model.info.size_bytes
        before = session.trace.nodes.tobytes()
        with pytest.raises(ModelFileError, match="it was written to"):
            deaths(session)
        assert session.trace.nodes.tobytes() == before


def test_a_younger_copy_of_the_same_file_goes_on(model: Model, path: Path) -> None:
    with model.session(PROMPT, dice()) as session:
        session.generate(4)
        kill(model)
        os.utime(path)
        deaths(session)
        assert session.trace.length > 8


@posix
def test_a_file_that_vanishes_is_missed_by_the_next_process_alone(model: Model, path: Path) -> None:
    path.unlink()
    with model.session(PROMPT, dice()) as session:
        session.generate(4)
        kill(model)
        with pytest.raises(ModelFileError, match="cannot be found any more"):
            deaths(session)


@posix
def test_a_disk_that_fails_while_the_file_is_mapped(model: Model) -> None:
    with model.session(PROMPT, dice()) as session:
        session.generate(4)
        os.kill(model.engine.pid, signal.SIGBUS)  # what the system sends where a page cannot be read
        with pytest.raises(EngineDiedError, match=r"a disk or network drive failed while .* was read"):
            session.generate(4)
        session.generate(4)


def test_a_disk_that_fails_while_the_file_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.FileIO):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    for module in ("gguf.reader", "source"):
        with monkeypatch.context() as patch:
            patch.setattr(f"inferno_widget.{module}.opened", Failing)
            with pytest.raises(ModelFileError, match=r"cannot be read: .*copy the file to another disk"):
                Model(path)


def test_a_file_that_vanishes_while_it_is_loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inferno_widget import model

    def read_and_remove(path: Path) -> object:
        info = read_info(path)
        path.unlink()
        return info

    read_info = model.read_info
    monkeypatch.setattr(model, "read_info", read_and_remove)
    with pytest.raises(ModelFileError, match="there is no such file"):
        Model(path)


# --- what the file's oddities explain ---------------------------------------------------------------------


def test_what_ends_the_engine_while_it_loads_is_named(tmp_path: Path) -> None:
    draft = base("llama")
    tokens_twice(draft)
    draft.set("llama.context_length", U32, 2**31 - 1)  # odd too, and found before, but does not end it
    draft.set("tokenizer.ggml.bos_token_id", U32, 2**32 - 1)  # nor does this, though more of its words are said
    path = draft.write(tmp_path)
    assert {finding.severity for finding in check(path)} == {"warning"}
    with pytest.raises(EngineDiedError) as died:
        Model(path, n_ctx=256)
    assert died.value.stage == "load"
    assert "probably because of what is odd in its file: tokenizer.ggml.tokens, byte" in str(died.value)
    assert "tokens 1 and 300 are both '<s>'" in str(died.value)
    assert "2 more in model.info.findings" in str(died.value)


def test_what_llama_cpp_refuses_is_explained(tmp_path: Path) -> None:
    path = written(tmp_path, "llama.embedding_length", U32, 64)
    with pytest.raises(ModelLoadError, match=r"probably because of .* token_embd\.weight: .* expected rows of 64"):
        Model(path)


def test_what_ends_the_engine_at_the_first_token_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "llama.attention.layer_norm_rms_epsilon", F32, -1.0)
    with Model(path) as model, model.session(PROMPT) as session, pytest.raises(EngineDiedError) as died:
        session.generate(4)
    assert "llama.attention.layer_norm_rms_epsilon, byte" in str(died.value)
    assert "expected a small number, 0 or more" in str(died.value)


def test_an_odd_file_that_works_is_loaded_and_not_blamed(tmp_path: Path) -> None:
    path = written(tmp_path, "tokenizer.ggml.eos_token_id", U32, 2**32 - 1)
    with Model(path) as model, model.session(PROMPT, dice()) as session:
        assert [finding.field for finding in model.findings] == ["tokenizer.ggml.eos_token_id"]
        assert "1 warning: see .findings" in repr(model)
        kill(model)
        assert "odd" not in str(deaths(session)), "somebody killed it"
        os.kill(model.engine.pid, signal.SIGABRT)
        assert "odd" not in str(deaths(session)), "it had decoded by then"


# --- what is no regular file ------------------------------------------------------------------------------


@posix
def test_what_is_no_regular_file_is_refused_before_anything_is_started(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.gguf")
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    (tmp_path / "nowhere.gguf").symlink_to(tmp_path / "none.gguf")
    sparse = tmp_path / "sparse.gguf"
    with sparse.open("wb") as file:
        file.truncate(2**40)
    expected = {
        "fifo.gguf": "is a pipe",
        "folder.gguf": "is a folder",
        "loop.gguf": "cannot be opened",
        "nowhere.gguf": "there is no such file",
        "sparse.gguf": "nothing but zeros",
        "/dev/zero": "is a device",
        "/dev/stdin/x": "cannot be opened|no such file",
        "a\0b.gguf": "holds a NUL",
        "x" * 5000: "cannot be opened",
    }
    for name, words in expected.items():
        with pytest.raises((ModelFileError, ValueError), match=words):
            Model(tmp_path / name)
    with path.open("ab") as file:  # a good file that ends in a giant hole is a good file
        file.truncate(2**36)
    assert check(path) == []


@posix
def test_a_file_of_somebody_else(path: Path) -> None:
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # to whom the folder is closed
    try:
        with pytest.raises(ModelFileError, match=r"may not be read \(permission denied\)"):
            Model(path)
    finally:
        if root:
            os.seteuid(0)


@posix
@pytest.mark.parametrize(
    "name", [b"two\nlines.gguf", b"no text \xff\xfe.gguf", "<img src=x>\u202e.gguf".encode(), b"-x.gguf"]
)
def test_a_strange_name_is_loaded_and_shown_as_text(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        written(tmp_path, "general.name", TEXT, b"").rename(path)
    except OSError:
        pytest.skip("this file system takes no such name")
    with loaded(path) as model, model.session(PROMPT, dice()) as session, workbenches() as make:
        session.generate(2)
        told = make(session).library.to_dict([])
        json.dumps([told, model.card], ensure_ascii=False).encode()
        assert model.card["file"].isprintable()
        path.unlink()
        with pytest.raises(ModelFileError) as caught:
            Model(path)
        assert str(caught.value).isprintable()


@posix
def test_a_strange_name_is_told_while_it_loads(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"no text \xff.gguf")
    try:
        path.write_bytes(b"GGUF")
    except OSError:
        pytest.skip("this file system takes no such name")
    with workbenches(root=tmp_path) as make:
        bench = make()
        bench.load(str(path))
        until(lambda: bench.tasks and bench.tasks[-1]["error"])
        json.dumps([bench.facts(), bench.library_dict(), bench.places().result()], ensure_ascii=False).encode()
        assert bench.tasks[-1]["name"] == r"no text \udcff.gguf"


@pytest.mark.parametrize("n_ctx", [1, 2])
def test_a_model_that_learned_a_context_of_next_to_nothing(n_ctx: int, tmp_path: Path) -> None:
    draft = base("mamba")
    draft.set("mamba.context_length", U32, n_ctx)
    with Model(draft.write(tmp_path), n_threads=1) as model, model.session([300]) as session:
        session.generate(3)
        assert (model.n_ctx, session.trace.length, session.finish) == (n_ctx, n_ctx, "context")
