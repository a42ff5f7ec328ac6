"""What a model will need, from its header alone, and what the machine has. tests/engine measures whether it is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gguf
import psutil
import pytest

from inferno_widget import ModelInfo, NotEnoughMemoryError, memory, read_info
from inferno_widget.engine import context, taps
from inferno_widget.gguf import Array, Metadata
from inferno_widget.memory import (
    compute_bytes,
    default_n_ctx,
    estimate,
    free_memory,
    kv_bytes,
    require,
    require_second,
    rounded,
    second_bytes,
    spelled,
    weight_bytes,
)
from tests.make_models import Shape, random_weights, spm_vocabulary, tiny_llama, tiny_qwen2, write_model

GB = 10**9


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> ModelInfo:
    return read_info(tiny_llama(tmp_path_factory.mktemp("model") / "tiny.gguf"))


def changed(info: ModelInfo, **keys: object) -> ModelInfo:
    """The same model with other keys under its architecture."""
    values = {f"llama.{key.replace('__', '.')}": value for key, value in keys.items()}
    return replace(info, metadata=Metadata(values))


def numbers(*values: int) -> Array:
    return Array(4, len(values), b"".join(value.to_bytes(4, "little") for value in values))


# --- what a model needs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["F32", "F16", "Q8_0"])
def test_weights_are_those_of_the_file(dtype: str, tmp_path: Path) -> None:
    path = tiny_qwen2(tmp_path / "x.gguf", dtype=dtype)
    assert weight_bytes(read_info(path)) == sum(int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors)


def test_weights_of_an_unknown_type_are_the_file(info: ModelInfo) -> None:
    name, tensor = next(iter(info.tensors.items()))
    assert weight_bytes(replace(info, tensors={name: tensor._replace(type="type 99")})) == info.size_bytes


@pytest.mark.parametrize(
    ("type_k", "type_v", "bytes_a_pair"), [("f32", "f32", 8), ("f16", "bf16", 4), ("q8_0", "q8_0", 68 / 32)]
)
def test_the_cache(type_k: str, type_v: str, bytes_a_pair: float, info: ModelInfo) -> None:
    """2 layers, 2 KV heads of 16 numbers: for queries there are 4, but the cache is shared."""
    assert kv_bytes(info, 512, type_k, type_v) == 2 * 2 * 16 * 512 * bytes_a_pair


def test_the_cache_of_heads_with_sizes_of_their_own(info: ModelInfo) -> None:
    sizes = {"attention__key_length": 24, "attention__value_length": 8}
    assert kv_bytes(changed(info, **sizes), 256, "f16", "q8_0") == 2 * 2 * 256 * (24 * 2 + 8 * 34 / 32)
    heads = {"attention__head_count_kv": numbers(4, 0)}  # a layer without attention
    assert kv_bytes(changed(info, **heads), 256) == 4 * 256 * 16 * 2 * 2


def test_buffers_grow_with_what_they_hold(info: ModelInfo) -> None:
    base = compute_bytes(info, 4096)
    assert base < 70e6
    assert compute_bytes(info, 65_536) - base > 2 * 512 * 60_000
    assert compute_bytes(info, 4096, n_batch=2048) > base
    plain = compute_bytes(info, 4096, 512, "f32", "f32")
    assert plain - base > 4 * 4096 * 512 * info.n_head, "without flash attention"
    assert compute_bytes(replace(info, n_vocab=150_000), 4096) - base > 150_000 * (300 + 4 * 64)
    windowed = changed(info, attention__sliding_window=512)
    assert compute_bytes(windowed, 65_536) > compute_bytes(info, 65_536)
    experts = changed(info, expert_used_count=8, expert_feed_forward_length=4096)
    assert compute_bytes(experts, 4096) - base > 4 * 512 * 3 * 8 * 4096 - 30e6


def test_what_is_a_gpus_is_no_business_of_the_main_memory(info: ModelInfo) -> None:
    """2 layers, and the output matrix counts as a third."""
    alone, shared = (estimate(info, 512, n_gpu_layers=n, free=GB) for n in (0, 1))
    assert shared.weights == alone.weights * 2 // 3
    assert shared.kv == alone.kv * 2 // 3
    assert shared.compute == alone.compute
    for n in (-1, 3, 99):
        assert estimate(info, 512, n_gpu_layers=n, free=GB).total == alone.compute


def test_a_second_context_has_a_cache_and_buffers_of_its_own(info: ModelInfo) -> None:
    cache, small = kv_bytes(info, 4096), second_bytes(info, 4096)
    assert small > cache + 4 * 4096 * memory.SECOND_BATCH * info.n_head, "it computes without flash attention"
    assert second_bytes(info, 4096, n_batch=2048) == small, "its batches are small"
    assert second_bytes(info, 4096, n_batch=32) < small
    assert second_bytes(info, 4096, type_v="q8_0") == small, "a cache that needs flash attention becomes f16"
    assert second_bytes(info, 4096, n_gpu_layers=-1) == small - cache


@pytest.mark.parametrize("nonsense", [-5, 2**63, "many", 1.5, float("nan"), True, numbers(2**32 - 1, 7)])
@pytest.mark.parametrize(
    "key",
    ["attention__key_length", "attention__value_length", "attention__head_count_kv", "expert_used_count"],
)
def test_nonsense_in_a_file_is_weighed_all_the_same(key: str, nonsense: object, info: ModelInfo) -> None:
    e = estimate(changed(info, **{key: nonsense}), free=GB)
    assert e.total > 0
    assert e.kv >= 0


def test_billions_of_layers_are_counted_and_not_listed(info: ModelInfo) -> None:
    e = estimate(replace(info, n_layer=2**32 - 1, n_head_kv=2**32 - 1), free=GB)
    assert not e.fits
    assert e.n_ctx_fit == 0
    assert estimate(replace(info, n_layer=-1, n_head=-1, n_head_kv=-1), free=GB).kv == 0


def test_constants_of_the_engine() -> None:
    """They are repeated, because importing the engine loads llama.cpp."""
    for name in ("N_SEQ_MAX", "ROWS_BYTES", "CTX_STEP"):
        assert getattr(memory, name) == getattr(context, name)
    assert taps.MOST_BATCH == memory.SECOND_BATCH


# --- whether it fits --------------------------------------------------------------------------------------


def test_the_estimate_is_the_sum_of_its_parts(info: ModelInfo) -> None:
    e = estimate(info, 1000, n_batch=64, type_k="f32", free=GB)
    assert (e.n_ctx, e.n_ctx_train, e.free, e.fits) == (1024, 1024, GB, True)
    assert e.weights == weight_bytes(info)
    assert e.kv == kv_bytes(info, 1024, "f32", "f16")
    assert e.compute == compute_bytes(info, 1024, 64, "f32", "f16")
    assert e.total == e.weights + e.kv + e.compute
    assert e.to_dict() == {
        "n_ctx": 1024,
        "n_ctx_train": 1024,
        "weights": e.weights,
        "kv": e.kv,
        "compute": e.compute,
        "total": e.total,
        "free": GB,
        "fits": True,
        "n_ctx_fit": 1024,
    }


def test_the_longest_context_that_fits(tmp_path: Path) -> None:
    shape = Shape(n_ctx=131_072, n_layer=4)
    path = write_model(
        tmp_path / "long.gguf", shape, spm_vocabulary(512), random_weights("F32", 0), dtype="F32", name="long"
    )
    info = read_info(path)
    for free in (70_000_000, 100_000_000, 123_456_789, 200_000_000):
        e = estimate(info, 4096, free=free)
        assert e.n_ctx_fit % 256 == 0
        assert estimate(info, e.n_ctx_fit, free=free).fits
        assert not estimate(info, e.n_ctx_fit + 256, free=free).fits
        assert e.fits == (e.n_ctx_fit >= 4096)
    assert estimate(info, free=GB).n_ctx_fit == 131_072, "no more than it was trained with"
    assert estimate(info, free=10_000_000).n_ctx_fit == 0
    assert not estimate(info, free=10_000_000).fits


def test_a_refusal_has_all_the_numbers(info: ModelInfo) -> None:
    require(info, estimate(info, 1024, free=GB))
    found = estimate(info, 100_000, free=60_000_000)
    with pytest.raises(NotEnoughMemoryError) as caught:
        require(info, found)
    error, said = caught.value, str(caught.value)
    assert (error.needed, error.free, error.n_ctx_fit) == (found.total, 60_000_000, found.n_ctx_fit)
    for part in (found.total, found.free, found.weights, found.kv, found.compute):
        assert spelled(part) in said
    assert "100,096 tokens" in said
    assert f"n_ctx={found.n_ctx_fit:,}" in said
    assert "force=True" in said
    with pytest.raises(NotEnoughMemoryError, match="no context fits"):
        require(info, estimate(info, free=1_000_000))


def test_a_second_context_is_refused_with_the_numbers_too(info: ModelInfo) -> None:
    options = {"n_batch": 512, "type_k": "f16", "type_v": "f16", "n_gpu_layers": 0}
    needed = second_bytes(info, 4096, **options)
    require_second(info, 4096, **options, free=needed)
    with pytest.raises(NotEnoughMemoryError, match=f"second context of 4,096 tokens.*{spelled(needed)}") as caught:
        require_second(info, 4096, **options, free=needed - 1)
    assert (caught.value.needed, caught.value.free) == (needed, needed - 1)


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 MB"), (310_000_000, "310 MB"), (999_600_000, "1.0 GB"), (4_249_000_000_000, "4,249.0 GB")]
)
def test_bytes_are_spelled_for_a_person(n: int, text: str) -> None:
    assert spelled(n) == text


def test_the_default_context(info: ModelInfo) -> None:
    assert default_n_ctx(info) == estimate(info, free=GB).n_ctx == 1024
    assert default_n_ctx(replace(info, n_ctx_train=100_000)) == 4096
    unknown = replace(info, n_ctx_train=0)
    assert (default_n_ctx(unknown), estimate(unknown, free=GB).n_ctx_fit) == (4096, 4096)
    assert estimate(replace(info, n_ctx_train=100), free=GB).n_ctx_fit == 256, "llama.cpp makes it no shorter"
    assert [rounded(n) for n in (1, 256, 257)] == [256, 256, 512]


# --- what the machine has ---------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 10 GB available and no control groups yet; gives the folder of those."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10 * GB))
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(children=list))
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_without_control_groups_it_is_what_the_system_says(machine: Path) -> None:
    assert free_memory() == 10 * GB


def test_the_tightest_control_group_counts(machine: Path) -> None:
    (machine / "membership").write_text("0::/jobs/mine\n")
    statistics = f"anon {GB}\nactive_file {GB}\ninactive_file {GB}"
    group(machine / "jobs" / "mine", memory__max="max", memory__current=GB, memory__stat=statistics)
    assert free_memory() == 10 * GB
    group(machine / "jobs", memory__max=8 * GB, memory__current=5 * GB, memory__stat=statistics)
    assert free_memory() == 5 * GB, "8 less 5, of which 2 are files that could be dropped"
    group(machine / "jobs" / "mine", memory__max=2 * GB)
    assert free_memory() == 2 * GB
    group(machine / "jobs", memory__current=20 * GB)
    assert free_memory() == 0


def test_the_first_version_of_control_groups(machine: Path) -> None:
    """In a container the path is the host's, and the limit stands at the top."""
    (machine / "membership").write_text("5:cpu:/docker/abc\n4:memory:/docker/abc\n0::/\n")
    statistics = f"inactive_file 1\ntotal_inactive_file {GB}\ntotal_active_file 0"
    group(machine / "memory", memory__limit_in_bytes=4 * GB, memory__usage_in_bytes=2 * GB, memory__stat=statistics)
    assert free_memory() == 3 * GB


def test_loaded_models_are_not_free(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux counts their mapped files as available; other systems do not tell."""
    engine = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=3 * GB, shared=2 * GB))
    other = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=3 * GB))

    def gone() -> None:
        raise psutil.NoSuchProcess(1)

    children = [engine, other, SimpleNamespace(memory_info=gone)]
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(children=lambda: children))
    assert free_memory() == 8 * GB


def test_this_machine_has_some() -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total
