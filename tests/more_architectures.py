"""Tiny random-weight models of many architectures, each told in a few words: what tensors a block has.

``make(path, "phi2")`` writes one; `KINDS` names them all. They have three blocks unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gguf

from tests.make_models import Tensor, add_vocabulary, bpe_vocabulary, finished, random_weights

N_VOCAB, N_LAYER, N_HEAD = 512, 3, 4

SHAPES = {
    "attn_q": (64, 64),
    "attn_k": (32, 64),
    "attn_v": (32, 64),
    "attn_qkv": (128, 64),
    "attn_output": (64, 64),
    "attn_gate": (64, 64),
    "attn_q_norm": (16,),
    "attn_k_norm": (16,),
    "attn_sinks": (4,),
    "attn_q_a": (24, 64),
    "attn_q_a_norm": (24,),
    "attn_q_b": (96, 24),
    "attn_kv_a_mqa": (40, 64),
    "attn_kv_a_norm": (32,),
    "attn_k_b": (4, 32, 16),
    "attn_v_b": (4, 16, 32),
    "ffn_gate": (96, 64),
    "ffn_up": (96, 64),
    "ffn_down": (64, 96),
    "ffn_gate_inp": (4, 64),
    "ffn_gate_exps": (4, 32, 64),
    "ffn_up_exps": (4, 32, 64),
    "ffn_down_exps": (4, 64, 32),
    "ffn_gate_inp_shexp": (64,),
    "ffn_gate_shexp": (32, 64),
    "ffn_up_shexp": (32, 64),
    "ffn_down_shexp": (64, 32),
    "ssm_in": (256, 64),
    "ssm_conv1d": (128, 4),
    "ssm_x": (40, 128),
    "ssm_dt": (128, 8),
    "ssm_dt_norm": (8,),
    "ssm_b_norm": (16,),
    "ssm_c_norm": (16,),
    "ssm_a": (128, 16),
    "ssm_d": (128,),
    "ssm_out": (64, 128),
    "shortconv.conv": (64, 3),
    "shortconv.in_proj": (192, 64),
    "shortconv.out_proj": (64, 64),
    "token_embd": (N_VOCAB, 64),
    "output": (N_VOCAB, 64),
    "inp_gate": (256, 64),
    "proj": (64, 256),
    "altup_correct_coef": (4, 4),
    "altup_predict_coef": (16, 4),
    "altup_router": (4, 64),
    "laurel_l": (64, 64),
    "laurel_r": (64, 64),
    "altup_proj": (3, 64, 64),
    "altup_unembd_proj": (3, 64, 64),
    "per_layer_token_embd": (N_VOCAB, 256 * N_LAYER),
    "per_layer_model_proj": (256 * N_LAYER, 64),
    "per_layer_proj_norm": (256,),
    "nextn.eh_proj": (64, 128),
}
"""Of the weights by name, [outputs, inputs]; what is not here, mostly norms, has one for each number of the stream."""

ATTENTION = "attn_norm attn_q attn_k attn_v attn_output "
GATED = "ffn_gate ffn_up ffn_down "
EXPERTS = "ffn_gate_inp ffn_gate_exps ffn_up_exps ffn_down_exps "
SHARED = "ffn_gate_shexp ffn_up_shexp ffn_down_shexp "
MLA = "attn_norm attn_q_a attn_q_a_norm attn_q_b attn_kv_a_mqa attn_kv_a_norm attn_k_b attn_v_b attn_output ffn_norm "
LING = "attn_norm attn_qkv attn_output attn_q_norm attn_k_norm ffn_norm " + EXPERTS + SHARED
MAMBA = "attn_norm ssm_in ssm_conv1d+ ssm_x ssm_dt+ =ssm_a =ssm_d ssm_out "
MAMBA2 = "ssm_in ssm_conv1d+ ssm_dt.bias =ssm_a =ssm_d ssm_out "

HEADS = {"attention.key_length": 16, "attention.value_length": 16}
MOE = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32}
STATES = {"ssm.conv_kernel": 4, "ssm.inner_size": 128, "ssm.state_size": 16, "ssm.time_step_rank": 8}
ONE_OF_THREE = {"attention.head_count_kv": [0, 2, 0]}
"""The block in the middle has attention."""


@dataclass(frozen=True)
class Kind:
    """What an architecture is made of.

    Attributes
    ----------
    blocks : the tensors of each block, between bars; those of the last are those of all that follow. ``name`` has a
        weight, ``name+`` a bias too, ``name.bias`` that alone, and ``=name`` is called that and nothing else
    ends : the same, of what is not in a block, beside the embedding
    keys : of the header, beyond the usual
    shapes : where they are not those of `SHAPES`, by the name of a tensor, in all blocks or in one
    architecture : its name for llama.cpp, where it is another
    """

    blocks: str
    ends: str = "output_norm"
    keys: Mapping[str, object] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    architecture: str = ""


SIDE_BY_SIDE = {
    "phi2": Kind("attn_norm+ attn_q+ attn_k+ attn_v+ attn_output+ ffn_up+ ffn_down+", "output_norm+ output+"),
    "gptneox": Kind(
        "attn_norm+ attn_qkv+ attn_output+ ffn_norm+ ffn_up+ ffn_down+",
        "output_norm+ output",
        {"use_parallel_residual": True, "rope.dimension_count": 8},
    ),
    "falcon": Kind("attn_norm+ attn_qkv attn_output ffn_up ffn_down", "output_norm+"),
    "command-r": Kind(ATTENTION + GATED, keys={"logit_scale": 0.25}),
    "cohere2": Kind(ATTENTION + GATED, keys={"logit_scale": 0.25, "attention.sliding_window": 16}),
    "stablelm": Kind("attn_norm+ attn_q attn_k attn_v attn_output " + GATED, "output_norm+ output"),
}
"""Attention and MLP read the same stream."""

ONE_AFTER_THE_OTHER = {
    "qwen3": Kind(ATTENTION + "attn_q_norm attn_k_norm ffn_norm " + GATED, keys=HEADS),
    "phi3": Kind(
        "attn_norm attn_qkv attn_output ffn_norm ffn_up ffn_down", "output_norm output", shapes={"ffn_up": (192, 64)}
    ),
    "olmo2": Kind(
        "attn_q attn_k attn_v attn_q_norm attn_k_norm attn_output post_attention_norm post_ffw_norm " + GATED,
        "output_norm output",
        shapes={"attn_q_norm": (64,), "attn_k_norm": (32,)},
    ),
    "glm4": Kind(
        ATTENTION + "post_attention_norm ffn_norm ffn_up ffn_down post_ffw_norm", shapes={"ffn_up": (192, 64)}
    ),
    "starcoder2": Kind(
        "attn_norm+ attn_q+ attn_k+ attn_v+ attn_output+ ffn_norm+ ffn_up+ ffn_down+", "output_norm+ output"
    ),
    "bloom": Kind(
        "attn_norm+ attn_qkv+ attn_output+ ffn_norm+ ffn_up+ ffn_down+",
        "token_embd_norm+ output_norm+",
        {"attention.head_count_kv": 4},
        {"attn_qkv": (192, 64)},
    ),
    "granite": Kind(
        ATTENTION + "ffn_norm " + GATED,
        keys={"residual_scale": 0.5, "embedding_scale": 3.0, "logit_scale": 4.0, "attention.scale": 0.3},
    ),
}
"""As in Llama, with norms behind the two, biases, scales, positions by ALiBi, and matrices that are one."""

OF_EXPERTS = {
    "mixtral": Kind(ATTENTION + "ffn_norm " + EXPERTS, keys=MOE | {"feed_forward_length": 32}, architecture="llama"),
    "qwen2moe": Kind(
        "attn_norm attn_q+ attn_k+ attn_v+ attn_output ffn_norm ffn_gate_inp_shexp " + EXPERTS + SHARED,
        "output_norm output",
        MOE | {"expert_shared_feed_forward_length": 32},
    ),
    "qwen3moe": Kind(ATTENTION + "attn_q_norm attn_k_norm ffn_norm " + EXPERTS, keys=MOE | HEADS),
    "gpt-oss": Kind(
        "attn_norm attn_q+ attn_k+ attn_v+ attn_output+ attn_sinks post_attention_norm "
        "ffn_gate_inp+ ffn_gate_exps+ ffn_up_exps+ ffn_down_exps+",
        "output_norm output",
        MOE | HEADS | {"attention.sliding_window": 16},
    ),
    "bailingmoe2": Kind(
        f"{LING} | {LING} | {LING} | {LING} layer_output_norm nextn.eh_proj nextn.enorm nextn.hnorm",
        "output_norm output",
        {
            **MOE,
            **HEADS,
            "block_count": 4,
            "nextn_predict_layers": 1,
            "expert_gating_func": 1,
            "expert_shared_count": 1,
            "expert_shared_feed_forward_length": 32,
        },
    ),
    "deepseek2": Kind(
        f"{MLA} {GATED} | {MLA} {EXPERTS} {SHARED}",
        "output_norm output",
        {
            **MOE,
            "attention.head_count_kv": 1,
            "attention.q_lora_rank": 24,
            "attention.kv_lora_rank": 32,
            "attention.key_length": 40,
            "attention.value_length": 32,
            "attention.key_length_mla": 24,
            "attention.value_length_mla": 16,
            "rope.dimension_count": 8,
            "leading_dense_block_count": 1,
            "expert_shared_count": 1,
            "expert_weights_scale": 1.0,
            "expert_gating_func": 1,
        },
    ),
}
"""The MLP is some of several: gpt-oss has attention sinks, bailingmoe2 a block that guesses further tokens, deepseek2 a
compressed cache (MLA).
"""

WITH_LESS = {
    "mamba": Kind(MAMBA, keys=STATES),
    "jamba": Kind(
        f"{MAMBA} ssm_dt_norm ssm_b_norm ssm_c_norm ffn_norm {GATED} | {ATTENTION} ffn_norm {GATED} | "
        f"{MAMBA} ssm_dt_norm ssm_b_norm ssm_c_norm ffn_norm {GATED}",
        keys=STATES | ONE_OF_THREE,
    ),
    "lfm2": Kind(
        f"attn_norm shortconv.conv shortconv.in_proj shortconv.out_proj ffn_norm {GATED} | "
        f"{ATTENTION} attn_q_norm attn_k_norm ffn_norm {GATED} | "
        f"attn_norm shortconv.conv shortconv.in_proj shortconv.out_proj ffn_norm {GATED}",
        "token_embd_norm",
        {"shortconv.l_cache": 3} | ONE_OF_THREE,
    ),
    "falcon-h1": Kind(
        f"{ATTENTION} {MAMBA2} =ffn_norm {GATED}",
        keys=STATES | HEADS | {"ssm.group_count": 1},
        shapes={"ssm_in": (296, 64), "ssm_conv1d": (160, 4), "ssm_dt": (8,), "ssm_a": (8, 1), "ssm_d": (8, 1)},
    ),
    "gemma3n": Kind(
        f"{ATTENTION} attn_q_norm attn_k_norm post_attention_norm ffn_norm {GATED} post_ffw_norm inp_gate proj "
        "post_norm altup_correct_coef altup_correct_scale altup_predict_coef altup_router altup_router_norm "
        "laurel_l laurel_r laurel_post_norm",
        "altup_proj altup_unembd_proj per_layer_token_embd per_layer_model_proj per_layer_proj_norm output_norm",
        {"attention.sliding_window": 64},
    ),
    "gemma4": Kind(
        f"{ATTENTION} attn_q_norm attn_k_norm post_attention_norm ffn_norm {GATED} post_ffw_norm layer_output_scale",
        "rope_freqs output_norm",
        {
            "attention.key_length": 32,
            "attention.value_length": 32,
            "attention.key_length_swa": 16,
            "attention.value_length_swa": 16,
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": [True, True, False],
            "embedding_length_per_layer_input": 0,
            "final_logit_softcapping": 30.0,
        },
        {
            "rope_freqs": (16,),
            "layer_output_scale": (1,),
            "blk.2.attn_q": (128, 64),
            "blk.2.attn_k": (64, 64),
            "blk.2.attn_v": (64, 64),
            "blk.2.attn_output": (64, 128),
            "blk.2.attn_q_norm": (32,),
            "blk.2.attn_k_norm": (32,),
        },
    ),
}
"""States instead of keys, in all blocks, in some, or beside attention; several streams; a stream that is scaled."""

KINDS = SIDE_BY_SIDE | ONE_AFTER_THE_OTHER | OF_EXPERTS | WITH_LESS


def make(path: Path, name: str, seed: int = 0) -> Path:
    """Write one of `KINDS`, F32, and return its path."""
    kind = KINDS[name]
    writer = gguf.GGUFWriter(path, kind.architecture or name)
    writer.add_name("tiny")  # llama.cpp takes a model that is called after some families for one of them
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    usual = {
        "context_length": 512,
        "embedding_length": 64,
        "block_count": N_LAYER,
        "feed_forward_length": 96,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": 2,
        "attention.layer_norm_epsilon": 1e-5,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 16,
        "rope.freq_base": 10_000.0,
        "vocab_size": N_VOCAB,
    }
    keys = usual | dict(kind.keys)
    for key, value in keys.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}
        add[type(value)](f"{kind.architecture or name}.{key}", value)
    add_vocabulary(writer, bpe_vocabulary(N_VOCAB))
    for tensor, (data, dtype) in tensors(kind, keys["block_count"], seed):
        writer.add_tensor(tensor, data, raw_dtype=dtype)
    return finished(writer, path)


def tensors(kind: Kind, n_layer: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Names and weights. Those of norms and scales are around 1, and the decay of a state is negative."""
    draw = random_weights("F32", seed)
    blocks = kind.blocks.split("|")
    words = [("", word) for word in ("token_embd", *kind.ends.split())]
    for layer in range(n_layer):
        words += [(f"blk.{layer}.", word) for word in blocks[min(layer, len(blocks) - 1)].split()]
    for prefix, word in words:
        name = word.strip("=+").removesuffix(".bias")
        shape = kind.shapes.get(prefix + name) or kind.shapes.get(name) or SHAPES.get(name, (64,))
        if word.endswith(".bias"):
            yield prefix + word, draw(shape, 0.1)
            continue
        deviation = 0.1 if len(shape) == 1 else (2.5 if name in ("token_embd", "output") else 1) * shape[-1] ** -0.5
        data, dtype = draw(shape, deviation)
        if "norm" in name or name.endswith("scale"):
            data = data + 1
        if name == "ssm_a":
            data = -abs(data) - 0.1
        yield prefix + name + ("" if word.startswith("=") else ".weight"), (data.astype("f4"), dtype)
        if word.endswith("+"):
            yield prefix + name + ".bias", draw(shape[:-1] or shape, 0.1)
