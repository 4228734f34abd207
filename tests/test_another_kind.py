"""Models of another kind than the pilot's: what they are fitted on, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.naive_bayes import ComplementNB

from keepers.models import another_kind, create_classifier
from keepers.models.naive_bayes import NaiveBayes
from keepers.types import DataInfo


def test_naive_bayes_reads_the_columns_that_occur_and_leaves_rows_as_they_were() -> None:
    draw = np.random.default_rng(0)
    dense = draw.poisson(0.3, (60, 12))
    y = draw.integers(0, 3, 60)
    wide = sparse.lil_matrix((60, 2**20), dtype=np.float32)
    at = np.sort(draw.choice(2**20, 12, replace=False))
    wide[:, at] = dense
    rows = wide.tocsr()
    before = rows.copy()
    found = NaiveBayes().fit(rows, y)
    seen = dense.any(0)
    expected = ComplementNB().fit(dense[:, seen], y).predict_proba(dense[:, seen])
    np.testing.assert_allclose(found.predict_proba(rows), expected, rtol=1e-6)
    assert found.classifier_.feature_log_prob_.shape == (3, seen.sum())
    assert (rows != before).nnz == 0


@pytest.mark.parametrize(
    ("info", "name"),
    [
        (DataInfo(kind="text", shape=(), num_classes=3), "naive Bayes"),
        (DataInfo(kind="vector", shape=(4,), num_classes=3), "randomised trees"),
        (DataInfo(kind="vector", shape=(4,), num_classes=1, task="number"), "randomised trees"),
        (DataInfo(kind="text", shape=(), num_classes=1, task="number"), None),
        (DataInfo(kind="vector", shape=(4,), num_classes=3, task="labels"), None),
    ],
)
def test_there_is_another_kind_for_a_task(info: DataInfo, name: str | None) -> None:
    linear = create_classifier("linear", info, {}, "proxy")
    found = another_kind(linear, info)
    assert (None if found is None else found[0]) == name
    if found is not None:
        assert found[1].encoder == linear.encoder
        assert type(found[1].make(0)) is not type(linear.make(0))


def test_trees_are_drawn_by_the_seed() -> None:
    info = DataInfo(kind="vector", shape=(4,), num_classes=2)
    found = another_kind(create_classifier("linear", info, {}, "proxy"), info)
    assert found is not None
    rows = torch.randn(80, 4, generator=torch.Generator().manual_seed(0)).numpy()
    y = (rows[:, 0] * rows[:, 1] > 0).astype(int)
    one, same, other = (
        found[1].make(seed).fit(rows[:40], y[:40]).predict_proba(rows[40:]) for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert not (one == other).all()
