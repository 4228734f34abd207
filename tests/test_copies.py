"""Copies of an input: on one side of every split, and labelled once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import torch

import keepers
from commands import Keepers
from keepers import Campaign, Vote
from keepers.data import Source, open_source
from keepers.data.ids import units
from keepers.experiments.material import open_both
from keepers.selectors import stratified, stratified_units
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.scoring import parted

CLASSES = ("neg", "pos")
PROXY = {"model": "logistic", "epochs": 5, "lr": 0.3}
WORDS = ("film", "plot", "cast", "score", "scene", "end", "start", "joke")


def four_times(n: int = 60, *, seed: int = 0) -> pa.Table:
    """Points of no meaning, each four times under other keys, each point with a random label."""
    draw = np.random.default_rng(seed)
    x, y = draw.standard_normal((n, 30)).astype(np.float32), draw.integers(0, 2, n)
    order = draw.permutation(np.repeat(np.arange(n), 4))
    return pa.table(
        {
            "key": list(range(4 * n)),
            "x": pa.array([x[i].tolist() for i in order], pa.list_(pa.float32())),
            "label": [CLASSES[y[i]] for i in order],
            "person": [f"p{i // 2}" for i in order],
        }
    )


# Units --------------------------------------------------------------------------------------


def test_units_join_copies_and_groups() -> None:
    digests = np.array(list("abacdea"), dtype="S32")
    assert units(digests, None).tolist() == [0, 1, 0, 3, 4, 5, 0]
    groups = np.array(["", "g", "h", "h", "", "g", ""], dtype=object)
    # c is in the group of an a; b and e are in one group; d is alone
    assert units(digests, groups).tolist() == [0, 1, 0, 0, 4, 1, 0]
    chained = np.array(["x", "y", "y", "z", "z", "x", ""], dtype=object)
    assert units(np.array(list("abcdeff"), dtype="S32"), chained).tolist() == [0, 1, 1, 3, 3, 0, 0]


def test_units_of_over_half_a_million_examples() -> None:
    # Arrow cuts what NumPy holds as bytes into chunks of 16 MB, that is 524,288 digests.
    digests = np.array([f"{number % 529_999:032x}" for number in range(530_000)], dtype="S32")
    found = units(digests, None)
    assert found[-1] == 0
    assert (found[:-1] == np.arange(len(found) - 1)).all()


@pytest.mark.parametrize("k", [1, 7, 30, 60])
def test_without_copies_units_are_drawn_as_examples(k: int) -> None:
    labels = torch.arange(60) % 3
    draws = (torch.Generator().manual_seed(4) for _ in range(2))
    expected = stratified(labels, k, generator=next(draws))
    assert stratified_units(labels, torch.arange(60), k, generator=next(draws)).equal(expected)


@pytest.mark.parametrize("k", [3, 10, 50, 99])
def test_units_are_drawn_whole_and_never_more_than_asked_for(k: int) -> None:
    numbers = torch.from_numpy(np.random.default_rng(k).integers(0, 30, 100))
    sizes = numbers.bincount()
    drawn = stratified_units(numbers % 2, numbers, k, generator=torch.Generator().manual_seed(k))
    assert len(drawn.unique()) == len(drawn) <= k
    inside = torch.isin(numbers, numbers[drawn])
    assert inside.sum() == len(drawn)
    # nothing that would fit is left outside
    assert k - len(drawn) < sizes[numbers[~inside]].min()


def test_where_no_unit_fits_the_smallest_is_drawn() -> None:
    numbers = torch.tensor([7] * 5 + [3] * 4)
    drawn = stratified_units(numbers % 2, numbers, 1, generator=torch.Generator())
    assert numbers[drawn].tolist() == [3] * 4


# Splits -------------------------------------------------------------------------------------


def _apart(source: Source, inside: Sequence[int]) -> bool:
    mask = np.zeros(len(source), dtype=bool)
    mask[inside] = True
    return not set(source.digests[mask]) & set(source.digests[~mask])


@pytest.mark.parametrize("group", [None, "person"])
def test_validation_has_no_copy_of_what_is_trained_on(group: str | None) -> None:
    source = open_source(four_times(), id="key", label="label", input="x", group=group)
    candidates, validation = parted(source, CoresetOptions(val=0.25))
    assert len(validation) == 56 if group else 60
    assert len(candidates) + len(validation) == 240
    assert _apart(source, validation.tolist())
    if group:
        assert source.groups is not None
        assert not set(source.groups[validation]) & set(source.groups[candidates])


def test_a_proxy_is_not_right_about_random_labels_it_has_not_seen(tmp_path: Path) -> None:
    selection = keepers.coreset(
        four_times(200), keep=0.5, method="entropy", val=0.25, id="key", label="label", input="x",
        proxy={"model": "mlp", "epochs": 30}, run=tmp_path,
    )  # fmt: skip
    assert selection.metadata["validation"] == 200
    assert selection.metadata["proxy_validation_accuracy"] < 0.7  # a coin: 0.5


def test_test_data_that_are_split_off_take_their_copies_along() -> None:
    options = CompareOptions(test=0.25, id="key", label="label", input="x")
    source, test, in_both = open_both(four_times(), options, lambda _: None)
    assert (len(source), len(test), in_both) == (180, 60, 0)
    assert not set(source.digests) & set(test.digests)


@pytest.mark.parametrize("holdout", [None, 0.25])
def test_irreducible_losses_of_random_labels_know_nothing(
    tmp_path: Path, holdout: float | None
) -> None:
    losses = keepers.irreducible_losses(
        four_times(200), holdout=holdout, model={"model": "mlp", "epochs": 20}, id="key",
        label="label", input="x", run=tmp_path,
    )  # fmt: skip
    assert len(losses) == (600 if holdout else 800)
    assert losses.quality["accuracy"] < 0.7


def test_a_validation_part_that_takes_everything_is_refused(tmp_path: Path) -> None:
    table = pa.table({"text": ["a film"] * 8, "label": ["neg", "pos"] * 4})
    with pytest.raises(keepers.KeepersError, match=r"val: got 0.2, which leaves nothing to select"):
        keepers.coreset(table, keep=1, val=0.2, run=tmp_path)


# Labelling ----------------------------------------------------------------------------------


def texts(n: int) -> list[str]:
    return [f"{WORDS[i % 8]} {WORDS[i // 8 % 8]} number {i}" for i in range(n)]


def pool(folder: Path, rows: Sequence[str], **columns: Any) -> Path:
    pacsv.write_csv(pa.table({"text": list(rows), **columns}), folder / "pool.csv")
    return folder / "pool.csv"


def start(data: Path, **given: Any) -> Campaign:
    settings = {"control": 0.2, "classes": CLASSES, "proxy": "fasttext", "epochs": 2} | given
    return Campaign.start(data, campaign=data.parent / "campaign", **settings)


def inputs(campaign: Campaign, ids: Sequence[Any]) -> list[str]:
    return [str(campaign.desk.content(item)) for item in ids]


def label(campaign: Campaign, ids: Sequence[Any], name: str | None = None) -> None:
    said = (
        Vote(item=item, annotator="ann", label=name or CLASSES["film" in text])
        for item, text in zip(ids, inputs(campaign, ids), strict=True)
    )
    campaign.record(said)


def test_a_pool_of_one_column_with_equal_rows(tmp_path: Path, run: Keepers) -> None:
    (tmp_path / "pool.csv").write_text("text\na film\na film\na plot\nthe cast\n")
    begun = run("active", "start", "pool.csv", "--campaign", "c", "--classes", "neg,pos")
    assert begun.status == 0
    assert "1 row repeats the input of another" in begun.err
    asked = run("active", "query", "3", "--campaign", "c", "--out", "batch.csv")
    assert asked.status == 0
    rows = pacsv.read_csv(tmp_path / "batch.csv")
    assert sorted(rows["text"].to_pylist()) == ["a film", "a plot", "the cast"]
    none_left = run("active", "query", "1", "--campaign", "c", "--out", "more.csv")
    assert "count: got 1, but 0 examples are left" in none_left.err
    with (tmp_path / "pool.csv").open("a") as file:
        file.write("a plot\n")  # an old row once more
    for command in ("status", "query 3"):
        assert run("active", *command.split(), "--campaign", "c").status == 0
    (tmp_path / "labels.csv").write_text(f"id,label\n{rows['id'][0]},pos\n")
    assert run("active", "import", "labels.csv", "--campaign", "c").status == 0
    assert run("active", "export", "--campaign", "c", "--out", "labelled.csv").status == 0


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("distinct", [None, 0.98])
def test_no_label_is_paid_for_a_copy(tmp_path: Path, keyed: bool, distinct: float | None) -> None:
    rows = texts(40)
    several = [*rows, *rows[:30], *rows[:20]]
    columns = {"key": list(range(len(several)))} if keyed else {}
    known = pa.table({"text": rows[:8], "label": ["neg", "pos"] * 4})
    if keyed:
        known = known.append_column("key", pa.array(range(1000, 1008)))
    pacsv.write_csv(known, tmp_path / "known.csv")
    campaign = start(
        pool(tmp_path, several, **columns),
        labelled=tmp_path / "known.csv",
        id="key" if keyed else None,
        distinct=distinct,
        input="text",
    )
    asked: list[str] = []
    assert campaign.status().left == 32
    for count in (10, 10, 12):
        batch = campaign.query(count)
        label(campaign, batch.ids)
        asked += inputs(campaign, batch.ids)
    assert sorted(asked) == sorted(rows[8:])  # each text that had no label, once
    assert campaign.status().left == 0


def test_control_items_have_no_copy_among_what_is_trained_on(tmp_path: Path) -> None:
    rows = texts(60)
    campaign = start(pool(tmp_path, rows * 3, key=range(180)), id="key", control=0.4, distinct=None)
    for _ in range(3):
        label(campaign, campaign.query(15).ids)
    with campaign._round() as this:
        ground = this.ground
    source, control = ground.source, ground.control.numpy()
    assert len(control) == 18
    members = ground.known.members.numpy()
    assert len(members) == 27
    assert not set(source.digests[control]) & set(source.digests[members])
    reserve = ground.reserve.numpy()
    assert _apart(source, reserve.tolist())
    assert 3 * 12 <= len(reserve) <= 3 * 36


def test_a_label_reaches_the_copies_in_the_export(tmp_path: Path) -> None:
    rows = ["a film", "a plot", "a cast", "a film", "a film", "the end"]
    campaign = start(pool(tmp_path, rows, key=range(10, 16)), id="key", control=0.0)
    label(campaign, [12, 13])
    table = pq.read_table(campaign.export(tmp_path / "out.parquet"))
    found = [(row["id"], row["row"], row["label"], row["copy_of"]) for row in table.to_pylist()]
    assert found == [
        (12, 2, "neg", None),
        (13, 3, "pos", None),
        (10, 0, "pos", 13),
        (14, 4, "pos", 13),
    ]
    assert table["votes"].to_pylist() == [1, 1, 0, 0]
    assert campaign.status().parts == {"brought": 2}
    label(campaign, [10], "neg")  # another word on the same text: said, and no copy is labelled
    table = pq.read_table(campaign.export(tmp_path / "torn.parquet"))
    assert table["id"].to_pylist() == [10, 12, 13]
    (warning,) = campaign.status().warnings
    assert warning.startswith(
        "2 labelled examples are copies of one input with different labels (10; 13)"
    )


def test_rows_that_come_later_under_a_lower_key_leave_control_as_it_was(tmp_path: Path) -> None:
    rows = texts(40)
    data = pool(tmp_path, rows, key=range(100, 140))
    campaign = start(data, id="key", control=0.5)
    label(campaign, campaign.query(20).ids)
    campaign.close()
    pool(tmp_path, [*rows, *rows], key=[*range(100, 140), *range(40)])
    campaign = Campaign.open(tmp_path / "campaign")
    with campaign._round() as this:
        ground = this.ground
    control = {ground.source.digests[place] for place in ground.control.tolist()}
    assert len(control) == 10
    assert not control & {ground.source.digests[place] for place in ground.known.members.tolist()}
    assert not {ground.source.digests[place] for place in ground.known.open.tolist()} & {
        ground.source.digests[ground.holdings.position(item)] for item in ground.state.items
    }


def test_a_simulation_pays_once_for_copies(tmp_path: Path) -> None:
    said: list[str] = []
    simulation = keepers.simulate(
        four_times(60), test=0.2, methods=["margin"], initial=6, rounds=[12], seeds=1, proxy=PROXY,
        target=PROXY, id="key", label="label", input="x", run=tmp_path, say=said.append,
    )  # fmt: skip
    assert simulation.result["data"]["n"] == 48
    assert any(each.startswith("Left out 144 copies of other examples") for each in said)


def test_a_simulation_warns_of_a_class_that_is_left_with_nothing_to_label(tmp_path: Path) -> None:
    few = {"x": [*range(1, 61), *[0] * 40], "label": ["few"] * 60 + ["alike"] * 40}
    given: dict[str, Any] = {"methods": ["margin"], "initial": 6, "rounds": [12], "seeds": 1}
    given |= {"proxy": PROXY, "target": PROXY, "label": "label", "input": "x"}

    def warned(alike: int) -> list[str]:
        said: list[str] = []
        test = pa.table({"x": [alike, 100], "label": ["alike", "few"]})
        run = tmp_path / str(alike)
        keepers.simulate(pa.table(few), test=test, run=run, say=said.append, **given)
        return [each for each in said if "every example of" in each]

    assert warned(200) == []
    (warning,) = warned(0)
    assert warning.startswith("Warning: test: every example of 'alike' in the pool has the inputs")
