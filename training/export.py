"""Write a trained run as GGUF: ``python export.py --out RUN_FOLDER --gguf PATH [--type Q8_0|F16|F32]``.

Nothing is permuted (the model was trained with llama.cpp's order of RoPE pairs), the output matrix is the
token embedding (so there is no ``output.weight``), and norms stay F32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import sentencepiece as spm
import tokenizer
import torch
from model import Config

NAME = "Fairy Tales"
DESCRIPTION = "A very small story teller for looking inside, trained from scratch on public-domain children's stories."
LICENCE = "apache-2.0"
FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


def export(run: Path, path: Path, dtype: str) -> None:
    saved = torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")
    config = Config(**saved["config"])
    part = path.with_suffix(".part")  # whoever has the old file mapped keeps it
    writer = gguf.GGUFWriter(part, "llama")
    add_card(writer, dtype, sum(weights.numel() for weights in saved["model"].values()))
    add_hyperparameters(writer, config)
    add_vocabulary(writer, tokenizer.load(run / "tokenizer"))
    for name, weights in saved["model"].items():
        kind = gguf.GGMLQuantizationType[dtype if weights.ndim == 2 else "F32"]
        writer.add_tensor(name, gguf.quantize(weights.float().numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)


def add_card(writer: gguf.GGUFWriter, dtype: str, n_params: int) -> None:
    writer.add_type("model")
    writer.add_name(NAME)
    writer.add_size_label(f"{n_params / 1e6:.1f}M")
    writer.add_description(DESCRIPTION)
    writer.add_license(LICENCE)
    writer.add_languages(["en"])
    writer.add_tags(["text-generation", "teaching"])
    writer.add_file_type(FILE_TYPES[dtype])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_hyperparameters(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_context_length(config.n_ctx)
    writer.add_embedding_length(config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_feed_forward_length(config.n_ff)
    writer.add_head_count(config.n_head)
    writer.add_head_count_kv(config.n_head_kv)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_vocab_size(config.n_vocab)


def add_vocabulary(writer: gguf.GGUFWriter, pieces: spm.SentencePieceProcessor) -> None:
    ids = range(pieces.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i) for i in ids])
    writer.add_token_scores([pieces.get_score(i) for i in ids])
    writer.add_token_types([token_type(pieces, i) for i in ids])
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def token_type(pieces: spm.SentencePieceProcessor, token: int) -> gguf.TokenType:
    if pieces.is_unknown(token):
        return gguf.TokenType.UNKNOWN
    if pieces.is_control(token):
        return gguf.TokenType.CONTROL
    if pieces.is_byte(token):
        return gguf.TokenType.BYTE
    return gguf.TokenType.NORMAL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint.pt, tokenizer.model")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--type", choices=tuple(FILE_TYPES), default="Q8_0")
    arguments = parser.parse_args()
    export(arguments.out, arguments.gguf, arguments.type)
    print(f"{arguments.gguf}: {arguments.gguf.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
