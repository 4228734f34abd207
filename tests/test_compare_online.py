"""The online comparison: times to an accuracy, charges, resuming, and what its page shows."""

from __future__ import annotations

import importlib.util
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from typer.testing import CliRunner

import forked
import keepers
from commands import plain_lines
from digits import load_digits
from keepers.cli import app
from keepers.data import open_source
from keepers.errors import KeepersError
from keepers.experiments import convergence, online_trials
from keepers.experiments.corruption import RARE, Corruption, corrupt, duplicated
from keepers.experiments.online_summary import (
    OnlineTrial,
    composition,
    held,
    reached,
    summarise,
    targets_of,
)
from keepers.ledger import Cost
from keepers.reports import online_answers
from keepers.reports.compare import compare_report
from keepers.reports.curves import average
from keepers.reports.online import online_table
from test_reports import ATTACK, Page

N, N_TEST, STEPS = 300, 120, 40
MLP: dict[str, Any] = {
    "model": "mlp",
    "batch_size": 8,
    "schedule": "constant",
    "options": {"hidden": [16]},
}
METHODS = ("rho-loss", "loss", "svp")
BASELINES = ("uniform", "uniform-equal-time", "fresh-random")


def data_and_test(flip_test: bool = False) -> tuple[Any, Any]:
    bunch: Any = load_digits()
    tables: list[Any] = []
    for part, shift in ((slice(0, N), 0), (slice(N, N + N_TEST), int(flip_test))):
        pixels = pa.array(bunch.data[part].astype(np.float32).tolist(), pa.list_(pa.float32()))
        tables.append(pa.table({"pixels": pixels, "label": (bunch.target[part] + shift) % 10}))
    return tables[0], tables[1]


def run_online(run: Path, **options: Any) -> dict[str, Any]:
    data, test = data_and_test(options.pop("flip_test", False))
    given: dict[str, Any] = {
        "test": test,
        "methods": METHODS,
        "keep": 0.25,
        "target": MLP,
        "proxy": MLP,
        "il_model": MLP,
        "il_epochs": 1,
        "steps": STEPS,
        "evaluate_every": 5,
        "noise": 0.2,
        "seeds": 2,
        "device": "cpu",
    }
    return keepers.compare_online(data, run=run, **{**given, **options}).result


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in result["rows"]}


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    """The learning curves without seconds, of all whose number of steps is no clock's."""
    return {
        name: [[{**point, "seconds": 0} for point in curve] for curve in curves]
        for name, curves in result["curves"].items()
        if name != "uniform-equal-time"
    }


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("online") / "run"


@pytest.fixture(scope="session")
def result(run: Path) -> dict[str, Any]:
    return run_online(run)


# Curves by hand -----------------------------------------------------------------------------


def curve(*accuracies: float, seconds: float = 1.0, **more: Any) -> list[dict[str, float]]:
    """An evaluation every 10 steps of 4 examples, of 100 FLOPs each step."""
    return [
        {
            "step": 10 * i,
            "epoch": 0.5 * i,
            "examples": 40 * i,
            "candidates": 80 * i,
            "flops": 1000.0 * i,
            "seconds": seconds * i,
            "loss": 1.0,
            "accuracy": accuracy,
            "worst_class_accuracy": accuracy / 2,
            "correct": 0.5,
            **{name: values[i - 1] for name, values in more.items()},
        }
        for i, accuracy in enumerate(accuracies, start=1)
    ]


def trial(
    method: str, seed: int, points: list[Any], preparation: Cost | None = None
) -> OnlineTrial:
    last = points[-1]
    return OnlineTrial(
        method=method,
        seed=seed,
        curve=points,
        target=Cost(
            phase="target training",
            seconds=last["seconds"],
            examples=last["examples"],
            steps=last["step"],
            flops=last["flops"],
        ),
        epochs=last["epoch"],
        candidates=last["candidates"],
        choosing_seconds=0.0,
        preparation=preparation,
        trained_on=80,
    )


NOTHING = Cost(phase="preparation")
LOSSES = Cost(phase="preparation", seconds=6.0, flops=3000.0)


def test_an_accuracy_is_reached_at_the_first_of_two_evaluations_in_a_row() -> None:
    found = curve(0.5, 0.9, 0.6, 0.8, 0.9, 0.7, 0.95)
    assert [None if (p := reached(found, t)) is None else p["step"] for t in (0.5, 0.7, 0.8)] == [
        *(10, 40, 40)
    ]
    assert reached(found, 0.9) is None  # 0.9 twice, and 0.95 last, but never held
    assert reached(found, 0.95) is None
    assert held(found) == 0.8
    assert held(found[:1]) == 0.0


def test_what_uniform_holds_is_reached_and_nothing_over_it() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        found = curve(*draw.random(8).tolist())
        assert reached(found, held(found)) is not None
        assert reached(found, held(found) + 1e-9) is None


def test_fractions_count_every_evaluation_by_its_examples() -> None:
    """Also where the fraction is 0: 10·0.4 + 30·0 + 60·0.1, of 100."""
    found = composition(
        [
            {"examples": 10, "correct": 1.0, "corrupted": 0.4},
            {"examples": 40, "correct": 0.0, "corrupted": 0.0},
            {"examples": 100, "correct": 0.0, "corrupted": 0.1},
        ]
    )
    assert found == pytest.approx({"correct": 0.1, "corrupted": 0.1})


def by_hand(**options: Any) -> dict[str, Any]:
    trials = [
        trial("uniform", 0, curve(0.5, 0.6, 0.8, 0.9, 0.9), NOTHING),
        trial("uniform", 1, curve(0.5, 0.6, 0.8, 0.85, 0.82), NOTHING),
        trial("uniform-equal-time", 0, curve(0.6, 0.8, 0.9, 0.9), NOTHING),
        trial("uniform-equal-time", 1, curve(0.6, 0.7, 0.85, 0.85), NOTHING),
        trial("rho", 0, curve(0.8, 0.9, 0.9, seconds=2.0), LOSSES),
        trial("rho", 1, curve(0.8, 0.82, 0.9, seconds=4.0), LOSSES),
        trial("bad", 0, curve(0.9, 0.9, 0.1), NOTHING),
        trial("bad", 1, curve(0.1, 0.9, 0.1), NOTHING),
    ]
    return summarise(trials, uniform="uniform", baselines=BASELINES, **options)


def test_times_and_speed_ups_by_hand() -> None:
    found = by_hand(uses=4)
    assert found["level"] == 0.82  # seed 1 holds 0.82, seed 0 0.9
    assert found["targets"] == [0.77, 0.8, 0.81, 0.82]
    rows = by_name(found)
    assert list(rows) == ["uniform", "uniform-equal-time", "rho", "bad"]
    uniform, rho = rows["uniform"]["targets"][3], rows["rho"]["targets"][3]
    # Uniform: at 40 steps in both seeds. rho: at 20 in both, after 4 and 8 seconds.
    assert (uniform["step"], uniform["epoch"], uniform["seconds"]["none"]) == (40, 2.0, 4.0)
    assert (rho["step"], rho["epoch"], rho["examples"], rho["reached"]) == (20, 1.0, 80, 2)
    assert rho["seconds"] == {"none": 6.0, "shared": 7.5, "full": 12.0}
    assert rho["flops"] == {"none": 2000.0, "shared": 2750.0, "full": 5000.0}
    speed = rho["speedup"]["uniform"]
    assert (speed["step"], speed["epoch"], speed["examples"]) == (2.0, 2.0, 2.0)
    assert speed["seconds"] == pytest.approx({"none": 4 / 6, "shared": 4 / 7.5, "full": 4 / 12})
    assert speed["flops"] == pytest.approx({"none": 2.0, "shared": 4 / 2.75, "full": 0.8})
    # Equal time holds 0.82 from 30 steps on in both seeds.
    assert rho["speedup"]["uniform-equal-time"]["step"] == 1.5
    assert "uniform" not in uniform["speedup"]


def test_an_accuracy_that_one_seed_did_not_reach_has_no_mean_and_no_speed_up() -> None:
    bad = by_name(by_hand())["bad"]["targets"][0]
    assert (bad["reached"], bad["of"]) == (1, 2)
    assert bad["points"][0]["step"] == 10
    assert bad["points"][1] is None
    assert bad["step"] is None
    assert bad["seconds"] is None
    assert bad["speedup"]["uniform"] is None


def test_the_final_accuracy_is_the_last_and_not_the_best() -> None:
    rows = by_name(by_hand())
    assert rows["bad"]["accuracies"] == [0.1, 0.1]
    assert rows["bad"]["worst_class_accuracies"] == [0.05, 0.05]
    found = rows["bad"]["differences"]["uniform"]
    assert found["mean"] == pytest.approx(((0.1 - 0.9) + (0.1 - 0.82)) / 2)
    assert found["verdict"] == "inconclusive"  # two seeds


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.1, "better"), (-0.1, "worse"), (0, "inconclusive")]
)
def test_differences_are_signed_as_accuracies(shift: float, verdict: str) -> None:
    jitter = (0.0, 0.01, -0.01, 0.02, -0.02)
    trials = [
        trial(method, seed, curve(0.5, level + j * sign), NOTHING)
        for method, level, sign in (*((name, 0.6, 1) for name in BASELINES), ("m", 0.6 + shift, -1))
        for seed, j in enumerate(jitter)
    ]
    row = by_name(summarise(trials, uniform="uniform", baselines=BASELINES))["m"]
    found = row["differences"]["uniform-equal-time"]
    assert found["verdict"] == verdict
    assert found["low"] <= found["mean"] <= found["high"]
    assert found["mean"] == pytest.approx(shift)


def test_an_unknown_price_is_never_shown_as_none() -> None:
    trials = [
        trial("uniform", 0, curve(0.5, 0.6, 0.6), NOTHING),
        trial("rho", 0, curve(0.6, 0.6, 0.6), None),
    ]
    row = by_name(summarise(trials, uniform="uniform", baselines=BASELINES))["rho"]
    assert row["preparation"] is None
    assert row["seconds"] == {"none": 3.0, "shared": None, "full": None}
    assert row["targets"][-1]["speedup"]["uniform"]["seconds"] == {
        "none": 2.0, "shared": None, "full": None,
    }  # fmt: skip


def test_targets_that_are_asked_for_come_beside_what_uniform_reaches() -> None:
    assert targets_of(0.97, (0.99, 0.9)) == [0.9, 0.97, 0.99]
    assert targets_of(0.03, ()) == [0.01, 0.02, 0.03]
    assert targets_of(0.0, ()) == []


# A small comparison -------------------------------------------------------------------------


def test_every_row_is_there_with_the_same_steps(result: dict[str, Any]) -> None:
    rows = by_name(result)
    assert tuple(rows) == (*BASELINES, *METHODS)
    for name, row in rows.items():
        assert row["seeds"] == [0, 1]
        if name != "uniform-equal-time":
            assert row["steps"] == STEPS
            assert [point["step"] for point in result["curves"][name][0]] == list(range(5, 41, 5))
        assert row["accuracies"] == [c[-1]["accuracy"] for c in result["curves"][name]]
        assert row["fractions"].keys() == {"correct", "corrupted"}
    assert rows["svp"]["trained_on"] == 75
    assert rows["rho-loss"]["trained_on"] == rows["uniform"]["trained_on"] == N
    ended = [each["step"] if each else STEPS for each in result["hand_overs"]["rho-loss"]]
    selecting = sum(ended) / len(ended) / STEPS  # steps with four candidates for each example
    assert rows["rho-loss"]["candidates"] == pytest.approx(
        (1 + 3 * selecting) * rows["rho-loss"]["examples"], rel=0.1
    )


def test_uniform_at_equal_time_gets_the_seconds_of_the_first_method(
    result: dict[str, Any], run: Path
) -> None:
    curves = result["curves"]
    for seed in range(2):
        uniform, first = curves["uniform"][seed][-1], curves["rho-loss"][seed][-1]
        last = curves["uniform-equal-time"][seed][-1]
        # The costs of the stages hold what follows the last evaluation too: a little more.
        expected = first["seconds"] / uniform["seconds"] * STEPS
        assert last["step"] == pytest.approx(expected, rel=0.25, abs=3)
    schedules = {
        note["inputs"]["recipe"]["schedule"]: note["inputs"]["length"]["steps"]
        for note in _notes(run, "target")
    }
    assert schedules.keys() == {"constant", "linear"}
    assert schedules["constant"] == STEPS


def _notes(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(run.glob(f"stages/{name}-*/stage.json"))]


def test_the_same_seed_begins_with_the_same_weights_and_data(
    result: dict[str, Any], run: Path
) -> None:
    seeds = [note["inputs"]["seed"] for note in _notes(run, "target")]
    assert sorted(seeds.count(seed) for seed in set(seeds)) == [6, 6]
    assert len({note["inputs"]["data"] for note in _notes(run, "target")}) == 1


def test_what_had_to_be_made_first_is_charged(result: dict[str, Any], run: Path) -> None:
    rows = by_name(result)
    seconds = {
        name: sum(cost["seconds"] for note in _notes(run, name) for cost in note["costs"]) / 2
        for name in ("irreducible", "proxy", "selection")
    }
    assert len(_notes(run, "irreducible")) == 4  # two folds of two seeds
    assert rows["rho-loss"]["preparation"]["seconds"] == pytest.approx(seconds["irreducible"])
    made = seconds["proxy"] + seconds["selection"]
    assert rows["svp"]["preparation"]["seconds"] == pytest.approx(made)
    assert rows["loss"]["preparation"] == {"flops": 0.0, "seconds": 0.0}
    for row in rows.values():
        for unit in ("seconds", "flops"):
            charged, before = row[unit], row["preparation"][unit]
            assert charged["full"] == pytest.approx(charged["none"] + before)
            assert charged["shared"] == pytest.approx(charged["none"] + before / 10)


def test_changed_labels_are_counted_and_followed(result: dict[str, Any]) -> None:
    rows = by_name(result)
    assert result["corruption"] == {"corrupted": 60}
    # 40 steps of 8 are one pass over the 300 and a little: the labels changed in it are counted.
    assert rows["uniform"]["fractions"]["corrupted"] == pytest.approx(0.2, abs=0.03)
    assert rows["loss"]["fractions"]["corrupted"] > 0.3
    assert rows["loss"]["fractions"]["correct"] < rows["uniform"]["fractions"]["correct"]


def test_irreducible_losses_are_made_on_the_labels_as_they_are_trained_on(
    result: dict[str, Any], run: Path
) -> None:
    (targets,) = {note["inputs"]["labels"] for note in _notes(run, "target")}
    assert {note["inputs"]["labels"] for note in _notes(run, "irreducible")} == {targets}
    assert [one["seed"] for one in result["irreducible"]] == [0, 1]


def test_the_result_is_written_and_a_rerun_finds_all_of_it(
    run: Path, result: dict[str, Any]
) -> None:
    assert json.loads((run / "compare.json").read_text()) == result
    before = {path.name: path.stat().st_mtime_ns for path in (run / "stages").iterdir()}
    again = run_online(run)
    assert before == {path.name: path.stat().st_mtime_ns for path in (run / "stages").iterdir()}
    for each in (again, result):  # reading and encoding are done again
        assert each["rows"]
    assert again["rows"] == result["rows"]
    assert again["curves"] == result["curves"]


def test_test_labels_change_no_weights(run: Path, result: dict[str, Any], tmp_path: Path) -> None:
    run_online(tmp_path, flip_test=True, methods=["rho-loss"], seeds=1)

    def weights(where: Path) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for note in where.glob("stages/target-*/stage.json"):
            inputs = json.loads(note.read_text())["inputs"]
            if inputs["length"]["steps"] == STEPS:
                del inputs["test"]
                key = json.dumps(inputs, sort_keys=True)
                found[key] = (note.parent / "model.safetensors").read_bytes()
        return found

    flipped = weights(tmp_path)
    assert len(flipped) >= 3
    assert flipped.items() <= weights(run).items()


# Resuming -----------------------------------------------------------------------------------


def test_an_interrupted_comparison_continues_where_it_was(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = online_trials.train_online, 0

    def stop_half_way(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(online_trials, "train_online", stop_half_way)
        with pytest.raises(KeyboardInterrupt):
            run_online(tmp_path)
    assert not (tmp_path / "compare.json").exists()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "stages").iterdir()}
    again = run_online(tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "stages").iterdir()}
    assert before.items() <= after.items()
    assert untimed(again) == untimed(result)


def test_a_killed_comparison_continues_to_the_same_curves(tmp_path: Path) -> None:
    argv = ["compare", "digits", "--online", "--test", "0.3", "--limit", "200", "--seeds", "1"]
    argv += ["--target", "logistic", "--il-model", "logistic", "--il-epochs", "1", "--json"]
    argv += ["--steps", "12", "--evaluate-every", "3", "--noise", "0.2"]
    again = {"argv": [*argv, "--run", str(tmp_path / "killed")]}
    # Four evaluations of uniform, four of fresh-random: the tenth is within rho-loss.
    at = {"at": "keepers.workflows.online.stage:measure", "call": 10, "signal": signal.SIGKILL}
    whole, killed, resumed = forked.run(
        {"argv": [*argv, "--run", str(tmp_path / "whole")]}, {**again, **at}, again
    )
    assert whole.status == 0, whole.stderr
    assert killed.status == -signal.SIGKILL
    assert resumed.status == 0, resumed.stderr
    assert untimed(json.loads(resumed.stdout)) == untimed(json.loads(whole.stdout))


# Other data and other losses ----------------------------------------------------------------


def test_losses_of_a_file_serve_every_seed_at_their_price(tmp_path: Path) -> None:
    data, _ = data_and_test()
    losses = keepers.irreducible_losses(data, model=MLP, epochs=1, run=tmp_path / "il")
    file = losses.save(tmp_path / "il.parquet")
    options: dict[str, Any] = {"methods": ["rho-loss"], "noise": 0.0}
    row = by_name(run_online(tmp_path / "a", il=file, **options))["rho-loss"]
    paid = sum(cost["seconds"] for cost in losses.metadata["costs"] if cost["phase"] != "reading")
    assert row["preparation"]["seconds"] == pytest.approx(paid)
    assert not list((tmp_path / "a").glob("stages/irreducible-*"))
    own = keepers.IrreducibleLosses.given(losses.ids, losses.values)
    free = by_name(run_online(tmp_path / "a", il=own, **options))["rho-loss"]
    assert free["accuracies"] == row["accuracies"]
    assert free["preparation"] is None
    with pytest.raises(KeepersError, match=r"il: 60 of 300 examples have another label"):
        run_online(tmp_path / "a", il=file, methods=["rho-loss"])


def test_what_a_trained_model_of_ones_own_cost_is_not_known(tmp_path: Path) -> None:
    data, _ = data_and_test()
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    losses = keepers.irreducible_losses(data, model=module, run=tmp_path / "il")
    assert [cost["phase"] for cost in losses.metadata["costs"]][-1] == "irreducible-loss scoring"
    result = run_online(
        tmp_path / "a", il=losses, methods=["rho-loss"], noise=0.0, seeds=1, targets=(0.01,)
    )
    row = by_name(result)["rho-loss"]
    assert row["preparation"] is None
    assert row["seconds"]["full"] is None
    assert "unknown" in "".join(plain_lines(online_table({**result, "level": 0.01})))
    assert "unknown" in Page(compare_report(result, tmp_path / "r.html")).text


def test_losses_of_a_holdout_fraction_leave_that_fraction_out(tmp_path: Path) -> None:
    data, _ = data_and_test()
    weak = {**MLP, "lr": 1e-6}
    losses = keepers.irreducible_losses(
        data, holdout=0.4, model=weak, epochs=1, run=tmp_path / "il"
    )
    said: list[str] = []
    result = run_online(
        tmp_path / "a", il=losses, methods=["rho-loss"], noise=0.0, seeds=2, say=said.append
    )
    assert {row["trained_on"] for row in result["rows"]} == {180}
    assert [s for s in said if "Left out" in s] == [
        "Left out: 120 examples that the irreducible-loss model was trained on"
    ]
    assert any(s.startswith("Warning: the irreducible-loss model is right on") for s in said)


def test_losses_of_models_that_may_know_the_test_data_are_warned_of(tmp_path: Path) -> None:
    data, test = data_and_test()
    options: dict[str, Any] = {"methods": ["rho-loss"], "noise": 0.0, "seeds": 1, "steps": 4}
    options["evaluate_every"] = 2

    def warnings(il: Any, test: Any) -> list[str]:
        said: list[str] = []
        run = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        run_online(run, il=il, test=test, say=said.append, **options)
        return [s for s in said if "the test " in s or " as test data" in s]

    both = pa.concat_tables([data, test])
    of_all = keepers.irreducible_losses(both, model=MLP, epochs=1, run=tmp_path / "il")
    also = "Warning: the losses are also of {} of the {}, so their models may have been"
    assert warnings(of_all, 0.2)[0].startswith(also.format(60, "examples split off as test data"))
    assert warnings(of_all, test)[0].startswith(also.format(120, "test inputs"))
    by_test = keepers.irreducible_losses(
        data, holdout=test, model=MLP, epochs=1, run=tmp_path / "of-test"
    )
    assert warnings(by_test, test) == [
        "Warning: the losses are from a model that was trained on the test data"
    ]
    assert not warnings(by_test, test.slice(0, 50))


def test_holdout_data_hold_no_test_inputs(tmp_path: Path) -> None:
    _, test = data_and_test()
    with pytest.raises(KeepersError, match="holdout: every test input is also in table"):
        run_online(tmp_path / "a", holdout=test, methods=["rho-loss"])
    assert not (tmp_path / "a").exists()


def other_digits() -> Any:
    bunch: Any = load_digits()
    pixels = pa.array(bunch.data[600:800].astype(np.float32).tolist(), pa.list_(pa.float32()))
    return pa.table({"pixels": pixels, "label": bunch.target[600:800]})


def test_holdout_data_get_the_same_noise_by_a_draw_of_their_own(tmp_path: Path) -> None:
    data, _ = data_and_test()
    source, held_out = open_source(data), open_source(other_digits())
    made = corrupt(source, source, held_out, Corruption(noise=0.2), lambda _: {}, lambda _: None)
    changed = held_out.labels != made.holdout.labels
    assert changed.sum() == made.facts["holdout_corrupted"] == 40
    assert not np.array_equal(changed, (source.labels != made.source.labels)[:200])
    again = corrupt(source, source, held_out, Corruption(noise=0.2), lambda _: {}, lambda _: None)
    np.testing.assert_array_equal(again.holdout.labels, made.holdout.labels)
    pairs = {3: 8, 8: 3}
    made = corrupt(
        source, source, held_out, Corruption(structured_noise=0.5), lambda _: pairs, lambda _: None
    )
    assert held_out.labels is not None
    for before, after in zip(held_out.labels, made.holdout.labels, strict=True):
        assert after == before or (before, after) in pairs.items()
    threes = held_out.labels == 3
    assert (made.holdout.labels[threes] == 8).sum() == int(0.5 * threes.sum() + 0.5)

    said: list[str] = []
    result = run_online(
        tmp_path, holdout=other_digits(), methods=["rho-loss"], seeds=1, say=said.append
    )
    assert result["corruption"] == {"corrupted": 60, "holdout_corrupted": 40}
    assert "Changed 40 labels of the holdout data too" in said
    assert online_answers.corruption(result) == (
        "Changed on purpose: 60 labels and 40 of the holdout data changed at random."
    )
    clean = run_online(tmp_path, holdout=other_digits(), methods=["rho-loss"], seeds=1, noise=0.0)
    assert clean["corruption"] == {}
    assert len({note["inputs"]["labels"] for note in _notes(tmp_path, "irreducible")}) == 2


def test_a_holdout_fraction_is_trained_on_by_nobody(tmp_path: Path) -> None:
    result = run_online(
        tmp_path, methods=["rho-loss-original"], holdout=0.5, seeds=1, noise=0.0, duplicate=0.2
    )
    for row in result["rows"]:
        assert row["trained_on"] == 150 + 30
        assert set(row["fractions"]) == {"correct", "duplicated"}
    (teaching,) = _notes(tmp_path, "irreducible")
    assert teaching["costs"][0]["examples"] == 150  # none of them twice
    share = by_name(result)["uniform"]["fractions"]["duplicated"]
    assert share == pytest.approx(60 / 180, abs=0.06)


def test_structured_noise_and_seconds(tmp_path: Path) -> None:
    result = run_online(
        tmp_path, methods=["loss"], noise=0.0, structured_noise=0.5, seconds=0.05, steps=None,
        seeds=1,
    )  # fmt: skip
    pairs = result["corruption"]["confused"]
    assert len(pairs) == 4
    assert all(pairs[pairs[name]] == name != pairs[name] for name in pairs)
    bunch: Any = load_digits()
    counts = bunch.target[:N]
    expected = sum(int(0.5 * (counts == int(name)).sum() + 0.5) for name in pairs)
    assert result["corruption"]["corrupted"] == expected
    for row in result["rows"]:
        assert 0.05 <= row["seconds"]["none"] < 1
    assert not result["irreducible"]


def test_what_is_rare_in_training_is_rare_in_testing() -> None:
    source = open_source("digits")
    half = np.arange(len(source)) % 2 == 0
    train, test = source.take(np.flatnonzero(half)), source.take(np.flatnonzero(~half))
    made = corrupt(train, test, test, Corruption(relevance=3), lambda _: {}, lambda _: None)
    assert made.holdout is test
    assert made.facts["holdout_relevance"] == "as it was"
    whole = made.facts["relevant_classes"]
    assert len(whole) == 3
    for before, after in ((train, made.source), (test, made.test)):
        assert before.labels is not None
        assert after.labels is not None
        for number, name in enumerate(source.class_names):
            there = int((before.labels == number).sum())
            kept = int((after.labels == number).sum())
            assert kept == (there if name in whole else int(RARE * there + 0.5))
    low = made.marks["low_relevance"].numpy()
    assert made.source.labels is not None
    names = np.array(source.class_names)[made.source.labels]
    np.testing.assert_array_equal(low, ~np.isin(names, whole))


def test_copies_are_the_same_positions_once_more() -> None:
    members = torch.tensor([2, 4, 6, 8])
    repeated, copied = duplicated(members, Corruption(duplicate=0.5, duplicate_times=3))
    assert len(repeated) == 4 + 2 * 2
    counts = {position: int((repeated == position).sum()) for position in members.tolist()}
    assert [counts[p] == 3 for p in members.tolist()] == copied.tolist()
    assert set(counts.values()) == {1, 3}


# Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ()}, "methods: got only methods that are always compared"),
        ({"methods": ("uniform", "fresh-random")}, "methods: got only methods"),
        ({"methods": ("rho-los",)}, r"methods: got 'rho-los'.* Did you mean 'rho-loss'"),
        ({"methods": ("forgetting",)}, r"forgetting"),
        ({"methods": ("rho-loss-original",)}, r"methods: got 'rho-loss-original'.*holdout"),
        ({"method_options": {"bald": {"a": 1}}}, r"method_options: got 'bald'"),
        ({"method_options": {"loss": {"beta": 1}}}, r"'beta'"),
        ({"method_options": {"svp": {"beta": 1}}}, r"method_options: got some for 'svp'"),
        ({"keep": 0}, r"keep: got 0, which keeps nothing"),
        ({"keep": 32}, r"keep: got the count 32.*fraction of the candidates"),
        ({"until": 0}, r"until: got 0"),
        ({"steps": 10, "epochs": 2}, "steps: got together with epochs"),
        ({"steps": 0}, r"steps: got 0"),
        ({"steps": 1, "evaluate_every": None}, r"steps: got 1, which leaves no two evaluations"),
        ({"evaluate_every": 0}, r"evaluate_every: got 0"),
        ({"evaluate_every": 30}, r"evaluate_every: got 30 of 40 steps"),
        ({"targets": (1.5,)}, r"targets: got 1\.5"),
        ({"seeds": 0}, r"seeds: got 0"),
        ({"uses": 0}, r"uses: got 0"),
        ({"folds": 1}, r"folds: got 1"),
        ({"il_epochs": 0}, r"il_epochs: got 0\. Give 1 or more"),
        ({"il_model": "mpl"}, r"il_model: got 'mpl'.* Did you mean 'mlp'"),
        ({"il_model": "mpl", "noise": 0.0, "structured_noise": 0.1}, r"il_model: got 'mpl'"),
        ({"batch_norm": "none"}, r"batch_norm: got 'none'"),
        ({"score_precision": "fp8"}, r"score_precision: got 'fp8'"),
        ({"score_resolution": 0}, r"score_resolution: got 0"),
        ({"score_part": 0.0}, r"score_part: got 0\.0"),
        ({"device": "tpu"}, r"device: got 'tpu'"),
        ({"noise": 1.0}, r"noise: got 1"),
        ({"structured_noise": 0.5}, "structured_noise: got together with noise"),
        ({"relevance": 10}, r"relevance: got 10 of 10 classes"),
        ({"duplicate": 2}, r"duplicate: got 2"),
        ({"duplicate": 0.5, "duplicate_times": 1}, r"duplicate_times: got 1"),
        ({"methods": ("loss",), "holdout": 0.5}, "holdout: got a value, but no method needs"),
        ({"il": "nowhere.parquet"}, r"il: there is no file nowhere\.parquet"),
        ({"il": "il.parquet", "holdout": 0.5}, "holdout: got together with il"),
        ({"max_age": 5, "methods": ("gradient-norm",)}, r"max_age"),
        ({"target": "preact9"}, r"target: got 'preact9'.* Did you mean 'preact"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(KeepersError, match=message):
        run_online(tmp_path / "run", **options)
    assert not (tmp_path / "run" / "stages").exists()


# The command --------------------------------------------------------------------------------


def test_without_a_length_there_are_the_least_steps_of_the_target(tmp_path: Path) -> None:
    target = MLP | {"min_steps": 451}  # an epoch is 38 steps, ten are 380
    given = {"methods": ["loss"], "seeds": 1, "noise": 0.0, "steps": None, "evaluate_every": 225}
    rows = by_name(run_online(tmp_path, **given, target=target))
    assert rows["uniform"]["steps"] == rows["loss"]["steps"] == 12 * 38


def test_the_command_takes_a_file_and_prints_one_json_object(tmp_path: Path) -> None:
    settings = {
        "online": True,
        "methods": ["rho-loss", "selective-backprop"],
        "method_options": {"selective-backprop": {"beta": 2.0}},
        "keep": 0.2,
        "target": MLP,
        "il_model": MLP,
        "il_epochs": 1,
        "seeds": 1,
        "limit": 200,
        "targets": [0.1, 0.3],
    }
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(settings))
    argv = ["compare", "digits", "--test", "0.3", "--config", str(file), "--set", "steps=16"]
    argv += ["--targets", "0.2", "--run", str(tmp_path / "run")]
    said = CliRunner().invoke(app, [*argv, "--json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["kind"] == "compare-online"
    assert found["config"]["methods"] == ["rho-loss", "selective-backprop"]
    assert found["config"]["method_options"] == {"selective-backprop": {"beta": 2.0}}
    assert found["config"]["targets"] == [0.2]
    assert found["config"]["keep"] == 0.2
    assert Path(found["files"]["report"]).exists()
    shown = CliRunner().invoke(app, argv)
    assert "rho-loss" in shown.stdout
    assert "Inconclusive: after 1 seed" in shown.stdout
    assert "the making of its irreducible losses" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--until", "0.5"], "until: got a value, but it works only with --online"),
        (["--set", "il_model=mlp"], "il_model: got a value, but it works only with --online"),
        (
            ["--online", "--with-target"],
            "with_target: got a value, but it works only with core-sets",
        ),
        (
            ["--online", "--set", "resolution=8"],
            "resolution: got a value, but it works only with core-sets",
        ),
        (["--online", "--keep", "0.1,0.2"], "keep: got '0.1,0.2'"),
        (["--online", "--targets", "high"], "targets: got 'high'"),
    ],
)
def test_options_of_the_other_comparison_are_refused(
    tmp_path: Path, argv: list[str], message: str
) -> None:
    run = tmp_path / "run"
    said = CliRunner().invoke(app, ["compare", "digits", "--test", "0.3", "--run", str(run), *argv])
    assert message in str(said.exception)
    assert not run.exists()


def test_final_accuracies_of_what_was_still_learning_get_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps teach little, twenty more: who ends better cannot be told from that."""
    notes: list[str] = []
    few = {"methods": ("loss",), "seeds": 3, "steps": 10, "noise": 0.0, "say": notes.append}
    found = run_online(tmp_path / "run", **few)
    check = found["convergence"]
    steps = found["curves"]["uniform-equal-time"][0][-1]["step"]
    assert (check["steps"], check["longer_steps"]) == (steps, 2 * steps)
    assert check["longer_accuracy"] > check["accuracy"] + 0.01
    told = {each["verdict"] for row in found["rows"] for each in row["differences"].values()}
    assert told == {"cannot tell"}
    assert sum("was still learning" in note for note in notes) == 1
    said = "Cannot tell which ends better: uniform training at equal time was still learning"
    assert online_answers.headline(found) == said
    assert online_answers.answers(found)[0].verdict == "cannot tell"
    for shown in (
        Page(compare_report(found, tmp_path / "r.html")).text,
        " ".join(plain_lines(online_table(found))),
    ):
        assert f"{2 * steps:,} steps instead of {steps:,}" in shown

    gains = check["longer_accuracy"] - check["accuracy"]
    monkeypatch.setattr(convergence, "GAIN", gains + 0.001)  # nothing is trained again
    found = run_online(tmp_path / "run", **few)
    assert found["convergence"]["converged"]
    assert online_answers.about_learning(found) == ""
    told = {each["verdict"] for row in found["rows"] for each in row["differences"].values()}
    assert "cannot tell" not in told


# The page -----------------------------------------------------------------------------------


def test_the_page_answers_first_and_shows_everything(
    result: dict[str, Any], tmp_path: Path
) -> None:
    page = Page(compare_report(result, tmp_path / "r.html"))
    page.check_safe()
    assert page.sections == {
        *("answer", "curves", "accuracy", "targets", "speed", "parts", "cost", "irreducible"),
        "made",
    }
    assert page.tags.count("svg") == 2
    for words in (
        "Inconclusive: after 2 seeds, rho-loss",
        "cannot be distinguished from decayed uniform training at equal time",
        "Run again with --seeds 5",
        "60 labels changed at random",
        "Changed labels",
        "Classified correctly before the step",
        "shared by 10 trainings, or counted in full",
        "Equal time is the time that training by rho-loss took, the making of its irreducible "
        "losses not",
        "irreducible-loss training",
        "not reached",
    ):
        assert words in page.text, words


def test_names_are_escaped(result: dict[str, Any], tmp_path: Path) -> None:
    hostile = json.loads(json.dumps(result).replace("selective", "s"))
    hostile["data"]["name"] = hostile["data"]["test_name"] = ATTACK
    hostile["config"]["target"] = {"model": ATTACK}
    hostile["config"]["il_model"] = ATTACK
    hostile["hardware"] = {ATTACK: ATTACK}
    hostile["costs"] = [{"phase": ATTACK, "seconds": 1.0, "flops": 1.0}]
    for row in hostile["rows"]:
        if row["method"] == "rho-loss":
            row["method"] = ATTACK
    hostile["curves"][ATTACK] = hostile["curves"].pop("rho-loss")
    page = Page(compare_report(hostile, tmp_path / "r.html"))
    page.check_safe()
    assert ATTACK in page.text
    assert ATTACK not in page.html
    assert any("<script>" in line for line in plain_lines(online_table(hostile)))


def _with_verdicts(
    result: dict[str, Any], verdicts: dict[str, str], timed: tuple[str, ...] = METHODS
) -> dict[str, Any]:
    """With these verdicts; what is not in `timed` took twice the time."""
    changed = json.loads(json.dumps(result))
    for row in changed["rows"]:
        row["seconds"]["none"] = 10.5 if row["method"] in timed else 20.0
        if row["method"] in verdicts:
            word = verdicts[row["method"]]
            row["differences"]["uniform-equal-time"] |= {"verdict": word, "low": -0.5, "high": 0.5}
    return changed


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ("bww", "rho-loss beats decayed uniform training at equal time"),
        ("bbw", "rho-loss and loss beat decayed uniform training at equal time"),
        ("wbi", "loss beats decayed uniform training at equal time"),
        ("www", "Decayed uniform training beats rho-loss, loss and svp at equal time"),
        ("iww", "Decayed uniform training beats loss and svp at equal time; rho-loss cannot be "
            "distinguished from it"),
        ("iii", "Inconclusive: after 2 seeds, rho-loss, loss and svp cannot be distinguished "
            "from decayed uniform training at equal time"),
    ],
)  # fmt: skip
def test_the_headline_claims_no_more_than_the_verdicts(
    result: dict[str, Any], verdicts: str, said: str
) -> None:
    words = {"b": "better", "w": "worse", "i": "inconclusive"}
    given = {name: words[each] for name, each in zip(METHODS, verdicts, strict=True)}
    assert online_answers.headline(_with_verdicts(result, given)) == said


def test_what_took_another_time_gets_no_verdict_at_equal_time(
    result: dict[str, Any], tmp_path: Path
) -> None:
    given = {"rho-loss": "inconclusive", "loss": "better", "svp": "worse"}
    found = _with_verdicts(result, given, timed=("rho-loss", "svp"))
    assert online_answers.headline(found) == (
        "Decayed uniform training beats svp at equal time; rho-loss cannot be distinguished from it"
    )
    words = {answer.name: answer for answer in online_answers.answers(found)}
    assert words["loss"].verdict is None
    assert "in the time of rho-loss (10.5 s; here it was 20.0 s)" in words["loss"].words
    assert "better" not in words["loss"].words
    lines = {line.split(" ")[0]: line for line in plain_lines(online_table(found)) if line}
    assert "worse" in lines["svp"]
    assert not any(word in lines["loss"] for word in ("better", "worse", "inconclusive"))
    page = Page(compare_report(found, tmp_path / "r.html"))
    accuracy = page.html.split('id="accuracy"')[1].split("</section>")[0]
    (of_loss,) = [row for row in accuracy.split("<tr>") if row.startswith("<td>loss<")]
    assert of_loss.count('class="tag') == 1  # against uniform at the same steps
    rows = _docs_page().final(found, _rows)
    assert [any(word in row[3] for word in given.values()) for row in rows[-3:]] == [
        *(True, False, True)
    ]


def test_the_page_of_a_committed_comparison_says_what_is_unknown() -> None:
    trials = [
        trial("uniform", 0, curve(0.5, 0.6, 0.6), NOTHING),
        trial("rho", 0, curve(0.6, 0.6, 0.6), None),
    ]
    found = summarise(trials, uniform="uniform", baselines=BASELINES)
    row = _docs_page().reached(found["rows"], found["targets"][-1:], 1, _rows)[2]
    assert row[4:] == ["unknown", "1.0", "unknown", "unknown"]


def _docs_page() -> Any:
    path = Path(__file__).parent.parent / "docs" / "online_results.py"
    spec = importlib.util.spec_from_file_location("online_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows(lines: list[list[str]]) -> list[list[str]]:
    return lines


def test_the_words_say_what_was_not_reached_and_what_it_took() -> None:
    found: dict[str, Any] = {**by_hand(uses=4), "seeds": [0, 1]}
    first, second = online_answers.answers(found)
    assert (first.name, second.name) == ("rho", "bad")
    assert second.verdict is None
    assert first.words == (
        "ends at 90%, +2.50 points from uniform at equal time (inconclusive); to 82% it took "
        "0.50 of uniform's steps and 1.50 of its seconds (3.00 with the preparation)."
    )
    assert "82%, which uniform reaches, was reached in 1 of 2 seeds" in second.words
    assert online_answers.not_reached(found) == [
        "bad: 77%, 80%, 81% and 82% reached in 1 of 2 seeds"
    ]


def test_curves_are_averaged_where_all_seeds_have_values() -> None:
    grid, mean = average([[0.0, 10.0], [5.0, 20.0]], [[0.0, 1.0], [0.5, 2.0]])
    assert (grid[0], grid[-1]) == (5.0, 10.0)
    np.testing.assert_allclose([mean[0], mean[-1]], [(0.5 + 0.5) / 2, (1.0 + 1.0) / 2])
    assert len(average([[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [0.0, 1.0]])[0]) == 0


def test_the_table_fits_a_hundred_columns(result: dict[str, Any]) -> None:
    lines = plain_lines(online_table(result))
    assert max(map(len, lines)) <= 100
    assert all(any(name in line for line in lines) for name in (*METHODS, "equal time"))
