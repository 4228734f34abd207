from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import keepers
from keepers.reports.findings import negative
from keepers.workflows.advice import warn_of_classes


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


def test_the_default_brings_no_warning_and_asks_no_model(tmp_path: Path) -> None:
    selection = keepers.coreset(blobs(), keep=0.1, run=tmp_path / "run")
    assert (selection.metadata["method"], selection.metadata["proxy"]) == ("stratified", None)
    assert selection.metadata["warnings"] == []


def test_options_of_a_proxy_that_nobody_asks_are_said_to_be_unused(tmp_path: Path) -> None:
    said: list[str] = []
    keepers.coreset(blobs(), proxy="mlp", epochs=2, run=tmp_path / "run", say=said.append)
    assert any(
        "'stratified' trains no proxy: no use for --proxy, --epochs" in line for line in said
    )


def test_a_small_budget_names_the_safer_method(tmp_path: Path) -> None:
    warning = warnings(tmp_path, blobs(), keep=0.1)[0]
    assert "can lose to a random choice, badly" in warning
    assert "'stratified' is the safe one" in warning
    assert warnings(tmp_path, blobs(), keep=0.1, method="random") == []
    assert warnings(tmp_path, blobs(), keep=0.1, method="ccs", balance="class") == []


def test_what_a_choice_does_to_classes_is_said() -> None:
    labels = torch.tensor([0] * 100 + [1] * 100 + [2] * 20)
    kept = torch.zeros(220, dtype=torch.bool)
    kept[:90] = kept[100:110] = True  # 90 of a, 10 of b, none of c: 45.5% of all
    lost, extreme = warn_of_classes(labels, kept, ["a", "b", "c", "no example"])
    assert lost.startswith("1 class loses all its examples: 'c'.")
    assert extreme.startswith("of 'c' 0.0% are kept and of 'a' 90.0%, where 45.5% of all are")
    assert warn_of_classes(labels, torch.ones(220, dtype=torch.bool), ["a", "b", "c", "d"]) == []


def test_balanced_classes_bring_no_warning_of_their_shares(tmp_path: Path) -> None:
    (uneven,) = warnings(tmp_path, blobs())
    assert "are kept and of" in uneven
    assert warnings(tmp_path, blobs(), balance="class") == []


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_of_a_random_choice_are_not_extreme(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 77, (10_000,), generator=draw)
    kept = torch.rand(10_000, generator=draw) < 0.33
    assert warn_of_classes(labels, kept, [str(number) for number in range(77)]) == []


def test_many_wrong_labels_are_noticed(tmp_path: Path) -> None:
    warning = warnings(tmp_path, blobs(wrong=0.2))[0]
    assert (
        "wrong labels, or examples it had not learnt yet, and what is hardest is kept first"
        in warning
    )


def test_a_proxy_that_learnt_nothing_is_said_to_be_useless(tmp_path: Path) -> None:
    features, labels = blobs()
    shuffled = np.random.default_rng(1).permutation(labels)
    warning = warnings(tmp_path, (features * 0 + 1.0, shuffled))[0]
    assert "the proxy has hardly learnt anything" in warning


def test_a_proxy_that_memorised_wrong_labels_is_not_blind_to_them(tmp_path: Path) -> None:
    pictures, right = load_digits(return_X_y=True)
    flipped = np.random.default_rng(0).random(len(right)) < 0.2
    data = (pictures.astype(np.float32), np.where(flipped, (right + 1) % 10, right))
    selection = keepers.coreset(
        data, method="entropy", proxy="mlp", epochs=20, run=tmp_path / "run"
    )
    assert selection.metadata["proxy_training_accuracy"] > 0.95
    assert any("wrong labels" in warning for warning in selection.metadata["warnings"])


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
    assert "another class was likelier than the label" in page


def test_validation_rows_have_no_margin(tmp_path: Path) -> None:
    selection = keepers.coreset(
        blobs(), method="entropy", proxy="logistic", val=0.25, run=tmp_path / "run"
    )
    held_out = np.isin(np.arange(400), selection.evidence.validation)
    assert np.array_equal(np.isnan(selection.evidence.margin), held_out)
