"""Core-set selection end to end, and the slips of others that it must not repeat."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.stats import rankdata

import forked
import keepers
import probes
from digits import load_digits
from keepers import methods, processes
from keepers.data import open_source
from keepers.errors import KeepersError, RunError
from keepers.selection import COLUMNS, Selection
from keepers.tasks import CLASSES
from keepers.types import Signals
from keepers.workflows.offered import signals_for
from keepers.workflows.opening import workplace
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.scoring import score_source

METHODS = tuple(methods.offered(signals_for(CLASSES), replacement=False))
SMALL = {"hidden": [16]}
PROXY = {"model": "mlp", "options": SMALL, "batch_size": 32}
N = 240


@pytest.fixture(scope="session")
def table() -> pa.Table:
    """Vectors of pixels, a class, and a key that is in no order."""
    bunch = load_digits()
    keys = np.random.default_rng(5).permutation(10_000)[:N]
    return pa.table(
        {
            "pixels": pa.array(bunch.data[:N].astype(np.float32).tolist(), pa.list_(pa.float32())),
            "label": pa.array([f"digit {c}" for c in bunch.target[:N]]),
            "key": keys,
        }
    )


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Run directories that the tests of this file share: what one trained, another finds."""
    root = tmp_path_factory.mktemp("runs")
    return lambda name: root / name


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty PNG pictures in Parquet, the labels as text."""
    bunch = load_digits()
    path = tmp_path_factory.mktemp("pictures") / "pictures.parquet"
    stored = [_png((image * 15).astype(np.uint8)) for image in bunch.images[:60]]
    pq.write_table(pa.table({"image": stored, "label": bunch.target[:60].astype(str)}), path)
    return path


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def select(data: Any, run: Path, **options: Any) -> Selection:
    return keepers.coreset(
        data,
        run=run,
        **{"method": "entropy", "proxy": PROXY, "epochs": 2, "device": "cpu", **options},
    )


def members_of(data: Any, run: Path, **options: Any) -> list[Signals]:
    """The signals that a run directory holds, in canonical order."""
    given = {"method": "entropy", "proxy": PROXY, "epochs": 2, "device": "cpu", **options}
    config = CoresetOptions(**given, run=run, say=lambda _: None)
    opening = workplace(data, config, purpose="coreset", seed=config.seed)
    with opening as opened:
        scored = score_source(opened[0], config, opened[1])
        return list(scored.members)


# The table ----------------------------------------------------------------------------------


def test_one_row_per_row_of_the_input_with_rank_score_weight_and_reason(
    table: pa.Table, place: Callable[[str], Path]
) -> None:
    selection = select(table, place("plain"), keep=0.25, min_per_class=0)
    found = selection.table
    assert tuple(found.column_names) == COLUMNS
    assert found["row"].to_pylist() == list(range(N))
    assert found["label"].to_pylist() == table["label"].to_pylist()
    kept = np.array(found["kept"])
    assert kept.sum() == len(selection) == 60
    ranks = found["rank"].to_pylist()
    assert sorted(rank for rank in ranks if rank is not None) == list(range(60))
    assert [rank is not None for rank in ranks] == kept.tolist()
    assert found["weight"].to_pylist() == kept.astype(float).tolist()
    scores = np.array(found["score"])
    assert scores[kept].min() >= scores[~kept].max()
    assert (np.diff(selection.scores) <= 0).all()
    for rank, reason in zip(ranks, found["reason"].to_pylist(), strict=True):
        if rank is None:
            assert reason == f"dropped: entropy below the cut at {scores[kept].min():.4g}"
        else:
            assert reason == f"kept: pick {rank + 1} of 60 by entropy"
    assert np.array(found["id"])[selection.indices].tolist() == selection.ids


def test_the_parquet_file_says_how_it_came_about(
    table: pa.Table, place: Callable[[str], Path], tmp_path: Path
) -> None:
    selection = select(table, place("plain"), keep=0.25, seed=3)
    path = selection.to_parquet(tmp_path / "kept.parquet")
    note = json.loads(pq.read_schema(path).metadata[b"keepers"])
    assert (note["method"], note["seed"], note["keep"], note["k"]) == ("entropy", 3, "25%", 60)
    assert note["proxy"]["model"] == "mlp"
    assert note["proxy"]["epochs"] == 2
    assert note["data"]["fingerprint"] == open_source(table).fingerprint
    assert note["data"]["columns"]["label"] == "label"
    assert [cost["phase"] for cost in note["costs"]] == [
        "reading",
        "encoding",
        "proxy training",
        "scoring",
        "selecting",
    ]
    training = note["costs"][2]
    assert (training["steps"], training["examples"]) == (16, 480)
    assert training["flops"] > 0
    assert note["versions"]["torch"] == torch.__version__

    again = Selection.read_parquet(path)
    assert again.table.equals(selection.table)
    assert again.metadata == selection.metadata
    assert again.ids == selection.ids
    assert again.indices.tolist() == selection.indices.tolist()
    with pytest.raises(RunError, match="exists"):
        selection.to_parquet(path)


def test_what_is_no_selection_is_not_read(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "other.parquet")
    for name, problem in (
        ("other.parquet", "was not written by keepers"),
        ("missing.parquet", "does not exist"),
        ("torn.parquet", "not a readable Parquet file"),
    ):
        (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
        with pytest.raises(RunError, match=problem):
            Selection.read_parquet(tmp_path / name)


def test_digits_golden(place: Callable[[str], Path]) -> None:
    said: list[str] = []
    selection = select("digits", place("digits"), limit=300, keep="50%", say=said.append)
    assert selection.table.num_rows == 300
    assert len(selection) == 150
    assert selection.metadata["data"]["rows"] == 1797
    assert "300 pictures, 8×8 pixels" in said
    assert any(line.startswith("Proxy: mlp, 2 epochs on 300 examples, cpu") for line in said)
    again = select("digits", place("digits again"), limit=300, keep=150)
    assert again.table.equals(selection.table)


# Order, labels, formats ---------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("balance", [None, "class"])
def test_shuffled_rows_give_the_same_ids(
    table: pa.Table,
    place: Callable[[str], Path],
    tmp_path: Path,
    method: str,
    balance: Any,
) -> None:
    pq.write_table(table, tmp_path / "data.parquet")
    order = np.random.default_rng(1).permutation(N)
    pq.write_table(table.take(order), tmp_path / "shuffled.parquet")
    options: dict[str, Any] = {"method": method, "balance": balance, "keep": 37, "ensemble": 1}
    first = select(tmp_path / "data.parquet", place("plain ids"), **options)
    # A run directory of its own: the second has to compute all again.
    again = select(tmp_path / "shuffled.parquet", place("shuffled"), **options)
    assert again.ids == first.ids
    assert order[again.indices].tolist() == first.indices.tolist()
    np.testing.assert_array_equal(again.scores, first.scores)


@pytest.mark.parametrize("key", [None, "key"])
def test_csv_and_jsonl_give_the_selection_of_parquet(
    table: pa.Table, tmp_path: Path, key: str | None
) -> None:
    order = np.random.default_rng(2).permutation(N)
    rows = table.to_pylist()
    names = [f"p{i}" for i in range(64)]
    wide = pa.table(
        {name: np.array([row["pixels"][i] for row in rows]) for i, name in enumerate(names)}
        | {"label": table["label"], "key": table["key"]}
    )
    pq.write_table(wide, tmp_path / "a.parquet")
    with (tmp_path / "b.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "label", "key"])
        writer.writerows([*rows[i]["pixels"], rows[i]["label"], rows[i]["key"]] for i in order)
    lines = [
        json.dumps(
            dict(zip(names, row["pixels"], strict=True))
            | {k: row[k] for k in wide.column_names[-2:]}
        )
        for row in rows[::-1]
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    chosen = [
        select(tmp_path / name, tmp_path / f"run {name}", id=key, input=",".join(names))
        for name in ("a.parquet", "b.csv", "c.jsonl")
    ]
    assert chosen[0].ids == chosen[1].ids == chosen[2].ids
    assert chosen[0].indices.tolist() == order[chosen[1].indices].tolist()
    assert chosen[0].indices.tolist() == (N - 1 - chosen[2].indices).tolist()
    if key:
        assert set(chosen[0].ids) < set(table["key"].to_pylist())


def test_relabelling_keeps_ids_and_a_choice_that_needs_no_labels(
    table: pa.Table, tmp_path: Path
) -> None:
    labels = table["label"].to_pylist()
    other = table.set_column(1, "label", pa.array(labels[1:] + labels[:1]))
    before = select(table, tmp_path / "before", method="random")
    after = select(other, tmp_path / "after", method="random")
    assert before.table["id"].equals(after.table["id"])
    assert before.ids == after.ids
    assert before.metadata["data"]["fingerprint"] != after.metadata["data"]["fingerprint"]


# Options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_contract_of_every_method_balanced_by_class_beside_a_validation_part(
    table: pa.Table, place: Callable[[str], Path], method: str
) -> None:
    row = methods.get(method)
    selection = select(
        table, place("validated"), method=method, balance="class", keep=50, val=0.2, ensemble=1
    )
    kept = Counter(selection.kept["label"].to_pylist())
    assert set(kept.values()) == {5}
    assert len(kept) == 10
    found = selection.table.to_pydict()
    held_out = [reason == "held out for validation" for reason in found["reason"]]
    assert sum(held_out) == selection.metadata["validation"] == 48
    assert selection.metadata["n"] == N - 48
    for index, out in enumerate(held_out):
        if out:
            assert not found["kept"][index]
            assert found["rank"][index] is None
            assert found["score"][index] is None
            assert found["weight"][index] == 0
        else:
            assert (found["score"][index] is not None) == (row.score is not None)
    accuracy = selection.metadata["proxy_validation_accuracy"]
    trains = bool(row.needs - {"labels"})
    assert (accuracy is None) == (not trains)
    if trains:
        steps = next(c for c in selection.metadata["costs"] if c["phase"] == "proxy training")
        assert steps["examples"] % 192 == 0  # never on the rows held out


def test_validation_rows_do_not_leak_when_a_selection_is_used_again(
    table: pa.Table, place: Callable[[str], Path], tmp_path: Path
) -> None:
    selection = select(table, place("validated"), keep=1.0, val=0.2)
    path = selection.to_parquet(tmp_path / "kept.parquet")
    again = Selection.read_parquet(path)
    reasons = np.array(again.table["reason"].to_pylist())
    assert len(again) == N - 48
    assert not set(np.flatnonzero(reasons == "held out for validation")) & set(again.indices)


def test_limit_takes_a_part_whatever_the_order(table: pa.Table, tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(N)
    first = select(table, tmp_path / "a", limit=100, keep=10)
    again = select(table.take(order), tmp_path / "b", limit=100, keep=10)
    assert first.table.num_rows == 100
    assert first.ids == again.ids
    assert set(first.table["id"].to_pylist()) == set(again.table["id"].to_pylist())
    assert first.subset(table)["label"].to_pylist() == first.kept["label"].to_pylist()


def test_an_ensemble_is_combined_by_rank(table: pa.Table, place: Callable[[str], Path]) -> None:
    single = select(table, place("plain"), keep=60)
    pair = select(table, place("plain"), keep=60, ensemble=2)
    assert pair.metadata["ensemble"] == 2
    assert set(pair.ids) != set(single.ids)
    entropies = []
    for signals in members_of(table, place("plain"), ensemble=2):
        probs = signals.get("log_probs").double().exp().numpy()
        entropies.append(-(probs * np.log(np.where(probs > 0, probs, 1))).sum(1))
    expected = np.mean([rankdata(values) - 1 for values in entropies], axis=0)
    canonical = pair.table.sort_by("id")["score"].to_numpy()
    np.testing.assert_allclose(canonical, expected)


def test_el2n_averages_independent_runs_at_one_early_epoch(
    table: pa.Table, place: Callable[[str], Path]
) -> None:
    options: dict[str, Any] = {"method": "el2n", "epochs": 20}
    selection = select(table, place("plain"), **options)
    assert selection.metadata["ensemble"] == 3
    training = next(c for c in selection.metadata["costs"] if c["phase"] == "proxy training")
    assert training["examples"] == 3 * 2 * N  # a tenth of 20 epochs, three times
    norms = []
    for signals in members_of(table, place("plain"), **options):
        probs = signals.get("log_probs").exp()
        onehot = torch.nn.functional.one_hot(signals.get("labels"), 10)
        norms.append((probs - onehot).norm(dim=1).numpy())
    canonical = selection.table.sort_by("id")["score"].to_numpy()
    np.testing.assert_allclose(canonical, np.mean(norms, axis=0), rtol=1e-5)


def test_corrupt_pictures_are_skipped_and_listed_in_the_table(
    pictures: Path, tmp_path: Path
) -> None:
    whole = pq.read_table(pictures)
    stored = whole["image"].to_pylist()
    stored[7], stored[30] = b"torn", stored[30][:40]
    bad = tmp_path / "bad.parquet"
    pq.write_table(whole.set_column(0, "image", pa.array(stored)), bad)
    with pytest.raises(KeepersError, match=r"picture in row (7|30) .*--on-bad-row skip"):
        select(bad, tmp_path / "run")
    selection = select(bad, tmp_path / "run", on_bad_row="skip", keep=0.5)
    assert selection.table["row"].to_pylist() == list(range(60))
    found = selection.table.to_pylist()
    for row in (7, 30):
        assert found[row]["reason"].startswith("skipped: ")
        assert not found[row]["kept"]
        assert found[row]["id"] is not None
        assert (found[row]["rank"], found[row]["score"], found[row]["weight"]) == (None, None, 0)
    assert selection.metadata["skipped"] == 2
    assert len(selection) == 29
    assert selection.subset(whole).num_rows == 29


def test_a_count_over_what_is_left_beside_validation_is_refused_before_training(
    table: pa.Table, tmp_path: Path
) -> None:
    with pytest.raises(KeepersError, match=r"keep: got the count 230.* only 192 examples"):
        select(table, tmp_path / "run", keep=230, val=0.2)
    assert not (tmp_path / "run" / "stages").exists()


# The defects of the original (spec: svp) -----------------------------------------------------


def test_original_scored_augmented_pictures(tmp_path: Path) -> None:
    for seen in probes.SEEN.values():
        seen.clear()
    selection = select(
        "digits",
        tmp_path,
        limit=100,
        proxy={"model": "probes:recorder", "augment": True, "batch_size": 50, "lr": 1e-9},
        epochs=1,
    )
    source = open_source("digits", limit=100)
    clean = torch.from_numpy(np.asarray(source.inputs)).float() / 255
    scored = [batch for batch in probes.SEEN["eval"] if len(batch) == 100]
    torch.testing.assert_close(scored[-1], clean)
    trained = torch.cat([batch for batch in probes.SEEN["train"] if len(batch) == 50])
    as_they_are = ((trained[:, None] - clean[None]).abs().flatten(2).amax(2) < 1e-6).any(1)
    assert as_they_are.float().mean() < 0.5, "the training view was to be augmented"
    assert len(selection) == 50


def test_original_ranked_a_nan_entropy_first(tmp_path: Path) -> None:
    inputs = np.arange(-20, 20, dtype=np.float32)[:, None] + 0.5
    labels = np.arange(40) % 2
    selection = select(
        (inputs, labels),
        tmp_path,
        proxy={"model": "probes:certain", "lr": 1e-9},
        epochs=1,
        keep=20,
    )
    scores = np.array(selection.table["score"])
    np.testing.assert_allclose(scores[:20], np.log(2), atol=1e-6)
    assert (scores[20:] == 0).all()  # p = (1, 0) exactly: 0 · log 0 = 0
    assert set(selection.indices) == set(range(20))


def test_original_took_another_proxy_than_was_said(table: pa.Table, tmp_path: Path) -> None:
    role = keepers.Role(model="logistic", epochs=3, lr=0.02, batch_size=16, optimizer="sgd")
    selection = keepers.coreset(table, method="entropy", proxy=role, run=tmp_path / "run")
    said = selection.metadata["proxy"]
    assert {name: said[name] for name in ("model", "epochs", "lr", "batch_size", "optimizer")} == {
        "model": "logistic",
        "epochs": 3,
        "lr": 0.02,
        "batch_size": 16,
        "optimizer": "sgd",
    }
    training = next(c for c in selection.metadata["costs"] if c["phase"] == "proxy training")
    assert training["steps"] == 3 * N / 16
    over = keepers.coreset(table, method="entropy", proxy=role, epochs=1, run=tmp_path / "run")
    assert over.metadata["proxy"]["epochs"] == 1


@pytest.mark.parametrize("method", ["k-center", "facility-location"])
def test_original_k_centers_returned_a_thousand_too_many(
    table: pa.Table, place: Callable[[str], Path], method: str
) -> None:
    """Also DeepCore and small-text: picks in their order, in the index space of the data."""
    large = select(table, place("plain"), method=method, keep=60, min_per_class=0)
    small = select(table, place("plain"), method=method, keep=10, min_per_class=0)
    assert (len(large), len(small)) == (60, 10)
    assert small.ids == large.ids[:10]
    (signals,) = members_of(table, place("plain"), method=method)
    features = signals.get("features").double().numpy()
    source = open_source(table)
    at = [source.ids.tolist().index(each) for each in large.ids]
    squared = ((features[:, None] - features[None]) ** 2).sum(2)
    for step in (1, 5, 59):
        nearest = squared[:, at[:step]].min(1)
        if method == "k-center":
            assert nearest[at[step]] == pytest.approx(nearest.max(), rel=1e-4)
        else:
            gains = np.maximum(nearest[:, None] - squared, 0).sum(0)
            assert gains[at[step]] == pytest.approx(gains.max(), rel=1e-4)


@pytest.mark.parametrize("method", ["k-center", "entropy"])
def test_original_crashed_on_models_without_a_layer_called_fc(
    table: pa.Table, tmp_path: Path, method: str
) -> None:
    selection = select(table, tmp_path, proxy="probes:headless", method=method, keep=20)
    assert len(set(selection.ids)) == 20


def test_original_could_not_be_repeated_from_what_it_wrote(table: pa.Table, tmp_path: Path) -> None:
    first = select(table, tmp_path / "a", method="forgetting", balance="class", seed=11, keep=33)
    said = Selection.read_parquet(first.to_parquet(tmp_path / "kept.parquet")).metadata
    proxy = {name: value for name, value in said["proxy"].items() if name != "bf16"}
    again = keepers.coreset(
        table,
        run=tmp_path / "b",
        proxy=proxy,
        **{name: said[name] for name in ("method", "method_options", "balance", "seed")},
        keep=said["k"],
    )
    assert again.table.equals(first.table)


def test_original_had_no_resume_and_a_rerun_trains_nothing(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = select(table, tmp_path / "run")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("keepers.workflows.stages.fit", refuse)
    said: list[str] = []
    again = select(table, tmp_path / "run", say=said.append)
    assert again.table.equals(first.table)
    assert any("found finished in the run directory" in line for line in said)
    seconds = [
        next(c["seconds"] for c in each.metadata["costs"] if c["phase"] == "proxy training")
        for each in (first, again)
    ]
    assert seconds[0] == seconds[1]  # what it cost when it was computed
    smaller = select(table, tmp_path / "run", keep=0.1, min_per_class=0)
    assert smaller.ids == first.ids[:24]
    with pytest.raises(AssertionError, match="trained again"):
        select(table, tmp_path / "run", seed=1)
    with pytest.raises(AssertionError, match="trained again"):
        select(table, tmp_path / "run", resume=False)


def test_a_run_directory_of_other_data_is_refused_and_left_alone(
    table: pa.Table, tmp_path: Path
) -> None:
    select(table, tmp_path / "run")
    before = sorted(str(path) for path in (tmp_path / "run").rglob("*"))
    with pytest.raises(RunError, match=r"run: .* holds a run with data .* Name another --run"):
        select(table.slice(1), tmp_path / "run")
    assert sorted(str(path) for path in (tmp_path / "run").rglob("*")) == before


def test_a_file_where_a_folder_belongs(table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for run in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match=r"run: .*file is a file"):
            select(table, run)
    assert (tmp_path / "file").read_text() == "mine"


def test_selection_does_not_touch_global_random_state(table: pa.Table, tmp_path: Path) -> None:
    """Also Composer, which draws from numpy's global generator."""
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    select(table, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_warnings_name_the_safer_method(table: pa.Table, place: Callable[[str], Path]) -> None:
    said: list[str] = []
    select(table, place("plain"), keep=0.1, say=said.append)
    assert any(
        "can be far worse than a random choice" in line and "'stratified' is safe" in line
        for line in said
    )
    said.clear()
    quiet = select(table, place("plain"), keep=0.1, method="stratified", say=said.append)
    assert not quiet.metadata["warnings"]


# Using the kept rows ------------------------------------------------------------------------


def test_subset_is_the_same_kind_of_data_set(table: pa.Table, place: Callable[[str], Path]) -> None:
    import datasets
    import pandas as pd
    from torch.utils.data import Dataset, Subset, TensorDataset

    selection = select(table, place("plain"), keep=60)
    rows = selection.indices
    x = np.array(table["pixels"].to_pylist(), dtype=np.float32)
    labels = np.array(table["label"].to_pylist())
    expected = labels[rows].tolist()

    cut = selection.subset(table)
    assert isinstance(cut, pa.Table)
    assert cut["label"].to_pylist() == expected
    frame = selection.subset(table.to_pandas())
    assert isinstance(frame, pd.DataFrame)
    assert frame["label"].tolist() == expected
    hugging = selection.subset(datasets.Dataset(table))
    assert isinstance(hugging, datasets.Dataset)
    assert hugging["label"][:] == expected
    np.testing.assert_array_equal(selection.subset(x), x[rows])
    assert torch.equal(selection.subset(torch.from_numpy(x)), torch.from_numpy(x[rows]))
    assert [each.tolist() for each in selection.subset(list(x))] == x[rows].tolist()
    left, right, more = selection.subset((x, labels, np.arange(N)))
    np.testing.assert_array_equal(left, x[rows])
    assert (right.tolist(), more.tolist()) == (expected, rows.tolist())
    dataset: Dataset[Any] = TensorDataset(torch.from_numpy(x), torch.arange(N))
    part = selection.subset(dataset)
    assert isinstance(part, Subset)
    assert [int(part[i][1]) for i in range(len(part))] == rows.tolist()


# Kills --------------------------------------------------------------------------------------

KILLS: dict[str, dict[str, Any]] = {
    "before any step": {"at": "keepers.workflows.stages:fit"},
    "before the first checkpoint is whole": {"at": "safetensors.torch:save_file"},
    "at the fifth step": {"at": "keepers.training.checkpoint:save", "call": 5},
    "while the sixth checkpoint is written": {
        "at": "safetensors.torch:save_file",
        "call": 6,
    },
    "between training and scoring": {"at": "keepers.workflows.stages:extract"},
    "before signals are written": {"at": "keepers.signals.store:write"},
    "before the stage is whole": {"at": "keepers.runs:write_note", "call": 2},
    "in the second member": {"at": "keepers.workflows.stages:fit", "call": 2},
    "while selecting": {"at": "keepers.methods:choose"},
    "while the selection is written": {"at": "pyarrow.parquet:write_table"},
    "while the copy is written": {"at": "pyarrow.parquet:write_table", "call": 2},
    "before the report": {"at": "keepers.cli.running:report"},
    "when it suits the machine": {"when": "run/stages/*.partial/checkpoint.safetensors"},
}


def test_a_kill_at_each_stage_resumes_to_the_same_selection(tmp_path: Path) -> None:
    argv = "coreset digits --limit 150 --epochs 2 --method forgetting --ensemble 2 --keep 0.3"
    argv += " --proxy logistic"
    common = [*argv.split(), "--run", "run", "--out", "kept.parquet", "--overwrite"]
    jobs: list[dict[str, Any]] = [{"argv": common, "cwd": str(tmp_path / "whole")}]
    (tmp_path / "whole").mkdir()
    for name, fault in KILLS.items():
        cwd = tmp_path / name
        cwd.mkdir()
        (cwd / "kept.parquet").write_bytes(b"the old file")
        kill = {"signal": signal.SIGKILL, **fault}
        jobs.append({"argv": common, "cwd": str(cwd), "report": False, **kill})
        jobs.append({"argv": [*common[:-2], "other.parquet"], "cwd": str(cwd), "report": False})
    whole, *rest = forked.run(*jobs)
    assert whole.status == 0, whole.stderr
    expected = Selection.read_parquet(tmp_path / "whole" / "kept.parquet")
    for name, killed, resumed in zip(KILLS, rest[::2], rest[1::2], strict=True):
        cwd = tmp_path / name
        assert killed.status == -signal.SIGKILL, (name, killed.stderr)
        if name != "before the report":
            assert (cwd / "kept.parquet").read_bytes() == b"the old file", name
        assert resumed.status == 0, (name, resumed.stderr)
        again = Selection.read_parquet(cwd / "other.parquet")
        assert again.table.equals(expected.table), name
        assert not list((cwd / "run" / "stages").glob("*.partial")), name


# Several processes --------------------------------------------------------------------------


def worker(folder: str) -> None:
    import torch.distributed as dist

    said: list[str] = []
    selections = [
        keepers.coreset(
            "digits",
            limit=203,
            keep=0.3,
            epochs=2,
            method=method,
            val=0.1,
            run=f"{folder}/run",
            proxy={"model": "mlp", "options": {"hidden": [16]}, "batch_size": 33},
            say=said.append,
        )
        for method in ("forgetting", "k-center")
    ]
    assert dist.is_initialized()
    assert dist.get_world_size() == 2
    exact = torch.tensor([16_777_217, 3_001, 2**53 + 1, -(2**62) - 1, 7], dtype=torch.int64)
    assert processes.gather_rows(processes.own_rows(exact), 5).tolist() == exact.tolist()
    found = {
        "ids": [s.ids for s in selections],
        "scores": [s.table["score"].to_pylist() for s in selections],
        "rows": [s.indices.tolist() for s in selections],
        "said": len(said),
    }
    Path(folder, f"rank{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def test_two_processes_agree_and_one_writes(tmp_path: Path) -> None:
    """Also InfoBatch: indices that travel with losses stay exact (16,777,217 in float32)."""
    job = {"function": "test_coreset:worker", "path": str(Path(__file__).parent)}
    (done,) = forked.run({**job, "arguments": {"folder": str(tmp_path)}, "ranks": 2})
    assert done.status == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank{r}.json").read_text()) for r in (0, 1))
    assert first["ids"] == second["ids"]
    assert first["scores"] == second["scores"]
    assert first["rows"] == second["rows"]
    assert first["said"] > 0
    assert second["said"] == 0
    source = open_source("digits", limit=203)
    row_of = dict(zip(source.ids.tolist(), source.rows.tolist(), strict=True))
    for ids, rows in zip(first["ids"], first["rows"], strict=True):
        assert len(set(ids)) == 55
        assert [row_of[each] for each in ids] == rows
    assert not list((tmp_path / "run" / "stages").glob("*.partial"))
    assert len(list((tmp_path / "run" / "stages").iterdir())) == 2
