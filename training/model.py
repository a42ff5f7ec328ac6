"""A Llama in PyTorch, in the conventions that llama.cpp expects (interleaved RoPE, tied output)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    n_vocab: int = 4096
    n_ctx: int = 512
    n_layer: int = 6
    n_head: int = 4
    n_head_kv: int = 2
    n_embd: int = 256
    n_ff: int = 640
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


def rotations(config: Config) -> tuple[Tensor, Tensor]:
    """cos and sin [n_ctx, head_size / 2] of the rotary embedding."""
    frequency = config.rope_base ** (-torch.arange(0, config.head_size, 2) / config.head_size)
    angle = torch.outer(torch.arange(config.n_ctx), frequency)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate neighbouring pairs of x [batch, head, position, head_size]: llama.cpp's order for Llama."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c = c
        kv = c.n_head_kv * c.head_size
        self.attn_norm = RMSNorm(c.n_embd, c.norm_eps)
        self.attn_q = nn.Linear(c.n_embd, c.n_embd, bias=False)
        self.attn_k = nn.Linear(c.n_embd, kv, bias=False)
        self.attn_v = nn.Linear(c.n_embd, kv, bias=False)
        self.attn_output = nn.Linear(c.n_embd, c.n_embd, bias=False)
        self.ffn_norm = RMSNorm(c.n_embd, c.norm_eps)
        self.ffn_gate = nn.Linear(c.n_embd, c.n_ff, bias=False)
        self.ffn_up = nn.Linear(c.n_embd, c.n_ff, bias=False)
        self.ffn_down = nn.Linear(c.n_ff, c.n_embd, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attn_norm(x), cos, sin)
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape

        def heads(projected: Tensor) -> Tensor:
            return projected.view(batch, length, -1, self.c.head_size).transpose(1, 2)

        q = rotate(heads(self.attn_q(x)), cos, sin)
        k = rotate(heads(self.attn_k(x)), cos, sin)
        repeat = self.c.n_head // self.c.n_head_kv
        k, v = (t.repeat_interleave(repeat, dim=1) for t in (k, heads(self.attn_v(x))))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.attn_output(mixed.transpose(1, 2).reshape(batch, length, width))


class Llama(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.n_vocab, config.n_embd)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.output_norm = RMSNorm(config.n_embd, config.norm_eps)
        cos, sin = rotations(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.token_embd.weight, std=0.02)
        for block in self.blk:  # a residual branch that starts at zero trains fastest
            nn.init.zeros_(block.attn_output.weight)
            nn.init.zeros_(block.ffn_down.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits [batch, position, n_vocab] of ids [batch, position]."""
        x = self.token_embd(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blk:
            x = block(x, cos, sin)
        return F.linear(self.output_norm(x), self.token_embd.weight)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean -log p in nats."""
        logits = self(ids)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
