"""Files that are small in one place and huge in another: what they say is held against what a model can be."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inferno_widget import InfernoError, Model, ModelFileError, ModelLoadError, Trace, read_info
from inferno_widget.errors import EngineDiedError
from inferno_widget.memory import estimate
from tests.fuzz.bases import base
from tests.fuzz.draft import ARRAY, TEXT, U32, Draft, Pair, Tensor

Change = Callable[[Draft], object]


def without(draft: Draft, start: str) -> None:
    draft.pairs = [pair for pair in draft.pairs if not pair.key.startswith(start.encode())]


def no_vocabulary(kind: str, size: int) -> Change:
    def change(draft: Draft) -> None:
        without(draft, "tokenizer.ggml.")
        draft.set("tokenizer.ggml.model", TEXT, kind.encode())
        draft.set("llama.vocab_size", U32, size)

    return change


def keys(draft: Draft) -> None:
    draft.pairs += [Pair(b"%d" % i, 0, 1) for i in range(70_000)]


def tensors(draft: Draft) -> None:
    draft.tensors += [Tensor(b"%d" % i, [0], 0, b"") for i in range(70_000)]


def architecture(draft: Draft) -> None:
    draft.set("general.architecture", TEXT, b"a" * 100_000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (keys, "more than are read; expected at most 65,536"),
        (tensors, "more than are read; expected at most 65,536"),
        (architecture, "a name of 100,000 characters"),
        (no_vocabulary("no_vocab", 2**32 - 1), "a vocabulary of 4,294,967,295"),
    ],
)
def test_what_would_take_minutes_or_the_machine_is_refused_before_the_child(
    change: Change, words: str, tmp_path: Path
) -> None:
    draft = base("llama")
    change(draft)
    path = draft.write(tmp_path)
    started = time.monotonic()
    with pytest.raises(ModelFileError, match=words) as caught:
        read_info(path)
    assert time.monotonic() - started < 20
    assert len(str(caught.value)) < 2_000


def test_a_name_is_shown_on_one_line_and_not_at_any_length(tmp_path: Path) -> None:
    draft = base("llama")
    draft.set("general.name", TEXT, b"first\nsecond\x1b[31m<b>" + b"x" * 1_000_000)
    info = read_info(draft.write(tmp_path))
    assert info.name.startswith(r"first\nsecond\x1b[31m<b>xxx")
    assert len(info.name) < 300
    assert info.name.isprintable()


def test_a_list_for_more_layers_than_there_are_is_not_read_into_memory(tmp_path: Path) -> None:
    draft = base("llama")
    draft.set("llama.attention.head_count_kv", ARRAY, [1] * 100_000, U32)
    info = read_info(draft.write(tmp_path))
    assert estimate(info, 256).kv < 1 << 20
    assert "llama.attention.head_count_kv" not in info.metadata._decoded


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound no process's memory")
def test_a_tokenizer_that_never_ends_does_not_take_the_machine(tmp_path: Path) -> None:
    """llama.cpp's for RWKV goes round for ever at a byte that no token has, and takes a word each time."""
    draft = base("llama")
    draft.set("tokenizer.ggml.model", TEXT, b"rwkv")
    with Model(draft.write(tmp_path)) as model:
        with pytest.raises(EngineDiedError, match="bad_alloc"):
            model.tokenize("Once upon a time — é")
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3 << 20
        assert model.rss == 0


def test_a_file_without_a_tokenizer_is_refused_in_words(tmp_path: Path) -> None:
    draft = base("llama")
    no_vocabulary("none", 320)(draft)
    with pytest.raises(InfernoError, match="no vocabulary"):
        Model(draft.write(tmp_path))


def test_tokens_of_megabytes_are_kept_in_part(tmp_path: Path) -> None:
    draft = base("llama")
    tokens = draft.get("tokenizer.ggml.tokens")
    tokens[260:] = [b"%d" % i + b"x" * 300_000 for i in range(260, len(tokens))]
    kept = tmp_path / "kept.inferno"
    with Model(draft.write(tmp_path)) as model, model.session(list(range(260, 280))) as session:
        session.generate(3)
        session.trace.save(kept)
        assert max(map(len, session.trace.pieces.values())) == 65_536
        assert Trace.load(kept).text == session.trace.text
        assert len(session.trace.to_html()) < 20_000_000


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_models_that_do_not_continue_a_text_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="does not continue a text token by token"):
        Model(base(name).write(tmp_path))


@pytest.mark.parametrize("length", [1, 4, 16])
def test_a_context_shorter_than_a_batch(length: int, tmp_path: Path) -> None:
    draft = base("llama")
    draft.set("llama.context_length", U32, length)
    with Model(draft.write(tmp_path)) as model, model.session(list(range(10, 80))) as session:
        session.generate(5)
        assert len(session.trace) == 75
        assert session.inspect(what="residual").residual.shape[1:] == (75, 32)


def test_a_batch_of_one_token(tmp_path: Path) -> None:
    path = base("llama").write(tmp_path)
    with Model(path, n_batch=1) as model, model.session(list(range(10, 20))) as session:
        session.generate(2)
        assert session.inspect(what="residual").residual.shape[1:] == (12, 32)


def test_a_table_of_positions_shorter_than_what_the_file_says(tmp_path: Path) -> None:
    draft = base("gpt2")
    draft.set("gpt2.context_length", U32, 4_096)
    with pytest.raises(ModelLoadError, match="128 positions in position_embd"):
        Model(draft.write(tmp_path))
