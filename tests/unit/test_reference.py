"""The reference against llama.cpp, through the low-level calls.

What llama.cpp does not tell is compared by surgery on the file: a model cut off after a block is the lens there, and a
head whose columns of the output projection are zero is ablated.
"""

from __future__ import annotations

import ctypes
from collections import UserDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

import inferno_widget
from inferno_widget.stats import describe
from tests import make_models
from tests.make_induction import tiny_induction
from tests.make_models import GEMMA2, GEMMA3, Shape, f32_copy, tiny_gemma2, tiny_gemma3, tiny_llama
from tests.reference import (
    Ablate,
    Patch,
    Reference,
    Scale,
    Steer,
    entropy,
    induction_scores,
    kl,
    log_softmax,
    previous_token_scores,
    rank,
    read_lens,
    softmax,
)

F32_CACHE, F16_CACHE = llama_cpp.GGML_TYPE_F32, llama_cpp.GGML_TYPE_F16
DEMO = Path(inferno_widget.__file__).parent / "models" / "demo.gguf"
UNTIED = Shape(tied=False, n_layer=3, n_head=6, n_head_kv=3, n_embd=96, rope_base=500_000.0, norm_eps=1e-6)
TWO_BASES = replace(GEMMA3, rope_base=1e6)
"""RoPE's base of the layer that sees the whole text; the others keep 10,000."""
CAPPED = replace(GEMMA2, attention_cap=2.0, logit_cap=4.0, key_length=24)

GELU = ("gemma2", "gemma3", "gpt2")
EXACT = 1e-4
"""The largest difference measured with silu: 1.2e-5."""

MAKERS: dict[str, Callable[[Path], Path]] = {
    "llama": tiny_llama,
    "untied": lambda path: tiny_llama(path, shape=UNTIED),
    "qwen2": make_models.tiny_qwen2,
    "qwen3": make_models.tiny_qwen3,
    "gemma2": tiny_gemma2,
    "capped": lambda path: tiny_gemma2(path, shape=CAPPED),
    "gemma3": lambda path: tiny_gemma3(path, shape=TWO_BASES),
    "gpt2": make_models.tiny_gpt2,
}


@pytest.fixture(scope="module", params=MAKERS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("reference") / f"{request.param}.gguf")


@pytest.fixture(scope="module")
def reference(path: Path) -> Reference:
    return Reference(path, tabled=True)


def native_logits(
    path: Path, ids: Sequence[int], cache: int = F32_CACHE, *, flash: bool = False, steered: np.ndarray | None = None
) -> np.ndarray:
    """float32 [position, n_vocab] of one prefill; `steered` [layer - 1, n_embd] is llama.cpp's control vector."""
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.type_k, params.type_v, params.flash_attn_type = 512, cache, cache, int(flash)
    context = llama_cpp.llama_init_from_model(model, params)
    if steered is not None:
        data = steered.astype(np.float32).ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        assert llama_cpp.llama_set_adapter_cvec(context, data, steered.size, steered.shape[1], 1, len(steered)) == 0
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
    return [1, *np.random.default_rng(2).integers(259, 512, n - 1).tolist()]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """But for the order of float64 sums."""
    return np.allclose(a, b, rtol=0, atol=1e-11)


def some_vector(reference: Reference) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(reference.info.n_embd)


def assert_near(logits: np.ndarray, native: np.ndarray, reference: Reference) -> None:
    """Through a table of GELU, a difference of 1e-7 may fall on the other side of an edge between two entries."""
    difference = np.abs(logits - native)
    if reference.info.architecture not in GELU:
        assert difference.max() < EXACT
    else:
        assert np.median(difference) < EXACT
        assert np.quantile(difference, 0.99) < 1e-3
        assert difference.max() < 1e-2


# --- logits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 30, 100])
def test_logits_equal_those_of_llama_cpp(path, reference, n):
    """100 tokens are beyond the window of gemma's, which is 64."""
    assert_near(reference.logits(random_ids(n)), native_logits(path, random_ids(n)), reference)


def test_flash_attention_rounds_keys_and_values_to_float16(path, reference):
    assert np.abs(reference.logits(random_ids(100)) - native_logits(path, random_ids(100), flash=True)).max() < 5e-2


def test_the_formula_of_gelu_is_as_near_as_a_table_by_float16_allows(path, reference):
    exact, ids = Reference(path), random_ids(100)
    difference = exact.logits(ids) - native_logits(path, ids)
    assert same(exact.logits(ids), reference.logits(ids)) == (reference.info.architecture not in GELU)
    assert np.sqrt((difference**2).mean()) < 1e-3
    assert np.abs(difference).max() < 1e-2


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_logits_with_a_float16_cache(tmp_path, dtype):
    path = tiny_llama(tmp_path / "model.gguf", dtype=dtype, seed=1)
    ids = random_ids(100)
    assert np.abs(Reference(path).logits(ids) - native_logits(path, ids, F16_CACHE)).max() < 5e-2


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
        assert np.sqrt(((exact - native) ** 2).mean()) < 0.1
        assert kl(exact, native.astype(np.float64)).mean() < 5e-3


def test_every_tensor_of_the_file_is_used(path):
    used = set()

    class Noted(UserDict):
        def __getitem__(self, name):
            used.add(name)
            return super().__getitem__(name)

    reference = Reference(path)
    reference.weights = Noted(reference.weights)
    reference.logits([1, 2])
    assert used >= set(reference.weights)


# --- the inside ---------------------------------------------------------------------------------------


def test_the_lens_is_the_model_cut_off_there(path, reference, tmp_path):
    ids = random_ids(80)
    run = reference.run(ids)
    for n in range(1, reference.info.n_layer):
        assert_near(run.lens[n - 1], native_logits(f32_copy(path, tmp_path / "cut.gguf", n_layer=n), ids), reference)
    assert same(run.lens[-1], run.logits)
    assert same(reference.unembed(run.residual[-1]), run.logits)
    assert same(reference.logits(ids), run.logits)


def test_shapes(path, reference):
    run, info = reference.run(range(1, 21)), reference.info
    assert run.logits.shape == (20, info.n_vocab)
    assert run.lens.shape == (info.n_layer, 20, info.n_vocab)
    assert run.attention.shape == (info.n_layer, info.n_head, 20, 20)
    assert run.heads.shape == (info.n_layer, info.n_head, 20, reference.head_size)
    assert run.projected.shape == (info.n_layer, info.n_head, 20, info.n_embd)
    assert run.embedding.shape == (20, info.n_embd)
    for each in (run.residual, run.attn_out, run.mlp, run.added):
        assert each.shape == (info.n_layer, 20, info.n_embd)


def test_the_parts_add_up(reference):
    vector = some_vector(reference)
    run = reference.run(random_ids(80), Steer(0, vector), Patch(1, 5, 0 * vector))
    assert np.allclose(run.attention.sum(-1), 1)
    assert not np.triu(run.attention, 1).any()
    assert np.allclose(run.embedding + (run.attn_out + run.mlp + run.added).cumsum(0), run.residual)
    assert np.allclose(run.added[0], vector)
    assert run.added[1].any(-1).nonzero()[0].tolist() == [5]


def test_a_window_ends_where_it_should(reference):
    run = reference.run(random_ids(80))
    windowed = {"gemma2": [0, 2], "gemma3": [0, 1, 2, 3, 4]}.get(reference.info.architecture, [])
    for layer, attention in enumerate(run.attention):
        assert (attention[:, 79, 79 - 63] > 0).all()
        assert (attention[:, 79, 79 - 64] > 0).all() == (layer not in windowed)


# --- interventions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, -2.0])
def test_a_scaled_head_is_one_whose_columns_of_the_projection_are_scaled(path, reference, tmp_path, factor):
    layer, head, size = 1, 2, reference.head_size

    def change(name: str, weights: np.ndarray) -> np.ndarray:
        weights = weights.copy()
        if name == f"blk.{layer}.attn_output.weight":
            weights[:, head * size : (head + 1) * size] *= factor
        return weights

    ids = random_ids(40)
    native = native_logits(f32_copy(path, tmp_path / "changed.gguf", change=change), ids)
    assert_near(reference.logits(ids, Scale(layer, head, factor)), native, reference)
    assert same(reference.logits(ids, Ablate(layer, head)), reference.logits(ids, Scale(layer, head, 0.0)))
    assert np.abs(reference.logits(ids) - native).max() > 0.1


def test_steering_is_llama_cpp_s_control_vector(path, reference):
    vector = some_vector(reference)
    steered = np.zeros((reference.info.n_layer - 1, reference.info.n_embd))
    steered[0] = 2 * vector
    ids = random_ids(40)
    native = native_logits(path, ids, steered=steered)
    assert_near(reference.logits(ids, Steer(1, vector, strength=2.0)), native, reference)
    assert np.abs(reference.logits(ids) - native).max() > 0.1


def test_positions_before_an_intervention_do_not_know_of_it(reference):
    ids, vector = random_ids(20), some_vector(reference)
    plain = reference.run(ids)
    for each in (
        Ablate(0, 1, positions=[12]),
        Scale(0, 1, 3.0, positions=[12]),
        Steer(0, vector, positions=[12]),
        Patch(0, 12, vector),
    ):
        run = reference.run(ids, each)
        assert same(run.logits[:12], plain.logits[:12])
        assert (np.abs(run.logits[12:] - plain.logits[12:]).max(-1) > 1e-6).all()


def test_a_head_can_be_given_another_output(reference):
    ids = random_ids(20)
    plain = reference.run(ids)
    mean = plain.heads[0, 1].mean(0)
    run = reference.run(ids, Ablate(0, 1, to=mean))
    assert (run.heads[0, 1] == mean).all()
    assert same(run.heads[0, 0], plain.heads[0, 0])
    assert same(reference.logits(ids, Ablate(0, 1, to=plain.heads[0, 1])), plain.logits)


def test_patching_the_whole_stream_gives_the_other_run(reference):
    ids, others = random_ids(20), list(range(300, 320))
    other = reference.run(others)
    patches = [Patch(0, position, other.residual[0, position]) for position in range(20)]
    assert same(reference.logits(ids, *patches), other.logits)
    some = reference.run(ids, *patches[10:])
    assert same(some.residual[0, 10:], other.residual[0, 10:])
    assert same(some.logits[:10], reference.logits(ids)[:10])


def test_an_intervention_beyond_the_model_is_refused(reference):
    n_layer, n_head = reference.info.n_layer, reference.info.n_head
    row = np.zeros(reference.info.n_embd)
    for each in (Ablate(n_layer, 0), Scale(-1, 0, 2.0), Ablate(0, n_head), Patch(0, 3, row)):
        with pytest.raises(IndexError):
            reference.run([1, 2, 3], each)


# --- readings -----------------------------------------------------------------------------------------


def test_attribution_adds_up_to_the_logit(reference):
    run = reference.run(random_ids(30), Steer(0, some_vector(reference)))
    cap = reference.logit_cap
    for position, token in ((0, 5), (17, 300), (29, int(run.logits[29].argmax()))):
        told = reference.attribution(run, position, token)
        logit = run.logits[position, token]
        assert told.total == pytest.approx(cap * np.arctanh(logit / cap) if cap else logit)
        # What is left of attention is the bias of its projection, which only gpt2 has.
        assert np.allclose(told.heads.sum(-1), told.attn_out) == (reference.info.architecture != "gpt2")


def test_attribution_is_what_the_logit_loses_without_the_part(reference):
    """With the scale of the final norm held, as the attribution says: it is divided out of both."""
    run, last = reference.run(random_ids(30)), reference.info.n_layer - 1
    told = reference.attribution(run, 29, 400)
    x = run.residual[-1, 29]

    def linear(x: np.ndarray) -> float:
        x = reference.centre(x)
        return float((x * reference.weights["output_norm.weight"]) @ reference.output[400])

    scale = np.sqrt((reference.centre(x) ** 2).mean() + reference.eps)
    assert told.mlp[last] == pytest.approx((linear(x) - linear(x - run.mlp[last, 29])) / scale)


def test_the_last_layer_of_the_lens_is_the_answer(reference):
    run = reference.run(random_ids(30))
    told = read_lens(run)
    assert (told.rank[-1] == 1).all()
    assert np.allclose(told.kl[-1], 0)
    assert (told.kl[:-1] > 0).all()
    assert np.array_equal(told.best[-1], run.logits.argmax(-1))
    assert (told.rank[:-1] > 1).any()
    p, q = softmax(run.logits[7]), softmax(run.lens[0, 7])
    assert told.kl[0, 7] == pytest.approx(sum(p * np.log(p / q)))
    assert told.entropy[0, 7] == pytest.approx(-sum(q * np.log(q)))


def test_readings_are_those_of_the_package():
    rows = np.random.default_rng(6).integers(-8, 8, (50, 200)).astype(np.float32)
    for row, token in zip(rows, range(0, 200, 4), strict=True):
        said = describe(row, token, 1)
        exact = row.astype(np.float64)
        assert rank(exact, token) == said.rank
        assert entropy(exact) == pytest.approx(said.entropy, abs=1e-6)
        assert log_softmax(exact)[token] == pytest.approx(said.logprob, abs=1e-6)
    assert np.array_equal(rank(rows, np.arange(50)), [rank(row, token) for token, row in enumerate(rows)])


def test_kl_by_hand():
    p, q = np.log([0.5, 0.5]), np.log([0.25, 0.75])
    assert kl(p, q) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert kl(q + 3, p) == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5))


# --- heads whose work is known --------------------------------------------------------------------------


def test_scores_by_hand():
    attention = np.array([[[1, 0, 0, 0], [0.7, 0.3, 0, 0], [0.2, 0.3, 0.5, 0], [0.1, 0.2, 0.3, 0.4]]])[None]
    assert previous_token_scores(attention) == pytest.approx((0.7 + 0.3 + 0.3) / 3)
    assert induction_scores(attention, [5, 6, 5, 5]) == pytest.approx((0.3 + (0.2 + 0.4)) / 2)


def test_a_model_made_by_hand_repeats_what_it_has_read(tmp_path):
    path = tiny_induction(tmp_path / "induction.gguf")
    reference = Reference(path)
    half = np.random.default_rng(3).choice(np.arange(259, 512), 50, replace=False).tolist()
    ids = [1, *half, *half]
    run = reference.run(ids)
    assert np.abs(run.logits - native_logits(path, ids)).max() < EXACT
    assert previous_token_scores(run.attention)[0, 0] > 0.99
    assert induction_scores(run.attention, ids)[1, 0] > 0.99
    assert (softmax(run.logits)[np.arange(51, 100), ids[52:]] > 0.95).all()
    for blind in (Ablate(0, 0), Ablate(1, 0)):
        assert (reference.logits(ids, blind)[51:100].argmax(-1) == ids[52:]).mean() < 0.1
