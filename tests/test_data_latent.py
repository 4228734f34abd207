from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from keepers.data.latent import inverse_frequencies, principal_axes, tf_idf


def repeated(phrases: int, texts: int) -> Any:
    """Texts of which each is one of a few phrases: their rank is the number of phrases."""
    base = sparse.random(phrases, 900, 0.05, random_state=1, format="csr", dtype=np.float32)
    return base[np.random.default_rng(0).integers(0, phrases, texts)]


CASES = {
    "wide": sparse.random(300, 900, 0.05, random_state=0, format="csr", dtype=np.float32),
    "tall": sparse.random(900, 300, 0.05, random_state=0, format="csr", dtype=np.float32),
    "small": sparse.random(40, 900, 0.05, random_state=0, format="csr", dtype=np.float32),
    "rank 10": repeated(10, 400),
    "no words in common": sparse.eye(400, dtype=np.float32, format="csr"),
}


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
