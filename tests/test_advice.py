from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import keepers
from digits import load_digits
from keepers.reports.findings import negative
from keepers.workflows.by_class import ByClass


def blobs(n: int = 400, *, wrong: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, n)
    centres = draw.normal(size=(4, 6)) * 4
    flipped = draw.random(n) < wrong
    given = np.where(flipped, (labels + 1) % 4, labels)
    return (centres[labels] + draw.normal(size=(n, 6))).astype(np.float32), given


def warnings(tmp_path: Path, data: tuple[np.ndarray, np.ndarray], **given: object) -> list[str]:
    options: dict[str, object] = {
        "keep": 0.5,
        "method": "entropy",
        "proxy": "logistic",
        "epochs": 30,
        "run": tmp_path / "run",
    }
    return keepers.coreset(data, **(options | given)).metadata["warnings"]  # type: ignore[arg-type]


def warnings_of(selection: keepers.Selection) -> list[str]:
    return selection.metadata["warnings"]


def test_the_default_brings_no_warning_and_asks_no_model(tmp_path: Path) -> None:
    selection = keepers.coreset(blobs(), keep=0.1, run=tmp_path / "run")
    assert (selection.metadata["method"], selection.metadata["proxy"]) == ("stratified", None)
    assert selection.metadata["warnings"] == []


def test_options_of_a_proxy_that_nobody_asks_are_said_to_be_unused(tmp_path: Path) -> None:
    said: list[str] = []
    settings: dict[str, Any] = {"method": "stratified", "proxy": "mlp", "epochs": 2}
    keepers.coreset(blobs(), **settings, run=tmp_path / "run", say=said.append)
    assert any(
        "'stratified' trains no proxy: no use for --proxy, --epochs" in line for line in said
    )


def test_a_small_budget_names_the_safer_method(tmp_path: Path) -> None:
    warning = warnings(tmp_path, blobs(), keep=0.1)[0]
    assert "can be far worse than a random choice" in warning
    assert "'stratified' is safe" in warning
    assert warnings(tmp_path, blobs(), keep=0.1, method="random") == []
    assert warnings(tmp_path, blobs(), keep=0.1, method="ccs", balance="class") == []


def test_what_a_choice_does_to_classes_is_said() -> None:
    labels = torch.tensor([0] * 100 + [1] * 100 + [2] * 20)
    kept = torch.zeros(220, dtype=torch.bool)
    kept[:90] = kept[100:110] = True  # 90 of a, 10 of b, none of c: 45.5% of all
    names = ["a", "b", "c", "no example"]
    (lost,) = ByClass.count(labels, kept, names).lost()
    assert lost == "1 class loses all its examples: 'c'. --min-per-class 1 keeps one of each"
    (extreme,) = ByClass.count(labels, kept, names).extreme()
    assert extreme.startswith(
        "the kept share of 'c' is 0.0% and of 'a' 90.0%, against 45.5% of all"
    )
    assert extreme.endswith("changes the frequency of each class. --method stratified keeps it")
    everything = torch.ones(220, dtype=torch.bool)
    assert ByClass.count(labels, everything, names).lost() == []
    assert ByClass.count(labels, everything, names).few(1000) == []
    assert ByClass.count(labels, everything, names).extreme() == []


def test_an_example_counts_for_each_of_its_labels() -> None:
    at = torch.tensor([0, 0, 1, 2, 2, 3])  # of five examples, the last without a label
    labels, kept = torch.tensor([0, 1, 0, 0, 2, 1]), torch.tensor([True, True, False, False, False])
    counts = ByClass.count(labels, kept, ["a", "b", "c"], at=at)
    assert counts.sizes.tolist() == [3, 2, 1]
    assert counts.keeps.tolist() == [2, 1, 0]
    assert (counts.num, counts.num_kept) == (4, 2)
    (lost,) = counts.lost()
    assert lost.startswith("1 class loses all its examples: 'c'")


def test_a_budget_that_does_not_reach_the_floor_is_said() -> None:
    labels, kept = torch.tensor([0] * 100 + [1] * 100 + [2] * 20), torch.zeros(220).bool()
    kept[0] = kept[100] = True
    counts = ByClass.count(labels, kept, ["a", "b", "c"])
    (lost,), (few,) = counts.lost(), counts.few(30)
    assert lost == "1 class loses all its examples: 'c'. Keep 3 or more"
    assert few.startswith("2 examples are too few for 30 of each class")
    assert few.endswith("At least 80 are needed")


def rare() -> tuple[np.ndarray, np.ndarray]:
    """Four blobs, and 5 examples of a class that is too rare for a part in proportion."""
    features, labels = blobs(300)
    labels[:5] = 4
    return features, labels


def test_no_class_loses_all_of_its_examples_and_the_floor_says_what_it_did(tmp_path: Path) -> None:
    said: list[str] = []
    given: dict[str, Any] = {"keep": 20, "run": tmp_path}
    free = keepers.coreset(rare(), min_per_class=0, **given)
    (lost,) = free.metadata["warnings"]
    assert lost == "1 class loses all its examples: '4'. --min-per-class 1 keeps one of each"
    one = keepers.coreset(rare(), say=said.append, **given)
    assert one.kept["label"].to_pylist().count("4") == 1
    assert one.ids[:19] == free.ids[:19]
    assert one.ids[19] not in free.ids
    told = one.metadata["floor"]
    assert told in said
    assert told == (
        "--min-per-class 1 added 1 example of 1 class that stratified keeps too few of "
        "('4'), in place of its last picks of others"
    )
    reasons = dict(zip(one.table["id"].to_pylist(), one.table["reason"].to_pylist(), strict=True))
    assert reasons[one.ids[19]].endswith("20 of 20 by stratified, for the least of its class")
    assert told in html.unescape(keepers.report(one).read_text())
    assert (free.metadata["floor"], free.metadata["min_per_class"]) == ("", 0)
    three = keepers.coreset(rare(), min_per_class=3, **given)
    assert three.kept["label"].to_pylist().count("4") == 3
    even = keepers.coreset(rare(), min_per_class=1000, **given)
    assert set(Counter(even.kept["label"].to_pylist()).values()) == {4}
    assert "too few for 1,000 of each class" in even.metadata["warnings"][0]


def test_compare_trains_its_targets_on_floored_choices(tmp_path: Path) -> None:
    role = {"model": "logistic", "epochs": 1}
    given: dict[str, Any] = {"test": 0.2, "methods": ["stratified"], "keep": [20], "seeds": 1}
    for _ in range(2):  # the second time from what the first wrote
        found = keepers.compare(rare(), proxy=role, target=role, run=tmp_path, **given)
        rows = {row["method"]: row["floored"] for row in found.result["rows"]}
        assert rows == {"everything": 0, "random": 0, "fresh-random": 0, "stratified": 1}


def test_balanced_classes_bring_no_warning_of_their_shares(tmp_path: Path) -> None:
    (uneven,) = warnings(tmp_path, blobs())
    assert "the kept share of" in uneven
    assert warnings(tmp_path, blobs(), balance="class") == []


def test_classes_too_small_for_an_equal_share_are_named() -> None:
    labels = torch.tensor([0] * 100 + [1] * 100 + [2] * 20)
    kept = torch.zeros(220, dtype=torch.bool)
    kept[:40] = kept[100:140] = kept[200:] = True
    (uneven,) = ByClass.count(labels, kept, ["a", "b", "c", "no example"]).uneven()
    assert uneven == (
        "--balance class: 1 class has fewer examples than an equal share and is kept whole: "
        "'c' (20). The others keep up to 40 each"
    )
    kept[20:40] = kept[120:140] = False  # 20 of each
    assert ByClass.count(labels, kept, ["a", "b", "c"]).uneven() == []
    assert ByClass.count(labels, torch.ones(220, dtype=torch.bool), ["a", "b", "c"]).uneven() == []


def test_what_the_floor_keeps_of_a_rare_class_is_not_said_of_the_method(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [970, 1, 1])
    vectors = np.random.default_rng(0).standard_normal((972, 3)).astype(np.float32)
    given: dict[str, Any] = {"keep": 30, "method": "stratified", "run": tmp_path}
    assert warnings_of(keepers.coreset((vectors, labels), **given)) == []
    gone = torch.from_numpy(np.repeat([0, 1], [300, 700]))
    kept = torch.zeros(1000, dtype=torch.bool)
    kept[299:500] = True  # the floor keeps one of 300
    (said,) = ByClass.count(gone, kept, ["a", "b"]).extreme(least=1)
    assert said.startswith("the kept share of 'a' is 0.3%")


def test_equal_shares_that_change_the_classes_are_said(tmp_path: Path) -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    kept = torch.zeros(100, dtype=torch.bool)
    kept[:10] = kept[90:] = True
    (changed,) = ByClass.count(labels, kept, ["often", "rare"]).changed()
    assert changed.startswith(
        "--balance class makes 'often' 50.0% of what is kept, and it is 90.0% of all: a model"
    )
    kept[:45] = kept[90:95] = True
    assert (
        ByClass.count(labels, torch.ones(100, dtype=torch.bool), ["often", "rare"]).changed() == []
    )
    assert ByClass.count(labels[kept], kept[kept], ["often", "rare"]).changed() == []
    vectors = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    selection = keepers.coreset(
        (vectors, labels.numpy()), keep=20, method="random", balance="class", run=tmp_path
    )
    (told,) = warnings_of(selection)
    assert told.startswith("--balance class makes '0' 50.0% of what is kept")
    given: dict[str, Any] = {"keep": 20, "method": "random", "run": tmp_path}
    floored = keepers.coreset((vectors, labels.numpy()), min_per_class=8, **given)
    (told,) = warnings_of(floored)
    assert told.startswith("--min-per-class 8 makes '0' 60.0% of what is kept")
    assert "but with equal shares it was wrong more often on 6 of 10 data sets" in told
    assert "Give a lower one if all errors count alike" in told
    assert warnings_of(keepers.coreset((vectors, labels.numpy()), min_per_class=3, **given)) == []


def test_a_balance_that_cannot_be_is_said(tmp_path: Path) -> None:
    selection = keepers.coreset(rare(), keep=40, method="random", balance="class", run=tmp_path)
    assert Counter(selection.kept["label"].to_pylist())["4"] == 5
    (told,) = warnings_of(selection)
    assert "'4' (5). The others keep up to 9 each" in told


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_of_a_random_choice_are_not_extreme(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 77, (10_000,), generator=draw)
    kept = torch.rand(10_000, generator=draw) < 0.33
    assert ByClass.count(labels, kept, [str(number) for number in range(77)]).extreme() == []


def test_wrong_labels_are_estimated_on_rows_that_the_proxy_did_not_train_on(tmp_path: Path) -> None:
    said: list[str] = []
    data = blobs(1000, wrong=0.2)
    selection = keepers.coreset(
        data, method="entropy", proxy="logistic", epochs=30, val=0.4, run=tmp_path, say=said.append
    )
    found = selection.metadata["label_noise"]
    assert found["low"] < 0.2 < found["high"] < 0.3
    assert found["low"] > 0.1
    assert found["num"] == 400
    warning = next(one for one in selection.metadata["warnings"] if "validation rows" in one)
    assert re.match(
        r"\d+\.\d% to \d+\.\d% of the labels are wrong or too hard to predict, by 400 validation "
        r"rows that no proxy trained on \(\d+\.\d% of its predictions differ from the label\)",
        warning,
    )
    assert "hardest examples are kept first" in warning
    assert any("400 validation rows that no proxy trained on" in line for line in said)
    assert (
        "wrong or too hard to predict, by 400 validation" in keepers.report(selection).read_text()
    )


def test_a_clean_data_set_is_not_said_to_have_wrong_labels(tmp_path: Path) -> None:
    given: dict[str, Any] = {"method": "entropy", "proxy": "mlp", "epochs": 1, "run": tmp_path}
    (told,) = (one for one in warnings_of(keepers.coreset("digits", **given)) if "proxy" in one)
    assert "not how many labels are wrong" in told or "learnt little" in told
    page = keepers.report(keepers.coreset("digits", **given)).read_text()
    assert "The share of wrong labels is unknown; --val 0.2 estimates it" in page
    measured = keepers.coreset("digits", val=0.2, **given)
    assert measured.metadata["label_noise"]["low"] == 0
    assert not any("labels are wrong" in one for one in warnings_of(measured))


def test_few_validation_rows_give_no_estimate(tmp_path: Path) -> None:
    selection = keepers.coreset(
        blobs(), method="entropy", proxy="logistic", epochs=2, val=40 / 400, run=tmp_path
    )
    assert selection.metadata["label_noise"] is None


def test_a_proxy_that_learnt_nothing_is_said_to_be_useless(tmp_path: Path) -> None:
    features, labels = blobs()
    shuffled = np.random.default_rng(1).permutation(labels)
    warning = warnings(tmp_path, (features * 0 + 1.0, shuffled))[0]
    assert "the proxy has hardly learnt anything" in warning


def test_a_proxy_that_tells_a_rare_class_from_others_has_learnt(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rare = draw.random(3000) < 0.04
    features = draw.normal(size=(3000, 4)) + 1.2 * rare[:, None]  # right on 97%, guessing on 96%
    given = {"method": "margin", "proxy": "linear", "run": tmp_path}
    found = keepers.coreset((features.astype(np.float32), rare.astype(int)), **given)  # pyright: ignore[reportArgumentType]
    assert found.metadata["proxy_training_accuracy"] < 0.99
    assert not any("hardly learnt" in warning for warning in warnings_of(found))


def test_a_proxy_that_memorised_wrong_labels_is_not_blind_to_them(tmp_path: Path) -> None:
    pictures, right = load_digits(return_X_y=True)
    flipped = np.random.default_rng(0).random(len(right)) < 0.2
    data = (pictures.astype(np.float32), np.where(flipped, (right + 1) % 10, right))
    selection = keepers.coreset(
        data, method="entropy", proxy="mlp", epochs=20, run=tmp_path / "run"
    )
    assert selection.metadata["proxy_training_accuracy"] > 0.95
    assert any("labels are wrong" in warning for warning in selection.metadata["warnings"])


def test_negative_margins_stand_in_the_report_lowest_first(tmp_path: Path) -> None:
    features, given = blobs(wrong=0.2)
    _, right = blobs()
    selection = keepers.coreset(
        (features, given), method="entropy", proxy="logistic", epochs=30, run=tmp_path / "run"
    )
    evidence = selection.evidence
    suspected = evidence.source.rows[negative(evidence.margin)]
    wrong = (given != right)[suspected]
    assert wrong.mean() > 0.9
    assert wrong.sum() > 0.8 * (given != right).sum()
    page = keepers.report(selection).read_text()
    assert "another class was more likely than the label" in page


def test_validation_rows_have_no_margin(tmp_path: Path) -> None:
    selection = keepers.coreset(
        blobs(), method="entropy", proxy="logistic", epochs=2, val=0.25, run=tmp_path / "run"
    )
    held_out = np.isin(np.arange(400), selection.evidence.validation)
    assert np.array_equal(np.isnan(selection.evidence.margin), held_out)
