"""A small BERT of one's own, for text without a network: a configuration and a tokenizer.

python benchmarks/make_tiny_transformer.py --data FILE --input COLUMN [--out FOLDER]

The WordPiece vocabulary is learnt from the texts of FILE (Parquet). The folder holds no weights, so
that `--model hf:FOLDER` is a new model, whose first weights are drawn by the seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import BertConfig, PreTrainedTokenizerFast

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A lower-case WordPiece tokenizer with a vocabulary of at most this size."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL.values()),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return made


def write(
    texts: Sequence[str],
    out: Path,
    *,
    vocabulary: int = 4000,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 66,
) -> None:
    """Write tokenizer and configuration to the folder `out`."""
    made = tokenizer(texts, vocabulary)
    PreTrainedTokenizerFast(tokenizer_object=made, **SPECIAL).save_pretrained(out)
    BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=length,
        pad_token_id=made.token_to_id("[PAD]"),
    ).save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Parquet file")
    parser.add_argument("--input", required=True, help="column with the texts")
    parser.add_argument("--out", type=Path, default=Path("tiny-transformer"), help="folder")
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--length", type=int, default=66, help="positions, two of them in reserve")
    given = vars(parser.parse_args())
    texts = pq.read_table(given.pop("data"), columns=[given["input"]])[given.pop("input")]
    write(texts.to_pylist(), **given)


if __name__ == "__main__":
    main()
