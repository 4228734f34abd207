from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import keepers
from keepers.scores.label_errors import suspected_label_errors


def blobs(n: int = 400, *, wrong: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, n)
    centres = draw.normal(size=(4, 6)) * 4
    flipped = draw.random(n) < wrong
    given = np.where(flipped, (labels + 1) % 4, labels)
    return (centres[labels] + draw.normal(size=(n, 6))).astype(np.float32), given


def warnings(tmp_path: Path, data: tuple[np.ndarray, np.ndarray], **given: object) -> list[str]:
    options: dict[str, object] = {"keep": 0.5, "proxy": "logistic", "run": tmp_path / "run"}
    return keepers.coreset(data, **(options | given)).metadata["warnings"]  # type: ignore[arg-type]


def test_clean_data_and_a_large_budget_bring_no_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, blobs()) == []


def test_a_small_budget_names_the_safer_method(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, blobs(), keep=0.1)
    assert "can lose to a random choice; 'ccs' is the safer one" in warning
    assert warnings(tmp_path, blobs(), keep=0.1, method="random") == []
    assert warnings(tmp_path, blobs(), keep=0.1, method="ccs") == []


def test_many_wrong_labels_are_noticed(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, blobs(wrong=0.2))
    assert "of the labels look wrong to the proxy: 'entropy' tends to keep them" in warning


def test_a_proxy_that_learnt_nothing_is_said_to_be_useless(tmp_path: Path) -> None:
    features, labels = blobs()
    shuffled = np.random.default_rng(1).permutation(labels)
    (warning,) = warnings(tmp_path, (features * 0 + 1.0, shuffled))
    assert "the proxy has hardly learnt anything" in warning


def test_suspected_labels_by_hand() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.85, 0.15], [0.5, 0.5]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    # Usual confidence: class 0 (0.9 + 0.7) / 2 = 0.8; class 1 (0.8 + 0.15 + 0.5) / 3 = 0.483.
    # Example 3: 0.85 >= 0.8 for class 0, labelled 1: suspected. Example 4: 0.5 >= 0.483, its own.
    assert suspected_label_errors(probs.log(), labels).tolist() == [False] * 3 + [True, False]


def test_a_class_without_examples_is_never_suspected() -> None:
    probs = torch.tensor([[0.2, 0.1, 0.7], [0.6, 0.1, 0.3]])
    assert not suspected_label_errors(probs.log(), torch.tensor([0, 0])).any()
