"""The comparison: its rows, its statistics, and that test data choose nothing."""

from __future__ import annotations

import importlib
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import forked
import keepers
from commands import plain_lines
from digits import load_digits
from keepers.data import open_source
from keepers.errors import KeepersError
from keepers.experiments import convergence, trials
from keepers.experiments.summary import (
    ChoiceTrial,
    Chooser,
    random_of,
    summarise,
    with_differences,
)
from keepers.ledger import Cost
from keepers.reports.compare import compare_report, compare_table
from keepers.roles import Role, prepare
from keepers.statistics import holm, paired_difference, pearson, spearman
from keepers.workflows.stages import Training

N, N_TEST = 240, 100
MLP: dict[str, Any] = {"model": "mlp", "batch_size": 32}
PROXY = {**MLP, "options": {"hidden": [16]}}
TARGET = {**MLP, "options": {"hidden": [24]}}
METHODS = ("entropy", "el2n", "k-center", "random", "stratified")
KEEP = (0.25, 120)


def halves(flip_test: bool = False) -> tuple[pa.Table, pa.Table]:
    """Digits under five, and the others: training and test data."""
    bunch = load_digits()
    large = bunch.target >= 5
    tables = []
    for part, flip in ((slice(0, N), False), (slice(N, N + N_TEST), flip_test)):
        pixels = pa.array(bunch.data[part].astype(np.float32).tolist(), pa.list_(pa.float32()))
        tables.append(pa.table({"pixels": pixels, "label": large[part] ^ flip}))
    return tables[0], tables[1]


def run_compare(run: Path, **options: Any) -> dict[str, Any]:
    data, test = halves(options.pop("flip_test", False))
    given: dict[str, Any] = {
        "test": test,
        "methods": METHODS,
        "keep": KEEP,
        "proxy": PROXY,
        "target": TARGET,
        "epochs": 2,
        "target_epochs": 2,
        "seeds": 2,
        "ensemble": 1,
        "with_target": True,
        "device": "cpu",
    }
    return keepers.compare(data, run=run, **{**given, **options}).result


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare") / "run"


@pytest.fixture(scope="session")
def result(run: Path) -> dict[str, Any]:
    return run_compare(run)


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    """All but what a clock gave."""
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in result["rows"]]
    return {**{k: v for k, v in result.items() if k != "costs"}, "rows": rows}


def by_name(result: dict[str, Any]) -> dict[tuple[str, str | None, int], dict[str, Any]]:
    return {(row["method"], row["selector"], row["k"]): row for row in result["rows"]}


# Rows ---------------------------------------------------------------------------------------


def test_every_row_is_there(result: dict[str, Any]) -> None:
    expected = {("everything", None, N)}
    for k in (60, 120):
        expected |= {(name, None, k) for name in ("random", "fresh-random", "stratified")}
        for name in ("entropy", "el2n", "k-center"):
            expected |= {(name, "proxy", k), (name, "target", k)}
    assert set(by_name(result)) == expected
    assert len(result["rows"]) == len(expected)
    for row in result["rows"]:
        assert len(row["errors"]) == len(row["worst_class_errors"]) == 2
        assert row["error_mean"] == pytest.approx(np.mean(row["errors"]))
        assert row["error_std"] == pytest.approx(np.std(row["errors"], ddof=1))
        assert all(w >= e for w, e in zip(row["worst_class_errors"], row["errors"], strict=True))
        assert row["keep"] == row["k"] / N


def test_the_same_steps_at_the_same_budget(result: dict[str, Any]) -> None:
    rows = by_name(result)
    for k in (60, 120):
        steps = {row["steps"] for (_, _, size), row in rows.items() if size == k}
        assert steps == {2 * -(-k // 32)}
    assert rows["everything", None, N]["steps"] == 2 * -(-N // 32)


def test_the_schedule_is_fitted_to_the_steps_of_each_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[list[float]] = []

    def recording(_: str) -> Callable[[float], float]:
        trainings.append([])
        return lambda progress: trainings[-1].append(progress) or 1.0

    # By its name as a module: the package re-exports the function `fit`.
    monkeypatch.setattr(importlib.import_module("keepers.training.loop"), "schedule", recording)
    run_compare(tmp_path, methods=["random"], keep=[60], seeds=1, with_target=False)
    for progress in trainings:
        steps = len(progress)
        np.testing.assert_allclose(progress, np.arange(steps) / steps)
    # Everything, random, fresh random, and the proxy whose scores are compared.
    assert [len(progress) for progress in trainings] == [16, 4, 4, 16]


def test_costs_and_speed_up(result: dict[str, Any]) -> None:
    rows = by_name(result)
    everything = rows["everything", None, N]
    assert everything["speedup_flops"] == everything["speedup_seconds"] == 1
    for (method, selector, _), row in rows.items():
        for unit in ("seconds", "flops"):
            total = row[f"selection_{unit}"] + row[f"target_{unit}"]
            assert row[f"end_to_end_{unit}"] == pytest.approx(total)
            assert row[f"speedup_{unit}"] == pytest.approx(everything[f"target_{unit}"] / total)
        assert (row["selection_flops"] > 0) == (selector is not None), method
    # Training on n for 2 epochs and one pass: the same for every method of the proxy.
    assert (
        rows["entropy", "proxy", 60]["selection_flops"]
        == rows["k-center", "proxy", 120]["selection_flops"]
    )
    assert (
        rows["entropy", "target", 60]["selection_flops"]
        > rows["entropy", "proxy", 60]["selection_flops"]
    )
    ratio = rows["random", None, 60]["target_flops"] / everything["target_flops"]
    assert ratio == pytest.approx(60 / N)


@pytest.mark.parametrize(("of_proxy", "of_target"), [(0.0, 10.0), (3.0, 0.0)])
def test_operations_that_nobody_counts_are_no_speed_up(of_proxy: float, of_target: float) -> None:
    """What scikit-learn fits books none: by hand, where the target or the proxy is fitted."""
    ways: list[tuple[str, Chooser | None, float]] = [
        ("everything", None, 0.0),
        ("random", None, 0.0),
        ("margin", "proxy", of_proxy),
    ]
    trials = [
        ChoiceTrial(
            method=method, selector=selector, keep=0.5, k=10, seed=0, test_error=0.1,
            worst_class_error=0.1, selection=Cost(phase="selecting", seconds=1.0, flops=flops),
            target=Cost(phase="target training", seconds=1.0, flops=of_target),
        )
        for method, selector, flops in ways
    ]  # fmt: skip
    rows = {row["method"]: row for row in summarise(trials)}
    assert rows["margin"]["end_to_end_flops"] is None
    assert rows["margin"]["speedup_flops"] is None
    assert rows["random"]["speedup_flops"] == (1.0 if of_target else None)


def test_differences_are_paired_by_seed_against_random(result: dict[str, Any]) -> None:
    rows = by_name(result)
    for (method, _, k), row in rows.items():
        if method in ("everything", "random"):
            assert row["difference"] is None
            continue
        paired = np.subtract(row["errors"], rows["random", None, k]["errors"])
        assert row["difference"]["mean"] == pytest.approx(paired.mean())
        assert row["difference"]["pairs"] == 2
        assert row["difference"]["verdict"] == "inconclusive"


def test_agreement_of_proxy_target_and_second_seeds(result: dict[str, Any]) -> None:
    (found,) = result["agreement"]
    assert found["score"] == "entropy"
    assert found["models"] == ["proxy seed 0", "proxy seed 1", "target seed 0", "target seed 1"]
    for name in ("spearman", "pearson"):
        matrix = np.array(found[name])
        np.testing.assert_allclose(matrix, matrix.T)
        assert (np.diag(matrix) == 1).all()
        assert (np.abs(matrix) <= 1).all()


def test_the_result_is_written_beside_the_run(run: Path, result: dict[str, Any]) -> None:
    assert json.loads((run / "compare.json").read_text()) == result


# Never on the test set ----------------------------------------------------------------------


def _stages(run: Path) -> dict[str, dict[str, bytes]]:
    """The arrays of each stage, by its inputs without the test set."""
    found: dict[str, dict[str, bytes]] = {}
    for path in run.glob("stages/*/stage.json"):
        inputs = json.loads(path.read_text())["inputs"]
        inputs.pop("test", None)
        key = json.dumps([path.parent.name.partition("-")[0], inputs], sort_keys=True)
        found[key] = {p.name: p.read_bytes() for p in path.parent.glob("*.npy")}
    return found


def test_test_labels_change_no_choice_and_no_prediction(
    run: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    """Also the original, which reported its best epoch on the test set."""
    flipped = run_compare(tmp_path, flip_test=True)
    assert _stages(tmp_path) == _stages(run)
    assert flipped["agreement"] == result["agreement"]
    for row, other in zip(result["rows"], flipped["rows"], strict=True):
        # Two classes: the same predictions on flipped labels are wrong where they were right.
        np.testing.assert_allclose(np.add(row["errors"], other["errors"]), 1)


def test_a_fraction_split_off_is_not_trained_on(tmp_path: Path) -> None:
    data, _ = halves()
    comparison = keepers.compare(
        data, test=0.25, methods=["random"], keep=[1.0], proxy=PROXY, target=TARGET, epochs=1,
        target_epochs=1, seeds=1, run=tmp_path,
    )  # fmt: skip
    assert comparison.result["data"]["n"] == 180
    assert comparison.result["data"]["test_n"] == 60
    everything = next(row for row in comparison.result["rows"] if row["method"] == "everything")
    assert everything["steps"] == -(-180 // 32)


# Noise --------------------------------------------------------------------------------------


def test_changed_labels_are_counted_and_the_test_set_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    noisy = run_compare(
        tmp_path, noise=0.2, methods=["entropy"], keep=[120], seeds=1, with_target=False,
        say=said.append,
    )  # fmt: skip
    assert "Changed 48 training labels to another class (--noise 0.2)" in said
    rows = by_name(noisy)
    assert rows["everything", None, N]["changed_labels"] == 0.2
    shares = [row["changed_labels"] for row in noisy["rows"]]
    assert all(0 < share < 0.5 for share in shares)
    note = json.loads((tmp_path / "run.json").read_text())
    clean = keepers.data.open_source(halves()[0])
    like = keepers.data.open_source(halves()[1], like=clean)
    assert note["test"] == like.fingerprint
    assert note["data"] != clean.fingerprint


def test_without_noise_no_label_is_called_changed(result: dict[str, Any]) -> None:
    assert {row["changed_labels"] for row in result["rows"]} == {None}


# Convergence --------------------------------------------------------------------------------


def checked(
    monkeypatch: pytest.MonkeyPatch, errors: dict[tuple[int, int], float], target: str = "mlp"
) -> list[convergence.Check]:
    """The checks of targets with these test errors, by examples and epochs."""
    source, prepared = prepare(Role(model=target, epochs=None), open_source("digits", limit=40))

    def trained(place: Any, training: Training) -> Any:
        of = (len(training.members), training.whole_epochs)
        return SimpleNamespace(facts={"test_error": errors[of]})

    monkeypatch.setattr(convergence, "train", trained)
    trainings = {
        k: Training(
            prepared=replace(prepared, recipe=replace(prepared.recipe, epochs=3, min_steps=0)),
            source=source,
            members=torch.arange(k),
            seed=0,
        )
        for k in (30, 20, 10)
    }
    return convergence.convergence(cast("Any", None), trainings)


def test_both_ends_are_trained_for_longer_and_the_rest_where_one_was_still_learning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = {(10, 3): 0.30, (10, 6): 0.29, (30, 3): 0.20, (30, 6): 0.25}
    assert [(c.k, c.converged) for c in checked(monkeypatch, good)] == [(10, True), (30, True)]
    found = checked(monkeypatch, good | {(10, 6): 0.289, (20, 3): 0.25, (20, 6): 0.24})
    assert [(c.k, c.converged) for c in found] == [(10, False), (20, True), (30, True)]
    assert (found[0].epochs, found[0].longer_epochs, found[0].longer_error) == (3, 6, 0.289)


def test_what_scikit_learn_fits_is_not_trained_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, {}, target="linear") == []


def test_a_target_that_was_still_learning_gives_no_verdict(tmp_path: Path) -> None:
    said: list[str] = []
    common = {"methods": ["stratified"], "keep": [120], "seeds": 3, "with_target": False}
    found = run_compare(tmp_path, **common, target_epochs=1, say=said.append)
    assert [(c["k"], c["converged"]) for c in found["convergence"]] == [(120, False), (N, False)]
    assert {row["difference"]["verdict"] for row in found["rows"] if row["difference"]} == {
        "cannot tell"
    }
    assert any("on 120 of 240 examples the target was still learning: 2 epochs" in s for s in said)
    phases = {cost["phase"]: cost["steps"] for cost in found["costs"]}
    steps = -(-120 // 32) + -(-N // 32)
    assert phases["longer-target training"] == 2 * steps
    assert "Cannot tell: the target was still learning" in str(compare_table(found).caption)


# Resuming -----------------------------------------------------------------------------------


def test_an_interrupted_comparison_continues_where_it_was(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = trials.train, 0

    def stop_half_way(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(trials, "train", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        run_compare(tmp_path)
    finished = {path.name for path in (tmp_path / "stages").iterdir()}
    assert not (tmp_path / "compare.json").exists()
    before = {name: (tmp_path / "stages" / name).stat().st_mtime_ns for name in finished}
    again = run_compare(tmp_path)
    assert untimed(again) == untimed(result)
    assert before == {name: (tmp_path / "stages" / name).stat().st_mtime_ns for name in finished}


def test_a_killed_comparison_continues_to_the_same_result(tmp_path: Path) -> None:
    argv = [
        *[
            "compare",
            "digits",
            "--test",
            "0.3",
            "--limit",
            "200",
            "--methods",
            "entropy",
            "--keep",
            "0.5",
            "--seeds",
            "2",
        ],
        *[
            "--epochs",
            "1",
            "--target-epochs",
            "1",
            "--proxy",
            "logistic",
            "--target",
            "logistic",
            "--json",
        ],
    ]
    jobs: list[dict[str, Any]] = [{"argv": [*argv, "--run", str(tmp_path / "whole")]}]
    for call in (2, 8):
        again = {"argv": [*argv, "--run", str(tmp_path / f"kill {call}")]}
        at = {"at": "keepers.workflows.stages:extract", "call": call, "signal": signal.SIGKILL}
        jobs += [{**again, **at}, again]
    whole, *rest = forked.run(*jobs)
    assert whole.status == 0, whole.stderr
    for killed, resumed in (rest[:2], rest[2:]):
        assert killed.status == -signal.SIGKILL
        expected, found = json.loads(whole.stdout), json.loads(resumed.stdout)
        for each in (expected, found):
            for name in ("files", "peak_memory_mib"):
                del each[name]
        assert untimed(found) == untimed(expected)


# Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 0}, r"test: got 0, which keeps nothing"),
        ({"test": 1.5}, r"test: got the fraction 1\.5, which is over 1"),
        ({"test": "150%"}, r"test: got the fraction '150%', which is over 1"),
        ({"test": 1.0}, r"test: got 1\.0, which leaves no training data"),
        ({"test": 1000}, r"test: got the count 1000, but there are only 240"),
        ({"keep": (0.5, 5000)}, r"keep: got the count 5000, but there are only 240"),
        ({"keep": ()}, r"keep: got none"),
        ({"methods": ()}, r"methods: got none"),
        ({"methods": ("entropi",)}, r"method: got 'entropi'.* Did you mean 'entropy'"),
        ({"seeds": 0}, r"seeds: got 0"),
        ({"noise": 1.0}, r"noise: got 1"),
        ({"target": "preact9"}, r"target: got 'preact9'.* Did you mean 'preact"),
        ({"limit": "ten"}, r"limit: got 'ten'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(KeepersError, match=message):
        run_compare(tmp_path / "run", **options)
    assert not (tmp_path / "run" / "stages").exists()


def test_a_test_set_of_other_classes_is_refused(tmp_path: Path) -> None:
    _, test = halves()
    other = test.set_column(1, "label", pa.array(["new"] * N_TEST))
    with pytest.raises(KeepersError, match="new"):
        run_compare(tmp_path / "run", test=other)


# Statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [2, 3, 5, 9])
def test_paired_interval_is_that_of_scipy(pairs: int) -> None:
    draw = np.random.default_rng(pairs)
    errors, baseline = draw.normal(0.2, 0.05, pairs), draw.normal(0.3, 0.05, pairs)
    found = paired_difference(errors.tolist(), baseline.tolist())
    expected = stats.ttest_rel(errors, baseline).confidence_interval(0.95)
    assert found.mean == pytest.approx((errors - baseline).mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.pairs == pairs


def test_paired_interval_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard deviation 1, t(0.975, 2) = 4.302653."""
    found = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5)
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5)


def test_few_seeds_give_a_verdict_only_where_the_difference_is_very_clear() -> None:
    sure = [0.10, 0.11, 0.12, 0.10, 0.11]
    base = [0.50, 0.52, 0.51, 0.53, 0.50]
    for pairs in (1, 2):
        assert paired_difference(sure[:pairs], base[:pairs]).verdict == "inconclusive"
    for pairs in (3, 4):  # p is 0.0002 and less
        assert paired_difference(sure[:pairs], base[:pairs]).verdict == "better"
        assert paired_difference(base[:pairs], sure[:pairs]).verdict == "worse"
    # Differences 1, 2, 3, 4: t = 3.87, p = 0.0305: under 0.05, which is not enough with 4 seeds.
    unsure = paired_difference([2.0, 4.0, 6.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert unsure.p == pytest.approx(0.0304662, abs=1e-6)
    assert unsure.verdict == "inconclusive"
    assert paired_difference(sure, base).verdict == "better"
    assert paired_difference(base, sure).verdict == "worse"
    assert paired_difference(sure, sure).verdict == "inconclusive"
    mixed = paired_difference([0.1, 0.2, 0.1, 0.2, 0.1], [0.2, 0.1, 0.2, 0.1, 0.2])
    assert mixed.low is not None
    assert mixed.high is not None
    assert mixed.low < 0 < mixed.high
    assert mixed.verdict == "inconclusive"
    alone = paired_difference([0.1], [0.5])
    assert (alone.low, alone.high) == (None, None)
    with pytest.raises(ValueError, match="got 1 errors and 2"):
        paired_difference([0.1], [0.1, 0.2])


@pytest.mark.parametrize("pairs", [2, 3, 5, 9])
def test_p_value_is_that_of_scipy(pairs: int) -> None:
    draw = np.random.default_rng(pairs)
    errors, baseline = draw.normal(0.2, 0.05, pairs), draw.normal(0.3, 0.05, pairs)
    found = paired_difference(errors.tolist(), baseline.tolist())
    assert found.p == pytest.approx(stats.ttest_rel(errors, baseline).pvalue)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps: list[float], level: float) -> None:
    """From the smallest p on, each is held to level / (how many are left); the first miss ends."""
    rejected: set[int] = set()
    for left, place in zip(range(len(ps), 0, -1), np.argsort(ps, kind="stable"), strict=True):
        if left * ps[place] > level:
            break
        rejected.add(int(place))
    assert {place for place, p in enumerate(holm(ps)) if p <= level} == rejected


def test_a_table_of_noise_makes_a_claim_in_one_report_of_twenty() -> None:
    """8 methods at 3 fractions, none of them different from random, 5 seeds, 300 reports."""
    draw = np.random.default_rng(0)
    claims = 0
    for _ in range(300):
        rows = [
            {"method": method, "k": k, "errors": draw.normal(0.2, 0.01, 5).tolist()}
            for method in ("random", *"abcdefgh")
            for k in (1, 2, 3)
        ]
        told = with_differences(rows, difference=random_of(rows))
        claims += any(r["difference"] and r["difference"].verdict != "inconclusive" for r in told)
    assert claims <= 0.08 * 300  # 63% of such reports made a claim when each row spoke for itself


def test_correlations_are_those_of_scipy() -> None:
    draw = np.random.default_rng(0)
    first = draw.integers(0, 5, 50).astype(float)  # with ties
    vectors = [first, first + draw.normal(size=50), draw.normal(size=50)]
    ranks, linear = spearman(vectors), pearson(vectors)
    for i in range(3):
        for j in range(3):
            assert ranks[i, j] == pytest.approx(stats.spearmanr(vectors[i], vectors[j]).statistic)
            assert linear[i, j] == pytest.approx(stats.pearsonr(vectors[i], vectors[j]).statistic)


# What would fake a verdict ------------------------------------------------------------------


def test_naming_a_budget_or_a_method_twice_is_naming_it_once(tmp_path: Path) -> None:
    result = run_compare(
        tmp_path, methods=["stratified", "stratified"], keep=[0.5, "50%", 0.5001], seeds=1
    )
    rows = [(row["method"], row["k"]) for row in result["rows"]]
    assert len(rows) == len(set(rows)) == 4
    assert all(len(row["errors"]) == 1 for row in result["rows"])


def test_test_data_that_are_the_training_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeepersError, match=r"test: every input of .* is also in the training"):
        run_compare(tmp_path, test=halves()[0])


def test_a_test_set_that_overlaps_is_counted_and_said(tmp_path: Path) -> None:
    data, test = halves()
    said: list[str] = []
    mixed = pa.concat_tables([test, data.slice(0, 7)])
    result = run_compare(
        tmp_path, test=mixed, methods=["stratified"], keep=[0.5], seeds=1, say=said.append
    )
    assert result["data"]["in_both"] == 7
    (warning,) = [sentence for sentence in said if "in the training data" in sentence]
    assert warning.startswith(f"Warning: 7 of {N_TEST + 7} test inputs are also in the training ")


def test_copies_of_a_test_input_go_to_the_test_data_with_it(tmp_path: Path) -> None:
    data, _ = halves()
    doubled = pa.concat_tables([data, data])
    comparison = keepers.compare(
        doubled, test=0.25, methods=["random"], keep=[1.0], proxy=PROXY, target=TARGET, epochs=1,
        target_epochs=1, seeds=1, run=tmp_path,
    )  # fmt: skip
    assert comparison.result["data"]["in_both"] == 0
    assert (comparison.result["data"]["n"], comparison.result["data"]["test_n"]) == (360, 120)


def test_auto_is_the_default_and_names_the_method_that_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepers.workflows.options.advise.CANDIDATES", ("stratified", "margin"))
    data, said = halves()[0][:120], list[str]()
    result = keepers.compare(
        data,
        test=halves()[1],
        keep=[60],
        proxy="linear",
        target="linear",
        seeds=1,
        run=tmp_path / "run",
        say=said.append,
    ).result
    alone = keepers.coreset(data, keep=60, proxy="linear", run=tmp_path / "alone")
    row, (found,) = by_name(result)["auto", None, 60], result["auto"]
    assert found["k"] == 60
    assert row["taken"] == found["taken"] == alone.metadata["auto"]["taken"]
    assert row["selection_seconds"] > found["pilot"]["seconds"] > 0
    assert {row["method"] for row in result["rows"]} == {"auto", "random", "everything"}
    named = f"auto: {row['taken']}"
    assert any(sentence.startswith(f"auto takes {row['taken']}") for sentence in said)
    assert named in "\n".join(plain_lines(compare_table(result)))
    assert named in compare_report(result, tmp_path / "report.html").read_text()


def test_a_method_that_is_named_is_taken_and_auto_has_no_options(tmp_path: Path) -> None:
    result = run_compare(tmp_path, methods=["stratified"], keep=[60], seeds=1, with_target=False)
    assert result["auto"] == []
    assert {row["taken"] for row in result["rows"]} == {None}
    with pytest.raises(KeepersError, match="method_options: got 'auto'"):
        run_compare(tmp_path, methods=["auto"], method_options={"auto": {"beta": 1}})


def test_options_of_a_method_reach_it_and_others_are_refused(tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "test": 0.3,
        "methods": ["ccs"],
        "keep": [0.5],
        "epochs": 1,
        "target_epochs": 1,
        "seeds": 1,
        "limit": 300,
        "run": tmp_path / "run",
    }
    found = [
        keepers.compare("digits", **common, method_options={"ccs": {"beta": beta}}).result
        for beta in (0.0, 0.5)
    ]
    assert found[0]["config"]["method_options"] == {"ccs": {"beta": 0.0}}
    errors = [
        next(row["errors"] for row in result["rows"] if row["method"] == "ccs") for result in found
    ]
    assert errors[0] != errors[1]
    with pytest.raises(KeepersError, match=r"method_options: got 'css'.*Did you mean 'ccs'"):
        keepers.compare("digits", **common, method_options={"css": {}})
    with pytest.raises(KeepersError, match="options of ccs: got 'alpha'"):
        keepers.compare("digits", **common, method_options={"ccs": {"alpha": 1}})


def test_proxy_and_target_look_at_pictures_of_their_own_sizes(tmp_path: Path) -> None:
    result = keepers.compare(
        "digits", test=0.2, keep=(0.5,), limit=150, epochs=1, target_epochs=1, seeds=1,
        proxy="logistic", target="logistic", resolution=4, target_resolution=6, run=tmp_path,
    ).result  # fmt: skip
    sides = {name: result["config"][name]["resolution"] for name in ("proxy", "target")}
    assert sides == {"proxy": 4, "target": 6}
