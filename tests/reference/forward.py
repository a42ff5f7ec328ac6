"""The forward pass that all architectures share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inferno_widget.gguf import read_info
from tests.reference.architectures import ARCHITECTURES, Array, gelu, tabled_gelu
from tests.reference.interventions import Intervention, changed
from tests.reference.readings import Attribution, softmax
from tests.reference.weights import dequantised


class Block(NamedTuple):
    """What went on in a block; the attributes are those of `Run`, without their first axis."""

    attention: Array
    heads: Array
    projected: Array
    attn_out: Array
    mlp: Array
    added: Array
    residual: Array


class Run(NamedTuple):
    """What went on inside.

    Attributes
    ----------
    logits : [position, n_vocab]
    attention : [layer, head, query, key], rows sum to 1
    residual : [layer, position, n_embd], after each block and the interventions there
    lens : [layer, position, n_vocab], the logits if the model ended after the block
    embedding : [position, n_embd], the residual stream before the first block
    attn_out, mlp : [layer, position, n_embd], what they added to the residual stream (behind a norm, if there is one)
    added : [layer, position, n_embd], what interventions on the residual stream added
    heads : [layer, head, position, head_size], before the output projection
    projected : [layer, head, position, n_embd], behind it: with its bias they sum to attention's output (before a norm)
    """

    logits: Array
    attention: Array
    residual: Array
    lens: Array
    embedding: Array
    attn_out: Array
    mlp: Array
    added: Array
    heads: Array
    projected: Array


class Reference:
    """A model from a GGUF file, of one of `ARCHITECTURES`.

    Parameters
    ----------
    path : its weights are F32, F16, BF16 or Q8_0
    tabled : GELU is looked up in a table by float16, as llama.cpp's CPU does it
    """

    def __init__(self, path: Path, *, tabled: bool = False) -> None:
        self.info = read_info(path)
        self.weights = {name: dequantised(self.info, tensor) for name, tensor in self.info.tensors.items()}
        self.kind = ARCHITECTURES[self.info.architecture]
        self.activation = tabled_gelu if tabled and self.kind.activation is gelu else self.kind.activation
        self.eps = float(self.said(f"attention.layer_norm_{'' if self.kind.centred else 'rms_'}epsilon"))
        self.head_size = int(self.said("attention.key_length", self.info.n_embd // self.info.n_head))
        self.rope_size = int(self.said("rope.dimension_count", self.head_size))
        self.attention_cap = float(self.said("attn_logit_softcapping", self.kind.attention_cap))
        self.logit_cap = float(self.said("final_logit_softcapping", self.kind.logit_cap))

    def said(self, key: str, otherwise: Any = None) -> Any:
        """A hyperparameter of the file."""
        return self.info.metadata.get(f"{self.info.architecture}.{key}", otherwise)

    def logits(self, ids: Sequence[int], *interventions: Intervention) -> Array:
        """[position, n_vocab]"""
        return self.unembed(self.blocks(ids, interventions)[1][-1].residual)

    def run(self, ids: Sequence[int], *interventions: Intervention) -> Run:
        embedding, blocks = self.blocks(ids, interventions)
        lens = np.stack([self.unembed(block.residual) for block in blocks])
        stacked = {name: np.stack([getattr(block, name) for block in blocks]) for name in Block._fields}
        return Run(logits=lens[-1], lens=lens, embedding=embedding, **stacked)

    def blocks(self, ids: Sequence[int], interventions: Sequence[Intervention]) -> tuple[Array, list[Block]]:
        """The embedding [position, n_embd] and what every block makes of it."""
        for each in interventions:
            if not 0 <= each.layer < self.info.n_layer:
                raise IndexError(f"{type(each).__name__} of layer {each.layer}: there are {self.info.n_layer}")
        embedding = x = self.embed(ids)
        blocks = []
        for layer in range(self.info.n_layer):
            blocks.append(self.block(x, layer, interventions))
            x = blocks[-1].residual
        return embedding, blocks

    def block(self, x: Array, layer: int, interventions: Sequence[Intervention]) -> Block:
        name = f"blk.{layer}."
        attention, heads = self.attend(self.norm(x, name + "attn_norm"), layer)
        heads = changed(heads, "heads", layer, interventions)
        projected = heads @ self.output_of_heads(layer)
        attn_out = self.norm(projected.sum(0) + self.bias(name + "attn_output"), name + "post_attention_norm")
        read = self.norm(x if self.kind.parallel else x + attn_out, name + "ffn_norm")
        mlp = self.norm(self.feed_forward(read, layer), name + "post_ffw_norm")
        after = x + attn_out + mlp
        residual = changed(after, "residual", layer, interventions)
        return Block(attention, heads, projected, attn_out, mlp, residual - after, residual)

    def embed(self, ids: Sequence[int]) -> Array:
        """The residual stream [position, n_embd] before the first block."""
        x = self.weights["token_embd.weight"][list(ids)]
        if self.kind.scaled_embedding:
            x = x * np.sqrt(self.info.n_embd)
        if "position_embd.weight" in self.weights:
            x = x + self.weights["position_embd.weight"][: len(x)]
        return x

    def attend(self, x: Array, layer: int) -> tuple[Array, Array]:
        """Weights [head, query, key] and outputs [head, position, head_size] of the heads."""
        q, k, v = self.queries_keys_values(x, layer)
        q, k = self.rotate(q, layer), self.rotate(k, layer)
        k, v = (np.repeat(t, self.info.n_head // self.info.n_head_kv, axis=0) for t in (k, v))
        scores = capped(q @ k.transpose(0, 2, 1) / np.sqrt(self.head_size), self.attention_cap)
        weights = softmax(np.where(self.visible(len(x), layer), scores, -np.inf))
        return weights, weights @ v

    def queries_keys_values(self, x: Array, layer: int) -> list[Array]:
        """Each [head, position, head_size]; queries and keys are normalised, each or (OLMo 2) all heads at once."""
        name = f"blk.{layer}.attn_"
        if name + "qkv.weight" in self.weights:
            ends = np.cumsum([self.info.n_head, self.info.n_head_kv]) * self.head_size
            joined = np.split(self.linear(x, name + "qkv"), ends, axis=-1)
        else:
            joined = [self.linear(x, name + letter) for letter in "qkv"]
        for i, norm in enumerate((name + "q_norm", name + "k_norm")):
            size = self.weights[norm + ".weight"].size if norm + ".weight" in self.weights else 1
            joined[i] = self.norm(joined[i].reshape(len(x), -1, size), norm)
        return [t.reshape(len(x), -1, self.head_size).transpose(1, 0, 2) for t in joined]

    def rotate(self, x: Array, layer: int) -> Array:
        """Turn pairs of the entries of x [head, position, head_size] by angles that grow with the position."""
        if self.kind.pairs is None:
            return x
        base = float(self.said("rope.freq_base", 10_000.0))
        if self.windowed(layer) and self.kind.window_rope_base is not None:
            base = self.kind.window_rope_base
        angle = np.outer(np.arange(x.shape[1]), base ** (-np.arange(0, self.rope_size, 2) / self.rope_size))
        first, second = self.kind.pairs(self.rope_size)
        a, b = x[..., first], x[..., second]
        turned = x.copy()
        turned[..., first] = a * np.cos(angle) - b * np.sin(angle)
        turned[..., second] = a * np.sin(angle) + b * np.cos(angle)
        return turned

    def visible(self, n: int, layer: int) -> np.ndarray:
        """[query, key]: what a query may look at."""
        distance = np.arange(n)[:, None] - np.arange(n)
        reach = int(self.said("attention.sliding_window")) if self.windowed(layer) else n
        return (distance >= 0) & (distance < reach)

    def windowed(self, layer: int) -> bool:
        return (layer + 1) % self.kind.unlimited_every != 0

    def output_of_heads(self, layer: int) -> Array:
        """[head, head_size, n_embd]: what the output projection does with each head."""
        matrix = self.weights[f"blk.{layer}.attn_output.weight"]
        return matrix.T.reshape(self.info.n_head, self.head_size, -1)

    def feed_forward(self, x: Array, layer: int) -> Array:
        name = f"blk.{layer}.ffn_"
        if name + "gate_inp.weight" in self.weights:
            return self.experts(x, name)
        up = self.linear(x, name + "up")
        if name + "gate.weight" in self.weights:
            gate = self.linear(x, name + "gate")
        elif up.shape[-1] == 2 * self.weights[name + "down.weight"].shape[-1]:  # both in one matrix
            gate, up = np.split(up, 2, axis=-1)
        else:
            return self.linear(self.activation(up), name + "down")
        return self.linear(self.activation(gate) * up, name + "down")

    def experts(self, x: Array, name: str) -> Array:
        """The best experts of each token, weighed by how good they are, and one that all tokens share."""
        shares = softmax(self.linear(x, name + "gate_inp"))
        used = int(self.said("expert_used_count"))
        shares = np.where(shares >= np.sort(shares)[:, -used][:, None], shares, 0.0)
        gate, up = (np.einsum("pi,eoi->epo", x, self.weights[f"{name}{each}_exps.weight"]) for each in ("gate", "up"))
        made = np.einsum("epi,eoi->epo", self.activation(gate) * up, self.weights[f"{name}down_exps.weight"])
        shared = self.activation(self.linear(x, name + "gate_shexp")) * self.linear(x, name + "up_shexp")
        open_ = 1 / (1 + np.exp(-x @ self.weights[f"{name}gate_inp_shexp.weight"]))
        return np.einsum("pe,epo->po", shares, made) + open_[:, None] * self.linear(shared, name + "down_shexp")

    def unembed(self, x: Array) -> Array:
        """Logits [..., n_vocab] of residual streams x [..., n_embd]; of an earlier layer's: the logit lens."""
        return capped(self.norm(x, "output_norm") @ self.output.T, self.logit_cap)

    @property
    def output(self) -> Array:
        """[n_vocab, n_embd]"""
        return self.weights.get("output.weight", self.weights["token_embd.weight"])

    def attribution(self, run: Run, position: int, token: int) -> Attribution:
        """Who added what to the logit of `token` at `position` of a run of this model."""

        def share(x: Array) -> Array:
            return self.gain(x, "output_norm", at=run.residual[-1, position]) @ self.output[token]

        heads = [
            self.gain(each, f"blk.{n}.post_attention_norm", at=each.sum(0) + self.bias(f"blk.{n}.attn_output"))
            for n, each in enumerate(run.projected[:, :, position])
        ]
        return Attribution(
            embedding=share(run.embedding[position]),
            attn_out=share(run.attn_out[:, position]),
            mlp=share(run.mlp[:, position]),
            added=share(run.added[:, position]),
            heads=share(np.stack(heads)),
            constant=float(np.sum(self.bias("output_norm") * self.output[token])),
        )

    def norm(self, x: Array, name: str) -> Array:
        """RMSNorm or LayerNorm over the last axis; x itself where the model has no norm of that name."""
        return self.gain(x, name, at=x) + self.bias(name)

    def gain(self, x: Array, name: str, *, at: Array) -> Array:
        """The linear part of a norm: centre x, divide by the scale that `at` has, weigh."""
        if f"{name}.weight" not in self.weights:
            return x
        scale = np.sqrt((self.centre(at) ** 2).mean(-1, keepdims=True) + self.eps)
        return self.centre(x) / scale * self.weights[f"{name}.weight"]

    def centre(self, x: Array) -> Array:
        return x - x.mean(-1, keepdims=True) if self.kind.centred else x

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.bias(name)

    def bias(self, name: str) -> Array | float:
        return self.weights.get(f"{name}.bias", 0.0)


def capped(x: Array, cap: float) -> Array:
    return cap * np.tanh(x / cap) if cap else x
