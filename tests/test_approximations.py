"""The approximation study: losses by hand, convergence, resuming, bad input and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from keepers.data import open_source
from keepers.errors import KeepersError, ParameterError
from keepers.roles import Prepared, Role, prepare
from keepers.statistics import spearman
from keepers.training import Hardware
from recipes.approximations import study as approximation_study
from recipes.approximations.__main__ import approximations, main
from recipes.approximations.ensembles import Ensemble, Function, Material
from recipes.approximations.study import PUBLISHED, ApproximationsConfig, Study

ROLE = Role(model="mlp", options={"hidden": [16]}, lr=1e-2, weight_decay=0.01)
SMALL: dict[str, Any] = {
    "limit": 300,
    "batch_size": 40,
    "members": 2,
    "epochs": 2,
    "copies": 2,
    "target": {"model": "mlp", "options": {"hidden": [16]}},
    "il_model": {"model": "mlp", "options": {"hidden": [8]}},
    "device": "cpu",
}


def run_study(run: Path, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {**SMALL, "seeds": 1, **more}
    return approximations("digits", run=run, **given)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(ROLE, open_source("digits", seed=0, limit=200))[1]


def ensemble(prepared: Prepared, size: int = 3, epochs: int = 2, **more: Any) -> Ensemble:
    material = Material(labels=prepared.labels, size=10, epochs=epochs)
    return Ensemble(prepared, material, size=size, seed=0, **more)


# The models ---------------------------------------------------------------------------------


def by_hand(made: Ensemble, prepared: Prepared, positions: Tensor) -> Tensor:
    """−log of the mean probability of the label."""
    inputs = prepared.pool.gather(positions)
    probs = [member.module.eval()(*inputs).softmax(1) for member in made.members]
    mean = torch.stack(probs).mean(0)
    return -mean[torch.arange(len(positions)), prepared.labels[positions]].log()


def test_the_loss_of_an_ensemble_is_that_of_its_mean_prediction(prepared: Prepared) -> None:
    made, positions = ensemble(prepared), torch.tensor([5, 0, 17, 3])
    made.step(torch.arange(40))
    with torch.no_grad():
        expected = by_hand(made, prepared, positions)
        each = torch.stack([m.losses(made._candidates(positions)) for m in made.members])  # pyright: ignore[reportPrivateUsage]
    assert torch.allclose(made.losses(positions), expected, atol=1e-6)
    assert bool((made.losses(positions) < each.mean(0)).all())  # Jensen


def test_members_of_the_same_number_begin_alike_and_others_do_not(prepared: Prepared) -> None:
    positions = torch.arange(20)
    one, three = ensemble(prepared, size=1), ensemble(prepared)
    losses = [member.losses(three._candidates(positions)) for member in three.members]  # pyright: ignore[reportPrivateUsage]
    assert torch.equal(one.losses(positions), losses[0])
    assert not torch.equal(losses[0], losses[1])


def test_states_are_copies_that_go_on_alike(prepared: Prepared) -> None:
    first, positions = ensemble(prepared, size=1), torch.arange(20)
    first.step(positions)
    state = first.states()
    twins = [ensemble(prepared, size=1, states=state) for _ in range(2)]
    for twin in twins:
        twin.step(positions)
    first.step(positions)
    assert torch.equal(twins[0].losses(positions), twins[1].losses(positions))
    assert torch.equal(twins[0].losses(positions), first.losses(positions))


def test_convergence_keeps_the_lowest_watched_loss(prepared: Prepared) -> None:
    train, watched = torch.arange(60), torch.arange(100, 200)
    long, short = (ensemble(prepared, size=1, epochs=epochs) for epochs in (60, 5))
    before = float(short.losses(watched).mean())
    for made in (long, short):
        made.converge(train, watched)
    assert float(short.losses(watched).mean()) < before
    assert float(long.losses(watched).mean()) <= float(short.losses(watched).mean())
    assert long.steps < 60 * 6  # it overfits, and stops
    best = float(long.losses(watched).mean())
    long.converge(train, watched)
    assert float(long.losses(watched).mean()) <= best


def test_a_function_learns_from_its_k_best(prepared: Prepared) -> None:
    learnt: list[list[int]] = []

    def learn(function: Function, chosen: Tensor) -> None:
        learnt.append(chosen.tolist())

    target, irreducible = ensemble(prepared, size=1), ensemble(prepared, size=2)
    irreducible.step(torch.arange(50))
    function = Function(
        name="test",
        target=target,
        irreducible=irreducible,
        learn=learn,
        acquired=torch.zeros(0, dtype=torch.int64),
    )
    positions = torch.arange(60, 80)
    expected = target.losses(positions) - irreducible.losses(positions)
    assert torch.equal(function.scores(positions), expected)
    function.acquire(positions, 3)
    function.acquire(positions + 20, 3)
    order = expected.argsort(descending=True)[:3]
    assert learnt[0] == positions[order].tolist()
    assert function.acquired.tolist() == learnt[0] + learnt[1]


# The study ----------------------------------------------------------------------------------


def test_the_batches_the_holdout_and_what_is_checked_are_apart() -> None:
    config = ApproximationsConfig(**{k: v for k, v in SMALL.items() if k != "limit"})
    source, target = prepare(config.role("target"), open_source("digits", seed=0, limit=300))
    study = Study(config=config, source=source, target=target, small=target, seed=1)
    holdout, checked, batches = study._parts()  # pyright: ignore[reportPrivateUsage]
    everything = torch.cat([holdout, checked, batches.flatten()]).tolist()
    assert (len(holdout), len(checked), batches.shape) == (135, 15, (3, 40))
    assert len(set(everything)) == len(everything)
    again = study._copied(batches)  # pyright: ignore[reportPrivateUsage]
    assert again.shape == (3, 2, 40)
    counts = again.flatten().bincount(minlength=300)
    assert torch.equal(counts, 2 * batches.flatten().bincount(minlength=300))


def test_likeness_is_that_of_the_ranks_and_of_the_choice() -> None:
    own, exact = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]), torch.tensor([9.0, 1.0, 5.0, 4.0, 0.5])
    wrong = torch.tensor([True, False, False, False, True])
    found = approximation_study._likeness(own, exact, wrong, 2)  # pyright: ignore[reportPrivateUsage]
    # Ranks 1 2 3 4 5 against 1 4 2 3 5: 1 − 6·(4 + 1 + 1) / (5·24)
    assert found["correlation"] == pytest.approx(0.7)
    assert (found["shared"], found["wrong"]) == (0.5, 0.5)
    assert spearman([own.double().numpy(), exact.double().numpy()])[0, 1] == pytest.approx(0.7)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("approximations") / "run"


@pytest.fixture(scope="module")
def trained() -> Iterator[list[int]]:
    """The seeds whose models were trained, one after another."""
    seeds, original = list[int](), Study.run

    def noted(study: Study, place: Any) -> Any:
        seeds.append(study.seed)
        return original(study, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "run", noted)
        yield seeds


@pytest.fixture(scope="module")
def first(run: Path) -> dict[str, Any]:
    return run_study(run, seeds=1)


@pytest.fixture(scope="module")
def result(run: Path, first: dict[str, Any], trained: list[int]) -> dict[str, Any]:
    found = run_study(run, seeds=2)
    assert trained == [1], "the first seed was there"
    return found


def test_the_result_has_a_row_for_each_function(result: dict[str, Any], run: Path) -> None:
    exact, *others = result["rows"]
    assert (exact["name"], exact["correlation"], exact["shared"]) == ("exact", 1.0, 1.0)
    assert {row["name"]: row["published"] for row in others} == PUBLISHED
    for row in others:
        assert [len(batches) for batches in row["by_batch"]] == [3, 3]
        means = [sum(batches) / 3 for batches in row["by_batch"]]
        assert row["correlation"] == pytest.approx(sum(means) / 2)
        assert row["standard_error"] == pytest.approx(abs(means[0] - means[1]) / 2)
        assert -1 <= row["correlation"] < 1
    assert json.loads((run / "approximations.json").read_text("utf-8")) == result


def test_what_differs_only_by_what_it_learns_scores_the_first_batch_alike(
    result: dict[str, Any],
) -> None:
    single, one_step, fixed, small = (row["by_batch"][0] for row in result["rows"][1:])
    assert single[0] == one_step[0] == fixed[0] != small[0]
    assert len({single[1], one_step[1], fixed[1]}) == 3


def test_the_costs_are_booked_by_function(result: dict[str, Any]) -> None:
    costs = {cost["phase"]: cost for cost in result["costs"]}
    steps = {name: costs[name]["steps"] for name in PUBLISHED}
    # 2 seeds, 2 of 3 batches learnt from, 2 copies: the target's steps and those of its IL model.
    assert steps["one gradient step"] == 16
    assert steps["irreducible losses fixed"] == steps["small irreducible-loss model"] == 8
    assert costs["exact"]["steps"] > steps["single model"] > 16
    assert all(cost["flops"] > 0 for name, cost in costs.items() if name in PUBLISHED)


def test_a_finished_seed_is_found_again(
    first: dict[str, Any], result: dict[str, Any], run: Path, trained: list[int]
) -> None:
    for row, before in zip(result["rows"], first["rows"], strict=True):
        assert row["by_batch"][:1] == before["by_batch"]
    trained.clear()
    assert run_study(run, seeds=2)["rows"] == result["rows"]
    assert trained == []
    run_study(run, seeds=1, noise=0.2)
    assert trained == [0]


def test_the_same_seed_gives_the_same_figures(result: dict[str, Any], tmp_path: Path) -> None:
    again = run_study(tmp_path / "run")
    for row, before in zip(again["rows"], result["rows"], strict=True):
        assert row["by_batch"][0] == before["by_batch"][0]
        assert row["standard_error"] is None


# Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": 0.01}, r"keep: got 0.01, which is 1 of 40 candidates. Keep at least 2"),
        ({"keep": 1.0}, r"keep: got 1.0, which is 40 of 40"),
        ({"keep": 50}, r"keep: got the count 50, but there are only 40"),
        ({"noise": 1.0}, r"noise: got 1.0. Give a fraction in \[0, 1\)"),
        ({"members": 0}, r"members: got 0. Give 1 or more"),
        ({"copies": 0}, r"copies: got 0"),
        ({"batch_size": 0}, r"batch_size: got 0"),
        ({"batch_size": 100}, r"batch_size: got 100, and 150 examples beside 150 of holdout"),
        ({"holdout": 0.9}, r"batch_size: got 40, and 30 examples beside 270 of holdout"),
        ({"holdout": 2.0}, r"holdout: got the fraction 2.0, which is over 1"),
        ({"target": {"model": "mlp", "epochs": 3}}, r"target.epochs: got 3, and the study decides"),
        ({"il_model": {"optimizer": "sgd"}}, r"il_model.optimizer: got 'sgd', and the study"),
        ({"target": "no-such"}, r"target: got 'no-such'"),
    ],
)
def test_bad_input_is_refused_by_name(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(KeepersError, match=message):
        run_study(tmp_path / "run", **given)


def test_a_role_has_the_papers_learning_rate_unless_it_says_otherwise() -> None:
    config = ApproximationsConfig(target={"lr": 0.1, "weight_decay": 0.0})
    assert (config.role("target").lr, config.role("target").weight_decay) == (0.1, 0.0)
    assert (config.role("il_model").lr, config.role("il_model").weight_decay) == (1e-3, 0.01)
    assert list(config.role("il_model").options["hidden"]) == [256, 256]
    with pytest.raises(ParameterError, match=r"target\.nonsense"):
        ApproximationsConfig(target={"nonsense": 1})


# The command --------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_writes_the_result(
    run: Path, result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [f"{name}={json.dumps(value)}" for name, value in SMALL.items()]
    changes += ["seeds=2", "keep=10%"]
    arguments = [part for change in changes for part in ("--set", change)]
    out = tmp_path / "study.json"
    finished = set((run / "stages").iterdir())
    command = ["digits", *arguments, "--run", str(run), "--out", str(out)]
    main(command)
    assert json.loads(out.read_text("utf-8"))["rows"] == result["rows"]
    assert set((run / "stages").iterdir()) == finished
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("+ ")]
    assert [line.split("  ")[0] for line in lines] == [f"+ {name}" for name in PUBLISHED]
    first = result["rows"][1]
    assert f"{first['correlation']:.2f} ± {first['standard_error']:.2f}" in lines[0]
    assert lines[0].split()[-3] == "0.75"
    assert "mean of 3 batches, 2 seeds" in printed
    with pytest.raises(SystemExit, match=r"study\.json"):
        main(command)


def test_the_study_computes_in_float32(result: dict[str, Any]) -> None:
    assert result["hardware"] == Hardware(device="cpu", precision="fp32").identity(
        gains_from_bf16=True
    )
