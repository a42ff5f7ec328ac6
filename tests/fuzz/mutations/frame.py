"""The header, the keys, their types and arrays, alignment, the end of the file, single bits, parts of split models."""

from __future__ import annotations

import random

from tests.fuzz.draft import ARRAY, BOOL, F32, F64, FORMS, I32, TEXT, U8, U16, U32, U64, Draft, Pair, scalar
from tests.fuzz.mutations.registry import REALS, TEXTS, WHOLES, mutation

# --- the header -------------------------------------------------------------------------------------------


@mutation
def magic(draft: Draft, dice: random.Random) -> None:
    draft.magic = dice.choice([b"GGU ", b"FUGG", b"ggml", b"\0\0\0\0", b"PK\3\4", b"tjgg", b'{"a"', b"<htm", b"vers"])


@mutation
def version(draft: Draft, dice: random.Random) -> None:
    draft.version = dice.choice([0, 1, 2, 4, 99, 0x03000000, 0xFFFFFFFF, 1 << 31])


@mutation
def counts(draft: Draft, dice: random.Random) -> None:
    n, m = len(draft.tensors), len(draft.pairs)
    lies = [0, 1, dice.choice(WHOLES), n - 1, n + 1, m - 1, m + 1]
    draft.counts = dice.choice([(dice.choice(lies), None), (None, dice.choice(lies)), (dice.choice(lies),) * 2])


@mutation
def version_2(draft: Draft, dice: random.Random) -> None:
    draft.version = 2
    draft.counts = dice.choice([(None, None), (len(draft.tensors) << 32, None)])


# --- keys -------------------------------------------------------------------------------------------------


@mutation
def key_gone(draft: Draft, dice: random.Random) -> None:
    for pair in dice.sample(draft.pairs, dice.choice([1, 1, 1, 2, 4])):
        draft.pairs.remove(pair)


@mutation
def key_twice(draft: Draft, dice: random.Random) -> None:
    pair = dice.choice(draft.pairs)
    other = Pair(pair.key, *dice.choice([(pair.kind, pair.value, pair.of), (U32, 7, 0), (TEXT, b"seven", 0)]))
    draft.pairs.insert(dice.randrange(len(draft.pairs) + 1), other)


@mutation
def key_named(draft: Draft, dice: random.Random) -> None:
    dice.choice(draft.pairs).key = dice.choice([*TEXTS, b"general.architecture", b"k" * 70_000, b"split.count"])


@mutation
def key_length(draft: Draft, dice: random.Random) -> None:
    """A key that says that it is longer than it is."""
    pair, lie = dice.choice(draft.pairs), dice.choice(WHOLES[8:])

    def change(data: bytearray) -> bytearray:
        at = data.find(pair.key) - 8
        data[at : at + 8] = scalar(U64, lie)
        return data

    draft.late.append(change)


@mutation
def keys_unknown(draft: Draft, dice: random.Random) -> None:
    """Keys that nobody knows, which must do no harm."""
    for i in range(dice.choice([1, 10, 2_000])):
        draft.set(f"vendor.extra.{i}", TEXT, dice.choice(TEXTS))
    draft.set("vendor.numbers", ARRAY, list(range(dice.choice([0, 1, 100_000]))), U32)


@mutation
def keys_shuffled(draft: Draft, dice: random.Random) -> None:
    dice.shuffle(draft.pairs)


@mutation
def key_order(draft: Draft, dice: random.Random) -> None:
    """The architecture comes last, or behind keys that need it."""
    draft.pairs.sort(key=lambda pair: pair.key, reverse=dice.random() < 0.5)


# --- types ------------------------------------------------------------------------------------------------


@mutation
def value_type(draft: Draft, dice: random.Random) -> None:
    """Another type, with a value that is encoded as that type: the rest of the file stays readable."""
    pair = dice.choice(draft.pairs)
    kind = dice.choice([U8, U16, U32, I32, F32, BOOL, TEXT, U64, F64])
    if kind == TEXT:
        value: object = dice.choice([*TEXTS, b"7", b"true"])
    elif kind in (F32, F64):
        value = dice.choice(REALS)
    else:
        value = pair.value if isinstance(pair.value, int) and dice.random() < 0.5 else dice.choice(WHOLES)
    pair.kind, pair.value = kind, value


@mutation
def type_alone(draft: Draft, dice: random.Random) -> None:
    """Another type over the bytes of the old."""
    pair = dice.choice(draft.pairs)
    pair.raw, pair.kind = pair.body(), dice.choice([*range(13), 13, 99, 0xFFFFFFFF])


@mutation
def value_of_number(draft: Draft, dice: random.Random) -> None:
    pair = dice.choice([pair for pair in draft.pairs if pair.kind in FORMS])
    pair.value = dice.choice(REALS if pair.kind in (F32, F64) else WHOLES)


@mutation
def value_of_text(draft: Draft, dice: random.Random) -> None:
    dice.choice([pair for pair in draft.pairs if pair.kind == TEXT]).value = dice.choice(TEXTS)


@mutation
def text_length(draft: Draft, dice: random.Random) -> None:
    pair = dice.choice([pair for pair in draft.pairs if pair.kind == TEXT])
    pair.raw = scalar(U64, dice.choice(WHOLES)) + pair.value


@mutation
def number_for_array(draft: Draft, dice: random.Random) -> None:
    pair = dice.choice([pair for pair in draft.pairs if pair.kind != ARRAY])
    pair.value, pair.of = [pair.value] * dice.choice([0, 1, 2, 3, 1_000]), pair.kind
    pair.kind = ARRAY


# --- arrays -----------------------------------------------------------------------------------------------


def _array(draft: Draft, dice: random.Random) -> Pair:
    return dice.choice([pair for pair in draft.pairs if pair.kind == ARRAY])


@mutation
def array_count(draft: Draft, dice: random.Random) -> None:
    pair = _array(draft, dice)
    lie = dice.choice([*WHOLES, len(pair.value) - 1, len(pair.value) + 1, (1 << 61) + 1, 1 << 62])
    pair.raw = scalar(U32, pair.of) + scalar(U64, lie) + pair.body()[12:]


@mutation
def array_type(draft: Draft, dice: random.Random) -> None:
    pair = _array(draft, dice)
    pair.raw = scalar(U32, dice.choice([*range(13), 13, 99, 0xFFFFFFFF])) + pair.body()[4:]


@mutation
def array_retyped(draft: Draft, dice: random.Random) -> None:
    """Elements of another type, properly written."""
    pair = _array(draft, dice)
    pair.of = dice.choice([U8, U32, I32, F32, BOOL, TEXT, U64, F64])
    pair.value = [dice.choice(TEXTS) if pair.of == TEXT else dice.randrange(256) for _ in pair.value]


@mutation
def array_length(draft: Draft, dice: random.Random) -> None:
    pair, n = _array(draft, dice), dice.choice([0, 1, 2, 100, 10_000])
    pair.value = (pair.value * (n // max(1, len(pair.value)) + 1))[:n]


@mutation
def array_nested(draft: Draft, dice: random.Random) -> None:
    pair, depth = dice.choice(draft.pairs), dice.choice([1, 2, 1_000, 100_000])
    pair.kind, pair.raw = ARRAY, (scalar(U32, ARRAY) + scalar(U64, 1)) * depth + scalar(U32, U8) + scalar(U64, 0)


@mutation
def array_of_empty_texts(draft: Draft, dice: random.Random) -> None:
    """As many elements as a file of that size can hold at all."""
    n = dice.choice([1_000, 300_000])
    draft.set("vendor.texts", ARRAY, [b""] * n, TEXT)


# --- alignment, offsets -----------------------------------------------------------------------------------


@mutation
def alignment(draft: Draft, dice: random.Random) -> None:
    kind, value = dice.choice([U32, U32, U32, U64, I32, TEXT, F32]), dice.choice([*WHOLES, 8, 16, 4_096, 1 << 20])
    draft.set("general.alignment", kind, b"32" if kind == TEXT else value)
    if kind == U32 and dice.random() < 0.6:  # and laid out by it
        draft.alignment = int(value)


# --- bytes ------------------------------------------------------------------------------------------------


@mutation
def cut_short(draft: Draft, dice: random.Random) -> None:
    """At any place, mostly in the header."""
    part = dice.random() ** dice.choice([1, 3, 6])
    draft.late.append(lambda data: data[: int(part * len(data))])


@mutation
def cut_by_bytes(draft: Draft, dice: random.Random) -> None:
    n = dice.choice([1, 2, 4, 31, 32, 33, 1_000])
    draft.late.append(lambda data: data[:-n])


def _flip(data: bytearray, dice: random.Random, end: int, n: int) -> bytearray:
    for _ in range(n if data else 0):  # another mutation may have left nothing
        data[dice.randrange(min(end, len(data)))] ^= 1 << dice.randrange(8)
    return data


@mutation
def bits_of_header(draft: Draft, dice: random.Random) -> None:
    end, n = len(draft.header()), dice.choice([1, 1, 2, 5, 50])
    draft.late.append(lambda data: _flip(data, dice, end, n))


@mutation
def bits_of_hyperparameters(draft: Draft, dice: random.Random) -> None:
    """Where a bit means most: before the vocabulary."""
    end, n = draft.header().find(b"tokenizer.ggml.tokens"), dice.choice([1, 1, 2, 4])
    draft.late.append(lambda data: _flip(data, dice, max(64, end), n))


@mutation
def bits_anywhere(draft: Draft, dice: random.Random) -> None:
    n = dice.choice([1, 10, 1_000])
    draft.late.append(lambda data: _flip(data, dice, len(data), n))


@mutation
def bytes_of_noise(draft: Draft, dice: random.Random) -> None:
    """A stretch overwritten, taken out, doubled or put in."""
    n, where, how = dice.choice([1, 8, 64, 4_096]), dice.random() ** 2, dice.randrange(4)
    noise = dice.randbytes(n)

    def change(data: bytearray) -> bytearray:
        at = int(where * len(data))
        data[at : at + (0 if how > 1 else n)] = (noise, b"", noise, data[at : at + n])[how]
        return data

    draft.late.append(change)


@mutation
def zeros(draft: Draft, dice: random.Random) -> None:
    """A hole, as a download in pieces leaves it."""
    start, n = dice.random(), dice.choice([512, 4_096, 65_536])

    def change(data: bytearray) -> bytearray:
        at = int(start * len(data))
        data[at : at + n] = bytes(len(data[at : at + n]))
        return data

    draft.late.append(change)


@mutation
def more_behind(draft: Draft, dice: random.Random) -> None:
    """Something behind the end, which harms nobody."""
    more = dice.choice([b"\0" * 1_000, draft.encoded(), b"GGUF"])
    draft.late.append(lambda data: data + more)


@mutation
def other_byte_order(draft: Draft, dice: random.Random) -> None:
    n = dice.choice([4, 8])

    def swap(data: bytearray) -> bytes:
        whole = data[4 : len(data) // n * n + 4 - n]
        return data[:4] + b"".join(whole[i : i + n][::-1] for i in range(0, len(whole), n))

    draft.late.append(swap)


@mutation
def tiny_file(draft: Draft, dice: random.Random) -> None:
    data = dice.choice([b"", b"G", b"GGUF", b"GGUF\3\0\0\0", b"GGUF\3\0\0\0" + bytes(16), bytes(1_000), b"GGUF" * 9])
    draft.late.append(lambda _: data)


@mutation
def sparse_giant(draft: Draft, dice: random.Random) -> None:
    """A file that says it is huge, with a tensor, a text or an array over the empty stretch."""
    draft.grown = dice.choice([1 << 32, 1 << 36, 1 << 40])
    what = dice.randrange(4)
    if what == 0:
        draft.set("vendor.text", TEXT, b"")
        draft.pairs[-1].raw = scalar(U64, draft.grown - (1 << 20))
    elif what == 1:
        draft.set("vendor.texts", ARRAY, [], TEXT)
        draft.pairs[-1].raw = scalar(U32, TEXT) + scalar(U64, draft.grown // 16)
    elif what == 2:
        tensor = dice.choice(draft.tensors)
        tensor.shape[-1] = draft.grown // 8 // max(1, tensor.shape[0])
    else:
        draft.counts = (draft.grown // 64, None) if dice.random() < 0.5 else (None, draft.grown // 64)


# --- split models -----------------------------------------------------------------------------------------


@mutation
def split_alone(draft: Draft, dice: random.Random) -> None:
    """One file that says it is several."""
    draft.set("split.count", dice.choice([U16, U16, U32, TEXT, I32]), dice.choice([2, 3, 65_535, *WHOLES[:4]]))
    if draft.pairs[-1].kind == TEXT:
        draft.pairs[-1].value = b"2"
    draft.set("split.no", U16, dice.choice([0, 1, 65_535]))
    draft.set("split.tensors.count", I32, dice.choice([len(draft.tensors), 0, -1, 1 << 30]))
    draft.name = dice.choice(["model.gguf", "model-00001-of-00002.gguf", "model-00002-of-00002.gguf"])


@mutation
def split_in_two(draft: Draft, dice: random.Random) -> None:
    """Two files, of which the second lies, or is whole, empty, broken, or the first again."""
    middle = len(draft.tensors) // 2
    second = Draft(draft.magic, draft.version, [], draft.tensors[middle:])
    draft.tensors = draft.tensors[:middle]
    for number, part in enumerate((draft, second)):
        part.set("split.no", U16, number)
        part.set("split.count", U16, 2)
        part.set("split.tensors.count", I32, middle + len(second.tensors))
    draft.name, name = "model-00001-of-00002.gguf", "model-00002-of-00002.gguf"
    how = dice.randrange(8)
    if how == 1:
        second.set("split.no", U16, dice.choice([0, 2, 65_535]))
    elif how == 2:
        second.set("split.count", U16, dice.choice([0, 1, 3, 65_535]))
    elif how == 3:
        draft.set("split.tensors.count", I32, dice.choice([0, 1, -1, 1 << 30]))
    elif how == 4:
        second.tensors.append(draft.tensors[0])
    elif how == 5:
        second.pairs = [pair for pair in second.pairs if pair.key != dice.choice([b"split.no", b"split.count"])]
    data = second.encoded()
    if how == 6:
        data = dice.choice([b"", data[: len(data) // 2], draft.encoded(), b"GGUF"])
    if how != 7:
        draft.beside[name] = data
