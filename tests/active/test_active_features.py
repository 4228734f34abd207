from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from active_worlds import CLASSES, World, make_world, spy

from keepers import Campaign
from keepers.data import Source, open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.roles import Prepared, prepare
from keepers.runs import Run
from keepers.workflows.active import embedding as embedding_module
from keepers.workflows.active.embedding import embedding
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.probing import embedded
from keepers.workflows.workplace import Workplace


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path)
    angles = np.arange(60) / 10
    world.more["place"] = np.stack([np.cos(angles), np.sin(angles)], 1).tolist()
    world.write()
    return world


def proxy_of(source: Source, config: ActiveConfig) -> Prepared:
    labels = np.full(len(source), -1, dtype=np.int64)
    return prepare(config.role(source.info()), replace(source, labels=labels))[1]


def of(source: Source, folder: Path, **given: Any) -> npt.NDArray[np.float32]:
    config = ActiveConfig(device="cpu", **given)
    with Run(folder / "run", {}) as run:
        place = Workplace(run=run, hardware=config.hardware)
        found = embedding(source, config, place, proxy=lambda: proxy_of(source, config))
        assert [cost.phase for cost in place.ledger.costs] == ["features"]
        assert place.ledger.costs[0].examples == len(source)
    assert found.dtype == torch.float32
    return found.numpy()


TEXTS = [
    *(f"a fine and moving film {word}" for word in ("indeed", "truly", "again", "twice")),
    *(f"the train to Ulm was late {word}" for word in ("today", "truly", "again", "twice")),
    "",
    "Ω",
]


def texts() -> Source:
    table = pa.table({"text": TEXTS, "key": list(range(len(TEXTS)))})
    return open_source(table, input="text", id="key", require_labels=False)


ENCODER = """
import torch
from torch import nn
from keepers.types import EncoderSpec, Model

class Lengths(nn.Module):
    calls = 0
    def forward(self, texts):
        Lengths.calls += 1
        return torch.tensor([[3.0, 4.0 * len(text)] for text in texts])

def make(info):
    return Model(module=Lengths(), encoder=EncoderSpec(kind="text", scheme="raw"))
"""


def test_an_encoder_gives_features_and_a_proxys_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lengths.py").write_text(ENCODER)
    source, found = texts(), []
    sizes = np.array([len(str(text)) for text in source.inputs.to_pylist()])  # pyright: ignore[reportAttributeAccessIssue]
    expected = np.stack([np.full(len(sizes), 3.0), 4.0 * sizes], 1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for name, given in (("proxy", "probe:lengths:make"), ("features", "probe:lengths:make")):
        config = ActiveConfig(device="cpu", **{name: given})
        with Run(tmp_path / name, {}) as run:
            place = Workplace(run=run, hardware=config.hardware)
            prepared = proxy_of(source, config)
            found.append(embedding(source, config, place, proxy=lambda: prepared))  # noqa: B023
            calls = sys.modules["lengths"].Lengths.calls
            if name == "proxy":
                embedded(place, prepared, prepared.pool, source.content)
            assert sys.modules["lengths"].Lengths.calls == calls
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=1e-6)


def test_built_in_features_of_texts(tmp_path: Path) -> None:
    found = of(texts(), tmp_path)
    similar = found @ found.T
    np.testing.assert_allclose(np.diag(similar)[:8], 1, atol=1e-5)
    assert similar[:4, :4].min() > 0.5 > similar[:4, 4:8].max()
    assert similar[4:8, 4:8].min() > 0.5
    assert np.abs(found[8]).max() == 0  # nothing is in it


def test_built_in_features_of_pictures(tmp_path: Path) -> None:
    digits = open_source("digits")
    found = of(digits.take(range(300)), tmp_path)
    assert found.shape == (300, 64)
    assert digits.labels is not None
    labels = digits.labels[:300]
    nearest = (found @ found.T - 9 * np.eye(300)).argmax(1)
    assert np.mean(labels[nearest] == labels) > 0.85
    colour = np.random.default_rng(0).integers(0, 255, (9, 3, 20, 40), dtype=np.uint8)
    small = of(open_source((colour, np.arange(9) % 2)), tmp_path / "colour")
    assert small.shape == (9, 9)  # nine principal components are all there can be


def test_built_in_features_of_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 20)).astype(np.float32)
    values[:, 3] = 7  # the same everywhere
    values[:, 4] *= 1e6
    source = open_source((values, np.arange(40) % 2))
    found = of(source, tmp_path)
    rows = source.rows
    scaled = (values - values.mean(0)) / np.where(values.std(0) > 0, values.std(0), 1)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    np.testing.assert_allclose(found, scaled[rows], atol=1e-4)
    wide = open_source((rng.standard_normal((70, 300)).astype(np.float32), np.arange(70) % 2))
    assert of(wide, tmp_path / "wide").shape == (70, 64)


def test_few_numbers_are_alike_by_their_distance(tmp_path: Path) -> None:
    """In two dimensions a direction says little: x and 2 x are different examples."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200, 2)).astype(np.float32)
    source = open_source((values, np.arange(200) % 2))
    found = of(source, tmp_path)
    scaled = ((values - values.mean(0)) / values.std(0))[source.rows]
    squared = ((scaled[:, None] - scaled[None]) ** 2).sum(2)
    kernel = np.exp(-squared / 2)
    near = squared < 0.1
    np.testing.assert_allclose((found @ found.T)[near], kernel[near], atol=0.03)
    assert np.abs(found @ found.T - kernel).mean() < 0.15


def test_features_are_fitted_on_a_part_of_a_large_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_module, "FITTED_ON", 150)
    monkeypatch.setattr(embedding_module, "_BLOCK", 64)
    digits = open_source("digits").take(range(300))
    part = of(digits, tmp_path)
    assert part.shape == (300, 64)
    monkeypatch.undo()
    whole = of(digits, tmp_path / "whole")
    alike = np.corrcoef((part @ part.T).ravel(), (whole @ whole.T).ravel())[0, 1]
    assert 0.9 < alike < 1


def test_features_do_not_depend_on_the_size_of_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = of(texts(), tmp_path / "one")
    monkeypatch.setattr(embedding_module, "_BLOCK", 3)
    np.testing.assert_allclose(of(texts(), tmp_path / "two"), whole, atol=1e-6)


def test_features_of_a_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    settings: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    config = transformers.ViTConfig(**settings, image_size=16, patch_size=8)
    config.save_pretrained(tmp_path / "vit")
    digits = open_source("digits").take(range(30))
    found = of(digits, tmp_path, features=f"hf:{tmp_path / 'vit'}")
    assert found.shape == (30, 16)
    campaign = Campaign.start(
        "digits",
        campaign=tmp_path / "campaign",
        classes=[str(number) for number in range(10)],
        features=f"hf:{tmp_path / 'vit'}",
        cold="random",
        distinct=0.9999,
    )
    assert len(campaign.query(3)) == 3
    with pytest.raises(ParameterError, match="features: got 'hf:/nowhere', but there is no such"):
        Campaign.start(
            "digits", campaign=tmp_path / "c", classes=["0", "1"], features="hf:/nowhere"
        )
    assert not (tmp_path / "c").exists()


def test_a_column_decides_what_is_near(world: World) -> None:
    campaign = world.start(features="place", cold="k-center")
    world.label(campaign, [100])  # at angle 0 of 5.9 in all
    batch = campaign.query(1)
    assert abs(world.ids.index(batch.ids[0]) - 31) <= 1  # π: the other side
    given = campaign.holdings.features
    assert given is not None
    np.testing.assert_allclose(given, world.more["place"], atol=1e-6)


def test_a_column_goes_with_its_row_whatever_the_order(world: World) -> None:
    first = world.start("one", features="place").query(8).ids
    world.write(rows=np.random.default_rng(0).permutation(60).tolist())
    assert world.start("two", features="place").query(8).ids == first
    by_content = world.start("three", features="place", id=None)
    assert by_content.holdings.features is not None
    order = {
        tuple(x): place for x, place in zip(world.x.tolist(), world.more["place"], strict=True)
    }
    inputs: Any = by_content.holdings.source.inputs
    expected = [order[tuple(x)] for x in inputs.tolist()]
    np.testing.assert_allclose(by_content.holdings.features, expected, atol=1e-6)


def test_a_column_of_the_labelled_file_has_its_own_rows(world: World) -> None:
    rows = [59, 50, 3, 55, 52, 51, 57, 58, 56]
    world.write(rows=range(50))
    labelled = world.write("labelled", rows, labels=True)
    campaign = world.start(features="place", labelled=labelled)
    assert campaign.holdings.features is not None
    ids = campaign.holdings.source.ids.tolist()
    expected = [world.more["place"][world.ids.index(item)] for item in ids]
    np.testing.assert_allclose(campaign.holdings.features, expected, atol=1e-6)
    assert len(campaign.query(5)) == 5
    assert len(world.open().query(5, new=True)) == 5


def test_columns_that_are_no_features(world: World) -> None:
    world.more |= {
        "text": [f"words {i} and more" for i in range(60)],
        "short": [[1.0, 2.0]] * 59 + [[1.0]],
        "hole": [[1.0, float("nan")]] * 60,
    }
    world.write()
    for name, message in (
        ("text", "features: column 'text' of pool.parquet holds 60 texts"),
        ("short", r"features: .*short"),
        ("hole", r"features: .*60 rows"),
        ("plaec", r"features: in pool.parquet got 'plaec'.*Did you mean 'place'"),
    ):
        with pytest.raises(KeepersError, match=message):
            world.start(features=name)
    assert not (world.folder / "campaign").exists()


def test_a_labelled_file_whose_features_are_others(world: World) -> None:
    full = dict(world.more)
    world.more["place"] = [[1.0, 2.0, 3.0]] * 60
    wide = world.write("wide", range(9), labels=True)
    world.more.clear()
    without = world.write("without", range(9), labels=True)
    world.more |= full
    world.write()
    with pytest.raises(DataError, match=r"features: column 'place' holds vectors of 3 numbers in"):
        world.start(features="place", labelled=wide)
    with pytest.raises(ParameterError, match=r"features: in without.* got 'place', which"):
        world.start(features="place", labelled=without)


def test_features_are_made_and_charged_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    spy(monkeypatch, embedding_module, "_built_in", lambda args, _: made.append(len(args[0])))
    campaign = world.start(distinct=0.9)
    for count in (9, 6, 5):
        world.label(campaign, world.open().query(count).ids)
    assert made == [60]
    phases = [[cost["phase"] for cost in each.costs] for each in campaign.state.rounds]
    assert [names.count("features") for names in phases] == [1, 0, 0]

    world.write(rows=range(50))  # another pool has features of its own
    world.open().query(4)
    assert made == [60, 50]
    costs = world.open().state.rounds[-1].costs
    assert [cost["examples"] for cost in costs if cost["phase"] == "features"] == [50]
    world.open().query(3)
    last = world.open().state.rounds[-1].costs
    assert not [cost for cost in last if cost["phase"] == "features"]


def test_making_features_is_not_booked_as_selecting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy(monkeypatch, embedding_module, "_built_in", lambda _, __: time.sleep(0.3))
    campaign = world.start(cold="random", distinct=0.9)  # features are for near-duplicates alone
    campaign.query(4)
    seconds = {cost["phase"]: cost["seconds"] for cost in campaign.state.rounds[0].costs}
    assert seconds["features"] >= 0.3 > seconds["selecting"]


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("kind", ["text", "vector", "picture"])
def test_the_smallest_pools(tmp_path: Path, rows: int, kind: str) -> None:
    columns: dict[str, Any] = {"key": list(range(rows))}
    if kind == "text":
        columns["input"] = ["a film to see", "", "a film"][:rows]
    elif kind == "vector":
        columns["input"] = [[1.0, 2.0], [1.0, 2.0 + 1e-6], [3.0, 4.0]][:rows]
    else:
        from keepers.data.pictures import png

        columns["input"] = [png(np.full((1, 5, 5), 9 * i, dtype=np.uint8)) for i in range(rows)]
    pq.write_table(pa.table(columns), tmp_path / "pool.parquet")
    for cold in ("typiclust", "probcover", "k-center", "random"):
        campaign = Campaign.start(
            tmp_path / "pool.parquet",
            campaign=tmp_path / cold,
            classes=CLASSES,
            id="key",
            input="input",
            cold=cold,
            control=0,
        )
        assert sorted(campaign.query(rows).ids) == list(range(rows))


@pytest.mark.parametrize(
    "texts",
    [
        ["!" * n for n in range(1, 14)],
        [f"{word} film{'.' * n}" for word in ("a", "b") for n in range(6)],
    ],
)
def test_texts_of_hardly_a_word(tmp_path: Path, texts: list[str]) -> None:
    pool = tmp_path / "pool.parquet"
    keys = [str(number) for number in range(len(texts))]
    pq.write_table(pa.table({"key": keys, "text": texts}), pool)
    campaign = Campaign.start(
        pool, campaign=tmp_path / "c", classes=["x", "y"], input="text", id="key", control=0.0
    )
    assert len(campaign.query(5)) == 5
