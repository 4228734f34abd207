from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import keepers
from keepers.reports.findings import negative


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
        "proxy": "logistic",
        "epochs": 30,
        "run": tmp_path / "run",
    }
    return keepers.coreset(data, **(options | given)).metadata["warnings"]  # type: ignore[arg-type]


def test_clean_data_and_a_large_budget_bring_no_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, blobs()) == []


def test_a_small_budget_names_the_safer_method(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, blobs(), keep=0.1)
    assert "can lose to a random choice, badly; 'stratified' is the safe one" in warning
    assert warnings(tmp_path, blobs(), keep=0.1, method="random") == []
    assert warnings(tmp_path, blobs(), keep=0.1, method="ccs") == []


def test_many_wrong_labels_are_noticed(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, blobs(wrong=0.2))
    assert "of the labels look wrong to the proxy: what is hardest holds many" in warning


def test_a_proxy_that_learnt_nothing_is_said_to_be_useless(tmp_path: Path) -> None:
    features, labels = blobs()
    shuffled = np.random.default_rng(1).permutation(labels)
    (warning,) = warnings(tmp_path, (features * 0 + 1.0, shuffled))
    assert "the proxy has hardly learnt anything" in warning


def test_a_proxy_that_memorised_wrong_labels_is_not_blind_to_them(tmp_path: Path) -> None:
    pictures, right = load_digits(return_X_y=True)
    flipped = np.random.default_rng(0).random(len(right)) < 0.2
    data = (pictures.astype(np.float32), np.where(flipped, (right + 1) % 10, right))
    selection = keepers.coreset(data, proxy="mlp", epochs=20, run=tmp_path / "run")
    assert selection.metadata["proxy_training_accuracy"] > 0.95
    assert any("look wrong" in warning for warning in selection.metadata["warnings"])


def test_negative_margins_stand_in_the_report_lowest_first(tmp_path: Path) -> None:
    features, given = blobs(wrong=0.2)
    _, right = blobs()
    selection = keepers.coreset(
        (features, given), proxy="logistic", epochs=30, run=tmp_path / "run"
    )
    evidence = selection.evidence
    suspected = evidence.source.rows[negative(evidence.margin)]
    wrong = (given != right)[suspected]
    assert wrong.mean() > 0.9
    assert wrong.sum() > 0.8 * (given != right).sum()
    page = keepers.report(selection).read_text()
    assert "another class was likelier than the label" in page


def test_validation_rows_have_no_margin(tmp_path: Path) -> None:
    selection = keepers.coreset(blobs(), proxy="logistic", val=0.25, run=tmp_path / "run")
    held_out = np.isin(np.arange(400), selection.evidence.validation)
    assert np.array_equal(np.isnan(selection.evidence.margin), held_out)
