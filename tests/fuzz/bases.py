"""The good files that broken ones are made of: one an architecture, as small as llama.cpp takes them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests import make_models as models
from tests.fuzz.draft import BOOL, F32, TEXT, U32, Draft, Tensor, read

SHAPE = models.Shape(n_layer=2, n_embd=32, n_head=2, n_head_kv=1, n_ff=32, n_ctx=128)
N_VOCAB = 320


def _made(shape: models.Shape, vocabulary: models.Vocabulary) -> Draft:
    with tempfile.TemporaryDirectory() as folder:
        weights = models.random_weights("F32", 0)
        path = models.write_model(Path(folder) / "a.gguf", shape, vocabulary, weights, dtype="F32", name="fuzz")
        return read(path.read_bytes())


def _shape(architecture: str, **settings: object) -> models.Shape:
    return replace(SHAPE, architecture=architecture, **settings)  # type: ignore[arg-type]


def _spm() -> models.Vocabulary:
    return models.spm_vocabulary(N_VOCAB)


def _bpe() -> models.Vocabulary:
    return models.bpe_vocabulary(N_VOCAB)


def _matrix(*shape: int, seed: int = 1) -> bytes:
    weights = np.random.default_rng(seed).standard_normal(shape, np.float32) * shape[0] ** -0.5
    return weights.astype("<f4").tobytes()


def _add(draft: Draft, name: str, *shape: int, ones: bool = False) -> None:
    data = np.ones(shape, "<f4").tobytes() if ones else _matrix(*shape)
    draft.tensors.append(Tensor(name.encode(), list(shape), 0, data))


def renamed(draft: Draft, architecture: str) -> None:
    """The same file of another architecture, hyperparameters and all."""
    old = draft.architecture.encode()
    for pair in draft.pairs:
        if pair.key.startswith(old + b"."):
            pair.key = architecture.encode() + pair.key[len(old) :]
    draft.set("general.architecture", TEXT, architecture.encode())


def _chat() -> Draft:
    draft = _made(SHAPE, _spm())
    draft.set("tokenizer.chat_template", TEXT, models.CHATML.encode())
    return draft


def _moe() -> Draft:
    """A Llama whose feed-forward stage is four experts, two for a token."""
    draft = _made(SHAPE, _spm())
    draft.set("llama.expert_count", U32, 4)
    draft.set("llama.expert_used_count", U32, 2)
    draft.tensors = [
        tensor
        for tensor in draft.tensors
        if not tensor.name.split(b".")[-2].startswith(b"ffn_") or b"ffn_norm" in tensor.name
    ]
    width = SHAPE.n_embd
    for layer in range(SHAPE.n_layer):
        _add(draft, f"blk.{layer}.ffn_gate_inp.weight", width, 4)
        _add(draft, f"blk.{layer}.ffn_gate_exps.weight", width, SHAPE.n_ff, 4)
        _add(draft, f"blk.{layer}.ffn_down_exps.weight", SHAPE.n_ff, width, 4)
        _add(draft, f"blk.{layer}.ffn_up_exps.weight", width, SHAPE.n_ff, 4)
    return draft


def _mamba() -> Draft:
    """A state in place of attention."""
    draft = _made(SHAPE, _bpe())
    renamed(draft, "mamba")
    for key, value in (("conv_kernel", 4), ("inner_size", 64), ("state_size", 16), ("time_step_rank", 8)):
        draft.set(f"mamba.ssm.{key}", U32, value)
    draft.tensors = [tensor for tensor in draft.tensors if not tensor.name.startswith(b"blk.")]
    for layer in range(SHAPE.n_layer):
        block = f"blk.{layer}."
        _add(draft, block + "attn_norm.weight", 32, ones=True)
        _add(draft, block + "ssm_in.weight", 32, 128)
        _add(draft, block + "ssm_conv1d.weight", 4, 64)
        _add(draft, block + "ssm_conv1d.bias", 64)
        _add(draft, block + "ssm_x.weight", 64, 40)
        _add(draft, block + "ssm_dt.weight", 8, 64)
        _add(draft, block + "ssm_dt.bias", 64)
        _add(draft, block + "ssm_a", 16, 64)
        _add(draft, block + "ssm_d", 64)
        _add(draft, block + "ssm_out.weight", 64, 32)
    return draft


def _bert() -> Draft:
    """A model of embeddings: it reads, and never writes."""
    draft = _made(SHAPE, _bpe())
    renamed(draft, "bert")
    draft.set("tokenizer.ggml.model", TEXT, b"bert")
    draft.set("bert.attention.layer_norm_epsilon", F32, 1e-5)
    draft.set("bert.attention.causal", BOOL, 0)
    draft.set("bert.attention.head_count_kv", U32, 2)
    draft.set("bert.pooling_type", U32, 1)
    draft.set("tokenizer.ggml.token_type_count", U32, 2)
    draft.tensors = [draft.tensors[0]]
    _add(draft, "token_types.weight", 32, 2)
    _add(draft, "position_embd.weight", 32, SHAPE.n_ctx)
    _add(draft, "token_embd_norm.weight", 32, ones=True)
    _add(draft, "token_embd_norm.bias", 32)
    for layer in range(SHAPE.n_layer):
        block = f"blk.{layer}."
        for name, *shape in (
            ("attn_q", 32, 32),
            ("attn_k", 32, 32),
            ("attn_v", 32, 32),
            ("attn_output", 32, 32),
            ("ffn_up", 32, 32),
            ("ffn_down", 32, 32),
        ):
            _add(draft, f"{block}{name}.weight", *shape)
            _add(draft, f"{block}{name}.bias", shape[-1])
        for name in ("attn_output_norm", "layer_output_norm"):
            _add(draft, f"{block}{name}.weight", 32, ones=True)
            _add(draft, f"{block}{name}.bias", 32)
    return draft


def _t5() -> Draft:
    """An encoder and a decoder, with a unigram vocabulary."""
    draft = _made(SHAPE, _spm())
    renamed(draft, "t5")
    draft.set("tokenizer.ggml.model", TEXT, b"t5")
    draft.set("t5.attention.head_count_kv", U32, 2)
    draft.set("t5.attention.relative_buckets_count", U32, 8)
    draft.set("t5.decoder_start_token_id", U32, 0)
    draft.tensors = [draft.tensors[0]]
    for side in ("enc", "dec"):
        _add(draft, f"{side}.output_norm.weight", 32, ones=True)
        for layer in range(SHAPE.n_layer):
            block = f"{side}.blk.{layer}."
            attentions = ("attn", "cross_attn") if side == "dec" else ("attn",)
            _add(draft, block + "attn_rel_b.weight", 2, 8)
            for kind in attentions:
                _add(draft, f"{block}{kind}_norm.weight", 32, ones=True)
                for part in "qkvo":
                    _add(draft, f"{block}{kind}_{part}.weight", 32, 32)
            _add(draft, block + "ffn_norm.weight", 32, ones=True)
            _add(draft, block + "ffn_up.weight", 32, 32)
            _add(draft, block + "ffn_down.weight", 32, 32)
    return draft


def _q8() -> Draft:
    with tempfile.TemporaryDirectory() as folder:
        path = models.tiny_llama(Path(folder) / "a.gguf", n_vocab=N_VOCAB, dtype="Q8_0", shape=SHAPE)
        return read(path.read_bytes())


BASES: dict[str, Callable[[], Draft]] = {
    "llama": lambda: _made(SHAPE, _spm()),
    "llama-q8": _q8,
    "llama-chat": _chat,
    "llama-moe": _moe,
    "qwen2": lambda: _made(_shape("qwen2"), _bpe()),
    "qwen3": lambda: _made(_shape("qwen3", key_length=24), _bpe()),
    "gemma2": lambda: _made(_shape("gemma2", sliding_window=32), _spm()),
    "gemma3": lambda: _made(_shape("gemma3", sliding_window=32), _spm()),
    "gpt2": lambda: _made(_shape("gpt2", n_head_kv=2), _bpe()),
    "mamba": _mamba,
    "bert": _bert,
    "t5": _t5,
}
"""Architecture -> a good file of it; `bert` and `t5` are good files that cannot continue a text."""


@functools.cache
def _bytes(name: str) -> bytes:
    return BASES[name]().encoded()


def base(name: str) -> Draft:
    """A fresh copy of a good file, to be damaged."""
    return read(_bytes(name))
