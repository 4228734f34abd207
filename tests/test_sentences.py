"""Sentence encoders of folders, pooled as the files of sentence-transformers beside them say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from keepers.data import open_source
from keepers.errors import ParameterError
from keepers.models.huggingface import build_encoder
from keepers.models.sentences import POOLINGS, TextEncoder
from keepers.roles import Role, prepare
from keepers.types import DataInfo

REVIEWS = DataInfo(kind="text", shape=(), num_classes=2)
STEPS = "sentence_transformers.sentence_transformer.modules."


def folder(path: Path, *steps: str, **files: dict[str, Any]) -> str:
    """A tiny BERT with weights, its words, and what stands beside it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "sun", "sea", "ice"])}
    splits = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    splits.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    known = {"pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 40}
    PreTrainedTokenizerFast(tokenizer_object=splits, **known).save_pretrained(path)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=5, intermediate_size=8, max_position_embeddings=66, **sizes)
    BertModel(config).save_pretrained(path)
    rows = [{"path": f"{n}_{step}", "type": STEPS + step} for n, step in enumerate(steps)]
    for name, content in {"modules.json": rows, **files}.items():
        if content or name in files:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text(json.dumps(content))
    return str(path)


def test_poolings_are_over_the_tokens_that_are_there() -> None:
    hidden = torch.tensor([[[1.0], [5.0], [9.0]], [[2.0], [7.0], [4.0]]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    expected = {
        "cls": [1, 2],
        "max": [5, 7],
        "mean": [3, 13 / 3],
        "mean_sqrt_len_tokens": [6 / 2**0.5, 13 / 3**0.5],
        "weightedmean": [11 / 3, 28 / 6],
        "lasttoken": [5, 4],
    }
    assert set(POOLINGS) == set(expected)
    for name, values in expected.items():
        torch.testing.assert_close(POOLINGS[name](hidden, mask)[:, 0], torch.tensor(values).float())


@pytest.mark.parametrize(
    ("said", "modes"),
    [
        ({"pooling_mode": "cls"}, ("cls",)),
        ({"pooling_mode": ["mean", "max"]}, ("mean", "max")),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, ("cls", "max")),
        ({}, ("mean",)),
    ],
)
def test_a_folder_says_how_it_is_pooled(
    said: dict[str, Any], modes: tuple[str, ...], tmp_path: Path
) -> None:
    files = {"1_Pooling/config.json": said}
    path = folder(tmp_path, "Transformer", "Pooling", "Normalize", **files)
    made = build_encoder(path, REVIEWS, "proxy")
    assert isinstance(made.module, TextEncoder)
    assert made.module.pooling.modes == modes
    tokens, mask = torch.tensor([[2, 3, 0], [4, 3, 2]]), torch.tensor([[1, 1, 0], [1, 1, 1]])
    with torch.no_grad():
        found = made.module.eval()(tokens, mask)
        alone = made.module(tokens[:1, :2], mask[:1, :2])
    assert found.shape == (2, 8 * len(modes))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))  # as Normalize says
    torch.testing.assert_close(found[:1], alone)  # padding counts for nothing


def test_a_folder_says_how_many_tokens_it_reads(tmp_path: Path) -> None:
    steps = ("Transformer", "Pooling")
    limits = {"sentence_bert_config.json": {"max_seq_length": 12}}
    old, new = folder(tmp_path / "old", *steps, **limits), folder(tmp_path / "new", *steps)
    plain = folder(tmp_path / "plain")
    lengths = {path: build_encoder(path, REVIEWS, "proxy").encoder.length for path in (old, new)}
    assert lengths == {old: 12, new: 40}
    assert build_encoder(plain, REVIEWS, "proxy").encoder.length == 64  # of its 66 positions
    assert build_encoder(old, REVIEWS, "proxy", length=20).encoder.length == 20


def test_what_a_folder_asks_for_and_is_not_read_is_refused(tmp_path: Path) -> None:
    for name, steps, said, message in (
        ("dense", ("Transformer", "Pooling", "Dense"), {}, "has a step 'Dense'"),
        ("odd", ("Transformer", "Pooling"), {"pooling_mode": "median"}, "has a pooling 'median'"),
    ):
        path = folder(tmp_path / name, *steps, **{"1_Pooling/config.json": said})
        with pytest.raises(ParameterError, match=f"{message}.*function of yours, probe:package"):
            build_encoder(path, REVIEWS, "proxy")
    broken = Path(folder(tmp_path / "broken", "Transformer"))
    (broken / "modules.json").write_text("[")
    with pytest.raises(ParameterError, match=r"modules.json of 'hf:.*Write the folder again"):
        build_encoder(str(broken), REVIEWS, "proxy")


def test_other_pooling_is_another_encoder(tmp_path: Path) -> None:
    source = open_source((["sun sea", "ice", "sea sea", "sun"], [0, 1, 0, 1]))
    path = Path(folder(tmp_path, "Transformer", "Pooling"))
    found: set[str] = set()
    for mode in ("mean", "cls"):
        (path / "1_Pooling").mkdir(exist_ok=True)
        (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
        found.add(prepare(Role(model=f"probe:hf:{path}"), source)[1].fingerprint)
    assert len(found) == 2


def test_a_text_without_a_token_has_features(tmp_path: Path) -> None:
    path = folder(tmp_path)
    made = build_encoder(path, REVIEWS, "proxy")
    with torch.no_grad():
        none = made.module.eval()(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1))
    assert np.isfinite(none.numpy()).all()
