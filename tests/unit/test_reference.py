"""The reference against llama.cpp, through the low-level calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

import inferno_widget
from tests.make_models import Shape, f32_copy, tiny_llama
from tests.reference import Reference, softmax

F32_CACHE, F16_CACHE = llama_cpp.GGML_TYPE_F32, llama_cpp.GGML_TYPE_F16
DEMO = Path(inferno_widget.__file__).parent / "models" / "demo.gguf"
UNTIED = Shape(tied=False, n_layer=3, n_head=6, n_head_kv=3, n_embd=96, rope_base=500_000.0, norm_eps=1e-6)


def native_logits(path: Path, ids: Sequence[int], cache: int) -> np.ndarray:
    """float32 [position, n_vocab] of one prefill, flash attention off."""
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.type_k, params.type_v = 512, cache, cache
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, True
    try:
        assert llama_cpp.llama_decode(context, batch) == 0
        n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(ids), n_vocab)).copy()
    finally:
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)


def random_ids(n: int) -> list[int]:
    return [1, *np.random.default_rng(2).integers(259, 512, n - 1)]


@pytest.mark.parametrize(
    ("dtype", "shape", "cache", "tolerance"),
    [
        ("F32", Shape(), F32_CACHE, 1e-3),
        ("F32", UNTIED, F32_CACHE, 1e-3),
        ("F32", Shape(), F16_CACHE, 5e-2),
        ("F16", Shape(), F16_CACHE, 5e-2),
    ],
)
def test_logits_equal_those_of_llama_cpp(tmp_path, dtype, shape, cache, tolerance):
    path = tiny_llama(tmp_path / "model.gguf", dtype=dtype, shape=shape, seed=1)
    ids = random_ids(100)
    assert np.abs(Reference(path).logits(ids) - native_logits(path, ids, cache)).max() < tolerance


@pytest.mark.parametrize(("cache", "tolerance"), [(F32_CACHE, 1e-3), (F16_CACHE, 5e-2)])
def test_the_weights_of_the_demo_model_give_the_same_logits(tmp_path, cache, tolerance):
    ids = random_ids(300)
    native = native_logits(f32_copy(DEMO, tmp_path / "f32.gguf"), ids, cache)
    assert np.abs(Reference(DEMO).logits(ids) - native).max() < tolerance


def test_q8_0_differs_by_the_rounding_of_activations(tmp_path):
    """llama.cpp multiplies Q8_0 weights with activations that it rounds to 8 bits too."""
    for path in (DEMO, tiny_llama(tmp_path / "model.gguf", dtype="Q8_0", seed=1)):
        ids = random_ids(100)
        exact, native = Reference(path).logits(ids), native_logits(path, ids, F16_CACHE)
        p, q = softmax(exact), softmax(native.astype(np.float64))
        assert np.sqrt(((exact - native) ** 2).mean()) < 0.1
        assert (p * np.log(p / q)).sum(-1).mean() < 5e-3


def test_the_inside_fits_the_outside(tmp_path):
    reference = Reference(tiny_llama(tmp_path / "model.gguf"))
    run = reference.run(range(1, 21))
    assert run.attention.shape == (2, 4, 20, 20)
    assert run.residual.shape == (2, 20, 64)
    assert np.allclose(run.attention.sum(-1), 1)
    assert not np.triu(run.attention, 1).any()
    assert np.array_equal(reference.unembed(run.residual[-1]), run.logits)
