"""Simulated campaigns: budgets, an oracle that tells no more than was asked, costs, resuming."""

from __future__ import annotations

import importlib
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import forked
from commands import Keepers, plain_lines
from digits import load_digits
from keepers.configuration import validated
from keepers.data import open_source
from keepers.errors import KeepersError
from keepers.experiments import SimulateConfig, Simulation, simulate
from keepers.experiments.simulate_budgets import Budgets
from keepers.experiments.simulate_oracle import Oracle
from keepers.experiments.simulate_summary import reached, summarise
from keepers.experiments.summary import ChoiceTrial
from keepers.files import plain
from keepers.ledger import Cost
from keepers.reports.simulate import simulate_report, simulate_table
from keepers.reports.simulate_answers import about_selection, label_savings, paces
from keepers.workflows.active import neighbour_index

N, N_TEST = 240, 100
MLP: dict[str, Any] = {"model": "mlp", "batch_size": 32, "epochs": 2}
METHODS = ("margin", "k-center")
COUNTS = (12, 24, 60)


def tables(labels: Any = None) -> tuple[pa.Table, pa.Table]:
    """Digits in three classes, with a key: the pool and the test data."""
    bunch = load_digits()
    classes = bunch.target % 3 if labels is None else labels
    found = []
    for part in (slice(0, N), slice(N, N + N_TEST)):
        pixels = pa.array(bunch.data[part].astype(np.float32).tolist(), pa.list_(pa.float32()))
        columns = {"pixels": pixels, "label": classes[part], "key": np.arange(1797)[part]}
        found.append(pa.table(columns))
    return found[0], found[1]


def run_simulate(run: Path, data: Any = None, **options: Any) -> Simulation:
    pool, test = tables()
    given: dict[str, Any] = {
        "test": test,
        "methods": METHODS,
        "initial": COUNTS[0],
        "rounds": COUNTS[1:],
        "proxy": {**MLP, "options": {"hidden": [8]}},
        "target": {**MLP, "options": {"hidden": [24]}},
        "id": "key",
        "seeds": 2,
        "with_target": True,
        "device": "cpu",
    }
    return simulate(pool if data is None else data, run=run, **{**given, **options})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return run_simulate(tmp_path_factory.mktemp("simulate") / "run")


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    """All but what a clock gave."""
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in result["rows"]]
    return {**{k: v for k, v in result.items() if k != "costs"}, "rows": rows}


def picked(simulation: Simulation) -> dict[tuple[int, str, str | None, int], list[Any]]:
    """Ids in pick order by seed, method, selector and round."""
    found: dict[tuple[int, str, str | None, int], list[Any]] = {}
    for row in simulation.picks.to_pylist():
        key = row["seed"], row["method"], row["selector"], row["round"]
        assert row["rank"] == len(found.setdefault(key, []))
        found[key].append(row["id"])
    return found


# Budgets and rows ---------------------------------------------------------------------------


def test_budgets_by_hand() -> None:
    config = SimulateConfig(initial="2%", rounds=("10%", 0.15, 100), measure=(0.1, "100"))
    found = Budgets.resolve(config, 250)
    assert (found.initial, found.rounds) == (5, (25, 38, 100))  # 37.5 is rounded up
    assert found.measured == {25, 100}


def test_every_row_is_there(simulated: Simulation) -> None:
    ways = {("random", None)} | {(m, s) for m in METHODS for s in ("proxy", "target")}
    expected = {(*way, k) for way in ways for k in COUNTS[1:]}
    assert {(row["method"], row["selector"], row["k"]) for row in simulated.rows} == expected
    assert len(simulated.rows) == len(expected)
    for row in simulated.rows:
        assert len(row["errors"]) == len(row["worst_class_errors"]) == 2
        assert row["error_mean"] == pytest.approx(np.mean(row["errors"]))
        assert row["error_std"] == pytest.approx(np.std(row["errors"], ddof=1))
        assert row["keep"] == row["k"] / N
    assert simulated.table.num_rows == len(expected)
    assert simulated.table["k"].to_pylist() == [row["k"] for row in simulated.rows]


def test_what_is_written_is_what_is_returned(simulated: Simulation, tmp_path: Path) -> None:
    assert json.loads((simulated.run / "simulate.json").read_text()) == simulated.result
    assert json.loads(simulated.to_json(tmp_path / "out.json")) == simulated.result
    assert json.loads((tmp_path / "out.json").read_text()) == simulated.result
    with pytest.raises(KeepersError, match="exists"):
        simulated.to_json(tmp_path / "out.json")


def test_each_round_labels_its_share_and_no_example_twice(simulated: Simulation) -> None:
    found = picked(simulated)
    assert len(found) == 2 * 5 * 3
    for seed, method, selector in {key[:3] for key in found}:
        rounds = [found[seed, method, selector, number] for number in range(3)]
        assert [len(ids) for ids in rounds] == [12, 12, 36]
        assert len({one for ids in rounds for one in ids}) == 60
    for seed in range(2):  # the same beginning for all methods of a seed, another for another
        assert len({tuple(ids) for key, ids in found.items() if key[0] == seed and not key[3]}) == 1
    assert found[0, "random", None, 0] != found[1, "random", None, 0]


def test_differences_are_paired_by_seed_and_open_under_five(simulated: Simulation) -> None:
    by_way = {(row["method"], row["selector"], row["k"]): row for row in simulated.rows}
    for (method, selector, k), row in by_way.items():
        if method == "random":
            assert row["difference"] is None
            continue
        paired = np.subtract(row["errors"], by_way["random", None, k]["errors"])
        assert row["difference"]["mean"] == pytest.approx(paired.mean())
        assert row["difference"]["verdict"] == "inconclusive"
        if selector == "proxy":
            paired = np.subtract(row["errors"], by_way[method, "target", k]["errors"])
            assert row["against_target"]["mean"] == pytest.approx(paired.mean())
        else:
            assert row["against_target"] is None


def test_agreement_is_measured_in_every_round_of_the_first_seed(simulated: Simulation) -> None:
    found = {(row["method"], row["round"], row["k"]) for row in simulated.result["agreement"]}
    assert found == {(m, number, COUNTS[number - 1]) for m in METHODS for number in (1, 2)}
    for row in simulated.result["agreement"]:
        assert (row["seed"], row["sample"]) == (0, N - row["k"])
        assert all(abs(row[f"{name}_seeds"]) <= 1 for name in ("proxy", "target"))


def test_a_target_that_was_still_learning_gives_no_verdict(tmp_path: Path) -> None:
    said: list[str] = []
    found = run_simulate(
        tmp_path, measure=COUNTS[-1:], methods=["margin"], with_target=False, seeds=3, epochs=1,
        target_epochs=1, say=said.append,
    )  # fmt: skip
    (check,) = found.result["convergence"]
    assert (check["k"], check["epochs"], check["longer_epochs"]) == (COUNTS[-1], 1, 2)
    (row,) = [row for row in found.rows if row["method"] == "margin"]
    learning = any("the target was still learning" in sentence for sentence in said)
    assert check["converged"] is not learning
    assert (row["difference"]["verdict"] == "cannot tell") is learning
    assert learning, "one epoch of a few examples is no training"


def test_only_the_budgets_asked_for_are_measured(tmp_path: Path) -> None:
    found = run_simulate(tmp_path, measure=(12, 60), methods=["margin"], with_target=False, seeds=1)
    assert [(row["method"], row["k"]) for row in found.rows] == [
        ("random", 12), ("random", 60), ("margin", 12), ("margin", 60),
    ]  # fmt: skip
    first, same = found.rows[0], found.rows[2]
    assert first["errors"] == same["errors"]  # one beginning, one target


# The oracle ---------------------------------------------------------------------------------


def test_the_oracle_labels_only_what_was_picked() -> None:
    source = open_source(tables()[0], id="key")
    assert source.labels is not None
    oracle = Oracle.of(source)
    known = oracle.label(torch.tensor([7, 3]))
    assert known.members.tolist() == [3, 7]
    assert np.flatnonzero(known.labels >= 0).tolist() == [3, 7]
    assert known.labels[[3, 7]].tolist() == source.labels[[3, 7]].tolist()
    assert (oracle.pool.labels == -1).all()
    assert 3 not in known.open.tolist()


def test_poisoned_labels_that_are_never_revealed_change_nothing(
    simulated: Simulation, tmp_path: Path
) -> None:
    """Every label that no campaign of seed 0 asked for is another one: the same picks, errors."""
    asked = {one for key, ids in picked(simulated).items() if key[0] == 0 for one in ids}
    labels = load_digits().target % 3
    hidden = np.setdiff1d(np.arange(N), list(asked))
    assert len(hidden) > 20
    labels[hidden] = (labels[hidden] + 1) % 3
    poisoned = run_simulate(tmp_path, tables(labels)[0], seeds=1)
    expected = {key: ids for key, ids in picked(simulated).items() if key[0] == 0}
    assert picked(poisoned) == expected
    for row, other in zip(poisoned.rows, simulated.rows, strict=True):
        assert row["errors"] == other["errors"][:1]


def test_shuffled_rows_give_the_same_ids(simulated: Simulation, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(N)
    shuffled = run_simulate(tmp_path, tables()[0].take(order), seeds=1)
    assert picked(shuffled) == {k: ids for k, ids in picked(simulated).items() if k[0] == 0}


def test_test_labels_choose_nothing(simulated: Simulation, tmp_path: Path) -> None:
    test = tables()[1]
    other = test.set_column(1, "label", pa.array((np.asarray(test["label"]) + 1) % 3))
    flipped = run_simulate(tmp_path, test=other, seeds=1)
    assert picked(flipped) == {k: ids for k, ids in picked(simulated).items() if k[0] == 0}
    assert flipped.rows[0]["errors"] != simulated.rows[0]["errors"][:1]


def test_examples_of_the_test_data_leave_the_pool(tmp_path: Path) -> None:
    pool, test = tables()
    both = pa.concat_tables([test, pool.slice(0, 9)])
    said: list[str] = []
    found = run_simulate(tmp_path, test=both, methods=["random"], seeds=1, say=said.append)
    assert "Left 9 examples of the pool out: they are also in the test data" in said
    assert (found.result["data"]["n"], found.result["data"]["in_both"]) == (N - 9, 9)
    assert not set(range(9)) & {one for ids in picked(found).values() for one in ids}


def test_random_is_uniform_whatever_is_asked_of_the_methods(
    simulated: Simulation, tmp_path: Path
) -> None:
    found = run_simulate(
        tmp_path, methods=["margin"], cold="k-center", distinct=0.5, balance="class", seeds=1,
        with_target=False,
    )  # fmt: skip
    mine, before = picked(found), picked(simulated)
    for number in range(3):
        key = (0, "random", None, number)
        assert mine[key] == before[key]
    assert mine[0, "margin", "proxy", 0] != mine[0, "random", None, 0]  # it begins by k-center


def test_neighbours_of_a_large_pool_are_searched_by_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", N)
    monkeypatch.setattr(neighbour_index, "ENOUGH", 0.5)
    searched: list[Path] = []
    search = neighbour_index.Index.search

    def noted(self: neighbour_index.Index, *given: Any) -> Any:
        searched.append(self.folder)
        return search(self, *given)

    monkeypatch.setattr(neighbour_index.Index, "search", noted)
    found = run_simulate(tmp_path, methods=["margin"], neighbours=3, seeds=1, with_target=False)
    assert len(searched) == len(COUNTS) - 1
    assert len(set(searched)) == 1
    assert {row["method"] for row in found.result["rows"]} == {"random", "margin"}


def test_features_may_come_from_a_column(simulated: Simulation, tmp_path: Path) -> None:
    """In a column of three far points, the first picks by k-center are one of each."""
    pool = tables()[0]
    places = [[100.0 * (n % 3 == 0), 100.0 * (n % 3 == 1), 1.0] for n in range(N)]
    bunched = pool.append_column("where", pa.array(places, pa.list_(pa.float32())))
    found = run_simulate(
        tmp_path, bunched, features="where", cold="k-center", distinct=None, methods=["margin"],
        input="pixels", initial=3, seeds=1, with_target=False,
    )  # fmt: skip
    assert {one % 3 for one in picked(found)[0, "margin", "proxy", 0]} == {0, 1, 2}
    with pytest.raises(KeepersError, match=r"features: .*'nowhere'"):
        run_simulate(tmp_path / "other", features="nowhere")


# Costs --------------------------------------------------------------------------------------


def trial(
    method: str, selector: Any, k: int, seed: int, error: float, **cost: float
) -> ChoiceTrial:
    return ChoiceTrial(
        method=method, selector=selector, keep=k / 100, k=k, seed=seed, test_error=error,
        worst_class_error=error, selection=Cost(phase="selection", seconds=cost.get("seconds", 0),
        flops=cost.get("flops", 0)), target=Cost(phase="target training", seconds=2, flops=10),
    )  # fmt: skip


def by_hand(seeds: int = 5) -> dict[str, Any]:
    """Margin is 0.1 below random at 10 labels and as good as its end; the target takes 8 times."""
    trials: list[ChoiceTrial] = []
    for seed in range(seeds):
        wiggle = seed / 1000
        trials += [
            trial("random", None, 10, seed, 0.5 + wiggle),
            trial("random", None, 20, seed, 0.4 + wiggle),
            trial("margin", "proxy", 10, seed, 0.4, seconds=1 + seed, flops=3),
            trial("margin", "proxy", 20, seed, 0.45, seconds=4, flops=6),
            trial("margin", "target", 10, seed, 0.4, seconds=8 * (1 + seed), flops=30),
            trial("margin", "target", 20, seed, 0.3, seconds=10, flops=60),
            trial("entropy", None, 10, seed, 0.9),
            trial("entropy", None, 20, seed, 0.4 + wiggle * (-1) ** seed),
        ]
    rows = summarise(trials)
    found = {"rows": rows, "reached": reached(rows), "agreement": [], "seeds": list(range(seeds))}
    return plain(found)


def test_speed_up_by_hand() -> None:
    rows = {(row["method"], row["selector"], row["k"]): row for row in by_hand()["rows"]}
    ten, twenty = rows["margin", "proxy", 10], rows["margin", "proxy", 20]
    assert (ten["selection_speedup_seconds"], ten["selection_speedup_flops"]) == (8, 10)
    assert (twenty["selection_speedup_seconds"], twenty["selection_speedup_flops"]) == (2.5, 10)
    assert (ten["selection_seconds"], ten["end_to_end_seconds"]) == (3, 5)
    assert ten["end_to_end_flops"] == 13
    assert rows["margin", "target", 10]["selection_speedup_seconds"] is None
    assert rows["random", None, 10]["selection_speedup_seconds"] is None


def test_verdicts_by_hand() -> None:
    rows = {(row["method"], row["selector"], row["k"]): row for row in by_hand()["rows"]}
    assert rows["margin", "proxy", 10]["difference"]["mean"] == pytest.approx(-0.102)
    assert rows["margin", "proxy", 10]["difference"]["verdict"] == "better"
    assert rows["margin", "proxy", 20]["difference"]["verdict"] == "worse"
    assert rows["entropy", None, 20]["difference"]["verdict"] == "inconclusive"
    assert rows["margin", "proxy", 20]["against_target"]["verdict"] == "worse"
    assert {row["difference"]["verdict"] for row in by_hand(2)["rows"] if row["difference"]} == {
        "inconclusive"
    }


def test_label_saving_by_hand() -> None:
    result = by_hand()
    found = {(row["method"], row["selector"]): row for row in result["reached"]["rows"]}
    assert (result["reached"]["error"], result["reached"]["labels"]) == (pytest.approx(0.402), 20)
    assert (found["margin", "proxy"]["labels"], found["margin", "proxy"]["saving"]) == (10, 0.5)
    assert found["random", None]["labels"] == 20
    # The mean error of `entropy` at 20 is 0.3992 + ...: 0.4 + (0 − 1 + 2 − 3 + 4) / 5000.
    assert found["entropy", None]["labels"] == 20
    # 0.4 against 0.4 + seed / 1000: seeds 0 to 4, mean −0.2 points, t(0.975, 4) = 2.776.
    assert label_savings(result)[0] == (
        "margin (proxy): 10 labels, 50% fewer (−0.20 points, −0.40 to −0.00; at no budget "
        "significantly lower)"
    )
    assert found["margin", "target"]["certain"] == 20
    assert label_savings(result)[1].endswith("; significantly lower from 20 labels on)")
    worse = [row | {"error_mean": 1.0} for row in result["rows"] if row["method"] != "random"]
    rows = [row for row in result["rows"] if row["method"] == "random"] + worse
    unreached = {**result, "rows": rows, "reached": reached(rows)}
    assert label_savings(unreached)[0] == "margin (proxy): not reached"
    assert unreached["reached"]["rows"][1]["saving"] is None


def test_words_about_selection_by_hand() -> None:
    result = by_hand()
    assert about_selection(result) == (
        "Up to 20% labelled, the proxy selected 2.50× as fast as the target itself, with a higher "
        "error for margin."
    )
    took = "selection_seconds"
    assert [(row["k"], row[took], target[took]) for row, target in paces(result)] == [
        (10, 3, 24), (20, 4, 10),
    ]  # fmt: skip
    alone = {**result, "rows": [row for row in result["rows"] if row["selector"] != "target"]}
    assert about_selection(alone) == ""


def test_costs_add_up(simulated: Simulation) -> None:
    rows = {(row["method"], row["selector"], row["k"]): row for row in simulated.rows}
    for (method, selector, k), row in rows.items():
        assert (row["selection_flops"] > 0) == (selector is not None)
        assert row["steps"] == 2 * -(-k // 32)
        if selector == "proxy":
            ratio = rows[method, "target", k]["selection_flops"] / row["selection_flops"]
            assert row["selection_speedup_flops"] == pytest.approx(ratio)
    # Two rounds: trainings on 12 and 24 labels for 2 epochs, and two passes over the pool.
    one = rows["random", None, 24]["target_flops"] / (3 * 2 * 24)  # a forward pass of the target
    expected = one * (3 * 2 * 12 + N)
    assert rows["margin", "target", 24]["selection_flops"] == pytest.approx(expected, rel=0.05)


def test_a_training_that_campaigns_share_is_paid_once(simulated: Simulation) -> None:
    """Every stage of the run but the encoding's and the rounds' own is one training or one pass."""
    notes = [json.loads(path.read_text()) for path in simulated.run.glob("stages/*/stage.json")]
    spent = sum(cost["flops"] for note in notes for cost in note["costs"])
    told = sum(cost["flops"] for cost in simulated.result["costs"])
    assert told == pytest.approx(spent)
    seconds = sum(cost["seconds"] for note in notes for cost in note["costs"])
    assert sum(cost["seconds"] for cost in simulated.result["costs"]) == pytest.approx(seconds)


def test_a_target_that_selects_is_tested_as_one_that_is_trained_for_it(
    simulated: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One training serves both; trained apart, as with the last budget, it has the same error."""
    rounds: Any = importlib.import_module("keepers.experiments.simulate_rounds")
    monkeypatch.setattr(rounds, "_seen", lambda *_: None)
    apart = run_simulate(tmp_path)
    assert untimed(apart.result) == untimed(simulated.result)


# Resuming -----------------------------------------------------------------------------------


def test_a_rerun_trains_nothing_and_gives_the_same(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: Any = importlib.import_module("keepers.workflows.stages")
    monkeypatch.setattr(stages, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert run_simulate(simulated.run).result == simulated.result


@pytest.mark.parametrize("call", [3, 17])
def test_an_interrupted_simulation_continues_to_the_same(
    simulated: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    stages: Any = importlib.import_module("keepers.workflows.stages")
    original, calls = stages.fit, 0

    def stop(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(stages, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        run_simulate(tmp_path)
    assert not (tmp_path / "simulate.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/stage.json")}
    again = run_simulate(tmp_path)
    assert untimed(again.result) == untimed(simulated.result)
    assert picked(again) == picked(simulated)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_killed_command_continues_to_the_same_result(tmp_path: Path) -> None:
    argv = ["active", "simulate", "digits", "--test", "0.3", "--limit", "200", "--seeds", "2"]
    argv += ["--methods", "margin", "--initial", "20", "--rounds", "30,40", "--with-target"]
    argv += ["--proxy", "logistic", "--target", "logistic", "--epochs", "1"]
    argv += ["--target-epochs", "1", "--json"]
    again = {"argv": [*argv, "--run", str(tmp_path / "killed")]}
    at = {"at": "keepers.workflows.stages:extract", "call": 9, "signal": signal.SIGKILL}
    whole, killed, resumed = forked.run(
        {"argv": [*argv, "--run", str(tmp_path / "whole")]}, {**again, **at}, again
    )
    assert whole.status == 0, whole.stderr
    assert killed.status == -signal.SIGKILL
    expected, found = json.loads(whole.stdout), json.loads(resumed.stdout)
    for each in (expected, found):
        for name in ("files", "peak_memory_mib"):
            del each[name]
    assert untimed(found) == untimed(expected)


# The command and the report -----------------------------------------------------------------


def test_the_command_prints_one_json_value_and_takes_a_file(run: Keepers, tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(
        "methods: [margin, typiclust]\ninitial: 20\nrounds: [0.05, 60]\nseeds: 1\nlimit: 300\n"
        "proxy: {model: logistic, epochs: 1}\ntarget: {model: logistic, epochs: 1}\n"
        "method_options: {typiclust: {max_clusters: 30}}\n"
    )
    said = run(
        *("active", "simulate", "digits", "--test", "0.3", "--config", "some.yaml"),
        *("--measure", "60", "--run", "r", "--out", "out.json", "--set", "distinct=null", "--json"),
    )
    assert said.status == 2
    assert "rounds: got 0.05 (11 labels) after initial (20 labels)" in said.err
    said = run(
        *("active", "simulate", "digits", "--test", "0.3", "--config", "some.yaml"),
        *("--rounds", "40,60", "--measure", "60", "--run", "r", "--out", "out.json"),
        *("--set", "distinct=null", "--json"),
    )
    result = said.json()
    assert result["kind"] == "simulate"
    assert (result["initial"], result["rounds"]) == (20, [40, 60])
    assert [(row["method"], row["k"]) for row in result["rows"]] == [
        ("random", 60), ("margin", 60), ("typiclust", 60),
    ]  # fmt: skip
    assert result["config"]["distinct"] is None
    assert result["config"]["method_options"] == {"typiclust": {"max_clusters": 30}}
    assert {cost["phase"] for cost in result["costs"]}.isdisjoint({"features", "agreement"})
    written = json.loads(Path("out.json").read_text())
    assert written["rows"] == result["rows"]
    assert Path(result["files"]["report"]).read_text().startswith("<!doctype html>")


def test_the_report_has_every_figure_and_escapes_what_it_is_given(
    simulated: Simulation, tmp_path: Path
) -> None:
    attack = "<script>alert(1)</script>"
    result = json.loads(simulated.to_json())
    result["data"]["name"] = attack
    html = simulate_report(result, tmp_path / "report.html").read_text(encoding="utf-8")
    assert attack not in html
    for section in ("answer", "chart", "errors", "labels", "speed", "time", "agreement", "cost"):
        assert f'<section id="{section}">' in html
    assert html.count('<span class="tag inconclusive">') == 2 * 4 + 2 * 2
    assert html.count("fraction labelled") >= 3
    assert "fraction kept" not in html


def test_the_table_fits_and_says_what_selection_took(simulated: Simulation) -> None:
    lines = plain_lines(simulate_table(simulated.result))
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    assert "Inconclusive: after 2 seeds, no selection clearly differs from random" in text
    assert "as fast as the target itself" in text
    assert "Labels for the error of random at 60" in text
    assert text.count("inconclusive") >= 8


# Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["margn"]}, r"method: got 'margn'.* Did you mean 'margin'"),
        ({"methods": ["el2n"]}, r"method: got 'el2n', which is not offered here: it needs .*label"),
        ({"methods": ["forgetting"]}, r"got 'forgetting'.*it needs forgetting events"),
        ({"methods": []}, r"methods: got none"),
        ({"method_options": {"badge": {}}}, r"method_options: got 'badge'"),
        ({"method_options": {"margin": {"power": 2}}}, r"options of margin: got 'power'"),
        ({"initial": 0}, r"initial: got 0, which keeps nothing"),
        ({"initial": "0%"}, r"initial: got '0%', which keeps nothing"),
        ({"initial": 30}, r"rounds: got 24 \(24 labels\) after initial \(30 labels\)"),
        ({"rounds": [60, 24]}, r"rounds: got 24 \(24 labels\) after 60 \(60 labels\)"),
        ({"rounds": ["10%", 24]}, r"rounds: got 24 \(24 labels\) after 10% \(24 labels\)"),
        ({"rounds": []}, r"rounds: got none"),
        ({"rounds": [24, 900]}, r"rounds: got the count 900, but there are only 240"),
        ({"rounds": [24, "150%"]}, r"rounds: got the fraction '150%', which is over 1"),
        ({"measure": [25]}, r"measure: got 25 \(25 labels\), which is not a round.*12, 24, 60"),
        ({"measure": []}, r"measure: got none"),
        ({"seeds": 0}, r"seeds: got 0"),
        ({"cold": "margin"}, r"cold: "),
        ({"distinct": 2.0}, r"distinct: got 2"),
        ({"target_epochs": 0}, r"target_epochs: got 0"),
        ({"target": "preact9"}, r"target: got 'preact9'.* Did you mean 'preact"),
        ({"label": "pixels", "input": "key"}, r"."),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(KeepersError, match=message):
        run_simulate(tmp_path / "run", **options)
    assert not list((tmp_path / "run").glob("stages/proxy-*"))


def test_a_pool_without_labels_is_refused(tmp_path: Path) -> None:
    pool = tables()[0]
    with pytest.raises(KeepersError, match="label"):
        run_simulate(tmp_path / "run", pool.drop_columns(["label"]))


def test_what_a_simulation_chooses_by() -> None:
    given = {"methods": ["badge"], "proxy": "mlp", "distinct": None, "samples": 4, "seeds": 2}
    config = validated(SimulateConfig, given)
    choosing = config.choosing
    assert (choosing.proxy, choosing.distinct, choosing.cold) == ("mlp", None, "random")
    assert config.of_method("badge").method == "badge"
    random = config.of_method("random")
    assert (random.method, random.samples, random.cold) == ("random", 4, "random")
    flat = asdict(config)
    assert {"method", "seed", "choosing"}.isdisjoint(flat)
    assert validated(SimulateConfig, flat) == config


def test_a_page_of_the_documentation_has_the_figures(
    simulated: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs"))
    pages: Any = importlib.import_module("results")
    note = {"title": "Digits", "command": "keepers", "remarks": "", "machine": "One core."}
    path = tmp_path / "digits.json"
    path.write_text(json.dumps({**note, "result": simulated.result}))
    text = pages.page(path)
    first = simulated.rows[0]
    assert text.startswith(
        "# Digits\n\nA pool of 240 examples of 3 classes, tested on 100; 2 seeds."
    )
    mean, std = first["error_mean"] * 100, first["error_std"] * 100
    assert f"| 24 | random | {mean:.2f} ± {std:.2f} | – |" in text
    speedup = simulated.rows[2]["selection_speedup_flops"]
    (line,) = [each for each in text.splitlines() if f"| {speedup:.2f}× | " in each][:1]
    assert line.startswith("| margin | 24 |")
    assert "## Do proxy and target agree?" in text
    assert "- margin (proxy): " in text
