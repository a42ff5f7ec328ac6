"""What a file says about its model, and all that is odd about that."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

from ..arguments import file_path
from ..errors import ModelFileError, brief, counted, printable, quoted
from .finding import Finding
from .header import Header
from .hyperparameters import odd_shape
from .reader import read_header
from .tensors import Tensor, quantisation, rows
from .values import Metadata
from .vocabulary import odd_vocabulary

MAX_VOCAB = 1 << 24
"""Tokens; the largest known vocabulary has 262,144."""
MOST_NAME = 200
"""Characters of a model's name that are kept, and that its architecture's may have."""


@dataclass(frozen=True, repr=False, eq=False)
class ModelInfo:
    """What a GGUF file says about its model. A number is 0, and an id None, where the file says nothing.

    Attributes
    ----------
    path : the file to load, from the root: the first part of a split model
    files : all parts
    parameters : number of weights
    quantisation : such as ``"Q8_0"`` or ``"Q4_K_M"``: from the tensors, in the usual word for their mixture
    size_bytes : of all files
    n_layer : that a token goes through; blocks that guess tokens further on (MTP) are none of them
    n_head, n_head_kv, n_ff : the largest where layers differ
    tokenizer_model : ``"llama"`` (SentencePiece), ``"gpt2"`` (byte-level BPE), ...
    add_bos : whether a text begins with BOS; None where the file leaves it to llama.cpp
    metadata : every key of the first file
    tensors : by name
    stamps : size in bytes and time of the last change, in nanoseconds since 1970, of each file when it was read
    """

    path: Path
    files: tuple[Path, ...]
    name: str
    architecture: str
    parameters: int
    quantisation: str
    size_bytes: int
    n_ctx_train: int
    n_vocab: int
    n_layer: int
    n_head: int
    n_head_kv: int
    n_embd: int
    n_ff: int
    tokenizer_model: str
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    unk_id: int | None
    add_bos: bool | None
    chat_template: str | None
    metadata: Metadata
    tensors: dict[str, Tensor]
    stamps: tuple[tuple[int, int], ...]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Warnings about what is odd, what is most likely to end llama.cpp's process first."""
        return (*odd_shape(self), *odd_vocabulary(self))

    def __repr__(self) -> str:
        parts = f" in {len(self.files)} files" if len(self.files) > 1 else ""
        odd = f"; {counted(len(self.findings), 'warning')}: see .findings" if self.findings else ""
        return printable(
            f"ModelInfo({self.name}: {self.architecture}, {scaled(self.parameters)} parameters, {self.quantisation}, "
            f"{scaled(self.size_bytes)}B{parts}; context {self.n_ctx_train:,}, vocabulary {self.n_vocab:,}; "
            f"{self.n_layer} layers, {self.n_embd} wide, {self.n_head} heads ({self.n_head_kv} KV){odd})"
        )


def scaled(n: int) -> str:
    """Three digits and a prefix: 528 M, 1.50 G."""
    for size, prefix in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:#.3g} {prefix}".replace(". ", " ")
    return f"{n} "


def read_info(path: str | os.PathLike[str]) -> ModelInfo:
    """Read the header of the GGUF file at `path`, and of its other parts if the model is split.

    Raises
    ------
    ModelFileError
        names the file, the field and the byte at which it is wrong
    """
    headers = _read(file_path("path", path))
    for fault in _faults(headers):
        raise fault
    return _describe(headers)


def check(path: str | os.PathLike[str]) -> list[Finding]:
    """All that is wrong or odd about the GGUF file at `path`, and about its other parts if the model is split.

    Each of severity "error" refuses the file; if there are none, those of severity "warning" are what `Model` shows and
    does not stop at. A fault often hides what comes behind it. Nothing is raised, and 150,000 tokens take 0.1 s.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path must be a path, not {brief(path)}")
    try:
        headers = _read(path)
        faults = _faults(headers)
        return [Finding.of(fault) for fault in faults] if faults else list(_describe(headers).findings)
    except ModelFileError as fault:  # between the parts, or in what all of them say together
        return [Finding.of(fault)]


def changed(info: ModelInfo) -> tuple[Path, str] | None:
    """The first of the model's files that is not as it was when it was read, and what happened to it."""
    for path, (size, time) in zip(info.files, info.stamps, strict=True):
        try:
            status = path.stat()
        except OSError as error:
            return path, f"cannot be found any more ({error.strerror})"
        if status.st_size != size:
            return path, f"has changed since it was loaded: it had {size:,} bytes, and has {status.st_size:,} now"
        if status.st_mtime_ns != time:
            return path, "has changed since it was loaded: it was written to"
    return None


def _read(path: str | os.PathLike[str]) -> list[Header]:
    """The headers of all parts; of the given one alone, if something is wrong there."""
    given = Path(os.fsdecode(path))
    with contextlib.suppress(RuntimeError):  # a ~ without a home stays as it is, and is then missing
        given = given.expanduser()
    header = read_header(given)
    return [header] if header.faults else [header if part == given else read_header(part) for part in _parts(header)]


def _faults(headers: list[Header]) -> list[ModelFileError]:
    return [fault for header in headers for fault in header.faults]


def _parts(header: Header) -> list[Path]:
    """All files of the model to which `header` belongs, in order."""
    count = header.number("split.count") or 1
    if count <= 1:
        return [header.path]
    named = re.fullmatch(r"(.*)-\d{5}-of-\d{5}\.gguf", header.path.name, re.DOTALL)
    if not named or count > 99_999:
        usual = f"model-00001-of-{count:05}.gguf"
        found, advice = f"is one of {count:,} parts, but is not named like {usual}", "give it its name again"
        raise header.fault("split.count", found, advice=advice)
    paths = [header.path.with_name(f"{named[1]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
        found = f"is one of {count:,} parts; missing beside it: {names}"
        raise header.fault("split.count", found, advice="put all parts into one folder")
    return paths


def _describe(headers: list[Header]) -> ModelInfo:
    """What all parts together say; the first one holds the metadata."""
    first = headers[0]
    architecture = first.text("general.architecture")
    if not architecture:
        found, advice = "names no architecture, so it holds no language model", "choose another file"
        raise first.fault("general.architecture", found, advice=advice)
    if len(architecture) > MOST_NAME:
        raise first.fault("general.architecture", f"a name of {len(architecture):,} characters", f"{MOST_NAME} at most")
    tensors = _joined(headers)
    tokens = "tokenizer.ggml.tokens"
    metadata = Metadata(first.values, first.offsets)

    def of_model(key: str) -> int:
        return first.number(f"{architecture}.{key}") or 0

    n_vocab = metadata.count(tokens) or rows(tensors.get("token_embd.weight")) or of_model("vocab_size")
    most = max(n_vocab, of_model("vocab_size"))
    if most > MAX_VOCAB:
        raise first.fault(tokens, f"a vocabulary of {most:,}", f"at most {MAX_VOCAB:,}")
    n_head = of_model("attention.head_count")
    n_head_kv = first.number(f"{architecture}.attention.head_count_kv")
    return ModelInfo(
        path=first.path.absolute(),  # they are looked at again later, and a notebook may go to another folder
        files=tuple(header.path.absolute() for header in headers),
        name=quoted(first.text("general.name") or first.path.stem, MOST_NAME),
        architecture=architecture,
        parameters=sum(prod(tensor.shape) for tensor in tensors.values()),
        quantisation=quantisation(tensors, first.number("general.file_type")),
        size_bytes=sum(header.size for header in headers),
        n_ctx_train=of_model("context_length"),
        n_vocab=n_vocab,
        n_layer=max(0, of_model("block_count") - of_model("nextn_predict_layers")),
        n_head=n_head,
        n_head_kv=n_head if n_head_kv is None else n_head_kv,
        n_embd=of_model("embedding_length"),
        n_ff=of_model("feed_forward_length"),
        tokenizer_model=first.text("tokenizer.ggml.model") or "",
        bos_id=first.number("tokenizer.ggml.bos_token_id"),
        eos_id=first.number("tokenizer.ggml.eos_token_id"),
        pad_id=first.number("tokenizer.ggml.padding_token_id"),
        unk_id=first.number("tokenizer.ggml.unknown_token_id"),
        add_bos=first.flag("tokenizer.ggml.add_bos_token"),
        chat_template=first.text("tokenizer.chat_template"),
        metadata=metadata,
        tensors=tensors,
        stamps=tuple((header.size, header.changed) for header in headers),
    )


def _joined(headers: list[Header]) -> dict[str, Tensor]:
    """The tensors of all parts."""
    tensors: dict[str, Tensor] = {}
    for part, header in enumerate(headers):
        for name, tensor in header.tensors.items():
            if name in tensors:
                other = headers[tensors[name].part].path.name
                raise header.fault(name, f"this tensor is already in {other}", "each tensor in one part")
            tensors[name] = tensor._replace(part=part)
    return tensors
