"""Hyperparameters: heads, widths, layers, context, rope, experts, windows, and what other architectures want."""

from __future__ import annotations

import random

from tests.fuzz.bases import BASES, renamed
from tests.fuzz.draft import ARRAY, BOOL, F32, I32, TEXT, U32, U64, Draft
from tests.fuzz.mutations.registry import REALS, TEXTS, WHOLES, mutation

SHAPES = (
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
    "vocab_size",
    "context_length",
)

MORE = (
    "attention.sliding_window",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "rope.dimension_count_swa",
    "expert_count",
    "expert_used_count",
    "expert_shared_count",
    "expert_feed_forward_length",
    "expert_group_count",
    "expert_group_used_count",
    "expert_gating_func",
    "leading_dense_block_count",
    "interleave_moe_layer_step",
    "nextn_predict_layers",
    "pooling_type",
    "attention.shared_kv_layers",
    "attention.q_lora_rank",
    "attention.kv_lora_rank",
    "attention.key_length_mla",
    "attention.value_length_mla",
    "ssm.conv_kernel",
    "ssm.inner_size",
    "ssm.state_size",
    "ssm.time_step_rank",
    "ssm.group_count",
    "wkv.head_size",
    "attention.relative_buckets_count",
    "decoder_block_count",
    "full_attention_interval",
    "n_deepstack_layers",
    "embedding_length_per_layer_input",
    "embedding_length_out",
    "token_shift_count",
    "attention.temperature_length",
    "attention.group_norm_groups",
    "altup.num_inputs",
    "num_loops",
    "rope.scaling.original_context_length",
    "classifier.output_labels",
    "shortconv.l_cache",
    "attention.indexer.head_count",
    "attention.indexer.top_k",
)
"""Whole numbers that some architecture reads."""

FACTORS = (
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scale_linear",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention.scale",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "expert_weights_scale",
    "attention.output_scale",
    "attention.temperature_scale",
    "router_logit_softcapping",
)

ARCHITECTURES = (
    "llama",
    "llama4",
    "mistral3",
    "qwen",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen3moe",
    "qwen3next",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3n",
    "gemma4",
    "gemma-embedding",
    "gpt2",
    "gptneox",
    "phi2",
    "phi3",
    "phimoe",
    "bloom",
    "mpt",
    "falcon",
    "falcon-h1",
    "starcoder",
    "starcoder2",
    "stablelm",
    "baichuan",
    "bert",
    "modern-bert",
    "nomic-bert",
    "jina-bert-v2",
    "t5",
    "t5encoder",
    "mamba",
    "mamba2",
    "jamba",
    "rwkv6",
    "rwkv7",
    "deepseek",
    "deepseek2",
    "chatglm",
    "glm4",
    "glm4moe",
    "bitnet",
    "olmo",
    "olmo2",
    "olmoe",
    "openelm",
    "arctic",
    "dbrx",
    "command-r",
    "cohere2",
    "exaone",
    "exaone4",
    "granite",
    "granitemoe",
    "granitehybrid",
    "nemotron",
    "nemotron_h",
    "minicpm",
    "minicpm3",
    "plamo",
    "plamo2",
    "internlm2",
    "orion",
    "xverse",
    "refact",
    "codeshell",
    "jais",
    "grok",
    "gpt-oss",
    "dream",
    "llada",
    "smollm3",
    "lfm2",
    "hunyuan-moe",
    "ernie4_5",
    "apertus",
    "deci",
    "chameleon",
    "wavtokenizer-dec",
    "clip",
    "seed_oss",
    "dots1",
    "arcee",
    "plm",
    "bailingmoe",
    "kimi-linear",
    "smallthinker",
)


def _set(draft: Draft, key: str, kind: int, value: object, of: int = 0) -> None:
    draft.set(f"{draft.architecture}.{key}", kind, value, of)


@mutation
def hyperparameter(draft: Draft, dice: random.Random) -> None:
    """One of those that the tensors' shapes come from."""
    key = dice.choice(SHAPES)
    _set(draft, key, U32, dice.choice([*WHOLES, 4, 6, 8, 12, 16, 24, 40, 48]))


@mutation
def hyperparameters(draft: Draft, dice: random.Random) -> None:
    """Several at once, near what they were."""
    for key in dice.sample(SHAPES, dice.choice([2, 3])):
        _set(draft, key, U32, dice.choice([0, 1, 2, 3, 4, 8, 16, 32, 64]))


@mutation
def hyperparameter_more(draft: Draft, dice: random.Random) -> None:
    """One that another architecture, or a newer one, has."""
    for key in dice.sample(MORE, dice.choice([1, 1, 2, 5])):
        _set(draft, key, U32, dice.choice([*WHOLES, 4, 8, 16, 32]))


@mutation
def hyperparameter_type(draft: Draft, dice: random.Random) -> None:
    key, kind = dice.choice([*SHAPES, *FACTORS]), dice.choice([TEXT, F32, BOOL, U64, I32, ARRAY])
    of = dice.choice([TEXT, F32, U32, I32, BOOL]) if kind == ARRAY else 0
    if kind == ARRAY:
        n = dice.choice([0, 1, 2, 3, 600, 5_000])
        value: object = [dice.choice(TEXTS) if of == TEXT else dice.choice([0, 1, 2, 32, 999_999]) for _ in range(n)]
    else:
        value = dice.choice(TEXTS) if kind == TEXT else dice.choice(REALS) if kind == F32 else dice.choice(WHOLES)
    _set(draft, key, kind, value, of)


@mutation
def per_layer(draft: Draft, dice: random.Random) -> None:
    """Numbers for each layer, where one for all is meant: as many as there are layers, or not."""
    key = dice.choice(
        [
            "attention.head_count",
            "attention.head_count_kv",
            "feed_forward_length",
            "attention.sliding_window",
            "attention.sliding_window_pattern",
            "attention.recurrent_layers",
        ]
    )
    n, numbers = dice.choice([0, 1, 2, 2, 2, 3, 512, 513]), [0, 1, 2, 2, 3, 32, (1 << 32) - 1, 1 << 31]
    _set(draft, key, ARRAY, [dice.choice(numbers) for _ in range(n)], dice.choice([U32, I32, BOOL]))


@mutation
def heads(draft: Draft, dice: random.Random) -> None:
    """Numbers of heads that do not divide anything, or divide by zero."""
    _set(draft, "attention.head_count", U32, dice.choice([0, 1, 2, 3, 4, 5, 16, 32, 64, 1_000, (1 << 32) - 1]))
    _set(draft, "attention.head_count_kv", U32, dice.choice([0, 1, 2, 3, 4, 7, 64, (1 << 32) - 1]))
    if dice.random() < 0.5:
        size = dice.choice([0, 1, 2, 3, 8, 16, 17, 32, 256])
        _set(draft, "attention.key_length", U32, size)
        _set(draft, "attention.value_length", U32, dice.choice([0, 1, size, 32]))


@mutation
def context_length(draft: Draft, dice: random.Random) -> None:
    _set(draft, "context_length", dice.choice([U32, U32, U64, I32]), dice.choice([*WHOLES, 4, 16]))


@mutation
def layers(draft: Draft, dice: random.Random) -> None:
    _set(draft, "block_count", U32, dice.choice([0, 1, 3, 4, 511, 512, 513, 1 << 20, 1 << 31, (1 << 32) - 1]))


@mutation
def rope(draft: Draft, dice: random.Random) -> None:
    kind = dice.choice([b"none", b"linear", b"yarn", b"longrope", b"su", b"", b"nonsense"])
    _set(draft, "rope.scaling.type", TEXT, kind)
    _set(draft, "rope.dimension_count", U32, dice.choice([0, 1, 2, 3, 15, 16, 16, 17, 32, 64, 1 << 31]))
    for key in dice.sample(FACTORS[:9], 3):
        _set(draft, key, F32, dice.choice(REALS))
    _set(draft, "rope.scaling.original_context_length", U32, dice.choice(WHOLES))
    if dice.random() < 0.3:
        _set(
            draft,
            "rope.dimension_sections",
            ARRAY,
            [dice.choice([0, 1, 8, -1, 1 << 30])] * dice.choice([0, 3, 4, 5]),
            I32,
        )


@mutation
def factor(draft: Draft, dice: random.Random) -> None:
    for key in dice.sample(FACTORS, dice.choice([1, 2])):
        _set(draft, key, F32, dice.choice(REALS))


@mutation
def experts(draft: Draft, dice: random.Random) -> None:
    _set(draft, "expert_count", U32, dice.choice([0, 1, 2, 4, 5, 512, 513, 1 << 31]))
    _set(draft, "expert_used_count", U32, dice.choice([0, 1, 2, 4, 5, 1 << 31]))
    _set(draft, "expert_gating_func", U32, dice.choice([0, 1, 2, 3, 4, 99]))
    if dice.random() < 0.5:
        _set(draft, "expert_group_count", U32, dice.choice([0, 1, 2, 3, 99]))
        _set(draft, "expert_group_used_count", U32, dice.choice([0, 1, 2, 3, 99]))


@mutation
def window(draft: Draft, dice: random.Random) -> None:
    _set(draft, "attention.sliding_window", U32, dice.choice([*WHOLES]))
    _set(draft, "attention.sliding_window_pattern", dice.choice([U32, BOOL]), dice.choice([0, 1, 2, 3, 6, 99, 1 << 31]))


@mutation
def state_space(draft: Draft, dice: random.Random) -> None:
    for key in dice.sample(["conv_kernel", "inner_size", "state_size", "time_step_rank", "group_count"], 2):
        _set(draft, f"ssm.{key}", U32, dice.choice([*WHOLES, 4, 8, 16, 128]))


@mutation
def attention_kind(draft: Draft, dice: random.Random) -> None:
    """A model that sees ahead, pools, or knows its positions otherwise."""
    for key, kind, values in dice.sample(
        [
            ("attention.causal", BOOL, [0]),
            ("pooling_type", U32, [0, 1, 2, 3, 4, 99]),
            ("use_parallel_residual", BOOL, [0, 1]),
            ("attention.max_alibi_bias", F32, [8.0, float("nan")]),
            ("swin_norm", BOOL, [1]),
            ("expert_weights_norm", BOOL, [1]),
            ("tensor_data_layout", TEXT, [b"", b"Meta AI original pth"]),
        ],
        2,
    ):
        _set(draft, key, kind, dice.choice(values))


@mutation
def architecture(draft: Draft, dice: random.Random) -> None:
    """Another architecture's name, with the hyperparameters under it: the tensors are those of the old."""
    renamed(draft, dice.choice([*ARCHITECTURES, *BASES]))
    for key in dice.sample([*MORE, *SHAPES], dice.choice([0, 0, 6])):
        if draft.get(f"{draft.architecture}.{key}") is None:
            _set(draft, key, U32, dice.choice([1, 2, 4, 16, 32]))
    _set(draft, "attention.layer_norm_epsilon", F32, 1e-5)
    _set(draft, "attention.layer_norm_rms_epsilon", F32, 1e-5)


@mutation
def architecture_unknown(draft: Draft, dice: random.Random) -> None:
    draft.set("general.architecture", TEXT, dice.choice([*TEXTS, b"llama\0", b"LLAMA", b"(unknown)", b"%s", b"llama5"]))


@mutation
def general(draft: Draft, dice: random.Random) -> None:
    """What is said of the file at large."""
    for key, kind in dice.sample(
        [
            ("name", TEXT),
            ("file_type", U32),
            ("quantization_version", U32),
            ("type", TEXT),
            ("description", TEXT),
            ("sampling.temp", F32),
            ("sampling.top_k", I32),
        ],
        2,
    ):
        value = dice.choice([*TEXTS, b"adapter", b"mmproj"] if kind == TEXT else REALS if kind == F32 else WHOLES)
        draft.set(f"general.{key}", kind, value)


@mutation
def name_that_fills_the_log(draft: Draft, dice: random.Random) -> None:
    """Which must not stand for the last words of the process that something else ends."""
    draft.set(
        "general.name", TEXT, dice.choice([b"loud " * 20_000, b"\nGGML_ASSERT(x) failed" * 200, b"\x1b[31m" * 9_000])
    )
    _set(draft, "rope.dimension_count", U32, dice.choice([3, 15, 17, 1 << 31]))
