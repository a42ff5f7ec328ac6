"""The estimate against what the engine's process really takes, once a prompt has filled its batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inferno_widget import Model, Sampler
from inferno_widget.memory import estimate, kv_bytes
from tests.engine.tools import DEMO
from tests.make_models import Shape, random_weights, spm_vocabulary, tiny_llama, tiny_qwen2, write_model

TOLERANCE = 0.15
"""The module says a tenth, which holds where it was measured; Python and numpy differ a little between systems."""


def wide(path: Path) -> Path:
    """Buffers, cache and weights that are larger than the process."""
    shape = Shape(n_layer=3, n_embd=1024, n_head=16, n_head_kv=8, n_ff=4096, n_ctx=8192)
    return write_model(path, shape, spm_vocabulary(512), random_weights("Q8_0", 0), dtype="Q8_0", name="wide")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "demo": DEMO,
        "tiny": tiny_llama(folder / "tiny.gguf"),
        "large vocabulary": tiny_qwen2(folder / "large.gguf", n_vocab=40_000),
        "wide": wide(folder / "wide.gguf"),
    }


@pytest.mark.parametrize(
    ("name", "n_ctx", "n_batch", "kind"),
    [
        ("demo", 512, 512, "f16"),
        ("demo", 2048, 512, "q8_0"),
        ("tiny", 1024, 128, "f16"),
        ("large vocabulary", 1024, 512, "f16"),
        ("wide", 1024, 256, "f16"),
        ("wide", 2048, 512, "f32"),
        ("wide", 2048, 1024, "q8_0"),
    ],
)
def test_the_estimate_is_what_the_process_takes(
    name: str, n_ctx: int, n_batch: int, kind: str, files: dict[str, Path]
) -> None:
    options = {"n_batch": n_batch, "type_k": kind, "type_v": kind}
    with Model(files[name], n_ctx=n_ctx, **options) as model:
        expected = estimate(model.info, n_ctx, **options)
        # llama.cpp tells its buffers in hundredths of a MiB
        assert model.memory()["kv_reserved"] == pytest.approx(kv_bytes(model.info, n_ctx, kind, kind), abs=0.01 * 2**20)
        prompt = np.random.default_rng(0).integers(3, model.info.n_vocab, n_ctx - 8).tolist()
        model.session(prompt, Sampler(seed=1)).generate(4)
        assert expected.total == pytest.approx(model.rss, rel=TOLERANCE)
