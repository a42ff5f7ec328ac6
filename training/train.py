"""Train the demo model: ``python train.py --corpus FOLDER --out FOLDER``.

Stops and resumes at any time (a checkpoint every few minutes). Muon for the matrices and AdamW for the
rest; the learning rate is flat and falls to zero over the last part, so that `--tokens` may be changed
while it runs.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import corpus
import numpy as np
import tokenizer
import torch
from model import Config, Llama
from torch import Tensor

BATCH = 8192
"""Tokens in a step."""
SHORT, LONG = 256, 0.2
"""Window length at first, and the last fraction of the run that uses the whole context: attention is two
fifths of a step at 512 tokens on a CPU."""
WARM_UP, FALL = 0.01, 0.35
"""Fractions of the run in which the learning rate rises and falls."""
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 0.02, 0.003, 0.05
EVALUATE_EVERY, SAVE_EVERY = 500, 100


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised by five Newton-Schulz steps (Jordan et al., 2024)."""

    def __init__(self, parameters: list[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * WEIGHT_DECAY)
                p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    flip = x.shape[0] > x.shape[1]
    x = x.T if flip else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if flip else x).to(matrix.dtype)


class Windows:
    """Endless random windows of the training text; each opens with BOS and an epoch uses every token once."""

    def __init__(self, ids: np.ndarray, length: int, seed: int) -> None:
        self.ids, self.length, self.seed = ids, length, seed

    def epoch(self, number: int) -> np.ndarray:
        """Starts of the windows of one epoch, shuffled, each epoch cut at another offset."""
        generator = np.random.default_rng((self.seed, number))
        stride = self.length - 1
        starts = np.arange(generator.integers(stride), len(self.ids) - self.length, stride)
        return generator.permutation(starts)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        size = BATCH // self.length
        per_epoch = (len(self.ids) - 2 * self.length) // (self.length - 1) // size
        number, at = divmod(step, per_epoch)
        return cut(self.ids, self.epoch(number)[at * size : (at + 1) * size], self.length)


def cut(ids: np.ndarray, starts: np.ndarray, length: int) -> tuple[Tensor, Tensor]:
    """Inputs (BOS, then length - 1 tokens) and targets (those tokens and the next)."""
    targets = torch.from_numpy(np.stack([ids[s : s + length] for s in starts]).astype(np.int64))
    return torch.cat((torch.full((len(starts), 1), tokenizer.BOS), targets[:, :-1]), 1), targets


def held_out_bits(model: Llama, ids: np.ndarray, n_bytes: int) -> tuple[float, float]:
    """Nats a token and bits a byte over disjoint windows, each opening with BOS: the strict measure."""
    length = model.config.n_ctx
    starts = np.arange(0, len(ids) - length, length)
    total = 0.0
    with torch.no_grad(), autocast():
        for i in range(0, len(starts), BATCH // length):
            inputs, targets = cut(ids, starts[i : i + BATCH // length], length)
            total += float(model.loss(inputs, targets)) * len(inputs)
    nats = total / len(starts)
    return nats, nats * len(ids) / math.log(2) / n_bytes


def autocast() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def rate(fraction: float) -> float:
    """The learning rate's factor at `fraction` of the run."""
    return max(0.0, min(1.0, fraction / WARM_UP, (1 - fraction) / FALL))


class Run:
    """Everything a checkpoint holds."""

    def __init__(self, out: Path, config: Config) -> None:
        self.path = out / "checkpoint.pt"
        self.log = out / "log.jsonl"
        self.model = Llama(config)
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "token_embd" not in n]
        rest = [p for n, p in self.model.named_parameters() if p.ndim == 1 or "token_embd" in n]
        self.optimizers = (
            Muon(matrices, lr=MUON_RATE),
            torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0),
        )
        self.base = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.step, self.tokens, self.seconds, self.loss = 0, 0, 0.0, 0.0
        if self.path.exists():
            self.restore()

    def restore(self) -> None:
        saved = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(saved["model"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.step, self.tokens, self.seconds = saved["step"], saved["tokens"], saved["seconds"]

    def save(self) -> None:
        part = self.path.with_suffix(".part")
        torch.save(
            {
                "config": asdict(self.model.config),
                "model": self.model.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "step": self.step,
                "tokens": self.tokens,
                "seconds": self.seconds,
            },
            part,
        )
        part.replace(self.path)

    def set_rate(self, factor: float) -> None:
        for optimizer, base in zip(self.optimizers, self.base, strict=True):
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * factor

    def advance(self, inputs: Tensor, targets: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
        """One step."""
        started = time.perf_counter()
        with autocast():
            loss = loss_of(inputs, targets)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += inputs.numel()
        self.loss = loss.item() if not self.loss else 0.98 * self.loss + 0.02 * loss.item()
        self.seconds += time.perf_counter() - started

    def evaluate(self, held_out: np.ndarray, n_bytes: int) -> None:
        nats, bits = held_out_bits(self.model, held_out, n_bytes)
        figures = {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds)}
        figures |= {"train": round(self.loss, 4), "nats": round(nats, 4), "bits": round(bits, 4)}
        with self.log.open("a") as log:
            log.write(json.dumps(figures) + "\n")
        print(figures, flush=True)


def prepare(folder: Path, out: Path, n_vocab: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Training ids, held-out ids and the held-out stories' bytes."""
    split = corpus.load(folder)
    prefix = out / "tokenizer"
    known = prefix.with_suffix(".model").exists()
    pieces = tokenizer.load(prefix) if known else tokenizer.train(split.train, prefix, n_vocab)
    cache = out / "train.npy"
    if not cache.exists():
        np.save(cache, tokenizer.encode(pieces, split.train))
    n_bytes = sum(len(s.text.encode()) for s in split.stories)
    return np.load(cache), tokenizer.encode(pieces, split.stories), n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=64e6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=None, help="stop after so many steps of this call")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = Config()
    train_ids, held_out, n_bytes = prepare(arguments.corpus, arguments.out, config.n_vocab)
    run = Run(arguments.out, config)
    size = sum(p.numel() for p in run.model.parameters())
    print(f"{size:,} parameters; {len(train_ids):,} training tokens; {len(held_out):,} held out; step {run.step}")
    loss_of = torch.compile(run.model.loss, dynamic=False)
    short, long = (Windows(train_ids, length, seed=1) for length in (SHORT, config.n_ctx))
    last = run.step + arguments.steps if arguments.steps else math.inf
    while run.tokens < arguments.tokens and run.step < last:
        fraction = (run.tokens + 1) / arguments.tokens
        run.set_rate(rate(fraction))
        run.advance(*(short if fraction < 1 - LONG else long).batch(run.step), loss_of)
        if run.step % EVALUATE_EVERY == 0:
            run.evaluate(held_out, n_bytes)
        if run.step % SAVE_EVERY == 0:
            print(run.step, round(run.loss, 3), f"{run.tokens / run.seconds:.0f} tokens/s", flush=True)
            run.save()
    run.save()
    run.evaluate(held_out, n_bytes)


if __name__ == "__main__":
    main()
