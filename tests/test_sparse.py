from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from keepers.data import BagPool
from keepers.sparse import inverse_frequencies, principal_axes, tf_idf


def repeated(phrases: int, texts: int) -> Any:
    """Texts of which each is one of a few phrases: their rank is the number of phrases."""
    base = sparse.random(phrases, 900, 0.05, random_state=1, format="csr", dtype=np.float32)
    return base[np.random.default_rng(0).integers(0, phrases, texts)]


def rare_words() -> Any:
    """Texts of two words, most of which no other text has: many singular values are the same."""
    drawn = 300 * np.random.default_rng(11).pareto(0.3, (400, 2))
    words = drawn.clip(max=999).astype(int).ravel()
    ones = np.ones(len(words), np.float32)
    return sparse.csr_matrix((ones, (np.arange(400).repeat(2), words)), shape=(400, 1000))


sparse_module = importlib.import_module("keepers.sparse")

CASES = {
    "wide": sparse.random(300, 900, 0.05, random_state=0, format="csr", dtype=np.float32),
    "tall": sparse.random(900, 300, 0.05, random_state=0, format="csr", dtype=np.float32),
    "small": sparse.random(40, 900, 0.05, random_state=0, format="csr", dtype=np.float32),
    "rank 10": repeated(10, 400),
    "rare words": rare_words(),
    "no words in common": sparse.eye(400, dtype=np.float32, format="csr"),
}


@pytest.mark.parametrize("block", [1, 3, 1 << 14])
def test_counts_are_those_of_a_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("keepers.data.pool"), "_BLOCK", block)
    texts = [[3, 9, 3], [], [0, 9], [9, 9, 9, 1], []]
    lengths = torch.tensor([len(text) for text in texts])
    pool = BagPool(
        torch.tensor([word for text in texts for word in text], dtype=torch.int32), lengths, 10
    )
    for positions in ([0, 1, 2, 3, 4], [4, 3, 3, 0], [1], []):
        expected = np.zeros((len(positions), 10), np.float32)
        for row, position in enumerate(positions):
            np.add.at(expected[row], texts[position], 1)
        found = pool.counts(torch.tensor(positions, dtype=torch.int64))
        np.testing.assert_array_equal(found.toarray(), expected)
        assert found.dtype == np.float32
        assert found.has_sorted_indices
        assert found.has_canonical_format


@pytest.mark.parametrize(("width", "share"), [(50, 0.2), (4, 0.0), (20_000, 0.001)])
def test_words_are_counted_by_the_rows_that_have_them(width: int, share: float) -> None:
    rows = sparse.random_array(
        (30, width), density=share, format="csr", rng=np.random.default_rng(0)
    )
    expected = (rows.toarray() > 0).sum(0)
    words, holding = sparse_module.words_in(rows)
    assert words.dtype == np.int64
    np.testing.assert_array_equal(words, np.flatnonzero(expected))
    np.testing.assert_array_equal(holding, expected[expected > 0])
    np.testing.assert_array_equal(sparse_module.frequencies(rows), expected)


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_columns_are_those_of_scipy(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_module, "_BLOCK", block)
    draw = np.random.default_rng(block)
    for shape, share in (((30, 50), 0.2), ((5, 4), 0.0), ((40, 3), 0.9), ((30, 5000), 0.001)):
        rows = sparse.random_array(shape, density=share, format="csr", rng=draw, dtype=np.float32)
        for used in (np.array([1]), np.arange(0, shape[1], 2), np.arange(shape[1])):
            expected = rows[:, used]
            found = sparse_module.columns(rows.copy(), used)
            assert found.shape == expected.shape
            np.testing.assert_array_equal(found.toarray(), expected.toarray())


@pytest.mark.parametrize("case", CASES)
def test_principal_axes_hold_as_much_as_any(case: str) -> None:
    rows = CASES[case]
    axes = principal_axes(rows, 20)
    values = np.linalg.svd(rows.toarray(), compute_uv=False)
    assert axes.shape == (rows.shape[1], min(20, int((values > 1e-3 * values[0]).sum())))
    assert np.abs(axes.T @ axes - np.eye(axes.shape[1])).max() < 1e-4
    held = np.linalg.norm(rows @ axes, axis=0)
    np.testing.assert_allclose(held, values[: axes.shape[1]], rtol=1e-3)
    assert (np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0) > 0).all()


@pytest.mark.parametrize("case", CASES)
def test_principal_axes_are_the_same_to_the_bit_each_time(case: str) -> None:
    first = principal_axes(CASES[case], 20)
    assert all(np.array_equal(first, principal_axes(CASES[case], 20)) for _ in range(2))


def test_principal_axes_of_texts_without_a_word() -> None:
    assert not principal_axes(sparse.csr_matrix((400, 500), dtype=np.float32), 20).any()
    assert principal_axes(sparse.csr_matrix((13, 0), dtype=np.float32), 20).shape == (0, 1)


def test_tf_idf_is_that_of_scikit_learn() -> None:
    counts = np.random.default_rng(0).poisson(0.3, (50, 80)).astype(np.float32)
    counts[3] = 0
    rows = sparse.csr_matrix(counts)
    theirs = TfidfTransformer(sublinear_tf=True).fit(rows[:30])
    ours = tf_idf(rows, inverse_frequencies(rows[:30]))
    np.testing.assert_allclose(ours.toarray(), theirs.transform(rows).toarray(), rtol=1e-5)
