"""A SentencePiece BPE vocabulary with byte fallback, and text -> token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sentencepiece as spm

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from corpus import Story

BOS, EOS = 1, 2


def train(stories: Iterable[Story], prefix: Path, n_vocab: int) -> spm.SentencePieceProcessor:
    """Train on `stories` and write ``prefix.model``; white space is kept exactly as it is."""
    lines = (line for story in stories for line in story.text.split("\n"))
    spm.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_prefix=str(prefix),
        model_type="bpe",
        vocab_size=n_vocab,
        byte_fallback=True,
        add_dummy_prefix=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        character_coverage=1.0,
        max_sentence_length=1 << 16,
        minloglevel=2,
    )
    return load(prefix)


def load(prefix: Path) -> spm.SentencePieceProcessor:
    return spm.SentencePieceProcessor(model_file=f"{prefix}.model")


def encode(tokenizer: spm.SentencePieceProcessor, stories: Iterable[Story]) -> np.ndarray:
    """uint16 [n]: every story between BOS and EOS, one after another."""
    ids: list[int] = []
    for story in stories:
        ids += [BOS, *tokenizer.encode(story.text), EOS]
    return np.array(ids, dtype=np.uint16)
