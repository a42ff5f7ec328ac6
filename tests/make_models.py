"""Tiny random-weight GGUF models that llama.cpp loads, tokenises and decodes, made in milliseconds.

``tiny_llama(path)`` and ``tiny_qwen2(path)`` are the usual ones, ``tiny_chat(path)`` has a chat template,
``tiny_qwen3(path)`` normalises queries and keys, ``tiny_gemma2(path)`` and ``tiny_gemma3(path)`` look at the latest
tokens alone in some layers, ``tiny_gpt2(path)`` has a table of positions, ``tiny_hostile(path)`` says nothing but
markup; `write_model` makes any other from a `Shape`, a `Vocabulary` and a source of weights.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import gguf
import numpy as np
from numpy.typing import NDArray

NORMAL, UNKNOWN, CONTROL, BYTE = (
    int(kind) for kind in (gguf.TokenType.NORMAL, gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.BYTE)
)
WORDS = "once upon a time there was king queen who had three sons daughters and the dragon in forest said to".split()
CHARACTERS = [*string.ascii_letters, *string.digits, *string.punctuation, "é", "ü", "火", "🔥"]

FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}

GEMMAS = ("gemma2", "gemma3")

Tensor = tuple[NDArray[np.generic], gguf.GGMLQuantizationType]
Weights = Callable[[tuple[int, ...], float], Tensor]
"""(shape [outputs, inputs], standard deviation) -> encoded tensor."""
Change = Callable[[str, NDArray[np.float32]], NDArray[np.float32]]
"""(name of a tensor, its weights) -> others of the same shape."""


@dataclass(frozen=True)
class Shape:
    """Hyperparameters, as in the metadata of a GGUF file."""

    architecture: str = "llama"
    n_layer: int = 2
    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 96
    n_ctx: int = 1024
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True
    sliding_window: int = 0
    key_length: int = 0
    attention_cap: float = 0.0
    logit_cap: float = 0.0

    @property
    def head_size(self) -> int:
        return self.key_length or self.n_embd // self.n_head


TINY = Shape()


@dataclass(frozen=True)
class Vocabulary:
    """What goes under ``tokenizer.ggml``; `scores` is for "llama", `merges` and `pre` for "gpt2"."""

    model: str
    tokens: list[str]
    types: list[int]
    bos: int
    eos: int
    scores: list[float] | None = None
    merges: list[str] | None = None
    pre: str | None = None
    template: str | None = None


def tiny_llama(
    path: Path, *, n_vocab: int = 512, dtype: str = "F32", seed: int = 0, shape: Shape = TINY, name: str = "tiny llama"
) -> Path:
    """A Llama with a SentencePiece vocabulary; `dtype` is "F32", "F16" or "Q8_0"."""
    return write_model(path, shape, spm_vocabulary(n_vocab), random_weights(dtype, seed), dtype=dtype, name=name)


def tiny_qwen2(path: Path, *, n_vocab: int = 512, dtype: str = "F32", seed: int = 0, name: str = "tiny qwen2") -> Path:
    """A Qwen2 (biases on Q, K and V) with a byte-level BPE vocabulary."""
    shape = Shape(architecture="qwen2")
    return write_model(path, shape, bpe_vocabulary(n_vocab), random_weights(dtype, seed), dtype=dtype, name=name)


def tiny_qwen3(path: Path, *, n_vocab: int = 512, dtype: str = "F32", seed: int = 0, name: str = "tiny qwen3") -> Path:
    """A Qwen3: queries and keys are normalised, and together the heads are wider than the residual stream."""
    shape = Shape(architecture="qwen3", key_length=24)
    return write_model(path, shape, bpe_vocabulary(n_vocab), random_weights(dtype, seed), dtype=dtype, name=name)


GEMMA2 = Shape(architecture="gemma2", n_layer=4, sliding_window=64)


def tiny_gemma2(path: Path, *, dtype: str = "F32", seed: int = 0, shape: Shape = GEMMA2) -> Path:
    """A Gemma 2: every other layer sees a window of 64 tokens; logits and attention are capped softly."""
    return write_model(path, shape, spm_vocabulary(512), random_weights(dtype, seed), dtype=dtype, name="tiny gemma2")


GEMMA3 = Shape(architecture="gemma3", n_layer=6, sliding_window=64)


def tiny_gemma3(path: Path, *, dtype: str = "F32", seed: int = 0, shape: Shape = GEMMA3) -> Path:
    """A Gemma 3: five layers of six see a window of 64 tokens; queries and keys are normalised."""
    return write_model(path, shape, spm_vocabulary(512), random_weights(dtype, seed), dtype=dtype, name="tiny gemma3")


def tiny_gpt2(path: Path, *, dtype: str = "F32", seed: int = 0, n_ctx: int = 1024) -> Path:
    """A GPT-2: a learned vector for each of `n_ctx` positions, and no rotation."""
    shape = Shape(architecture="gpt2", n_head_kv=4, n_ctx=n_ctx)
    return write_model(path, shape, bpe_vocabulary(512), random_weights(dtype, seed), dtype=dtype, name="tiny gpt2")


def broken_llama(path: Path, token: int, value: float, *, tensor: str = "token_embd.weight") -> Path:
    """A Llama in which one number of a token is none: NaN or infinite.

    In its embedding: a good model until it reads the token. In "output.weight": every prediction is broken.
    """
    shape = replace(TINY, tied=False)
    named = dict(tensors(shape, 512, random_weights("F32", 0)))
    named[tensor][0][token, 0] = value
    return write_tensors(path, shape, spm_vocabulary(512), named.items(), dtype="F32", name="broken llama")


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_chat(path: Path, *, template: str = CHATML, n_vocab: int = 512, name: str = "tiny chat") -> Path:
    """A Llama with a chat template; its last two tokens are ``<|im_start|>`` and ``<|im_end|>``, the end of a text."""
    plain = spm_vocabulary(n_vocab - 2)
    vocabulary = replace(
        plain,
        tokens=[*plain.tokens, "<|im_start|>", "<|im_end|>"],
        types=[*plain.types, CONTROL, CONTROL],
        scores=[*plain.scores, 0.0, 0.0],
        eos=n_vocab - 1,
        template=template,
    )
    return write_model(path, TINY, vocabulary, random_weights("F32", 0), dtype="F32", name=name)


MARKUP = (
    '<img src=x onerror="window.__pwned=1">',
    "</script><script>window.__pwned=2</script>",
    "<svg onload=window.__pwned=3>",
    '<a href="javascript:window.__pwned=4">here</a>',
    "</title></style></textarea></pre><iframe srcdoc='<script>parent.__pwned=5</script>'>",
    "<!--",
    "--><marquee>",
    "]]><![CDATA[",
    '" autofocus onfocus="window.__pwned=6',
    "' onmouseover='window.__pwned=7",
    "&lt;marquee&gt;&#60;marquee&#62;",
    "\\u003cimg\\u003e",
    "${window.__pwned=8}`",
    "{{constructor.constructor('window.__pwned=9')()}}",
    "%{customdata}<extra></extra>",
    "|```|\n# [x](javascript:window.__pwned=10)",
    "\u2028\u2029",
    "\u202egnp.exe\u202c\u2066",
    "\x1b[31m\x07\x00\x7f",
)
"""Pieces of text that mean harm to one reader or another."""


def tiny_hostile(path: Path) -> Path:
    """A Llama that says nothing but `MARKUP`, and whose metadata is no better."""
    plain = spm_vocabulary(512)
    tokens = [*plain.tokens[: 512 - len(MARKUP)], *(text.replace(" ", "▁") for text in MARKUP)]
    vocabulary = replace(plain, tokens=tokens, template=f"{MARKUP[0]}{CHATML}")
    shape = replace(TINY, tied=False)
    weights = tensors(shape, 512, random_weights("F32", 0))
    loud = ((name, _louder(tensor) if name == "output.weight" else tensor) for name, tensor in weights)
    facts = {f"general.{key}": MARKUP[0] for key in ("author", "description", "license", "url", "basename")}
    return write_tensors(path, shape, vocabulary, loud, dtype="F32", name=MARKUP[0], facts=facts)


def _louder(tensor: Tensor) -> Tensor:
    """The output's weights with longer rows for the last tokens, so that one of them always fits best."""
    data, kind = tensor
    rows = np.asarray(data, np.float32).copy()
    rows[-len(MARKUP) :] *= 4
    return rows, kind


def write_model(path: Path, shape: Shape, vocabulary: Vocabulary, weights: Weights, *, dtype: str, name: str) -> Path:
    """Write a GGUF file and return its path."""
    named = tensors(shape, len(vocabulary.tokens), weights)
    return write_tensors(path, shape, vocabulary, named, dtype=dtype, name=name)


def write_tensors(
    path: Path,
    shape: Shape,
    vocabulary: Vocabulary,
    named: Iterable[tuple[str, Tensor]],
    *,
    dtype: str,
    name: str,
    facts: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """The same, of given tensors; `facts` are more of the metadata."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_name(name)
    for key, value in facts.items():
        writer.add_string(key, value)
    writer.add_file_type(FILE_TYPES[dtype])
    add_hyperparameters(writer, shape, len(vocabulary.tokens))
    add_vocabulary(writer, vocabulary)
    for tensor, (data, kind) in named:
        writer.add_tensor(tensor, data, raw_dtype=kind)
    return finished(writer, path)


def unchanged(_: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return weights


def f32_copy(
    source: Path, path: Path, *, n_layer: int | None = None, change: Change = unchanged, part_tensors: int = 0
) -> Path:
    """The same model with its weights dequantised, for comparisons without llama.cpp's rounding of activations.

    With `n_layer` it ends after so many blocks; `change` makes the weights of a tensor, by name, into others. With
    `part_tensors` it is split into files of so many tensors; see `split_llama`.
    """
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    blocks = f"{architecture}.block_count"
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=part_tensors)
    for name, entry in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type", blocks):
            kind, *elements = entry.types
            writer.add_key_value(name, entry.contents(), kind, elements[-1] if elements else None)
    n_layer = n_layer or reader.fields[blocks].contents()
    writer.add_block_count(n_layer)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        if not tensor.name.startswith("blk.") or int(tensor.name.split(".")[1]) < n_layer:
            writer.add_tensor(tensor.name, change(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type)))
    return finished(writer, path)


def split_llama(folder: Path, *, change: Change = unchanged) -> list[Path]:
    """The files of a tiny Llama in parts, as llama.cpp's gguf-split leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = tiny_llama(folder / "whole.gguf")
    f32_copy(whole, folder / "tales.gguf", change=change, part_tensors=8)
    whole.unlink()
    return sorted(folder.glob("tales-*.gguf"))


def finished(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_hyperparameters(writer: gguf.GGUFWriter, shape: Shape, n_vocab: int) -> None:
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_vocab_size(n_vocab)
    if shape.architecture == "gpt2":
        writer.add_layer_norm_eps(shape.norm_eps)
        return
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_base)
    if shape.sliding_window:
        writer.add_sliding_window(shape.sliding_window)
    if shape.key_length or shape.architecture in GEMMAS:
        writer.add_key_length(shape.head_size)
        writer.add_value_length(shape.head_size)
    if shape.attention_cap:
        writer.add_attn_logit_softcapping(shape.attention_cap)
    if shape.logit_cap:
        writer.add_final_logit_softcapping(shape.logit_cap)


def add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    if vocabulary.template is not None:
        writer.add_chat_template(vocabulary.template)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
        writer.add_add_space_prefix(False)
    if vocabulary.merges is not None:
        writer.add_tokenizer_pre(vocabulary.pre or "default")
        writer.add_token_merges(vocabulary.merges)
        writer.add_add_bos_token(False)


def tensors(shape: Shape, n_vocab: int, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """Names and weights; a matrix keeps the size of what it is given."""
    if shape.architecture == "gpt2":
        yield from gpt2_tensors(shape, n_vocab, weights)
        return
    q, kv = shape.n_head * shape.head_size, shape.n_head_kv * shape.head_size
    matrix, vector = drawers(weights)

    yield "token_embd.weight", weights((n_vocab, shape.n_embd), 2.5 * shape.n_embd**-0.5)  # logits spread by about 2.5
    for layer in range(shape.n_layer):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", vector(shape.n_embd, 1)
        yield block + "attn_q.weight", matrix(q, shape.n_embd)
        yield block + "attn_k.weight", matrix(kv, shape.n_embd)
        yield block + "attn_v.weight", matrix(kv, shape.n_embd)
        if shape.architecture == "qwen2":
            yield block + "attn_q.bias", vector(q, 0)
            yield block + "attn_k.bias", vector(kv, 0)
            yield block + "attn_v.bias", vector(kv, 0)
        if shape.architecture in ("qwen3", "gemma3"):
            yield block + "attn_q_norm.weight", vector(shape.head_size, 0.5)
            yield block + "attn_k_norm.weight", vector(shape.head_size, 0.5)
        yield block + "attn_output.weight", matrix(shape.n_embd, q)
        if shape.architecture in GEMMAS:
            yield block + "post_attention_norm.weight", vector(shape.n_embd, 2)  # else the embedding, which
            yield block + "post_ffw_norm.weight", vector(shape.n_embd, 2)  # they scale up, predicts itself
        yield block + "ffn_norm.weight", vector(shape.n_embd, 1)
        yield block + "ffn_gate.weight", matrix(shape.n_ff, shape.n_embd)
        yield block + "ffn_up.weight", matrix(shape.n_ff, shape.n_embd)
        yield block + "ffn_down.weight", matrix(shape.n_embd, shape.n_ff)
    yield "output_norm.weight", vector(shape.n_embd, 1)
    if not shape.tied:
        yield "output.weight", weights((n_vocab, shape.n_embd), 2.5 * shape.n_embd**-0.5)


def gpt2_tensors(shape: Shape, n_vocab: int, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """Names and weights of a GPT-2: biases everywhere, and positions that are learned."""
    matrix, vector = drawers(weights)

    def layer(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, Tensor]]:
        yield name + ".weight", matrix(outputs, inputs)
        yield name + ".bias", vector(outputs, 0)

    def norm(name: str) -> Iterator[tuple[str, Tensor]]:
        yield name + ".weight", vector(shape.n_embd, 1)
        yield name + ".bias", vector(shape.n_embd, 0)

    yield "token_embd.weight", weights((n_vocab, shape.n_embd), 2.5 * shape.n_embd**-0.5)
    yield "position_embd.weight", weights((shape.n_ctx, shape.n_embd), shape.n_embd**-0.5)
    for number in range(shape.n_layer):
        block = f"blk.{number}."
        yield from norm(block + "attn_norm")
        yield from layer(block + "attn_qkv", 3 * shape.n_embd, shape.n_embd)
        yield from layer(block + "attn_output", shape.n_embd, shape.n_embd)
        yield from norm(block + "ffn_norm")
        yield from layer(block + "ffn_up", shape.n_ff, shape.n_embd)
        yield from layer(block + "ffn_down", shape.n_embd, shape.n_ff)
    yield from norm("output_norm")


def drawers(weights: Weights) -> tuple[Callable[[int, int], Tensor], Callable[[int, float], Tensor]]:
    """What draws a matrix [outputs, inputs], and a vector around a mean."""

    def matrix(outputs: int, inputs: int) -> Tensor:
        return weights((outputs, inputs), inputs**-0.5)

    def vector(size: int, mean: float) -> Tensor:
        data, kind = weights((size,), 0.1)
        return data + np.float32(mean), kind

    return matrix, vector


def random_weights(dtype: str, seed: int) -> Weights:
    """Normal weights; vectors stay F32, as llama.cpp wants norms and biases."""
    generator = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...], deviation: float) -> Tensor:
        kind = gguf.GGMLQuantizationType.F32 if len(shape) == 1 else gguf.GGMLQuantizationType[dtype]
        return gguf.quantize(generator.standard_normal(shape, np.float32) * np.float32(deviation), kind), kind

    return draw


def spm_vocabulary(size: int) -> Vocabulary:
    """Unknown, BOS, EOS, 256 bytes, then characters, the beginnings of some words, and pairs of letters as filling."""
    special = ["<unk>", "<s>", "</s>"]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    normal = take(size - 259, itertools.chain(["▁", *CHARACTERS], beginnings("▁"), letters(2)))
    return Vocabulary(
        model="llama",
        tokens=[*special, *bytes_, *normal],
        types=[UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(normal)],
        scores=[0.0] * 259 + [float(-rank) for rank in range(len(normal))],
        bos=1,
        eos=2,
    )


def bpe_vocabulary(size: int) -> Vocabulary:
    """256 bytes, the beginnings of some words, runs of letters as filling, and ``<|endoftext|>`` as the last token."""
    alphabet = byte_alphabet()
    merged = take(size - 257, itertools.chain(beginnings("Ġ"), letters(2), letters(3), letters(4)))
    return Vocabulary(
        model="gpt2",
        pre="qwen2",
        tokens=[*alphabet, *merged, "<|endoftext|>"],
        types=[NORMAL] * (size - 1) + [CONTROL],
        merges=[f"{piece[:-1]} {piece[-1]}" for piece in merged],
        bos=size - 1,
        eos=size - 1,
    )


def byte_alphabet() -> list[str]:
    """The character that stands for each byte in a byte-level BPE vocabulary (GPT-2's table)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = itertools.count(256)
    return [chr(byte if byte in plain else next(spare)) for byte in range(256)]


def beginnings(space: str) -> Iterator[str]:
    """Growing prefixes of the words, with and without a space before, so that merging reaches each word."""
    words = [word for plain in WORDS for word in (plain, space + plain)]
    return (word[:n] for n in range(2, max(map(len, words)) + 1) for word in words if len(word) >= n)


def letters(n: int) -> Iterator[str]:
    return map("".join, itertools.product(string.ascii_lowercase, repeat=n))


def take(n: int, pieces: Iterator[str]) -> list[str]:
    """The first n different pieces."""
    seen: dict[str, None] = {}
    for piece in pieces:
        if len(seen) == n:
            break
        seen.setdefault(piece)
    if len(seen) < n:
        raise ValueError(f"only {len(seen)} pieces, {n} wanted")
    return list(seen)
