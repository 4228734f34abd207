"""Pilots: what they say of methods, and what `auto` takes."""

from __future__ import annotations

import html
import importlib
import io
import json
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
import torch
from PIL import Image
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

import keepers
from keepers import methods
from keepers.baselines import SAFE
from keepers.data import open_source
from keepers.errors import DataError, ParameterError
from keepers.reports.advise import VIEWS, advice_report, advice_table
from keepers.roles import Role, prepare
from keepers.runs import Run
from keepers.selectors import folds
from keepers.training import Hardware
from keepers.types import Classifier
from keepers.workflows import auto as autos
from keepers.workflows import judge as judges
from keepers.workflows import looked_at as parts
from keepers.workflows import pilot as pilots
from keepers.workflows import second_look
from keepers.workflows.advise import _target  # pyright: ignore[reportPrivateUsage]
from keepers.workflows.judge import Held, Judge
from keepers.workflows.options.advise import AdviseOptions
from keepers.workflows.pilot import EVERYTHING, RANDOM, Pilot, least_of
from keepers.workflows.settled_in_words import (
    _choice,  # pyright: ignore[reportPrivateUsage]
    said_of_cleaning,
    sentences,
    why_safe,
)
from keepers.workflows.settling import (
    FARTHER,
    SPREAD,
    Finding,
    fallback,
    findings,
    promising,
    settle,
)
from keepers.workflows.stages import Trained, Training
from keepers.workflows.workplace import Workplace


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("keepers.models.another_kind")
    monkeypatch.setattr(module, "TREES", 10)


def blobs(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Four clusters in 40 dimensions; a part of the labels is wrong."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, n)
    centres = 0.45 * np.random.default_rng(99).standard_normal((4, 40))
    rows = (centres[labels] + draw.standard_normal((n, 40))).astype(np.float32)
    wrong = draw.random(n) < noise
    labels[wrong] = (labels[wrong] + draw.integers(1, 4, int(wrong.sum()))) % 4
    return rows, labels


def pilot(results: dict[str, list[float]]) -> Pilot:
    found = {
        (name, 1.0 if name == EVERYTHING else 0.3): tuple(
            Held(error=error, loss=error) for error in errors
        )
        for name, errors in results.items()
    }
    return Pilot(found=found, examples=0, judged=0, overlap=0.25, costs=())


AT = [0.30, 0.31, 0.29, 0.30, 0.32]
OTHERS = {EVERYTHING: AT, RANDOM: AT, SAFE: AT}


def told_of(row: Finding) -> dict[str, Any]:
    """Advice of one row, as `advise` writes it, of whose 500 examples 100 judged."""
    seconds = {"selection_seconds": 1.0, "saved_seconds": 2.0}
    return {
        "kind": "advise",
        "score": "accuracy",
        "config": {"proxy": "linear"},
        "pilot": {"other": "", "examples": 500, "judged": 100, "folds": 5, "seconds": 1.0},
        "target": {"model": "linear", "seconds": 3.0, "epochs": None},
        "rows": [{**asdict(row), "told_stratified": None, **seconds}],
        "take": {str(row.keep): row.method},
    }


def shifted(by: float) -> list[float]:
    """Errors near `AT` but for their shift."""
    return [error + by + 0.002 * (-1) ** place for place, error in enumerate(AT)]


@pytest.mark.parametrize(
    ("by", "told"), [(-0.05, "better"), (0.05, "worse"), (0.0, "no difference")]
)
def test_what_a_difference_is_called(by: float, told: str) -> None:
    rows = findings(pilot({**OTHERS, "margin": shifted(by)}), [SAFE, "margin"], [0.3])
    assert [row.told for row in rows] == ["no difference", told]


def test_noise_is_not_told_from_nothing() -> None:
    results = {**OTHERS, "margin": [0.2, 0.45, 0.25, 0.4, 0.2]}
    rows = findings(pilot(results), [SAFE, "margin"], [0.3])
    assert [row.told for row in rows] == ["cannot tell", "cannot tell"]
    assert settle(rows, 0.3) is None
    assert fallback(rows, 0.3) == SAFE


def test_stratified_is_not_fallen_back_on_where_it_did_worse() -> None:
    rows = findings(pilot({**OTHERS, SAFE: shifted(0.05)}), [SAFE], [0.3])
    assert [row.told for row in rows] == ["worse"]
    assert fallback(rows, 0.3) == RANDOM


def test_the_best_of_those_that_are_better_is_taken() -> None:
    results = {**OTHERS, "margin": shifted(-0.03), "badge": shifted(-0.06), "loss": shifted(0.1)}
    rows = findings(pilot(results), [SAFE, "margin", "badge", "loss"], [0.3])
    taken = settle(rows, 0.3)
    assert taken is not None
    assert taken.method == "badge"


def test_what_harms_another_kind_of_model_is_not_taken() -> None:
    results = {**OTHERS, "margin": shifted(-0.03), "badge": shifted(-0.06), "loss": shifted(0.1)}
    rows = findings(pilot(results), [SAFE, "margin", "badge", "loss"], [0.3])
    assert [row.method for row in promising(rows, 0.3)] == ["badge", "margin"]
    harmed, gained = (replace(rows[0].error, mean=mean) for mean in (0.044, -0.002))
    seen = [replace(row, other=harmed) if row.method == "badge" else row for row in rows]
    taken = settle(seen, 0.3)
    assert taken is not None
    assert taken.method == "margin"
    seen = [replace(row, other=gained if row.method == "badge" else harmed) for row in rows]
    taken = settle(seen, 0.3)
    assert taken is not None
    assert taken.method == "badge"
    assert settle([replace(row, other=harmed) for row in rows], 0.3) is None
    assert why_safe({"margin": 0.96}, SAFE, {"margin": 0.044}, "a random forest") == (
        "margin did better than a random choice for the pilot's model, but a random forest, a "
        "model of another kind, did 4.4 points worse by margin"
    )
    assert why_safe({"margin": 0.96}, SAFE, {"margin": 0.0}, "a random forest").endswith(
        "did no better by margin"
    )


def test_what_keeps_hardly_any_of_a_class_is_not_taken() -> None:
    results = {**OTHERS, "margin": shifted(-0.06), "badge": shifted(-0.03)}
    seen = pilot(results)
    seen = replace(seen, least={("margin", 0.3): ("yes", 0.04), ("badge", 0.3): ("yes", 0.4)})
    rows = findings(seen, [SAFE, "margin", "badge"], [0.3])
    taken = settle(rows, 0.3)
    assert taken is not None
    assert taken.method == "badge"
    assert [row.is_lopsided for row in rows] == [False, True, False]
    why = why_safe({"margin": 0.96}, SAFE, lopsided={"margin": ("yes", 0.04)})
    assert why == (
        "margin did better than a random choice, but kept hardly any of a class: margin 4% of "
        "'yes', where 100% is what a random choice keeps"
    )
    assert "no method is better" in why_safe({"margin": 0.5}, lopsided={"margin": ("yes", 0.04)})


def test_the_class_of_which_least_is_kept_is_found_over_all_pieces() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    everything, half = torch.arange(100), torch.arange(0, 100, 2)
    assert least_of(labels, [(everything, half)]) == (0, 1.0)
    chosen = torch.tensor([*range(20), *range(60, 90)])
    # Of class 2 random choices keep 5 in one piece, too few to tell, and 10 in two.
    assert least_of(labels, [(everything, chosen)]) == (0, pytest.approx(20 / 30))
    assert least_of(labels, [(everything, chosen)] * 2) == (2, 0.0)
    assert least_of(labels, [(torch.arange(5), torch.arange(2))]) == (0, 1.0)


@pytest.mark.parametrize(
    ("chance", "other", "taken"),
    [
        (0.92, None, True),
        (0.85, None, False),
        (0.85, -0.01, True),
        (0.85, 0.01, False),
        (0.92, 0.01, False),
        (0.79, -0.01, False),
        (0.8, -1e-9, True),
        (0.95, 0.0, False),  # one that names the same class always gains nothing by anything
    ],
)
def test_another_kind_of_model_makes_up_for_a_lower_chance(
    chance: float, other: float | None, taken: bool
) -> None:
    (row,) = findings(pilot({**OTHERS, "margin": shifted(-0.03)}), ["margin"], [0.3])
    told = None if other is None else replace(row.error, mean=other)
    found = settle([replace(row, probability=chance, other=told)], 0.3)
    assert (found is not None) == taken


def test_the_chance_that_is_asked_for_is_named() -> None:
    assert "with a probability of 90% or more" in why_safe({"margin": 0.75})
    assert "with a probability of 80% or more" in why_safe({"margin": 0.75}, other="a forest")


class Contrary(ClassifierMixin, BaseEstimator):
    """Right where it is trained on wrong labels, too, and wrong where it is on none."""

    def fit(self, X: Any, y: Any) -> Contrary:
        self.classes_ = np.unique(y)
        regression = LogisticRegression().fit(X, y)
        self.last_ = regression
        self.turned_ = float((regression.predict(X) == y).mean() > 0.9)
        return self

    def predict_proba(self, X: Any) -> Any:
        said = self.last_.predict_proba(X)
        return np.roll(said, 1, axis=1) if self.turned_ else said


def test_auto_asks_another_kind_of_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def contrary(classifier: Classifier, info: Any) -> tuple[str, Classifier]:
        return "a contrary model", replace(classifier, make=lambda seed: Contrary())

    monkeypatch.setattr(second_look, "another_kind", contrary)
    selection = keepers.coreset(blobs(1200, 0.4), keep=0.2, proxy="linear", run=tmp_path / "run")
    auto = selection.metadata["auto"]
    assert auto["taken"] not in ("confident-learning", SAFE)  # another one is likely, too
    rows = {row["method"]: row for row in auto["pilot"]["rows"]}
    left, taken = rows["confident-learning"], rows[auto["taken"]]
    assert left["error"]["mean"] < taken["error"]["mean"]
    assert left["other"]["mean"] > 0.1 > 0 > taken["other"]["mean"]
    assert rows[SAFE]["other"] is None
    # advice takes what auto takes, and says why
    methods = ["confident-learning"]
    advice = keepers.advise(
        blobs(1200, 0.4), keep=[0.2], methods=methods, proxy="linear", run=tmp_path / "advice"
    )
    assert advice.result["take"] == {"0.2": SAFE}
    assert "but a contrary model, a model of another kind, did" in advice.sentences[1]
    assert "points worse by confident-learning; take stratified" in advice.sentences[1]
    # who names the kind of model is not told of another
    own = "sklearn:sklearn.linear_model:LogisticRegression"
    selection = keepers.coreset(blobs(1200, 0.4), keep=0.2, proxy=own, run=tmp_path / "own")
    assert selection.metadata["auto"]["taken"] == "confident-learning"


def test_a_choice_is_told_with_its_probability() -> None:
    error = {"mean": -0.03, "low": -0.05, "high": -0.01}
    row = {"method": "margin", "error": error, "told": "better", "probability": 0.971}
    row |= {"other": {"mean": -0.012}, "loss": {"mean": -0.1, "low": -0.2, "high": 0.0}}
    pilot = {"errors": {"0.3": 0.3}, "error_everything": 0.2, "other": "a random forest"}
    words = _choice(row, "", pilot, "0.3", "accuracy")
    assert words.endswith("everything 20.0%; a random forest gained 1.2 points by it")
    assert words.startswith(
        "margin is better than a random choice, with a probability of 97%: by 3.0 points (1.0 to "
        "5.0), 27.0% wrong"
    )
    surer = row | {"loss": {"mean": 1.5, "low": 0.5, "high": 2.5}}
    assert _choice(surer, "", pilot, "0.3", "accuracy") == (
        f"{words}; its probabilities are worse, by 1.50 in log loss (0.50 to 2.50)"
    )
    assert "probabilities" not in _choice(surer, "", pilot, "0.3", "R²")
    # taken at 90%, where the table says "cannot tell" and a chance that is rounded down
    row |= {"told": "cannot tell", "probability": 0.9481}
    words = _choice(row, "", pilot, "0.3", "accuracy")
    assert words.startswith(
        "margin is likely, not surely, better than a random choice, with a probability of 94%:"
    )


def test_nobody_is_told_to_take_what_would_do_harm() -> None:
    chances = {SAFE: 0.02, "margin": 0.5}
    words = "is better than a random choice with a probability of 90% or more"
    assert why_safe(chances, RANDOM).endswith(f"{words}, and stratified did worse")
    assert why_safe(chances, SAFE).endswith(words)
    pilot = {"errors": {"0.3": 0.3}, "error_everything": 0.2}
    assert _choice({"method": SAFE}, "take random", pilot, "0.3", "accuracy") == (
        "take random. On held-out data, training on a random choice was wrong on 30.0%, on "
        "everything on 20.0%"
    )


def test_where_random_is_taken_nothing_else_is_said_to_be() -> None:
    row = findings(pilot({**OTHERS, SAFE: shifted(0.05)}), [SAFE], [0.3])[0]
    advice = told_of(row)
    advice["take"] = {"0.3": RANDOM}
    advice["pilot"] |= {"errors": {"0.3": 0.3}, "error_everything": 0.2}
    fresh = {"mean": 0.05, "low": 0.03, "high": 0.07}
    advice["rows"][0] |= {"fresh": fresh, "told_fresh": "worse"}
    words = " ".join(sentences(advice | {"label_noise": None, "cleaning": ""}))
    assert "stratified did worse; take random." in words
    assert "take that" not in words


@pytest.mark.parametrize(
    ("chances", "words"),
    [
        (
            {SAFE: 0.5, "margin": 0.8999},
            "no method is better than a random choice with a probability of 90% or more",
        ),
        (
            {SAFE: 0.97, "margin": 0.3},
            "no method but stratified is better than a random choice "
            "with a probability of 90% or more",
        ),
        (
            {SAFE: 0.97, "margin": 0.96},
            "margin did better than a random choice, but no better than stratified",
        ),
    ],
)
def test_why_the_safe_one_is_taken_does_not_deny_the_table(
    chances: dict[str, float], words: str
) -> None:
    assert why_safe(chances).startswith(words)


def test_a_chance_below_a_bar_is_not_shown_to_reach_it() -> None:
    """Here 94.9%, which says "cannot tell", and would be rounded to 95%, which says "better"."""
    results = {**OTHERS, "margin": [0.2658, 0.2858, 0.2758, 0.2958, 0.2958]}
    row = findings(pilot(results), ["margin"], [0.3])[0]
    assert (row.told, round(row.probability, 3)) == ("cannot tell", 0.949)
    assert said_of_cleaning([replace(row, method="confident-learning")]) == (
        "In the pilot, leaving them out (confident-learning) was likely, not surely, better "
        "than a random choice at 30% kept"
    )
    result = told_of(row)
    assert (
        "on 500 examples in 5 folds, measured on 100" in VIEWS["advise"](result, drawn=False).lead
    )
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(advice_table(result))
    line = next(line for line in shown.export_text().splitlines() if "margin" in line)
    assert "cannot tell" in line
    assert "94%" in line


def test_no_method_is_surer_than_all_of_its_budget_are() -> None:
    """One that is even by luck takes the spread of all; one that is uneven keeps its own."""
    even = shifted(-0.03)
    odd = [error - 0.03 + 0.05 * (-1) ** n for n, error in enumerate(AT)]
    rows = findings(pilot({**OTHERS, "margin": even, "loss": odd}), ["margin", "loss"], [0.3])
    gaps = [np.subtract(each, AT) for each in (even, odd)]
    variances = [np.var(gap, ddof=1) for gap in gaps]
    for row, gap, variance in zip(rows, gaps, (np.mean(variances), variances[1]), strict=True):
        error = SPREAD * np.sqrt(variance * (1 / 5 + 0.25))
        assert row.probability == pytest.approx(scipy.stats.t.cdf(-gap.mean() / error, df=8))
        assert row.error.high == pytest.approx(gap.mean() + scipy.stats.t.ppf(0.975, df=8) * error)


def test_small_pieces_of_many_data_say_less() -> None:
    """What is chosen of more than a pilot's pieces differs from what they show by more."""
    results = {**OTHERS, "margin": [0.27, 0.29, 0.28, 0.29, 0.28]}
    seen = pilot(results)
    whole, part = (
        findings(replace(seen, smaller=smaller), ["margin"], [0.3])[0] for smaller in (False, True)
    )
    assert whole.error.mean == part.error.mean
    widths = [row.error.high - row.error.mean for row in (whole, part)]
    assert widths[1] == pytest.approx(widths[0] * FARTHER / SPREAD)
    assert 0.5 < part.probability < whole.probability


def test_what_never_differs_by_another_amount_is_not_known() -> None:
    """Five folds that differ by the same one example are no certainty."""
    results = {**OTHERS, "margin": [error - 0.05 for error in AT]}
    constant = findings(
        pilot({**results, RANDOM: [0.5] * 5, "margin": [0.45] * 5}), ["margin"], [0.3]
    )
    assert constant[0].probability == 0.5
    assert settle(constant, 0.3) is None


def test_what_is_said_of_leaving_wrong_labels_out() -> None:
    results = {**OTHERS, "confident-learning": shifted(-0.05)}
    rows = findings(pilot(results), [SAFE, "confident-learning"], [0.3])
    assert said_of_cleaning(rows) == (
        "In the pilot, leaving them out (confident-learning) was better than a random choice at "
        "30% kept"
    )
    assert said_of_cleaning(rows[:1]) == ""


@pytest.mark.parametrize(("n", "shared", "overlap"), [(60, 0.75, 0.25), (500, 0.0, 0.0)])
def test_pieces_share_no_examples_where_there_are_enough(
    n: int, shared: float, overlap: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is trained on four folds and judged by a fifth; all of them judge other examples."""
    monkeypatch.setattr(pilots, "LARGEST", 100)
    asked: list[Training] = []
    original = judges.train

    def noted(place: Workplace, training: Training) -> Trained:
        asked.append(training)
        return original(place, training)

    monkeypatch.setattr(judges, "train", noted)
    source = open_source(blobs(n, 0.0))
    source, prepared = prepare(Role(model="linear"), source)
    with Run(tmp_path / "run", {}) as run:
        place = Workplace(run=run, hardware=Hardware())
        row = methods.get("stratified")
        judge = Judge(prepared=prepared, source=source, place=place, seed=0)
        found = pilots.run_pilot(judge, [row], [0.5], drawn=False)
    whole = [training for training in asked if len(training.members) < len(training.scored)]
    trained = [set(training.members.tolist()) for training in whole]
    judged = [set(t.scored.tolist()) - one for t, one in zip(whole, trained, strict=True)]
    assert len(whole) == 5
    assert sum(map(len, judged)) == len(set.union(*judged))
    pairs = list(combinations(trained, 2))
    assert sum(len(a & b) for a, b in pairs) == pytest.approx(
        shared * sum(len(a) for a, _ in pairs), abs=9
    )
    assert found.overlap == pytest.approx(overlap)
    assert found.smaller == (n > 100)
    assert set.union(*trained, *judged) == set(range(n))


def test_pieces_hold_each_class_in_its_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of 25 among 500 has about five examples in each of five pieces, four to train on."""
    labels = torch.tensor([0] * 25 + [1] * 200 + [2] * 275)
    fold_of = folds(labels, torch.arange(500), 25, generator=torch.Generator().manual_seed(0))
    for _, *others in pilots.windows(25):
        trained = labels[torch.isin(fold_of, torch.tensor(others))]
        assert abs(int((trained == 0).sum()) - 4) <= 1
    few = torch.tensor([0] * 4 + [1] * 496)  # no piece has most of a rare class
    fold_of = folds(few, torch.arange(500), 25, generator=torch.Generator().manual_seed(0))
    pieces = [torch.isin(fold_of, torch.tensor(piece)) for piece in pilots.windows(25)]
    assert max(int((few[piece] == 0).sum()) for piece in pieces) <= 2
    monkeypatch.setattr(parts, "LARGEST", 100)
    many = open_source((np.arange(1000, dtype=np.float32).reshape(500, 2), np.arange(500) // 5))
    assert len(parts.looked_at(many, 0)) == 100  # all are looked at where classes are few
    assert len(parts.looked_at(open_source(blobs(500, 0.0)), 0)) == 500


def test_auto_leaves_wrong_labels_out_where_that_helps(tmp_path: Path) -> None:
    said: list[str] = []
    selection = keepers.coreset(
        blobs(1200, 0.4), keep=0.2, proxy="linear", run=tmp_path / "run", say=said.append
    )
    assert selection.metadata["method"] == "confident-learning"
    auto = selection.metadata["auto"]
    assert auto["taken"] == "confident-learning"
    assert "at 20% kept it was" in auto["why"]
    assert any(sentence.startswith("auto takes confident-learning") for sentence in said)
    assert any(cost.phase == "pilot" for cost in selection.evidence.costs)
    noise = selection.metadata["label_noise"]
    assert noise["by"] == "pilot"
    assert noise["low"] < 0.4 < noise["high"]
    assert auto["pilot"]["judged"] == 1_200
    rows = {row["method"]: row["other"] for row in auto["pilot"]["rows"]}
    assert rows["confident-learning"]["mean"] < 0
    assert auto["pilot"]["other"] == "a random forest"
    words = "wrong or too hard to predict, by 1,200 examples that the pilot did not train on ("
    assert any(words in sentence for sentence in said)
    assert words in html.unescape(keepers.report(selection).read_text())
    again = keepers.coreset(blobs(1200, 0.4), keep=0.2, proxy="linear", run=tmp_path / "again")
    assert again.indices.tolist() == selection.indices.tolist()


def test_auto_chooses_by_the_model_whose_choices_it_tried(tmp_path: Path) -> None:
    """Trees know this rule, and are least sure of nothing but the one class: that is no choice."""
    draw = np.random.default_rng(0)
    hours = np.where(draw.random(600) < 0.57, draw.integers(20, 2_000, 600), 0)
    others = draw.normal(size=(600, 6)) + 0.4 * (hours > 0)[:, None]
    x = np.column_stack([hours, others]).astype(np.float32)
    y = np.where(hours > 0, "yes", "no")
    asked: dict[str, Any] = {"keep": 0.1, "run": tmp_path / "run", "say": lambda _: None}
    found = keepers.coreset((x, y), **asked)
    assert found.metadata["method"] == "margin"
    assert found.metadata["proxy"]["model"] == "linear"
    kept = y[found.indices]
    assert (kept == "yes").mean() > 0.2
    told = keepers.advise((x, y), keep=[0.1], run=tmp_path / "advice", say=lambda _: None)
    assert any(each.endswith("--method margin --proxy linear") for each in told.sentences)
    named = keepers.coreset((x, y), **{**asked, "run": tmp_path / "named"}, proxy="tabular")
    assert named.metadata["method"] == "stratified"


@pytest.mark.parametrize("safe", [SAFE, RANDOM])
def test_a_choice_that_turns_out_lopsided_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safe: str
) -> None:
    monkeypatch.setattr("keepers.workflows.auto.fallback", lambda *_: safe)
    monkeypatch.setattr(
        "keepers.workflows.auto.HARDLY_ANY", 1.01
    )  # of no class is more kept by all
    said: list[str] = []
    found = keepers.coreset(
        blobs(1200, 0.4), keep=0.2, proxy="linear", run=tmp_path / "run", say=said.append
    )
    assert found.metadata["method"] == safe
    assert found.metadata["auto"]["taken"] == safe
    assert "would keep hardly any of" in found.metadata["auto"]["why"]
    assert any(line.startswith(f"auto takes {safe} after all: ") for line in said)


def test_auto_asks_the_network_that_will_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's margins put first the wrong labels that it has learnt by heart."""
    asked: list[str] = []
    look = autos.proxy_look

    def seen(pilot: Any, rows: Any, proxy: Any, *given: Any, **more: Any) -> Any:
        asked.append(proxy.role.model)
        return look(pilot, rows, proxy, *given, **more)

    monkeypatch.setattr(autos, "proxy_look", seen)
    same: dict[str, Any] = {"keep": 0.2, "say": lambda _: None}
    proxy = {"model": "mlp", "epochs": 2}
    found = keepers.coreset(blobs(600, 0.4), proxy=proxy, run=tmp_path / "mlp", **same)
    rows = {row["method"]: row["proxy"] for row in found.metadata["auto"]["pilot"]["rows"]}
    assert found.metadata["method"] == "confident-learning"
    assert found.metadata["proxy"]["model"] == asked[0] == "mlp"
    assert rows["confident-learning"]["mean"] < 0
    assert "; what the proxy chose gained " in found.metadata["auto"]["why"]
    keepers.coreset(blobs(600, 0.4), proxy="linear", run=tmp_path / "linear", **same)
    assert asked == ["mlp"]
    held = {"test": blobs(300, 0.0, seed=1), "target": "linear", "seeds": 1}
    same = {"keep": (0.2,), "methods": ("auto",), "say": lambda _: None} | held
    keepers.compare(blobs(600, 0.4), proxy=proxy, run=tmp_path / "compare", **same)
    assert asked == ["mlp", "mlp"]


@pytest.mark.parametrize(
    ("model", "kind", "offered", "asked"),
    [
        ("mlp", "vector", None, True),
        ("fasttext", "text", ["margin"], True),
        ("linear", "vector", ["margin"], False),
        ("preact8", "image", None, False),
        ("preact8", "image", ["margin"], True),
        ("linear", "image", ["margin"], False),
    ],
)
def test_when_a_pilot_asks_the_model_that_will_choose(
    model: str, kind: str, offered: list[str] | None, asked: bool
) -> None:
    assert autos.asks_proxy(Role(model=model), kind, offered) is asked


@pytest.mark.parametrize(
    ("gains", "taken", "looked"),
    [
        ({"badge": 0.04, "margin": 0.02}, "badge", ["badge"]),
        ({"badge": 0.0, "margin": 0.02}, "margin", ["badge", "margin"]),
        ({"badge": 0.0, "margin": -0.02}, None, ["badge", "margin"]),
    ],
)
def test_a_network_is_trained_for_the_best_alone_where_it_gains(
    monkeypatch: pytest.MonkeyPatch,
    gains: dict[str, float],
    taken: str | None,
    looked: list[str],
) -> None:
    results = {**OTHERS, "margin": shifted(-0.03), "badge": shifted(-0.06), "loss": shifted(0.1)}
    piece: dict[str, Any] = {"members": torch.arange(4), "held": torch.arange(2)}
    pieces = tuple(pilots.Piece(**piece, chosen={(RANDOM, 0.3): at}) for at in AT)
    seen = replace(pilot(results), pieces=pieces)
    asked: list[tuple[str, int]] = []

    def chosen(_: Any, row: Finding, fold: int, *__: Any) -> Any:
        asked.append((row.method, fold))
        return shifted(-gains[row.method])[fold]

    look = importlib.import_module("keepers.workflows.proxy_look")
    monkeypatch.setattr(look, "chosen_by", chosen)
    monkeypatch.setattr(look, "_errors", lambda errors, *_: [*errors])
    monkeypatch.setattr(look, "of_another_kind", lambda _: None)
    source = open_source(blobs(120, 0.1))
    prepared = prepare(Role(model="linear"), source)[1]
    rows = findings(seen, [SAFE, "margin", "badge", "loss"], [0.3])
    place = Workplace(run=Mock(), hardware=Hardware())
    judge = Judge(prepared=prepared, source=source, place=place, seed=0)
    _, found = look.proxy_look(seen, rows, prepared, judge, 0.3)
    best = settle(found, 0.3)
    assert (best and best.method) == taken
    assert asked == [(name, fold) for name in looked for fold in range(5)]
    assert [row.method for row in found if row.proxy] == [
        row.method for row in rows if row.method in looked
    ]


def test_what_is_hard_for_a_linear_model_alone_is_no_wrong_label(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1_500, 3)).astype(np.float32)
    right = np.where((rows[:, 0] > 0) ^ (rows[:, 1] > 0.84), "up", "down")
    selection = keepers.coreset((rows, right), keep=0.3, proxy="linear", run=tmp_path / "run")
    found = selection.metadata["label_noise"]
    assert found["high"] < 0.05  # by the linear model alone 0.14 to 0.21
    assert found["disagreement"] < 0.05
    assert found["num"] == 1_500
    assert selection.metadata["warnings"] == []


def test_auto_takes_the_safe_one_where_nothing_is_better(tmp_path: Path) -> None:
    selection = keepers.coreset(blobs(400, 0.75), keep=0.3, proxy="linear", run=tmp_path / "run")
    assert selection.metadata["method"] == SAFE
    assert selection.metadata["warnings"] == []


COPIES = np.repeat(np.eye(2, dtype=np.float32), 100, 0), np.arange(200) % 2


@pytest.mark.parametrize(
    ("data", "keep", "why"),
    [
        (blobs(80, 0.0), 0.5, "a pilot needs 100 examples, and there are 80"),
        (blobs(200, 0.0), 1.0, "everything is kept"),
        (blobs(200, 0.0), 5, "too few are kept"),
        (COPIES, 0.5, "a pilot needs 10 different inputs or groups, and there are 2"),
    ],
)
def test_where_a_pilot_says_nothing_auto_says_why(
    data: Any, keep: float, why: str, tmp_path: Path
) -> None:
    said: list[str] = []
    selection = keepers.coreset(data, keep=keep, run=tmp_path / "run", say=said.append)
    assert selection.metadata["method"] == SAFE
    assert any(why in sentence for sentence in said)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"balance": "class"}, "judges by accuracy, and --balance class asks for another thing"),
        ({"min_per_class": 40}, "--min-per-class 40 settles most of the choice"),
        ({"min_per_class": 2}, "in a pilot on 600 examples"),
    ],
)
def test_auto_tries_no_choice_whose_classes_are_counted(
    given: dict[str, Any], why: str, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    rare = draw.random(600) < 0.06
    rows = (draw.normal(size=(600, 3)) + 2 * rare[:, None]).astype(np.float32)
    data = rows, rare.astype(int)
    selection = keepers.coreset(data, keep=0.2, proxy="linear", run=tmp_path / "run", **given)
    assert why in selection.metadata["auto"]["why"]
    both: dict[str, Any] = {"test": 0.2, "keep": [0.2], "seeds": 1, "proxy": "linear"}
    both |= {"target": "linear", "methods": ["auto"], "run": tmp_path / "compare"}
    (auto,) = keepers.compare(data, **both, **given).result["auto"]
    assert why.replace("600", "480") in auto["why"]


def test_classes_of_one_example_and_many_classes_do_not_stop_a_pilot(tmp_path: Path) -> None:
    rows, labels = blobs(300, 0.0)
    labels = np.concatenate([labels[:-5], [10, 11, 12, 13, 14]])
    advice = keepers.advise((rows, labels), keep=[0.3], proxy="linear", run=tmp_path / "run")
    assert len(advice.result["rows"]) == 4


class Heard:
    """A `Progress` that notes what it is told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.done: list[int] = []

    def start(self, what: str, total: int) -> None:
        self.started.append((what, total))

    def advance(self, done: int) -> None:
        self.done.append(done)

    def finish(self) -> None:
        pass


def test_advice_is_told_in_every_form(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"keep": [0.3, 0.6], "proxy": "linear", "run": tmp_path / "run"}
    heard = Heard()
    advice = keepers.advise(blobs(300, 0.4), out=tmp_path / "advice.json", progress=heard, **asked)
    # one phase, whose clock no training within starts again: in a log it says a line now and then
    assert heard.started[-2:] == [("pilot", 0), ("pilot: trainings", 65)]
    assert heard.done == list(range(1, 66))
    result = json.loads((tmp_path / "advice.json").read_text())
    assert result["take"].keys() == {"0.3", "0.6"}
    assert {row["told"] for row in result["rows"]} <= {
        "better",
        "worse",
        "no difference",
        "cannot tell",
    }
    assert advice.sentences
    page = advice_report(result, tmp_path / "report.html").read_text()
    assert "Does selecting pay?" in page
    assert "<svg" in page


def test_a_picture_that_cannot_be_read_is_left_out_for_the_target_too(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for number in range(120):
        file = tmp_path / "pictures" / f"class-{number % 2}" / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:60])
    source = open_source(tmp_path / "pictures", on_bad_row="skip")
    with Run(tmp_path / "run", {}) as run:
        place = Workplace(run=run, hardware=Hardware(), on_bad_row="skip")
        part, target = _target(source, AdviseOptions(target="mlp"), place)
        assert (len(source), len(part), len(target.pool)) == (120, 119, 119)
        with pytest.raises(DataError, match="picture"):
            _target(source, AdviseOptions(target="mlp"), replace(place, on_bad_row="error"))


def test_rows_that_advice_leaves_out_are_said(tmp_path: Path) -> None:
    rows, labels = blobs(150, 0.0)
    table = pa.table({"x": list(rows), "y": [None, *labels[1:].tolist()]})
    said: list[str] = []
    given: dict[str, Any] = {"keep": [0.5], "methods": ["stratified"], "label": "y"}
    advice = keepers.advise(
        table, **given, on_bad_row="skip", say=said.append, run=tmp_path / "run"
    )
    assert advice.result["data"]["n"] == 149
    (skipped,) = (words for words in said if words.startswith("Skipped"))
    assert skipped.startswith("Skipped 1 row that cannot be used: row 0")
    assert skipped.endswith("no label in 'y'")


def test_no_difference_is_a_part_of_what_guessing_gets_wrong(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rare = draw.random(1000) < 0.01
    rows = (draw.normal(size=(1000, 3)) + rare[:, None]).astype(np.float32)
    data = rows, np.where(rare, "fraud", "fine")
    advice = keepers.advise(data, keep=[0.5], methods=["stratified"], proxy="linear", run=tmp_path)
    pilot, (row,) = advice.result["pilot"], advice.result["rows"]
    assert pilot["guessing"] == pytest.approx(rare.mean())
    assert pilot["alike"] == pytest.approx(0.2 * rare.mean())
    assert row["error"]["high"] < 0.01  # within a point, as any choice would be
    assert row["told"] == "cannot tell"
    assert any("Always naming 'fine' is wrong on" in words for words in advice.sentences)
    assert "lies within 0." in advice_report(advice.result, tmp_path / "r.html").read_text()


def test_what_advice_cannot_be_given_on(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="got 80 examples, but a pilot needs 100"):
        keepers.advise(blobs(80, 0.0), run=tmp_path / "a")
    with pytest.raises(ParameterError, match="got 2 different inputs or groups, and a pilot needs"):
        keepers.advise(COPIES, run=tmp_path / "copies")
    with pytest.raises(ParameterError, match="'forgetting', which watches a training in steps"):
        keepers.advise(blobs(200, 0.0), methods=["forgetting"], run=tmp_path / "b")
    with pytest.raises(ParameterError, match="options for 'auto'"):
        keepers.coreset(
            blobs(200, 0.0), method="auto", method_options={"beta": 1}, run=tmp_path / "c"
        )


def test_methods_that_are_named_stand_beside_random_and_the_safe_one(tmp_path: Path) -> None:
    advice = keepers.advise(
        blobs(200, 0.0), keep=[0.3], methods=["random", "margin"], run=tmp_path / "run"
    )
    assert [row["method"] for row in advice.result["rows"]] == [SAFE, "margin"]
    with pytest.raises(ParameterError, match="keep: got budgets that keep everything"):
        keepers.advise(blobs(200, 0.0), keep=[1.0], run=tmp_path / "all")


def test_an_encoder_of_the_users_own_is_advised_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doubled.py").write_text(
        "import torch\n"
        "class Doubled(torch.nn.Module):\n"
        "    def forward(self, rows): return 2 * rows\n"
        "def make(info): return Doubled()\n"
    )
    advice = keepers.advise(
        blobs(200, 0.0), keep=[0.3], proxy="probe:doubled:make", run=tmp_path / "run"
    )
    seconds = [row["selection_seconds"] for row in advice.result["rows"]]
    assert all(np.isfinite(seconds))
