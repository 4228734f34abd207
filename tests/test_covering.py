"""Core-sets of embeddings that somebody brings: no labels, no proxy, near-duplicates, a map."""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import keepers
from commands import Keepers
from keepers.data import export, open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.selection import Selection
from keepers.selectors import facility_location, near_duplicates
from keepers.workflows import covering

N, WIDTH = 60, 6


@pytest.fixture
def vectors() -> npt.NDArray[np.float32]:
    """No two alike."""
    return np.random.default_rng(0).standard_normal((N, WIDTH)).astype(np.float32)


@pytest.fixture
def pool(vectors: npt.NDArray[np.float32]) -> pa.Table:
    """Texts and their embeddings, without labels."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), WIDTH)
    return pa.table(
        {"text": [f"This is text {n}, of several words." for n in range(N)], "v": lists}
    )


Pick = Callable[..., Selection]


@pytest.fixture
def pick(tmp_path: Path) -> Pick:
    """`keepers.coreset`, each time in a run directory of its own."""

    runs = itertools.count()

    def call(data: Any, **options: Any) -> Selection:
        return keepers.coreset(data, run=tmp_path / f"run-{next(runs)}", **options)

    return call


def test_features_are_covered_without_labels_in_whatever_way_they_come(
    pool: pa.Table, vectors: npt.NDArray[np.float32], pick: Pick, tmp_path: Path
) -> None:
    source = open_source(pool, require_labels=False, features="v")
    assert source.kind == "text"
    assert source.labels is None
    expected = source.rows[facility_location(vectors[source.rows], 7).numpy()]
    np.save(tmp_path / "v.npy", vectors)
    pq.write_table(pool, tmp_path / "pool.parquet")
    wide = torch.from_numpy(vectors).double()
    for features in ("v", vectors, wide, tmp_path / "v.npy", str(tmp_path / "v.npy")):
        selection = pick(pool, keep=7, features=features)
        assert selection.indices.tolist() == expected.tolist()
        assert selection.metadata["method"] == "facility-location"
        assert selection.metadata["proxy"] is None
        assert selection.table["label"].null_count == N
        assert "Map of kept and dropped" in keepers.report(selection).read_text()
        assert "classes" not in selection._repr_html_()
    assert pick(tmp_path / "pool.parquet", keep=7, features="v").indices.tolist() == list(expected)
    assert pick(pool.drop_columns(["v"]), keep=7, features=vectors).subset(pool).num_rows == 7


def test_vectors_alone_are_their_own_features_and_are_exported_as_they_came(
    vectors: npt.NDArray[np.float32], pick: Pick, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", vectors)
    selection = pick(tmp_path / "v.npy", keep=5, export=tmp_path / "kept")
    assert pick(vectors, keep=5).indices.tolist() == selection.indices.tolist()
    kept = np.load(tmp_path / "kept/v.npy")
    assert np.array_equal(kept, vectors[sorted(selection.indices)])
    assert np.array_equal(selection.subset(vectors), vectors[selection.indices])


@pytest.mark.parametrize("method", ["k-center", "facility-location", "typiclust", "probcover"])
def test_methods_of_features_take_those_brought_in_any_order(
    method: str, pool: pa.Table, pick: Pick
) -> None:
    shuffled = pool.take(np.random.default_rng(1).permutation(N))
    first, second = (pick(data, keep=9, features="v", method=method) for data in (pool, shuffled))
    assert first.ids == second.ids


def test_methods_of_labels_and_balance_work_beside_features(pool: pa.Table, pick: Pick) -> None:
    labelled = pool.append_column("label", pa.array(["a", "b", "c"] * (N // 3)))
    for method in ("stratified", "k-center"):
        kept = pick(labelled, keep=9, features="v", method=method, balance="class").kept
        assert sorted(kept["label"].to_pylist()) == sorted("abc" * 3)
    some = pool.append_column("label", pa.array(["a", "b", None] * (N // 3)))
    assert pick(some, keep=9, features="v").table["label"].null_count == N // 3


def test_a_random_part_needs_no_labels_either(pool: pa.Table, pick: Pick) -> None:
    selection = pick(pool.drop_columns(["v"]), keep=9, method="random", val=0.1)
    assert len(selection) == 9
    assert selection.table["reason"].to_pylist().count("held out for validation") == 6


# Near-duplicates ----------------------------------------------------------------------------


def test_near_duplicates_are_set_aside_and_lead_to_the_first_by_id(
    vectors: npt.NDArray[np.float32], pick: Pick
) -> None:
    vectors[40:50] = 3 * vectors[:10] + 1e-3
    table = pa.table({"key": np.arange(N)[::-1], "v": vectors.tolist()})
    heard: list[str] = []
    options: dict[str, Any] = {"features": "v", "id": "key", "near_duplicates": 0.99}
    selection = pick(table, keep=1.0, say=heard.append, **options)
    assert len(selection) == N - 10
    reasons = selection.table["reason"].to_pylist()
    for row in range(10):  # keys count down, so the later row has the lower id
        assert reasons[row] == f"dropped: near-duplicate of {N - 1 - (row + 40)}"
        assert row + 40 in selection.indices
    assert selection.metadata["num_near_duplicates"] == 10
    assert any("Dropped 10 near-duplicates" in sentence for sentence in heard)
    half = pick(table, keep=0.5, **options)
    assert len(half) == 25  # of those that are left
    assert not set(range(10)) & set(half.indices.tolist())


def test_near_duplicates_are_told_by_the_features_of_a_proxy(
    vectors: npt.NDArray[np.float32], pick: Pick
) -> None:
    vectors[30:] = vectors[:30] * (1 + 1e-7)
    labels = np.arange(N) % 2
    labels[30:] = labels[:30]
    options: dict[str, Any] = {"method": "k-center", "proxy": "mlp", "epochs": 1}
    found = pick((vectors, labels), keep=1.0, near_duplicates=0.99999, **options)
    assert found.metadata["num_near_duplicates"] >= 30
    with pytest.raises(ParameterError, match=r"'margin' has no features to compare.*k-center"):
        pick((vectors, labels), method="margin", near_duplicates=0.9)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=40),
    threshold=st.sampled_from([0.0, 1.0, 1.5]),
    block=st.sampled_from([1, 4, 256]),
)
def test_near_duplicates_are_those_of_the_naive_walk(
    rows: list[list[int]], threshold: float, block: int
) -> None:
    points = torch.tensor(rows, dtype=torch.float32)
    kept: list[int] = []
    expected: list[int] = []
    for place, point in enumerate(points):
        near = [other for other in kept if float((points[other] - point).norm()) <= threshold]
        expected.append(near[0] if near else -1)
        if not near:
            kept.append(place)
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.import_module("keepers.selectors.distinct")
        patch.setattr(module, "BLOCK", block)
        patch.setattr(module, "COLUMNS", 2 * block)
        assert near_duplicates(points, threshold=threshold).tolist() == expected
        assert near_duplicates(points.numpy(), threshold=threshold).tolist() == expected


# What cannot be -----------------------------------------------------------------------------


def _put(vectors: npt.NDArray[np.float32], row: int, value: Any) -> list[Any]:
    found: list[Any] = vectors.tolist()
    found[row] = value
    return found


@pytest.mark.parametrize(
    ("column", "options", "words"),
    [
        ([*[1.0] * (N - 1), 2.0], {}, r"features: column 'v' holds double, and no vectors"),
        ((4, [1.0] * 5), {}, r"features: .* mostly 6, but 5 in row 4"),
        ((4, None), {}, r"row 4: nothing or NaN in features\[0\].*--on-bad-row skip"),
        ((4, [1.0] * 5 + [float("nan")]), {}, r"row 4: nothing or NaN in features\[5\]"),
        ((4, [0.0] * 6), {"near_duplicates": 0.9}, r"1 vector is all zeros \(first: row 4, id "),
        (
            None,
            {"features": "w"},
            r"features: got 'w', which is neither a column .*are: text, v",
        ),
        (None, {"features": "w.npy"}, r"features: w.npy does not exist"),
        (None, {"features": np.ones((3, 2))}, "features: got 3 rows, but table has 60"),
        (None, {"features": np.ones(N)}, r"features: got an array of shape \(60,\)"),
        (None, {"method": "entropy"}, "needs predictions of a proxy, .*k-center"),
        (None, {"method": "stratified"}, "label: no column of table looks like a class label"),
        (None, {"balance": "class"}, "label: no column of table looks like a class label"),
        (None, {"near_duplicates": 1.5}, r"near_duplicates: got 1.5.*\(0, 1\]"),
        (None, {"features": None}, r"Without labels: .*--features COLUMN.*--method random"),
    ],
)
def test_what_cannot_be_covered_is_said(
    column: Any,
    options: dict[str, Any],
    words: str,
    pool: pa.Table,
    vectors: npt.NDArray[np.float32],
    pick: Pick,
) -> None:
    if column is not None:
        values = _put(vectors, *column) if isinstance(column, tuple) else column
        pool = pool.set_column(1, "v", pa.array(values))
    with pytest.raises(KeepersError, match=words):
        pick(pool, **{"keep": 5, "features": "v", **options})


def test_bad_vectors_can_be_left_out(
    pool: pa.Table, vectors: npt.NDArray[np.float32], pick: Pick
) -> None:
    broken = pool.set_column(1, "v", pa.array(_put(vectors, 4, [float("nan")] * 6)))
    selection = pick(broken, keep=1.0, features="v", on_bad_row="skip")
    assert len(selection) == N - 1
    assert selection.table["reason"][4].as_py() == "skipped: nothing or NaN in features[0]"


def test_a_file_that_is_no_array_is_no_array(tmp_path: Path, pick: Pick) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    for content in (path.read_bytes(), b"", b"\x93NUMPY\x01\x00torn"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is not a readable array of numbers"):
            pick(path)
    np.save(path, np.ones((4, 2)))
    with pytest.raises(DataError, match="the data has 4 rows"):
        export(path, [4], tmp_path / "kept")


def test_the_command_says_what_it_covers(
    run: Keepers, pool: pa.Table, vectors: npt.NDArray[np.float32]
) -> None:
    pq.write_table(pool, "pool.parquet")
    said = run("coreset", "pool.parquet", "--features", "v", "--keep", "5", "--proxy", "fasttext")
    assert "features of 6 numbers from 'v'" in said.err
    assert "with --features no proxy is trained: no use for --proxy" in said.err
    assert "Kept 5 of 60 examples (8.3%) by facility-location" in said.out
    said = run(
        *("coreset", "pool.parquet", "--features", "v", "--keep", "5", "--json"),
        *("--near-duplicates", "0.99", "--set", "keep=6"),
    )
    assert said.json()["counts"]["near_duplicates"] == 0


# The map ------------------------------------------------------------------------------------


def test_the_map_is_that_of_the_principal_components(
    vectors: npt.NDArray[np.float32], pick: Pick, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors *= np.array([9, 5, 1, 1, 1, 1], dtype=np.float32)
    selection = pick(vectors, keep=10)
    plane = selection.evidence.plane
    rows = selection.evidence.source.rows[plane.positions]
    assert sorted(rows.tolist()) == list(range(N))
    centred = vectors[rows] - vectors.mean(0)
    _, values, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    assert plane.shares == pytest.approx(tuple(values[:2] ** 2 / (values**2).sum()), rel=1e-5)
    assert np.abs(plane.points) == pytest.approx(np.abs(centred @ axes[:2].T), abs=1e-3)
    page = keepers.report(selection).read_text()
    paths = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--(\w+)\)', page)
    assert [(name, drawn.count("M")) for drawn, name in paths] == [("dropped", 50), ("kept", 10)]
    monkeypatch.setattr(covering, "DRAWN", 8)
    page = keepers.report(pick(vectors, keep=10)).read_text()
    assert "16 of 60 examples are shown" in page


@pytest.mark.parametrize("values", [np.ones((20, 3)), np.arange(20.0)[:, None]])
def test_features_without_two_dimensions_have_no_map(
    values: npt.NDArray[np.float64], pick: Pick
) -> None:
    selection = pick(values, keep=3)
    assert selection.evidence.plane is None
    assert "Map of kept" not in keepers.report(selection).read_text()
