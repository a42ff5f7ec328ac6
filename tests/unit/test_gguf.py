"""Reading headers: real files, wrong files, hostile files."""

from __future__ import annotations

import os
import pickle
import re
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest

from inferno_widget.errors import ModelFileError
from inferno_widget.gguf import read_info
from tests.make_models import Shape, bpe_vocabulary, tiny_llama, tiny_qwen2, write_model
from tests.traces import made_trace

U8, U32, F32, BOOL, TEXT, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, elements: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + elements


def row(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<{len(shape)}Q", *shape[::-1])
    return text(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", kind, offset)


LLAMA = pair("general.architecture", TEXT, text("llama"))


def file_of(pairs=(LLAMA,), rows=(), data=b"", *, magic=b"GGUF", version=3, n_pairs=None, n_rows=None) -> bytes:
    counts = (len(rows) if n_rows is None else n_rows, len(pairs) if n_pairs is None else n_pairs)
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(rows)
    return head + b"\0" * (-len(head) % 32) + data


def short(value: object) -> str:
    """Name of a test's parameter: a whole file makes none."""
    return value if isinstance(value, str) else "file"


@pytest.fixture
def read(tmp_path):
    def read_bytes(content: bytes, name: str = "model.gguf"):
        path = tmp_path / name
        path.write_bytes(content)
        return read_info(path)

    return read_bytes


@pytest.fixture
def refused(read):
    def error_of(content: bytes) -> ModelFileError:
        with pytest.raises(ModelFileError) as caught:
            read(content)
        return caught.value

    return error_of


# What is in a good file


def test_a_llama(tmp_path):
    path = tiny_llama(tmp_path / "tiny.gguf", dtype="Q8_0", n_vocab=600, name="a llama")
    info = read_info(str(path))
    assert (info.path, info.files, info.name, info.architecture) == (path, (path,), "a llama", "llama")
    assert (info.n_ctx_train, info.n_vocab, info.n_layer, info.n_head, info.n_head_kv) == (1024, 600, 2, 4, 2)
    assert (info.n_embd, info.n_ff, info.tokenizer_model, info.quantisation) == (64, 96, "llama", "Q8_0")
    assert (info.bos_id, info.eos_id, info.unk_id, info.pad_id, info.add_bos) == (1, 2, 0, None, True)
    assert info.size_bytes == path.stat().st_size
    assert info.chat_template is None
    assert info.metadata["tokenizer.ggml.tokens"][259:262] == ["▁", "a", "b"]
    assert repr(info) == (
        "ModelInfo(a llama: llama, 100 k parameters, Q8_0, 122 kB; context 1,024, vocabulary 600; "
        "2 layers, 64 wide, 4 heads (2 KV))"
    )


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2])
@pytest.mark.parametrize("dtype", ["F32", "F16", "Q8_0"])
def test_the_same_as_the_gguf_package_reads(tmp_path, make, dtype):
    path = make(tmp_path / "tiny.gguf", dtype=dtype)
    info, reader = read_info(path), gguf.GGUFReader(path)
    fields = {name: entry.contents() for name, entry in reader.fields.items() if not name.startswith("GGUF.")}
    assert dict(info.metadata) == fields
    assert list(info.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        ours = info.tensors[tensor.name]
        assert (ours.type, ours.offset) == (tensor.tensor_type.name, tensor.data_offset)
        assert ours.shape == tuple(int(n) for n in tensor.shape[::-1])
    assert info.parameters == sum(int(tensor.n_elements) for tensor in reader.tensors)


def test_every_kind_of_value(read):
    values = {"B": (0, 200), "b": (1, -3), "H": (2, 60_000), "h": (3, -9), "I": (4, 7), "i": (5, -7), "f": (6, 0.5)}
    values |= {"?": (7, True), "Q": (10, 2**63), "q": (11, -(2**62)), "d": (12, 0.1)}
    pairs = [pair(f"scalar.{code}", kind, struct.pack(f"<{code}", value)) for code, (kind, value) in values.items()]
    pairs += [
        pair(f"array.{code}", ARRAY, array(kind, 2, struct.pack(f"<2{code}", value, value)))
        for code, (kind, value) in values.items()
    ]
    pairs += [
        pair("texts", ARRAY, array(TEXT, 3, text("a") + text("") + text("火"))),
        pair("none", ARRAY, array(U8, 0, b"")),
    ]
    metadata = read(file_of([LLAMA, *pairs])).metadata
    for code, (_, value) in values.items():
        assert metadata[f"scalar.{code}"] == value
        assert metadata[f"array.{code}"] == [value, value]
    assert metadata["texts"] == ["a", "", "火"]
    assert metadata["none"] == []
    assert "texts = [3 values]" in repr(metadata)
    assert len(metadata) == len(pairs) + 1


def test_quick_with_a_large_vocabulary(tmp_path):
    """The promise is 200 ms; the smallest of some runs, so that a busy machine does not fail it."""

    def zeros(shape, _):
        return np.zeros(shape, np.float16), gguf.GGMLQuantizationType.F16

    small = Shape(n_layer=1, n_embd=32, n_head=1, n_head_kv=1, n_ff=32)
    path = write_model(tmp_path / "large.gguf", small, bpe_vocabulary(151_936), zeros, dtype="F16", name="large")
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        info = read_info(path)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.2
    assert info.n_vocab == 151_936
    assert info.metadata.count("tokenizer.ggml.merges") == 151_936 - 257
    assert info.metadata["tokenizer.ggml.tokens"][-1] == "<|endoftext|>"


def test_info_crosses_processes(tmp_path):
    info = read_info(tiny_llama(tmp_path / "tiny.gguf"))
    assert dict(pickle.loads(pickle.dumps(info)).metadata) == dict(info.metadata)


def test_head_counts_that_differ_by_layer(read):
    heads = [
        pair("llama.attention.head_count", ARRAY, array(U32, 3, struct.pack("<3I", 8, 0, 16))),
        pair("llama.attention.head_count_kv", ARRAY, array(U32, 3, struct.pack("<3I", 2, 0, 4))),
    ]
    info = read(file_of([LLAMA, *heads]))
    assert (info.n_head, info.n_head_kv) == (16, 4)


def test_the_vocabulary_without_tokens(read):
    size = pair("llama.vocab_size", U32, struct.pack("<I", 99))
    assert read(file_of([LLAMA, size])).n_vocab == 99
    assert read(file_of(rows=[row("token_embd.weight", (3, 4))], data=bytes(48))).n_vocab == 3
    assert read(file_of()).n_vocab == 0


@pytest.mark.parametrize(
    ("file_type", "rows", "name"),
    [
        (15, [("a", (4, 256), 12), ("b", (2, 256), 14)], "Q4_K_M"),
        (15, [("a", (4, 256), 6), ("b", (2, 256), 12)], "Q5_0"),
        (27, [("a", (4, 256), 21), ("b", (2, 256), 12)], "IQ3_M"),
        (1, [("a", (4, 256), 8), ("b", (256,), 0)], "Q8_0"),
        (None, [("a", (4, 256), 12)], "Q4_K"),
        (9_999, [("a", (4, 256), 77)], "type 77"),
    ],
)
def test_the_name_of_the_quantisation(read, file_type, rows, name):
    said = [] if file_type is None else [pair("general.file_type", U32, struct.pack("<I", file_type))]
    table = [row(*each, offset=4096 * i) for i, each in enumerate(rows)]
    assert read(file_of([LLAMA, *said], table, data=bytes(8192))).quantisation == name


def test_what_is_unknown_passes(read):
    strange = [pair("general.architecture", TEXT, text("brand-new")), pair("brand-new.thing", BOOL, b"\1")]
    info = read(file_of(strange, [row("x", (5, 7), kind=1234)]))
    assert (info.architecture, info.name, info.tensors["x"].type) == ("brand-new", "model", "type 1234")
    assert read(file_of(version=2)).architecture == "llama"


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    tiny_llama(tmp_path / "tiny.gguf")
    assert read_info("~/tiny.gguf").n_layer == 2


# Split models


def split_model(folder) -> list:
    def part(number, tensor):
        said = [pair("split.count", U32, struct.pack("<I", 3))]
        said += [LLAMA, pair("general.name", TEXT, text("in parts"))] if number == 1 else []
        return file_of(said, [row(tensor, (2, 4))], data=bytes(32))

    files = [folder / f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for number, path in enumerate(files, 1):
        path.write_bytes(part(number, f"tensor{number}"))
    return files


@pytest.mark.parametrize("given", [0, 1, 2])
def test_a_split_model_from_any_part(tmp_path, given):
    files = split_model(tmp_path)
    info = read_info(files[given])
    assert (info.path, info.files, info.name) == (files[0], tuple(files), "in parts")
    assert [(name, tensor.part) for name, tensor in info.tensors.items()] == [
        ("tensor1", 0),
        ("tensor2", 1),
        ("tensor3", 2),
    ]
    assert info.size_bytes == sum(path.stat().st_size for path in files)
    assert "in 3 files" in repr(info)


def test_missing_parts_are_named(tmp_path):
    files = split_model(tmp_path)
    files[1].unlink()
    with pytest.raises(ModelFileError, match=r"missing beside it: big-00002-of-00003\.gguf") as caught:
        read_info(files[2])
    assert caught.value.field == "split.count"


def test_a_renamed_part(tmp_path):
    with pytest.raises(ModelFileError, match="not named like"):
        read_info(split_model(tmp_path)[0].rename(tmp_path / "model.gguf"))


def test_two_parts_with_one_tensor(tmp_path):
    files = split_model(tmp_path)
    files[2].write_bytes(files[1].read_bytes())
    with pytest.raises(ModelFileError, match=r"already in big-00002-of-00003\.gguf"):
        read_info(files[0])


# Wrong files


def test_truncated_anywhere(tmp_path):
    """The last tensor ends where the file does, so that every byte is needed."""
    tokens = pair("tokenizer.ggml.tokens", ARRAY, array(TEXT, 2, text("a") + text("bc")))
    scores = pair("tokenizer.ggml.scores", ARRAY, array(F32, 2, struct.pack("<2f", 0, 1)))
    content = file_of([LLAMA, tokens, scores], [row("x", (2, 4)), row("y", (8,), offset=32)], data=bytes(64))
    path = tmp_path / "cut.gguf"
    path.write_bytes(content)
    read_info(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError) as caught:
            read_info(path)
        assert caught.value.offset is not None
    path.write_bytes(content[:-60])
    with pytest.raises(ModelFileError, match=r"60 bytes are missing at the end.*get the file again") as caught:
        read_info(path)
    assert (caught.value.field, caught.value.offset) == ("x", len(content) - 64)


def test_damaged_bytes_give_no_other_error(tmp_path):
    content = bytearray(tiny_llama(tmp_path / "tiny.gguf", n_vocab=300).read_bytes()[:20_000])
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.gguf"
    for _ in range(300):
        damaged = content.copy()
        for at in generator.integers(0, len(content), 3):
            damaged[at] = generator.integers(256)
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            read_info(path)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "empty"),
        (b"lmgg" + bytes(100), "old GGML"),
        (b"tjgg" + bytes(100), "old GGML"),
        (struct.pack("<Q", 80) + b'{"__metadata__":{}}', "safetensors"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n<HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b'{"error": "not found"}', "JSON"),
        (b"\x80\x02}q\x00.", "PyTorch"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"FUGG\0\0\0\3", "big-endian"),
        (b"GGUF\0\0\0\3" + bytes(100), "big-endian"),
        (b"MZ\x90\x00" + bytes(100), "something else that begins with b'MZ"),
        (file_of(version=1), "too old"),
        (file_of(version=99), "not known here"),
    ],
    ids=short,
)
def test_other_formats_are_recognised(refused, content, hint):
    assert hint in str(refused(content))


def test_archives_are_recognised(tmp_path):
    for member, hint in (("archive/data.pkl", "a PyTorch file"), ("readme.txt", "a ZIP archive")):
        path = tmp_path / "model.bin"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, "x")
        with pytest.raises(ModelFileError, match=hint):
            read_info(path)
    made_trace().save(tmp_path / "run.inferno")
    with pytest.raises(ModelFileError, match=r"a recorded run; .*; open it with Trace.load\(\)"):
        read_info(tmp_path / "run.inferno")


HUGE = 2**60


@pytest.mark.parametrize(
    ("content", "field", "hint"),
    [
        (file_of(n_pairs=HUGE), "metadata_kv_count", "more than the rest"),
        (file_of(n_rows=HUGE), "tensor_count", "more than the rest"),
        (file_of([LLAMA, pair("k", TEXT, struct.pack("<Q", 2**64 - 1))]), "k", "more than the rest"),
        (file_of([LLAMA, pair("k", ARRAY, array(TEXT, HUGE, b""))]), "k", "more than the rest"),
        (file_of([LLAMA, pair("k", ARRAY, array(U64, HUGE, b""))]), "k", "more than the rest"),
        (file_of([LLAMA, pair("k", ARRAY, array(TEXT, 2, struct.pack("<Q", 2**64 - 8) + bytes(8)))]), "k", "missing"),
        (file_of([LLAMA, pair("k", ARRAY, array(ARRAY, 1, array(U8, 1, b"\0")))]), "k", "array of arrays"),
        (file_of([LLAMA, pair("k", 13, bytes(8))]), "k", "unknown type 13"),
        (file_of([LLAMA, pair("k", ARRAY, array(77, 1, bytes(8)))]), "k", "unknown type 77"),
        (file_of([LLAMA, LLAMA]), "general.architecture", "twice"),
        (file_of([]), "general.architecture", "no architecture"),
        (file_of([pair("general.architecture", U32, bytes(4))]), "general.architecture", "expected a text"),
        (file_of([LLAMA, pair("llama.block_count", F32, bytes(4))]), "llama.block_count", "expected a whole number"),
        (
            file_of([LLAMA, pair("llama.block_count", ARRAY, array(TEXT, 1, text("a")))]),
            "llama.block_count",
            "[1 values] (array of text); expected a whole number",
        ),
        (
            file_of([LLAMA, pair("tokenizer.ggml.add_bos_token", U8, b"\1")]),
            "tokenizer.ggml.add_bos_token",
            "true or false",
        ),
        (file_of([LLAMA, pair("general.alignment", U32, struct.pack("<I", 24))]), "general.alignment", "power of two"),
        (file_of(rows=[row("x", (2,)), row("x", (2,))], data=bytes(32)), "x", "twice"),
        (file_of(rows=[row("x", (1, 2, 3, 4, 5))], data=bytes(999)), "x", "dimensions"),
        (file_of(rows=[row("x", (2**63, 2**63))], data=bytes(32)), "x", "fewer than 2^63"),
        (file_of(rows=[row("x", (2**20, 2**20))], data=bytes(32)), "x", "missing"),
        (file_of(rows=[row("x", (2,), offset=2**63)], data=bytes(32)), "x", "missing"),
        (file_of([LLAMA, pair("split.count", U64, struct.pack("<Q", HUGE))]), "split.count", "not named like"),
    ],
    ids=short,
)
def test_what_does_not_add_up(refused, content, field, hint):
    error = refused(content)
    assert error.field == field
    assert hint in str(error)


def test_an_error_says_where(refused):
    error = refused(file_of([LLAMA, pair("k", 13, bytes(8))]))
    assert error.offset == len(b"GGUF") + 4 + 16 + len(LLAMA) + len(text("k"))
    assert error.path in str(error)
    assert f"byte {error.offset}" in str(error)


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "none.gguf", tmp_path / "no" / "folder.gguf"):
        with pytest.raises(ModelFileError, match=r"no such file; check its name and folder$"):
            read_info(path)
    with pytest.raises(ModelFileError, match=re.escape(f"none.gguf: there is no such file in {Path.cwd()}; check")):
        read_info("none.gguf")
    with pytest.raises(ModelFileError, match=r"folder, or, if .* hub, use Model.from_hub\('owner/name-GGUF'\)$"):
        read_info("owner/name-GGUF")
    with pytest.raises(ModelFileError, match=r"check its name and folder$"):
        read_info("folder/none.gguf")


def test_a_folder(tmp_path):
    with pytest.raises(ModelFileError, match="is a folder"):
        read_info(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "fifo.gguf")
    with pytest.raises(ModelFileError, match="is a pipe"):
        read_info(tmp_path / "fifo.gguf")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no device files here")
def test_a_device():
    with pytest.raises(ModelFileError, match="is a device"):
        read_info("/dev/zero")


def test_a_loop_of_links(tmp_path):
    (tmp_path / "a.gguf").symlink_to(tmp_path / "a.gguf")
    with pytest.raises(ModelFileError, match="cannot be opened"):
        read_info(tmp_path / "a.gguf")


def test_a_path_with_a_nul():
    with pytest.raises(ValueError, match=r"path must name a file, .* it holds a NUL"):
        read_info("a\0b.gguf")


def test_no_permission(tmp_path, monkeypatch):
    """Asked of the system by hand, since root may read everything."""
    path = tiny_llama(tmp_path / "tiny.gguf")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(ModelFileError, match="permission denied"):
        read_info(path)


def test_a_giant_of_zeros_is_refused_quickly(tmp_path):
    """A sparse file that claims an endless vocabulary of empty texts: bounded by the longest header."""
    path = tmp_path / "giant.gguf"
    content = file_of([LLAMA, pair("tokenizer.ggml.tokens", ARRAY, array(TEXT, 2**26, b""))])
    with path.open("wb") as file:
        file.write(content)
        file.truncate(2**34)
    with pytest.raises(ModelFileError, match="header is longer"):
        read_info(path)


@pytest.mark.skipif(os.name == "nt", reason="no folder in use can be removed there")
def test_a_name_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ModelFileError, match="no such file in the working directory, which was removed"):
        read_info("a.gguf")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are UTF-8 there, whatever the locale")
def test_a_name_that_the_locale_cannot_write() -> None:
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    script = r"""
from inferno_widget import read_info
try:
    read_info("\xe9.gguf")
except ValueError as error:
    print(ascii(error))
"""
    done = subprocess.run([sys.executable, "-c", script], env=plain, capture_output=True, text=True, check=True)
    assert "cannot: names of files are ascii here (set LC_ALL=C.UTF-8)" in done.stdout
