"""Path of a GGUF file -> `ModelInfo`, without native code.

The header is read into memory, never mapped: a mapped file that shrinks ends the process, and this runs in
the notebook's kernel. Nothing that the file says is trusted: every count and length is held against the
file's size before anything is made from it. What is merely unknown (keys, architectures, newer tensor
types) passes, since llama.cpp has the last word on those.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import stat
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import NamedTuple, TypeAlias

from .errors import ModelFileError

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | list[Scalar]

VERSIONS = (2, 3)
FIRST_READ = 1 << 24
"""Bytes; holds the header of nearly every model."""
MAX_HEADER = 1 << 27
MAX_COUNT = 1 << 20
"""Keys or tensors. With `MAX_HEADER` it bounds the time and memory that a hostile file can take."""
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32

FIRST_VALUES, LONG_VALUE = 8, 300
"""Elements of an array, and characters of a text, that a table of the metadata shows."""

BOOL, TEXT, ARRAY = 7, 8, 9
FLOATS = (6, 12)
SCALARS = {kind: struct.Struct("<" + code) for kind, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)}
UINT32, UINT64 = SCALARS[4], SCALARS[10]

TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""Name, weights a block, bytes a block."""

MIXTURES = {
    11: ("Q3_K_S", "Q3_K"),
    12: ("Q3_K_M", "Q3_K"),
    13: ("Q3_K_L", "Q3_K"),
    14: ("Q4_K_S", "Q4_K"),
    15: ("Q4_K_M", "Q4_K"),
    16: ("Q5_K_S", "Q5_K"),
    17: ("Q5_K_M", "Q5_K"),
    21: ("Q2_K_S", "Q2_K"),
    22: ("IQ3_XS", "IQ3_S"),
    27: ("IQ3_M", "IQ3_S"),
    28: ("IQ2_S", "IQ2_XS"),
    29: ("IQ2_M", "IQ2_S"),
}
"""``general.file_type`` of files that mix tensor types: their usual name and the type of most weights."""

BIG_ENDIAN = "a big-endian GGUF file, made for another kind of machine; get or convert a little-endian one"
BROKEN_OFF = "{:,} bytes are missing at the end: perhaps a download broke off; get the file again"
CONVERT = "; a GGUF conversion of the model is needed"
OTHER_FORMATS = {
    b"FUGG": BIG_ENDIAN,
    b"lmgg": "an old GGML file; the model has to be converted to GGUF again",
    b"fmgg": "an old GGML file; the model has to be converted to GGUF again",
    b"tjgg": "an old GGML file; the model has to be converted to GGUF again",
    b"algg": "an old GGML adapter, not a model",
    b"version https://git-lfs": "a Git LFS pointer, not the model itself; run `git lfs pull` or download the file",
    b"\x80\x02": "a PyTorch or pickle file" + CONVERT,
    b"\x89HDF": "an HDF5 file" + CONVERT,
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; unpack it first",
}


class Tensor(NamedTuple):
    """Where a tensor lies.

    Attributes
    ----------
    type : such as ``"F32"`` or ``"Q8_0"``; ``"type 99"`` for one that is not known here
    shape : numpy's order: [outputs, inputs] for a matrix
    offset : bytes from the start of its file
    part : which of `ModelInfo.files` holds it
    """

    type: str
    shape: tuple[int, ...]
    offset: int
    part: int


@dataclass(frozen=True, slots=True)
class Array:
    """The undecoded elements of an array; a vocabulary takes longer to decode than all else together."""

    kind: int
    count: int
    data: bytes = field(repr=False)

    def decode(self) -> list[Scalar]:
        if self.kind == TEXT:
            return list(self.texts())
        return [value for (value,) in SCALARS[self.kind].iter_unpack(self.data)]

    @property
    def type(self) -> str:
        """Of an element, in Python's words."""
        return {TEXT: "str", BOOL: "bool", **dict.fromkeys(FLOATS, "float")}.get(self.kind, "int")

    def first(self, n: int) -> list[Scalar]:
        """The first n elements, without decoding the others."""
        if self.kind == TEXT:
            return list(itertools.islice(self.texts(), n))
        return [value for (value,) in itertools.islice(SCALARS[self.kind].iter_unpack(self.data), n)]

    def texts(self) -> Iterator[str]:
        at = 0
        for _ in range(self.count):
            end = at + 8 + UINT64.unpack_from(self.data, at)[0]
            yield self.data[at + 8 : end].decode(errors="replace")
            at = end


class Metadata(Mapping[str, Value]):
    """All key-value pairs of a header; an array becomes a list when it is first asked for."""

    def __init__(self, values: dict[str, Scalar | Array]) -> None:
        self._values = values
        self._decoded: dict[str, list[Scalar]] = {}

    def __getitem__(self, key: str) -> Value:
        value = self._values[key]
        if not isinstance(value, Array):
            return value
        if key not in self._decoded:
            self._decoded[key] = value.decode()
        return self._decoded[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def count(self, key: str) -> int:
        """Length of the array under `key`, which stays undecoded; 0 if there is none."""
        value = self._values.get(key)
        return value.count if isinstance(value, Array) else 0

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Key, type and the value in short, such as ``"general.name", "str", "Fairy Tales"``; arrays stay undecoded."""
        for key, value in self._values.items():
            if isinstance(value, Array):
                shown = ", ".join(map(_cut, value.first(FIRST_VALUES)))
                more = ", ..." if value.count > FIRST_VALUES else ""
                yield key, f"{value.type}[{value.count}]", shown + more
            else:
                yield key, type(value).__name__, _cut(value)

    def __repr__(self) -> str:
        return "\n".join(f"{key} = {brief(value)}" for key, value in self._values.items())


def _cut(value: Scalar) -> str:
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONG_VALUE else f"{text[:LONG_VALUE]}... ({len(text):,} characters)"


def brief(value: Scalar | Array) -> str:
    """One short line, however long the value."""
    if isinstance(value, Array):
        return f"[{value.count:,} values]"
    if isinstance(value, str) and len(value) > 80:
        return repr(value[:80]) + "..."
    return repr(value)


@dataclass(frozen=True, repr=False, eq=False)
class ModelInfo:
    """What a GGUF file says about its model. A number is 0, and an id None, where the file says nothing.

    Attributes
    ----------
    path : the file to load: the first part of a split model
    files : all parts
    n_params : number of weights
    quantisation : such as ``"Q8_0"`` or ``"Q4_K_M"``: from the tensors, in the usual word for their mixture
    size_bytes : of all files
    n_head, n_head_kv, n_ff : the largest where layers differ
    tokenizer_model : ``"llama"`` (SentencePiece), ``"gpt2"`` (byte-level BPE), ...
    add_bos : whether a text begins with BOS; None where the file leaves it to llama.cpp
    metadata : every key of the first file
    tensors : by name
    """

    path: Path
    files: tuple[Path, ...]
    name: str
    architecture: str
    n_params: int
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

    def __repr__(self) -> str:
        parts = f" in {len(self.files)} files" if len(self.files) > 1 else ""
        return (
            f"ModelInfo({self.name}: {self.architecture}, {scaled(self.n_params)} parameters, {self.quantisation}, "
            f"{scaled(self.size_bytes)}B{parts}; context {self.n_ctx_train:,}, vocabulary {self.n_vocab:,}; "
            f"{self.n_layer} layers, {self.n_embd} wide, {self.n_head} heads ({self.n_head_kv} KV))"
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
    given = Path(os.fsdecode(path))
    with contextlib.suppress(RuntimeError):  # a ~ without a home stays as it is, and is then missing
        given = given.expanduser()
    header = read_header(given)
    headers = [header if part == given else read_header(part) for part in parts(header)]
    return describe(headers)


@dataclass
class Header:
    """One file's header as it stands there. `offsets`: where each key's value begins."""

    path: Path
    size: int
    values: dict[str, Scalar | Array] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def error(self, key: str, problem: str) -> ModelFileError:
        return ModelFileError(self.path, problem, field=key, offset=self.offsets.get(key))

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"should be a text, but is {brief(value)}")
        return value

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, f"should be true or false, but is {brief(value)}")
        return value

    def number(self, key: str) -> int | None:
        """The whole number under `key`, or the largest where there is one for each layer."""
        value = self.values.get(key)
        per_layer = isinstance(value, Array) and value.kind != TEXT and 0 < value.count < MAX_COUNT
        numbers = value.decode() if isinstance(value, Array) and per_layer else [value]
        if value is None:
            return None
        whole = [n for n in numbers if isinstance(n, int) and not isinstance(n, bool)]
        if len(whole) < len(numbers):
            raise self.error(key, f"should be a whole number, but is {brief(value)}")
        return max(whole)


def read_header(path: Path) -> Header:
    """Read one file, whether it is the whole model or a part."""
    with opened(path) as file:
        return Reader(path, file).header()


def opened(path: Path) -> io.FileIO:
    """Open a regular file, and nothing else: opening a FIFO would wait for ever."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        within = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
        raise ModelFileError(path, f"there is no such file{within}; check its name and folder", field="path") from error
    except PermissionError as error:
        raise ModelFileError(path, "may not be read (permission denied)", field="path") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no system call takes
        raise ModelFileError(path, f"cannot be opened: {error}", field="path") from error
    what = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
    raise ModelFileError(path, f"is {what}, not a file", field="path")


class Reader:
    """Takes the values of a header off its front, one after another; `at` is the next byte."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self.path = path
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.head = b""
        self.at = 0

    def header(self) -> Header:
        """Magic, version, counts, keys, tensors: the order of the file."""
        header = Header(self.path, self.size)
        self.magic()
        self.version()
        n_tensors = self.count("tensor_count", least_bytes=32)
        n_keys = self.count("metadata_kv_count", least_bytes=13)
        for index in range(n_keys):
            self.pair(header, f"key {index}")
        table = [self.tensor(f"tensor {index}") for index in range(n_tensors)]
        self.place(table, header)
        return header

    def error(self, problem: str, field: str, offset: int | None = None) -> ModelFileError:
        return ModelFileError(self.path, problem, field=field, offset=self.at if offset is None else offset)

    def need(self, n: int, field: str) -> None:
        """Have the next n bytes in `head`."""
        end = self.at + n
        if end <= len(self.head):
            return
        if end > self.size:
            raise self.error(BROKEN_OFF.format(end - self.size), field)
        if end > MAX_HEADER:
            raise self.error(f"the header is longer than {MAX_HEADER:,} bytes", field)
        wanted = max(end, FIRST_READ, 2 * len(self.head))
        while len(self.head) < end:
            try:
                piece = self.file.read(wanted - len(self.head))
            except OSError as error:
                raise self.error(f"cannot be read: {error}", field) from error
            if not piece:
                raise self.error("the file became shorter while it was read", field)
            self.head += piece

    def scalar(self, form: struct.Struct, field: str) -> int | float:
        self.need(form.size, field)
        value: int | float = form.unpack_from(self.head, self.at)[0]
        self.at += form.size
        return value

    def whole(self, form: struct.Struct, field: str) -> int:
        return int(self.scalar(form, field))

    def count(self, field: str, least_bytes: int, most: int = MAX_COUNT) -> int:
        """A number of things of which each takes `least_bytes` or more."""
        start = self.at
        n = self.whole(UINT64, field)
        if n * least_bytes > self.size - self.at:
            raise self.error(
                f"{n:,} is more than the rest of the file can hold; it is damaged or cut off", field, start
            )
        if n > most:
            raise self.error(f"{n:,} is more than the {most:,} that are read", field, start)
        return n

    def text(self, field: str) -> str:
        length = self.count(field, least_bytes=1, most=MAX_HEADER)
        self.need(length, field)
        data = self.head[self.at : self.at + length]
        self.at += length
        return data.decode(errors="replace")

    def magic(self) -> None:
        if self.size == 0:
            raise self.error("the file is empty", "magic")
        self.need(4, "magic")
        if not self.head.startswith(b"GGUF"):
            raise self.error(f"is not a GGUF file: it looks like {look(self.head)}", "magic")
        self.at = 4

    def version(self) -> None:
        start = self.at
        version = self.whole(UINT32, "version")
        if version in VERSIONS:
            return
        if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, *VERSIONS):
            raise self.error(f"is {BIG_ENDIAN}", "version", start)
        advice = "too old; the model has to be converted again" if version < min(VERSIONS) else "not known here"
        raise self.error(f"GGUF version {version} is {advice}", "version", start)

    def pair(self, header: Header, field: str) -> None:
        start = self.at
        key = self.text(field)
        if key in header.values:
            raise self.error("this key is there twice", key, start)
        kind = self.whole(UINT32, key)
        header.offsets[key] = self.at
        header.values[key] = self.value(kind, key)

    def value(self, kind: int, field: str) -> Scalar | Array:
        if kind == TEXT:
            return self.text(field)
        if kind == ARRAY:
            return self.array(field)
        return self.scalar(self.form(kind, field), field)

    def form(self, kind: int, field: str) -> struct.Struct:
        if kind not in SCALARS:
            raise self.error(f"its value is of the unknown type {kind}", field, self.at - 4)
        return SCALARS[kind]

    def array(self, field: str) -> Array:
        kind = self.whole(UINT32, field)
        if kind == ARRAY:
            raise self.error("an array of arrays, which llama.cpp does not read", field, self.at - 4)
        size = 8 if kind == TEXT else self.form(kind, field).size
        count = self.count(field, least_bytes=size, most=MAX_HEADER)
        start = self.at
        if kind == TEXT:
            self.skip_texts(count, field)
        else:
            self.need(count * size, field)
            self.at += count * size
        return Array(kind, count, self.head[start : self.at])

    def skip_texts(self, count: int, field: str) -> None:
        """The one loop that a large vocabulary makes long."""
        at, end, length_at = self.at, len(self.head) - 8, UINT64.unpack_from
        for _ in range(count):
            if at > end:
                self.at = at
                self.need(8, field)
                end = len(self.head) - 8
            at += 8 + length_at(self.head, at)[0]
        self.at = at
        self.need(0, field)

    def tensor(self, field: str) -> TableRow:
        start = self.at
        name = self.text(field)
        n_dimensions = self.whole(UINT32, name)
        if n_dimensions > MAX_DIMENSIONS:
            raise self.error(f"{n_dimensions} dimensions are more than {MAX_DIMENSIONS}", name, self.at - 4)
        shape = tuple(self.whole(UINT64, name) for _ in range(n_dimensions))[::-1]
        kind = self.whole(UINT32, name)
        return TableRow(name, kind, shape, self.whole(UINT64, name), start)

    def place(self, table: list[TableRow], header: Header) -> None:
        """Put the tensors into `header`, with offsets from the start of the file; each must lie within it."""
        alignment = header.number("general.alignment") or DEFAULT_ALIGNMENT
        if alignment.bit_count() != 1:
            raise header.error("general.alignment", f"must be a power of two, but is {alignment}")
        data = -(-self.at // alignment) * alignment
        missing, first = 0, None
        for row in table:
            if row.name in header.tensors:
                raise self.error("this tensor is there twice", row.name, row.at)
            name, weights, size = TENSOR_TYPES.get(row.kind, (f"type {row.kind}", 1, 0))
            offset = data + row.offset
            beyond = offset + prod(row.shape) // weights * size - self.size
            missing = max(missing, beyond)
            if beyond > 0:
                first = min(first or (offset, row.name), (offset, row.name))
            header.tensors[row.name] = Tensor(name, row.shape, offset, 0)
        if first:
            raise self.error(BROKEN_OFF.format(missing), first[1], first[0])


class TableRow(NamedTuple):
    """A tensor as the header has it; `offset` from the start of the data, `at` where the row begins."""

    name: str
    kind: int
    shape: tuple[int, ...]
    offset: int
    at: int


def look(head: bytes) -> str:
    """What a file that is not GGUF looks like, and what to do."""
    for magic, what in OTHER_FORMATS.items():
        if head.startswith(magic):
            return what
    if head.startswith(b"PK\x03\x04"):
        return ("a PyTorch file" if b"data.pkl" in head[:4096] else "a ZIP archive") + CONVERT
    if head[8:10] == b'{"':
        return "a safetensors file" + CONVERT
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page; perhaps the download needs a login or another address"
    if re.match(rb"\s*[{\[]", head):
        return "a JSON text; perhaps an answer of the server in place of the file"
    return f"something else that begins with {head[:4]!r}"


def parts(header: Header) -> list[Path]:
    """All files of the model to which `header` belongs, in order."""
    count = header.number("split.count") or 1
    if count <= 1:
        return [header.path]
    named = re.fullmatch(r"(.*)-\d{5}-of-\d{5}\.gguf", header.path.name, re.DOTALL)
    if not named or count > 99_999:
        usual = f"model-00001-of-{count:05}.gguf"
        raise header.error("split.count", f"is one of {count:,} parts, but is not named like {usual}")
    paths = [header.path.with_name(f"{named[1]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
        raise header.error("split.count", f"is one of {count:,} parts; missing beside it: {names}")
    return paths


def describe(headers: list[Header]) -> ModelInfo:
    """What all parts together say; the first one holds the metadata."""
    first = headers[0]
    architecture = first.text("general.architecture")
    if not architecture:
        raise first.error("general.architecture", "names no architecture, so it holds no language model")
    tensors = joined(headers)
    tokens = "tokenizer.ggml.tokens"
    metadata = Metadata(first.values)

    def of_model(key: str) -> int:
        return first.number(f"{architecture}.{key}") or 0

    n_head = of_model("attention.head_count")
    n_head_kv = first.number(f"{architecture}.attention.head_count_kv")
    return ModelInfo(
        path=first.path,
        files=tuple(header.path for header in headers),
        name=first.text("general.name") or first.path.stem,
        architecture=architecture,
        n_params=sum(prod(tensor.shape) for tensor in tensors.values()),
        quantisation=quantisation(tensors, first.number("general.file_type")),
        size_bytes=sum(header.size for header in headers),
        n_ctx_train=of_model("context_length"),
        n_vocab=metadata.count(tokens) or of_model("vocab_size") or rows(tensors.get("token_embd.weight")),
        n_layer=of_model("block_count"),
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
    )


def joined(headers: list[Header]) -> dict[str, Tensor]:
    """The tensors of all parts."""
    tensors: dict[str, Tensor] = {}
    for part, header in enumerate(headers):
        for name, tensor in header.tensors.items():
            if name in tensors:
                raise header.error(name, f"this tensor is already in {headers[tensors[name].part].path.name}")
            tensors[name] = tensor._replace(part=part)
    return tensors


def rows(tensor: Tensor | None) -> int:
    """Number of rows; 0 for no tensor."""
    return tensor.shape[0] if tensor and tensor.shape else 0


def quantisation(tensors: dict[str, Tensor], file_type: int | None) -> str:
    """The type of most weights, or the usual name of the mixture where the file's own word agrees with it."""
    weights: Counter[str] = Counter()
    for tensor in tensors.values():
        weights[tensor.type] += prod(tensor.shape)
    most = weights.most_common(1)[0][0] if weights else ""
    mixture, main_type = MIXTURES.get(file_type or 0, ("", ""))
    return mixture if mixture and main_type == most else most
