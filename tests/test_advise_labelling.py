"""Advice on labelling: campaigns on the labels there are, and what they leave open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import keepers
from commands import Keepers, plain_lines
from keepers.errors import DataError, ParameterError
from keepers.experiments import labelling_pilot
from keepers.experiments.labelling_pilot import Played, needed_for, rows_of
from keepers.experiments.summary import ChoiceTrial
from keepers.ledger import Cost
from keepers.reports.advise import advice_report, advice_table

QUIET: dict[str, Any] = {"say": lambda _: None, "device": "cpu"}


def table(n: int, labelled: int, classes: int = 3) -> pa.Table:
    """Clusters in four dimensions, the first `labelled` with a label."""
    draw = np.random.default_rng(5)
    y = np.arange(n) % classes
    x = draw.normal(size=(n, 4))
    x[np.arange(n), y] += 2
    named = [f"class {each}" if place < labelled else None for place, each in enumerate(y)]
    rows = pa.array(list(x.astype(np.float32)), pa.list_(pa.float32()))
    return pa.table({"features": rows, "label": pa.array(named, pa.string())})


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """One campaign on each fold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelling_pilot, "DRAWS", 1)
        yield


@pytest.fixture(scope="module")
def advice(quick: None, tmp_path_factory: pytest.TempPathFactory) -> keepers.Advice:
    folder = tmp_path_factory.mktemp("advice")
    return keepers.advise_labelling(
        table(400, 160),
        budgets=[20, 70, 1000],
        methods=["margin", "auto"],
        run=folder / "run",
        out=folder / "advice.json",
        **QUIET,
    )


def test_what_the_labels_there_are_can_show(advice: keepers.Advice) -> None:
    rows = {(row["k"], row["method"]): row for row in advice.result["rows"]}
    assert list(rows) == [(k, name) for k in (20, 70) for name in ("random", "margin", "auto")]
    assert advice.result["open"] == [1000]
    assert 0.4 < rows[20, "random"]["score"]["mean"] < rows[70, "random"]["score"]["mean"]
    for found in (row["score"] for row in rows.values()):
        assert found["low"] <= found["mean"] <= found["high"]
    assert rows[20, "margin"]["difference"]["pairs"] == 5
    assert rows[70, "margin"]["difference"] is None  # 70 of 128 are no choice
    assert rows[20, "auto"]["taken"] == ["random"]  # under 100 labels it asks no proxy
    assert rows[20, "auto"]["told"] == "no difference"
    assert rows[20, "auto"]["score"] == rows[20, "random"]["score"]


def test_it_is_told_in_every_form(advice: keepers.Advice) -> None:
    words = "\n".join(advice.sentences)
    assert (
        "The value of 1,000 labels is open: the largest budget needs 1,250 labelled examples"
        in words
    )
    assert "auto against random, in points of accuracy: random itself at 20 labels" in words
    assert "open at 70 labels (a method needs 175 labelled)" in words
    assert "A round by margin after 70 labels takes about" in words
    assert "240 rows" in words  # those without a label
    result = json.loads((advice.run.parent / "advice.json").read_text())
    page = advice_report(result, advice.run / "report.html").read_text()
    assert page.count("<svg") == 2
    lines = plain_lines(advice_table(result))
    assert any(line.split()[:2] == ["70", "random"] for line in lines)


def test_the_same_again(advice: keepers.Advice, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"budgets": [20], "methods": ["margin"], "run": tmp_path / "run"}
    again = keepers.advise_labelling(table(400, 160), **asked, **QUIET)
    before = [row for row in advice.result["rows"] if row["k"] == 20 and row["method"] != "auto"]
    for one, other in zip(before, again.result["rows"], strict=True):
        assert (one["k"], one["method"]) == (other["k"], other["method"])
        assert one["score"] == other["score"]


def trial(method: str, seed: int, error: float) -> ChoiceTrial:
    cost = Cost(phase="any")
    return ChoiceTrial(
        method=method,
        selector=None,
        keep=0.1,
        k=100,
        seed=seed,
        test_error=error,
        worst_class_error=error,
        selection=cost,
        target=cost,
    )


def test_a_budget_beyond_what_a_pilot_looks_at_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"at most 4,000 labelled examples, but .* 3,200 or fewer"
    ):
        keepers.advise_labelling(table(150, 150), budgets=[5000], run=tmp_path / "run", **QUIET)


@pytest.mark.parametrize(
    ("gain", "told"), [(0.05, "better"), (-0.05, "worse"), (0.0, "no difference")]
)
def test_a_choice_against_random_by_hand(gain: float, told: str) -> None:
    trials = [
        trial(method, seed, 0.3 - shift + 0.002 * (seed % 5 % 2))
        for method, shift in (("random", 0.0), ("margin", gain))
        for seed in range(5 * labelling_pilot.DRAWS)
    ]
    played = Played(trials=tuple(trials), taken={}, rounds={}, pool=800, seconds=1.0)
    random, margin = rows_of(played, [100], 1000)
    assert random["score"]["mean"] == pytest.approx(0.7 - 0.002 * 2 / 5)
    assert margin["difference"]["mean"] == pytest.approx(-gain)
    assert margin["told"] == told


def test_a_pilot_that_had_no_choice_says_nothing_of_it() -> None:
    assert (needed_for(100), needed_for(100, 2)) == (125, 250)
    trials = [
        trial(name, seed, 0.3)
        for name in ("random", "margin")
        for seed in range(5 * labelling_pilot.DRAWS)
    ]
    played = Played(trials=tuple(trials), taken={}, rounds={}, pool=199, seconds=1.0)
    assert rows_of(played, [100], 249)[1]["told"] is None
    assert rows_of(played, [100], 250)[1]["told"] == "no difference"


def test_several_labels_and_numbers_are_told_by_their_own_score(
    quick: None, tmp_path: Path
) -> None:
    rows = table(400, 400)
    x = np.array(rows["features"].to_pylist())
    there = np.arange(400) % 2 == 0

    def asked(column: Any, **options: Any) -> dict[str, Any]:
        data = rows.set_column(1, "label", column)
        where = tmp_path / str(len(list(tmp_path.iterdir())))
        found = keepers.advise_labelling(data, budgets=[40], run=where, **QUIET, **options)
        assert "240 rows" not in "".join(found.sentences)
        assert found.result["rounds"]["pool"] == 200  # those without a label
        page = advice_report(found.result, where / "report.html").read_text()
        assert f"held-out {found.result['score']}" in page
        return found.result

    tags = [[f"tag {at}" for at in range(3) if row[at] > 1] for row in x]
    several = asked(pa.array([None if row % 2 else tag for row, tag in enumerate(tags)]))
    assert several["score"] == "average precision"
    assert several["config"]["methods"] == ["label-entropy"]
    noisy = x @ [1, 2, 3, 4] + np.random.default_rng(1).normal(size=400)
    number = asked(pa.array(np.where(there, noisy, np.nan)))
    assert number["score"] == "R²"
    assert number["config"]["methods"] == ["committee"]
    assert "1 number" in (tmp_path / "1" / "report.html").read_text()
    assert number["rows"][0]["score"]["mean"] > 0.9  # a linear function of the features
    assert "Random labels bring: 40 labels R² 9" in number["sentences"][0]
    assert "in points of R²" in number["sentences"][1]
    assert "auto, the default, is random here" in number["sentences"][2]
    named = asked(pa.array(np.where(there, noisy, np.nan)), methods=["committee"])
    assert named["rows"] == number["rows"]
    with pytest.raises(ParameterError, match=r"(?s)methods: got 'margin'.*committee"):
        asked(pa.array(x @ [1, 2, 3, 4]), methods=["margin"])


def test_whole_numbers_that_may_be_classes_are_asked_for(tmp_path: Path) -> None:
    values = pa.array([None if row % 3 else row % 151 for row in range(600)], pa.int64())
    data = table(600, 600).set_column(1, "label", values)
    with pytest.raises(ParameterError, match="Set --task class or --task number"):
        keepers.advise_labelling(data, run=tmp_path / "run", **QUIET)


def test_what_labelling_advice_cannot_be_given_on(tmp_path: Path) -> None:
    def refused(data: Any, words: str, **asked: Any) -> None:
        where = tmp_path / str(len(list(tmp_path.iterdir())))
        with pytest.raises(ParameterError, match=words):
            keepers.advise_labelling(data, run=where, **{**QUIET, **asked})

    refused(table(300, 0), "label: not one row has a label")
    refused(
        table(300, 110),
        "110 labelled examples cannot show the value of 100 labels: .* needs 125",
    )
    refused(table(300, 110), "such as --budgets 44", budgets=[100])
    refused(table(300, 40), "needs 100. Label more at random first$", budgets=[10])
    with pytest.raises(DataError, match="only one class"):
        keepers.advise_labelling(table(300, 200, classes=1), run=tmp_path / "one", **QUIET)
    refused(table(300, 200), "methods: got none but random", methods=["random"])
    refused(table(300, 200), "'forgetting'", methods=["forgetting"])
    refused(table(300, 200), "budgets: got", budgets=[1, 100])
    assert not list(tmp_path.rglob("advice.json"))


def test_the_command(run: Keepers, tmp_path: Path) -> None:
    rows = table(300, 150)
    texts = [
        f"{row['label'] or 'class 0'} words {place}" for place, row in enumerate(rows.to_pylist())
    ]
    pyarrow.csv.write_csv(pa.table({"text": texts, "label": rows["label"]}), tmp_path / "items.csv")
    found = run(
        *("advise", "items.csv", "--labelling", "--budgets", "20", "--methods", "margin"),
        *("--label", "label", "--json"),
    ).json()
    assert [row["k"] for row in found["rows"]] == [20, 20]
    assert Path(found["files"]["report"]).exists()
