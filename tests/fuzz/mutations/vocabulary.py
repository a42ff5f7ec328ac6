"""Tokens, their scores, types and merges, the kind of tokenizer, special ids."""

from __future__ import annotations

import random

from tests.fuzz.draft import ARRAY, BOOL, F32, I32, TEXT, U8, U32, Draft
from tests.fuzz.mutations.registry import REALS, TEXTS, WHOLES, mutation

TOKENIZERS = (
    b"llama",
    b"gpt2",
    b"bert",
    b"t5",
    b"rwkv",
    b"none",
    b"no_vocab",
    b"plamo2",
    b"gemma4",
    b"hybriddna",
    b"whitespace",
    b"test",
    b"",
    b"unigram",
    b"replit",
    b"LLAMA",
    b"\xff",
    b"llama\0",
)

PRE = (
    b"default",
    b"llama3",
    b"llama-bpe",
    b"falcon",
    b"mpt",
    b"starcoder",
    b"gpt-2",
    b"deepseek-llm",
    b"deepseek-coder",
    b"deepseek-v3",
    b"command-r",
    b"qwen2",
    b"qwen35",
    b"stablelm2",
    b"olmo",
    b"dbrx",
    b"smaug-bpe",
    b"poro-chat",
    b"chatglm-bpe",
    b"glm4",
    b"viking",
    b"jais",
    b"tekken",
    b"smollm",
    b"codeshell",
    b"bloom",
    b"gpt3-finnish",
    b"exaone",
    b"exaone4",
    b"chameleon",
    b"minerva-7b",
    b"megrez",
    b"gpt-4o",
    b"llama4",
    b"superbpe",
    b"trillion",
    b"bailingmoe",
    b"seed-coder",
    b"hunyuan",
    b"kimi-k2",
    b"grok-2",
    b"minimax-m2",
    b"whitespace",
    b"refact",
    b"jina-v2-code",
    b"roberta-bpe",
    b"modern-bert",
    b"gemma4",
    b"talkie",
    b"",
    b"nonsense",
    b"\xff",
)

SPECIAL = (
    "bos",
    "eos",
    "eot",
    "eom",
    "unknown",
    "seperator",
    "padding",
    "cls",
    "mask",
    "fim_pre",
    "fim_suf",
    "fim_mid",
    "fim_pad",
    "fim_rep",
    "fim_sep",
    "prefix",
    "suffix",
    "middle",
)

FLAGS = ("add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix", "remove_extra_whitespaces")

LISTS = ("tokens", "token_type", "scores", "merges")


def _list(draft: Draft, name: str) -> list[object]:
    pair = draft.find(f"tokenizer.ggml.{name}")
    return pair.value if pair and pair.kind == ARRAY else []


def _some(values: list[object], dice: random.Random) -> list[int]:
    """Indices of one, a few, half or all."""
    n = len(values)
    return dice.sample(range(n), min(n, dice.choice([1, 5, n // 2, n])))


@mutation
def tokens_texts(draft: Draft, dice: random.Random) -> None:
    """Empty ones, invalid UTF-8, zero bytes, controls, markup."""
    tokens = _list(draft, "tokens")
    for i in _some(tokens, dice):
        tokens[i] = dice.choice(TEXTS)


@mutation
def tokens_alike(draft: Draft, dice: random.Random) -> None:
    tokens = _list(draft, "tokens")
    one = dice.choice(tokens)
    for i in _some(tokens, dice):
        tokens[i] = one


@mutation
def tokens_long(draft: Draft, dice: random.Random) -> None:
    tokens = _list(draft, "tokens")
    for i in dice.sample(range(len(tokens)), 3):
        tokens[i] = dice.choice([b"ab" * 2_000, b"\xe2\x96\x81" * 3_000, b"x" * 300_000, b"\xff" * 1_000])


@mutation
def tokens_of_bytes(draft: Draft, dice: random.Random) -> None:
    """Byte tokens that are missing, wrong or there twice."""
    tokens = _list(draft, "tokens")
    for i in range(3, min(259, len(tokens))):
        if dice.random() < dice.choice([0.01, 0.5, 1.0]):
            tokens[i] = dice.choice([b"<0xZZ>", b"<0x>", b"<0x100>", b"<0x0A", b"plain%d" % i, b"<0x41>"])


@mutation
def token_types(draft: Draft, dice: random.Random) -> None:
    types, kinds = _list(draft, "token_type"), [0, 1, 2, 3, 4, 5, 6, 7, 99, -1, 1 << 30, -(1 << 31)]
    kind = dice.choice(kinds)
    for i in _some(types, dice):
        types[i] = dice.choice([kind, dice.choice(kinds)])


@mutation
def token_types_of_bytes(draft: Draft, dice: random.Random) -> None:
    """Every token is one of a byte, of control, or unused, whatever it says."""
    types = _list(draft, "token_type")
    kind = dice.choice([2, 3, 4, 5, 6])
    types[:] = [kind] * len(types)


@mutation
def scores(draft: Draft, dice: random.Random) -> None:
    tokens = len(_list(draft, "tokens"))
    values = _list(draft, "scores") or [0.0] * tokens
    for i in _some(values, dice):
        values[i] = dice.choice(REALS)
    draft.set("tokenizer.ggml.scores", ARRAY, values, F32)


@mutation
def merges(draft: Draft, dice: random.Random) -> None:
    """Merges that lead nowhere, to themselves, or are none."""
    tokens = _list(draft, "tokens")
    values = _list(draft, "merges") or [b"a b"] * 100
    for i in _some(values, dice):
        a, b = (bytes(token) for token in dice.choices(tokens, k=2))
        values[i] = dice.choice([*TEXTS, b"a", b" ", b"a  b", b" a", b"a ", b"a b c", a + b" " + b, b" " * 50])
    draft.set("tokenizer.ggml.merges", ARRAY, values, TEXT)


@mutation
def vocabulary_lengths(draft: Draft, dice: random.Random) -> None:
    """Lists of tokens, types, scores and merges that are not of one length."""
    values = _list(draft, dice.choice([name for name in LISTS if _list(draft, name)]))
    n = dice.choice([0, 1, len(values) // 2, len(values) - 1, len(values) + 1, len(values) * 2])
    values[:] = (values * 3)[:n]


@mutation
def vocabulary_gone(draft: Draft, dice: random.Random) -> None:
    for name in dice.sample(["tokens", "token_type", "scores", "merges", "model", "pre"], dice.choice([1, 2])):
        draft.pairs = [pair for pair in draft.pairs if pair.key != f"tokenizer.ggml.{name}".encode()]


@mutation
def vocabulary_empty(draft: Draft, dice: random.Random) -> None:
    """No token at all; the matrix may agree."""
    for name in LISTS:
        _list(draft, name).clear()
    if dice.random() < 0.5:
        draft.set(f"{draft.architecture}.vocab_size", U32, dice.choice([0, 1, 320, (1 << 32) - 1]))
    if dice.random() < 0.5:
        embedding = draft.tensor("token_embd.weight")
        if embedding:
            embedding.shape[-1], embedding.data = 0, b""


@mutation
def vocabulary_small(draft: Draft, dice: random.Random) -> None:
    """A few tokens, with everything of that size."""
    n = dice.choice([1, 2, 3, 10, 258, 260])
    old = len(_list(draft, "tokens"))
    for name in ("tokens", "token_type", "scores"):
        del _list(draft, name)[n:]
    for tensor in draft.tensors:
        if len(tensor.shape) == 2 and tensor.shape[1] == old:
            tensor.data, tensor.shape[1] = tensor.data[: len(tensor.data) // old * n], n


@mutation
def vocabulary_shuffled(draft: Draft, dice: random.Random) -> None:
    dice.shuffle(_list(draft, dice.choice(LISTS)))


@mutation
def tokenizer(draft: Draft, dice: random.Random) -> None:
    """Another kind of tokenizer over the same tokens."""
    draft.set("tokenizer.ggml.model", TEXT, dice.choice(TOKENIZERS))
    if dice.random() < 0.5:
        draft.set("tokenizer.ggml.pre", TEXT, dice.choice(PRE))


@mutation
def tokenizer_pre(draft: Draft, dice: random.Random) -> None:
    draft.set("tokenizer.ggml.model", TEXT, b"gpt2")
    draft.set("tokenizer.ggml.pre", TEXT, dice.choice(PRE))
    if not _list(draft, "merges"):
        draft.set("tokenizer.ggml.merges", ARRAY, [b"a b", b"o n"], TEXT)


@mutation
def tokenizer_unigram(draft: Draft, dice: random.Random) -> None:
    """A T5 vocabulary, whose map of characters is a table of offsets that llama.cpp follows."""
    draft.set("tokenizer.ggml.model", TEXT, b"t5")
    n = dice.choice([0, 1, 3, 4, 8, 100, 5_000])
    table = [dice.choice([0, 255, dice.randrange(256)]) for _ in range(n)]
    if n >= 8 and dice.random() < 0.7:  # a length of the trie that fits, and noise in it
        table[:4] = list(((n - 4) // 2 // 4 * 4).to_bytes(4, "little"))
    draft.set("tokenizer.ggml.precompiled_charsmap", ARRAY, table, dice.choice([U8, U8, U8, 1, U32]))
    for flag in FLAGS[3:]:
        draft.set(f"tokenizer.ggml.{flag}", BOOL, dice.choice([0, 1]))


@mutation
def tokenizer_flags(draft: Draft, dice: random.Random) -> None:
    for flag in FLAGS:
        kind = dice.choice([BOOL, BOOL, BOOL, U32, TEXT])
        draft.set(f"tokenizer.ggml.{flag}", kind, b"yes" if kind == TEXT else dice.choice([0, 1, 2, 255]))


@mutation
def special_ids(draft: Draft, dice: random.Random) -> None:
    n = len(_list(draft, "tokens"))
    for name in dice.sample(SPECIAL, dice.choice([1, 2, len(SPECIAL)])):
        draft.set(
            f"tokenizer.ggml.{name}_token_id",
            dice.choice([U32, U32, U32, I32]),
            dice.choice([*WHOLES, n, n - 1, n + 1]),
        )


@mutation
def beginning_and_end(draft: Draft, dice: random.Random) -> None:
    """BOS and EOS that are not in the vocabulary, with texts that begin and end with them."""
    wrong = dice.choice([(1 << 32) - 1, len(_list(draft, "tokens")), 0, 1 << 31])
    for name in ("bos", "eos"):
        draft.set(f"tokenizer.ggml.{name}_token_id", U32, wrong)
    for flag in FLAGS[:2]:
        draft.set(f"tokenizer.ggml.{flag}", BOOL, 1)


@mutation
def every_token_ends(draft: Draft, dice: random.Random) -> None:
    """Tokens that llama.cpp takes for ends of a text by their looks."""
    tokens, types = _list(draft, "tokens"), _list(draft, "token_type")
    ends = [b"<|eot_id|>", b"<|im_end|>", b"<|end|>", b"<end_of_turn>", b"<|endoftext|>", b"</s>", b"<EOT>", b"_<EOT>"]
    for i in _some(tokens, dice):
        tokens[i] = dice.choice(ends)
        if i < len(types):
            types[i] = dice.choice([1, 3, 4])
