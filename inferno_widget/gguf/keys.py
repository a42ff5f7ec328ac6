"""Which type of value the keys that are known everywhere have."""

from __future__ import annotations

import re
from typing import NamedTuple

from .values import BOOL, TEXT, WHOLES, Array, Scalar


class Form(NamedTuple):
    """What a key's value may be: of one of the types `alone`, or an array with elements of one of `each`."""

    words: str
    alone: tuple[int, ...] = ()
    each: tuple[int, ...] = ()

    def takes(self, kind: int, value: Scalar | Array) -> bool:
        """Whether a value that the file says is of type `kind` has this form."""
        return value.kind in self.each if isinstance(value, Array) else kind in self.alone


WORDS = Form("a text", (TEXT,))
FLAG = Form("true or false", (BOOL,))
WHOLE = Form("a whole number", WHOLES)
LAYERS = Form("a whole number, or one for each layer", WHOLES, WHOLES)

FORMS = {
    "general.architecture": WORDS,
    "general.name": WORDS,
    "general.alignment": Form("a whole number of 32 bits", (4,)),  # llama.cpp takes no other
    "general.file_type": WHOLE,
    "split.count": WHOLE,
    "split.no": WHOLE,
    "tokenizer.chat_template": WORDS,
    "tokenizer.ggml.model": WORDS,
    "tokenizer.ggml.pre": WORDS,
    "tokenizer.ggml.tokens": Form("an array of texts", each=(TEXT,)),
    "tokenizer.ggml.merges": Form("an array of texts", each=(TEXT,)),
    "tokenizer.ggml.scores": Form("an array of 32-bit numbers", each=(5, 6)),  # llama.cpp reads four bytes for each
    "tokenizer.ggml.token_type": Form("an array of 32-bit whole numbers", each=(4, 5)),  # likewise
    "tokenizer.ggml.precompiled_charsmap": Form("an array of bytes", each=(0, 1)),
}
"""Of every architecture."""
OF_ARCHITECTURE = {
    "context_length": WHOLE,
    "embedding_length": WHOLE,
    "block_count": WHOLE,
    "vocab_size": WHOLE,
    "feed_forward_length": LAYERS,
    "attention.head_count": LAYERS,
    "attention.head_count_kv": LAYERS,
}
"""Behind the architecture's name."""
SPECIAL_ID = re.compile(
    r"tokenizer\.ggml\.(bos|eos|eot|eom|unknown|seperator|separator|padding|mask|cls|prefix|suffix|middle|"
    r"fim_(pre|suf|mid|pad|rep|sep))_token_id"
)
ADDED = re.compile(r"tokenizer\.ggml\.add_((bos|eos|sep)_token|space_prefix)")

TYPE_NAMES = "uint8 int8 uint16 int16 uint32 int32 float32 bool text array uint64 int64 float64".split()
"""By the number that stands in the file."""


def form(key: str, architecture: str) -> Form | None:
    """What stands under `key` in the file of such an architecture; None where that is not known."""
    if SPECIAL_ID.fullmatch(key):
        return WHOLE
    if ADDED.fullmatch(key):
        return FLAG
    return FORMS.get(key) or OF_ARCHITECTURE.get(key.removeprefix(f"{architecture}."))


def type_name(kind: int, value: Scalar | Array) -> str:
    """A value's type in words, such as ``"array of float64"``."""
    return f"array of {TYPE_NAMES[value.kind]}" if isinstance(value, Array) else TYPE_NAMES[kind]
