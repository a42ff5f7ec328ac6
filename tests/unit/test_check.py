"""What is found in a model file: every fault refuses it, every oddity warns, and a good file passes in silence."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inferno_widget import ModelFileError, read_info
from inferno_widget.__main__ import main
from inferno_widget.gguf import Finding, check
from inferno_widget.model import demo_path
from tests import make_models
from tests.fuzz.bases import BASES, base
from tests.fuzz.draft import ARRAY, BOOL, F32, F64, I32, TEXT, U32, U64, Draft, Pair, Tensor

Change = Callable[[Draft], object]


@pytest.fixture
def found(tmp_path: Path) -> Callable[[Change, str], list[Finding]]:
    """The findings in a good file that was changed."""

    def findings(change: Change, name: str = "llama") -> list[Finding]:
        draft = base(name)
        change(draft)
        return check(draft.write(tmp_path))

    return findings


def put(key: str, kind: int, value: object, of: int = 0) -> Change:
    return lambda draft: draft.set(key, kind, value, of)


def drop(key: str) -> Change:
    return lambda draft: draft.pairs.remove(draft.find(key))


def drop_tensors(start: str) -> Change:
    def change(draft: Draft) -> None:
        draft.tensors = [tensor for tensor in draft.tensors if not tensor.name.startswith(start.encode())]

    return change


def shaped(name: str, *shape: int) -> Change:
    """A tensor of F32 zeros, of the shape in the file's order."""

    def change(draft: Draft) -> None:
        at = draft.tensors.index(draft.tensor(name))
        draft.tensors[at] = Tensor(name.encode(), list(shape), 0, bytes(4 * math.prod(shape)))

    return change


def in_bytes(name: str, draft: Draft) -> None:
    """A tensor in Q8_0 zeros."""
    tensor = draft.tensor(name)
    tensor.kind, tensor.data = 8, bytes(math.prod(tensor.shape) // 32 * 34)


def token(at: int, text: bytes) -> Change:
    return lambda draft: draft.get("tokenizer.ggml.tokens").__setitem__(at, text)


def moved(name: str, by: int) -> Change:
    """A tensor whose offset is not the one that it has."""

    def change(draft: Draft) -> None:
        end = 0
        for tensor in draft.tensors:
            tensor.offset, end = end, draft.padded(end + len(tensor.data))
        draft.tensor(name).offset += by

    return change


# --- good files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASES)
def test_a_good_file_of_any_architecture_passes_in_silence(found, name: str) -> None:
    assert found(lambda draft: None, name) == []


@pytest.mark.parametrize("name", [name for name in dir(make_models) if name.startswith("tiny_")])
def test_the_models_of_the_tests_pass_in_silence(tmp_path: Path, name: str) -> None:
    path = getattr(make_models, name)(tmp_path / "tiny.gguf")
    assert check(path) == []
    assert "warning" not in repr(read_info(path))


def test_the_demo_model_passes_in_silence() -> None:
    assert check(demo_path()) == []


@pytest.mark.parametrize(
    "change",
    [
        put("brand.new", ARRAY, [b"a", b""], TEXT),
        put("general.architecture", TEXT, b"brand-new"),
        put("llama.brand_new_length", F64, 1e300),
        lambda draft: setattr(draft.tensor("output_norm.weight"), "kind", 1234),
        lambda draft: draft.tensors.append(Tensor(b"brand.new.weight", [3, 5], 200, bytes(64))),
        put("general.name", TEXT, b"\xff\xfe"),
        put("general.alignment", U32, 32),
    ],
)
def test_what_is_unknown_is_no_fault(found, change: Change) -> None:
    assert [finding for finding in found(change) if finding.severity == "error"] == []


# --- faults -----------------------------------------------------------------------------------------------

TOKENS = "tokenizer.ggml.tokens"
FAULTS = {
    "wrong magic": (lambda draft: setattr(draft, "magic", b"GGML"), "magic", "not a GGUF file"),
    "a version to come": (lambda draft: setattr(draft, "version", 4), "version", "update inferno_widget"),
    "big-endian": (lambda draft: setattr(draft, "version", 3 << 24), "version", "big-endian"),
    "many keys": (lambda draft: setattr(draft, "counts", (None, 2**50)), "metadata_kv_count", "at most"),
    "many tensors": (lambda draft: setattr(draft, "counts", (2**50, None)), "tensor_count", "at most"),
    "cut off": (lambda draft: draft.late.append(lambda data: data[:-50]), "output_norm.weight", "50 bytes are missing"),
    "a key twice": (
        lambda draft: draft.pairs.append(Pair(b"general.name", TEXT, b"other")),
        "general.name",
        "each key once",
    ),
    "a key without a name": (put("", U32, 1), "key 22", "without a name"),
    "a tensor twice": (lambda draft: draft.tensors.append(draft.tensors[0]), "token_embd.weight", "each tensor once"),
    "a text for a number": (put("llama.block_count", TEXT, b"2"), "llama.block_count", "expected a whole number"),
    "a fraction for a number": (put("llama.block_count", F32, 2.0), "llama.block_count", "float32"),
    "a number for a text": (put("general.architecture", U32, 2), "general.architecture", "expected a text"),
    "a flag for an id": (put("tokenizer.ggml.bos_token_id", BOOL, 1), "tokenizer.ggml.bos_token_id", "(bool)"),
    "numbers for tokens": (put(TOKENS, ARRAY, [1, 2], U32), TOKENS, "array of uint32"),
    "one token": (put(TOKENS, TEXT, b"a"), TOKENS, "an array of texts"),
    "wide scores": (put("tokenizer.ggml.scores", ARRAY, [0.0] * 320, F64), "tokenizer.ggml.scores", "32-bit"),
    "scores in words": (put("tokenizer.ggml.scores", ARRAY, [b""] * 320, TEXT), "tokenizer.ggml.scores", "32-bit"),
    "a wide alignment": (put("general.alignment", U64, 32), "general.alignment", "of 32 bits"),
    "no alignment": (put("general.alignment", U32, 0), "general.alignment", "a power of two"),
    "an odd alignment": (put("general.alignment", U32, 48), "general.alignment", "a power of two"),
    "misaligned": (moved("output_norm.weight", 8), "output_norm.weight", "a multiple of 32"),
    "overlapping": (moved("blk.0.attn_q.weight", -64), "blk.0.attn_q.weight", "within blk.0.attn_norm.weight"),
    "out of range": (moved("output_norm.weight", 2**40), "output_norm.weight", "missing at the end"),
    "half a block": (
        lambda draft: setattr(draft.tensor("output_norm.weight"), "kind", 14),
        "output_norm.weight",
        "a multiple of 256",
    ),
    "more weights than can be counted": (
        lambda draft: setattr(draft.tensors[0], "shape", [2**40, 2**40]),
        "token_embd.weight",
        "fewer than 2^63",
    ),
    "a giant vocabulary": (
        lambda draft: (
            drop(TOKENS)(draft),
            drop_tensors("token_embd")(draft),
            draft.set("llama.vocab_size", U32, 2**31),
        ),
        TOKENS,
        "at most 16,777,216",
    ),
}


def test_what_is_no_path_is_named() -> None:
    with pytest.raises(TypeError, match=r"path must be a path, not \['a\.gguf'\]"):
        check(["a.gguf"])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_refuses_the_file(tmp_path: Path, name: str) -> None:
    change, field, hint = FAULTS[name]
    draft = base("llama")
    change(draft)
    path = draft.write(tmp_path)
    first = check(path)[0]
    assert (first.severity, first.field) == ("error", field)
    assert hint in first.text
    assert first.advice
    with pytest.raises(ModelFileError) as caught:
        read_info(path)
    error = caught.value
    assert (error.field, error.offset, error.found, error.expected) == (
        field,
        first.offset,
        first.found,
        first.expected,
    )


def test_all_faults_are_found_at_once(found) -> None:
    def change(draft: Draft) -> None:
        draft.pairs.append(Pair(b"general.name", TEXT, b"other"))
        draft.set("llama.block_count", F32, 2.0)
        moved("output_norm.weight", 8)(draft)
        draft.tensors.append(draft.tensors[0])
        draft.late.append(lambda data: data[:-41_010])  # the tensor that is there twice, and more

    findings = found(change)
    fields = ["general.name", "llama.block_count", "token_embd.weight", "output_norm.weight", "output_norm.weight"]
    assert [finding.field for finding in findings] == fields
    assert findings[-1].advice.startswith("perhaps a download broke off")


def test_faults_come_to_an_end(found) -> None:
    many = [Pair(b"general.name", TEXT, b"again")] * 5000
    assert len(found(lambda draft: draft.pairs.extend(many))) < 30


def test_a_fault_says_at_which_byte(tmp_path: Path) -> None:
    draft = base("llama")
    draft.set("llama.block_count", F32, 2.0)
    path = draft.write(tmp_path)
    assert check(path)[0].offset == path.read_bytes().index(b"llama.block_count") + len("llama.block_count") + 4


# --- oddities ---------------------------------------------------------------------------------------------

ODDITIES = {
    "no context": (drop("llama.context_length"), "llama.context_length", "missing"),
    "no width": (drop("llama.embedding_length"), "llama.embedding_length", "missing"),
    "no blocks": (put("llama.block_count", U32, 0), "llama.block_count", "1 or more"),
    "endless blocks": (put("llama.block_count", U32, 2**32 - 1), "llama.block_count", "at most 512"),
    "an endless context": (put("llama.context_length", U32, 2**31 - 1), "llama.context_length", "2,147,483,647"),
    "no heads": (drop("llama.attention.head_count"), "llama.attention.head_count", "missing"),
    "zero heads": (put("llama.attention.head_count", U32, 0), "llama.attention.head_count", "has attention"),
    "heads that do not divide": (put("llama.attention.head_count", U32, 5), "llama.attention.head_count", "divisor"),
    "shared heads that do not divide": (
        put("llama.attention.head_count_kv", U32, 3),
        "llama.attention.head_count_kv",
        "a divisor of the 2 heads",
    ),
    "heads of other layers": (
        put("llama.attention.head_count", ARRAY, [2, 2, 2], U32),
        "llama.attention.head_count",
        "2, one for each layer",
    ),
    "an odd rotation": (
        put("llama.rope.dimension_count", U32, 15),
        "llama.rope.dimension_count",
        "at most the head's 16",
    ),
    "a rotation too wide": (
        put("llama.rope.dimension_count", U32, 64),
        "llama.rope.dimension_count",
        "at most the head's",
    ),
    "experts without experts": (put("llama.expert_used_count", U32, 2), "llama.expert_used_count", "the 0 experts"),
    "groups without experts": (put("llama.expert_group_count", U32, 2), "llama.expert_group_count", "the 0 experts"),
    "a norm of bytes": (
        lambda draft: in_bytes("blk.0.attn_norm.weight", draft),
        "blk.0.attn_norm.weight",
        "expected F32",
    ),
    "weights of whole numbers": (
        lambda draft: setattr(draft.tensor("blk.0.attn_output.weight"), "kind", 26),
        "blk.0.attn_output.weight",
        "weights of I32",
    ),
    "a negative epsilon": (
        put("llama.attention.layer_norm_rms_epsilon", F32, -1.0),
        "llama.attention.layer_norm_rms_epsilon",
        "0 or more",
    ),
    "no number": (put("llama.rope.freq_base", F32, math.nan), "llama.rope.freq_base", "a finite number"),
    "a rotation without a base": (put("llama.rope.freq_base", F32, 0.0), "llama.rope.freq_base", "positive"),
    "an unknown rotation": (put("llama.rope.scaling.type", TEXT, b"<b>"), "llama.rope.scaling.type", "one of none"),
    "another width": (put("llama.embedding_length", U32, 64), "token_embd.weight", "rows of 64"),
    "a norm of another width": (shaped("blk.1.attn_norm.weight", 16), "blk.1.attn_norm.weight", "rows of 32"),
    "rows without tokens": (shaped("token_embd.weight", 32, 400), "token_embd.weight", "320, one for each token"),
    "no embedding": (drop_tensors("token_embd"), "token_embd.weight", "missing"),
    "a block without tensors": (drop_tensors("blk.1."), "blk.1", "no tensors"),
    "tensors without a block": (put("llama.block_count", U32, 1), "llama.block_count", "tensors of block 1"),
    "no tokenizer": (drop("tokenizer.ggml.model"), "tokenizer.ggml.model", "missing"),
    "no tokens": (put(TOKENS, ARRAY, [], TEXT), TOKENS, "no tokens"),
    "tokens that are missing": (drop(TOKENS), TOKENS, "missing"),
    "a token twice": (token(300, b"<s>"), TOKENS, "tokens 1 and 300 are both '<s>'"),
    "no token for a byte": (token(3 + 0x0A, b"ten"), TOKENS, "no token for 1 of the 256 bytes: 0x0A"),
    "few scores": (put("tokenizer.ggml.scores", ARRAY, [0.0] * 9, F32), "tokenizer.ggml.scores", "320, one for each"),
    "few types": (put("tokenizer.ggml.token_type", ARRAY, [1] * 9, I32), "tokenizer.ggml.token_type", "9 numbers"),
    "scores that are none": (
        put("tokenizer.ggml.scores", ARRAY, [math.nan] * 320, F32),
        "tokenizer.ggml.scores",
        "no numbers",
    ),
    "an id that is none": (put("tokenizer.ggml.eos_token_id", U32, 320), "tokenizer.ggml.eos_token_id", "320 tokens"),
    "a negative id": (put("tokenizer.ggml.bos_token_id", I32, -7), "tokenizer.ggml.bos_token_id", "-7"),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_warns_and_passes(tmp_path: Path, name: str) -> None:
    change, field, hint = ODDITIES[name]
    draft = base("llama")
    change(draft)
    path = draft.write(tmp_path)
    findings = check(path)
    assert {finding.severity for finding in findings} == {"warning"}
    about = [finding for finding in findings if finding.field == field]
    assert hint in " ".join(finding.text for finding in about)
    info = read_info(path)
    assert list(info.findings) == findings
    assert f"{len(findings)} warning" in repr(info)


@pytest.mark.parametrize(
    ("name", "change", "field", "hint"),
    [
        ("llama", put("tokenizer.ggml.model", TEXT, b"none"), "tokenizer.ggml.model", "give token ids"),
        ("llama-moe", put("llama.expert_group_count", U32, 3), "llama.expert_group_count", "a divisor of the 4"),
        ("llama-moe", put("llama.expert_group_count", U32, 2), "llama.expert_group_used_count", "from 1 to 1"),
        ("qwen2", drop("tokenizer.ggml.merges"), "tokenizer.ggml.merges", "missing"),
        ("qwen2", token(0, b"gone"), TOKENS, "no token for 1 of the 256 bytes: 0x00"),
        ("gpt2", put("gpt2.context_length", U32, 4096), "gpt2.context_length", "128 positions"),
        ("llama-moe", put("llama.expert_used_count", U32, 5), "llama.expert_used_count", "from 1 to the 4 experts"),
        ("llama-moe", drop("llama.expert_used_count"), "llama.expert_used_count", "from 1 to the 4"),
        ("gemma2", put("gemma2.attention.key_length", U32, 8), "gemma2.rope.dimension_count", "at most the head's 8"),
    ],
)
def test_oddities_of_other_architectures(found, name: str, change: Change, field: str, hint: str) -> None:
    assert [finding.field for finding in found(change, name)] == [field]
    assert hint in found(change, name)[0].text


def test_empty_tokens_are_told_apart_by_llama_cpp(found) -> None:
    assert found(lambda draft: (token(300, b"")(draft), token(301, b"")(draft))) == []


def test_bytes_that_no_text_has_need_no_token(found) -> None:
    assert found(lambda draft: (token(3 + 0xC0, b"192")(draft), token(3 + 0xFF, b"255")(draft))) == []


def test_a_finding_is_one_line_of_text(found) -> None:
    """Whatever a file says, it moves no cursor and breaks no line; the page shows it as text."""
    odd = found(
        lambda draft: draft.set("llama.rope.scaling.type", TEXT, "\x1b[2J\n<img onerror=alert(1)>\u202e".encode())
    )[0]
    assert str(odd).isprintable()
    assert json.loads(json.dumps(odd.to_dict()))["text"] == odd.text


def test_a_name_without_end_is_cut(found) -> None:
    fault = found(lambda draft: draft.pairs.append(Pair(b"x" * 10_000, 77, 1)))[0]
    assert len(fault.field) == 10_000
    assert len(fault.text) < 300


def test_two_bytes_that_are_no_text_are_two_names(found) -> None:
    def change(draft: Draft) -> None:
        draft.pairs += [Pair(b"x.\xff", U32, 1), Pair(b"x.\xfe", U32, 1)]

    assert found(change) == []


def test_a_hundred_and_fifty_thousand_tokens_are_checked_in_a_moment(tmp_path: Path) -> None:
    """The promise is 200 ms, which `python -m benchmarks check` measures; this is for a machine with other work."""
    vocabulary = make_models.bpe_vocabulary(151_936)
    shape = make_models.Shape(n_layer=1, n_embd=32, n_head=1, n_head_kv=1, n_ff=32)
    weights = make_models.random_weights("F16", 0)
    path = make_models.write_model(tmp_path / "large.gguf", shape, vocabulary, weights, dtype="F16", name="large")
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert check(path) == []
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1


# --- parts ------------------------------------------------------------------------------------------------


def split(folder: Path, change: Change = lambda draft: None) -> list[Path]:
    """A good model in two files; `change` is done to the second."""
    first, second = base("llama"), base("llama")
    first.tensors, second.tensors = first.tensors[:5], second.tensors[5:]
    second.pairs = []
    files = []
    for number, draft in enumerate((first, second)):
        draft.set("split.count", 2, 2)
        draft.set("split.no", 2, number)
        draft.name = f"model-0000{number + 1}-of-00002.gguf"
        if number:
            change(draft)
        files.append(draft.write(folder))
    return files


def test_a_split_model_is_checked_as_a_whole(tmp_path: Path) -> None:
    first, second = split(tmp_path)
    assert check(first) == check(second) == []
    split(tmp_path, lambda draft: draft.late.append(lambda data: data[:-50]))
    assert [finding.field for finding in check(first)] == ["output_norm.weight"]
    second.unlink()
    assert "missing beside it: model-00002-of-00002.gguf" in check(first)[0].text


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_says_what_is_wrong_with_which_file(tmp_path: Path, capsys) -> None:
    base("llama").write(tmp_path)
    for name, key, kind, value in (
        ("odd", "llama.context_length", U32, 0),
        ("broken", "llama.context_length", F32, 0.0),
    ):
        draft = base("llama")
        draft.name = f"{name}.gguf"
        draft.set(key, kind, value)
        draft.write(tmp_path)
    assert main(["check", str(tmp_path / "model.gguf"), str(tmp_path / "odd.gguf")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0].strip() for line in said] == [
        str(tmp_path / "model.gguf"),
        str(tmp_path / "odd.gguf"),
        "warning",
    ]
    assert main(["check", str(tmp_path / "*.gguf")]) == 1
    said = capsys.readouterr().out
    assert f"{tmp_path / 'broken.gguf'}: refused\n  error: llama.context_length, byte " in said
    assert said.count("\n") == 5
    assert main(["check", str(tmp_path / "*.txt")]) == 1
    assert "there is no such file" in capsys.readouterr().out


def test_a_name_on_the_command_line_breaks_no_line(tmp_path: Path, capsys) -> None:
    draft = base("llama")
    draft.name = os.fsdecode(b"two\nlines \xff.gguf") if os.name != "nt" else "plain.gguf"
    draft.set("general.name", TEXT, b"\x1b[2J\n: ok")
    assert main(["check", str(draft.write(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_the_command_as_a_person_runs_it(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "inferno_widget", "check", "none.gguf"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (run.returncode, run.stderr) == (1, "")
    assert "none.gguf: refused\n  error: path: there is no such file" in run.stdout
    helped = subprocess.run(
        [sys.executable, "-m", "inferno_widget", "--help"], capture_output=True, text=True, check=True
    )
    assert "check" in helped.stdout
