"""Make model H: ``python benchmarks/make_model_h.py PATH``.

A random-weight Llama of the shape of Qwen2.5-0.5B (24 layers, 896 wide, 151,936 tokens, Q8_0, 528 MB). Speed
does not depend on what the weights say, so the bytes of the quantised blocks are drawn directly. The only
end-of-generation token has a row of zeros: next to logits that spread by about 2.5 it has a probability
near 1e-7, so that no run ends early.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.make_models import Shape, Tensor, bpe_vocabulary, write_model

SHAPE = Shape(n_layer=24, n_embd=896, n_head=14, n_head_kv=2, n_ff=4864, n_ctx=32_768, rope_base=1e6, norm_eps=1e-6)
N_VOCAB = 151_936
EOG = N_VOCAB - 1

BLOCK = np.dtype([("scale", "<f2"), ("quants", "i1", 32)])
"""Q8_0: 32 weights, each scale * quant."""
UNIFORM_DEVIATION = 256 / 12**0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    started = time.perf_counter()
    make(path)
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB in {time.perf_counter() - started:.1f} s")


def make(path: Path) -> Path:
    generator = np.random.default_rng(0)

    def weights(shape: tuple[int, ...], deviation: float) -> Tensor:
        if len(shape) == 1:
            return np.zeros(shape, np.float32), gguf.GGMLQuantizationType.F32
        outputs, inputs = shape
        blocks = np.frombuffer(bytearray(generator.bytes(outputs * inputs // 32 * BLOCK.itemsize)), BLOCK)
        blocks["scale"] = deviation / UNIFORM_DEVIATION
        rows = blocks.view(np.uint8).reshape(outputs, -1)
        if outputs == N_VOCAB:
            rows[EOG] = 0
        return rows, gguf.GGMLQuantizationType.Q8_0

    return write_model(path, SHAPE, bpe_vocabulary(N_VOCAB), weights, dtype="Q8_0", name="model H")


if __name__ == "__main__":
    main()
