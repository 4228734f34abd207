"""Sentence encoders of folders, pooled as the files of sentence-transformers beside them say."""

from __future__ import annotations

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

pytest.importorskip("transformers")

from commands import Keepers
from keepers.data import open_source
from keepers.errors import ParameterError
from keepers.models import language_model
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
        with pytest.raises(ParameterError, match=f"{message}.*your own function, probe:package"):
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


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    said = [" ".join(draw.choice(["sun", "sea", "ice", "fog"], at)) for at in range(3, 15)]
    path = tmp_path / "chats.jsonl"
    rows = [{"prompt": f"sea {at}", "completion": text} for at, text in enumerate(said)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def by_hand(path: str, chats: Path) -> torch.Tensor:
    """The vector of each conversation, one at a time."""
    from transformers import AutoTokenizer

    module, words = (
        build_encoder(path, REVIEWS, "proxy").module.eval(),
        AutoTokenizer.from_pretrained(path),
    )
    found: list[torch.Tensor] = []
    for row in map(json.loads, chats.read_text().splitlines()):
        ids = torch.tensor([words(f"{row['prompt']}\n\n{row['completion']}")["input_ids"]])
        with torch.no_grad():
            found.append(module(ids, torch.ones_like(ids))[0])
    return torch.stack(found)


def kept(path: str) -> list[int]:
    rows = [row for row in pq.read_table(path).to_pylist() if row["kept"]]
    return [row["row"] for row in sorted(rows, key=itemgetter("rank"))]


def test_an_encoder_reads_conversations(run: Keepers, chats: Path, tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder")
    vectors = by_hand(path, chats)
    asked = ("coreset", chats, "--keep", "4", "--proxy", f"probe:hf:{path}", "--run", "run")
    asked = (*asked, "--overwrite", "--out", "kept.parquet")
    done = run(*asked, "--method", "k-center")
    assert done.status == 0, done.err
    assert "reads 12 conversations, without training, the first 64 tokens of each" in done.err
    np.save("vectors.npy", vectors.numpy())
    found = kept("kept.parquet")
    brought = ("--method", "k-center", "--features", "vectors.npy", "--out", "own.parquet")
    assert run("coreset", chats, "--keep", "4", *brought).status == 0
    assert set(kept("own.parquet")) == set(found)
    lines = chats.read_text().splitlines(keepends=True)
    Path("like.jsonl").write_text(lines[5])
    done = run(*asked, "--method", "rds", "--similar-to", "like.jsonl")
    assert done.status == 0, done.err
    near = torch.nn.functional.cosine_similarity(vectors, vectors[5:6])
    assert kept("kept.parquet") == near.argsort(descending=True, stable=True)[:4].tolist()
    done = run(*asked, "--method", "ifd")
    assert "an encoder, which gives only features, but 'ifd' needs losses" in done.err
    done = run("coreset", chats, "--keep-tokens", "50", *asked[4:], "--method", "k-center")
    assert "is an encoder: its tokens are not those of the model that you will tune" in done.err


def test_an_encoder_is_no_causal_model(tmp_path: Path) -> None:
    path = folder(tmp_path)
    with pytest.raises(ParameterError, match=f"is an encoder: .* or probe:hf:{path}"):
        language_model(f"hf:{path}", "proxy")
