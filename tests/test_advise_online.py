"""Advice on online selection: what it says, and that `--select auto` decides alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import keepers
from commands import Keepers, plain_lines
from keepers.errors import ParameterError
from keepers.online import StepCost
from keepers.reports.advise import advice_report, advice_table
from keepers.workflows import advise_online as module

QUIET: dict[str, Any] = {"device": "cpu", "say": lambda _: None}
FAST = QUIET | {"il_model": "logistic", "il_epochs": 6}


def three(n: int = 240, spread: float = 0.3) -> tuple[Any, Any]:
    """Three clusters in four dimensions; a wide spread leaves hardly anything to learn."""
    draw = np.random.default_rng(3)
    y = np.arange(n) % 3
    x = draw.normal(size=(n, 4)) * spread
    x[np.arange(n), y] += 2
    return x.astype(np.float32), y


def keyed() -> tuple[pa.Table, Any]:
    """The same with a key."""
    x, y = three()
    ids = np.arange(len(y))
    rows = pa.array(list(x), pa.list_(pa.float32()))
    return pa.table({"features": rows, "label": y, "key": ids}), ids


GOOD = {"accuracy": 0.95, "majority": 0.33, "calibration_error": 0.02, "confidence": 0.95}


@pytest.mark.parametrize(
    ("parts", "accuracy", "ratio", "outlook", "takes"),
    [
        ((180, 54, 6), 0.95, 3.0, "can pay", "rho-loss"),
        ((180, 54, 6), 0.95, 5.0, "does not pay", "uniform"),
        ((180, 36, 24), 0.95, 9.0, "can pay in accuracy", "rho-loss"),
        ((180, 54, 6), 0.4, 3.0, "cannot tell", "uniform"),
    ],
)
def test_advice_and_auto_decide_alike(
    parts: tuple[int, int, int],
    accuracy: float,
    ratio: float,
    outlook: str,
    takes: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StepCost, "ratio", property(lambda _: ratio))
    data, ids = keyed()
    likely = np.repeat([0.9, 0.5, 0.02], parts)
    losses = keepers.IrreducibleLosses(
        ids=ids,
        values=torch.tensor(-np.log(likely), dtype=torch.float32),
        metadata={"quality": GOOD | {"accuracy": accuracy, "confidence": accuracy}},
    )
    asked: dict[str, Any] = {"id": "key", "il": losses, **QUIET}
    advice = keepers.advise_online(data, target="logistic", run=tmp_path / "a", **asked)
    facts = advice.result["facts"]
    assert (facts["outlook"], facts["ratio"]) == (outlook, ratio)
    assert facts["pays"] == (takes == "rho-loss")
    words = "cannot be told" if outlook == "cannot tell" else outlook
    assert words in advice.sentences[0]
    asked |= {"select": "auto", "model": "logistic", "steps": 2}
    trained = keepers.train(data, run=tmp_path / "b", **asked)
    assert trained.metadata["selected_by"] == takes
    told = trained.metadata["online_facts"]
    assert {name: facts[name] for name in told} == json.loads(json.dumps(told))


def test_losses_that_are_made_here_are_those_of_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepCost, "ratio", property(lambda _: 1.5))
    asked: dict[str, Any] = {"il_model": "logistic", "il_epochs": 3, **QUIET}
    advice = keepers.advise_online(three(), target="logistic", run=tmp_path / "a", **asked)
    asked |= {"select": "rho-loss", "model": "logistic", "epochs": 2}
    told = keepers.train(three(), run=tmp_path / "b", **asked).metadata["online_facts"]
    assert {name: advice.result["facts"][name] for name in told} == told


def test_advice_is_told_in_every_form(tmp_path: Path) -> None:
    data = three(spread=1.1)
    asked: dict[str, Any] = {"target": "logistic", "run": tmp_path / "run"}
    advice = keepers.advise_online(data, out=tmp_path / "advice.json", **asked, **FAST)
    result = json.loads((tmp_path / "advice.json").read_text())
    facts, seconds, made = result["facts"], result["seconds"], result["irreducible"]
    low, high = facts["redundant_interval"]
    assert 0 <= low < facts["redundant"] < high <= 1
    low, high = facts["speedup_interval"]
    assert low <= facts["speedup"] <= high
    assert seconds["plain"] == pytest.approx(seconds["steps"] * seconds["step"])
    assert seconds["selecting"] == pytest.approx(
        seconds["plain"] * facts["ratio"] / facts["speedup"]
    )
    assert seconds["charged"] == pytest.approx(seconds["selecting"] + seconds["irreducible"])
    assert sum(result["likely"]["useful"]) + sum(result["likely"]["spared"]) == 240
    assert made["examples"] == 240
    page = advice_report(result, tmp_path / "report.html").read_text()
    assert "<svg" in page
    lines = "\n".join(plain_lines(advice_table(result)))
    assert "cost of a selecting step, in plain steps (m)" in lines
    losses = advice.result["losses"]
    assert f"keepers train --select rho-loss --il {losses} uses these losses" in advice.sentences
    taken = keepers.advise_online(data, il=losses, **{**asked, "run": tmp_path / "again"}, **QUIET)
    for name in ("redundant", "unlearnable", "speedup"):
        assert taken.result["facts"][name] == facts[name]
    assert taken.result["losses"] is None
    assert taken.result["seconds"]["irreducible"] == pytest.approx(seconds["irreducible"])


def test_of_many_examples_a_part_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 150)
    advice = keepers.advise_online(three(600), target="logistic", run=tmp_path / "run", **FAST)
    assert advice.result["irreducible"]["examples"] == 150
    assert advice.result["losses"] is None
    assert any("150 of 600 examples" in sentence for sentence in advice.sentences)


def test_losses_made_elsewhere_say_nothing_of_their_quality(tmp_path: Path) -> None:
    data, ids = keyed()
    losses = keepers.IrreducibleLosses.given(ids, np.full(240, 0.1))
    advice = keepers.advise_online(
        data, id="key", il=losses, target="logistic", run=tmp_path / "run", **QUIET
    )
    assert any("is unknown: they come from elsewhere" in s for s in advice.sentences)
    assert any("without the time for the losses" in s for s in advice.sentences)
    assert "–" in "\n".join(plain_lines(advice_table(advice.result)))


def test_what_online_advice_cannot_be_given_on(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="got 60 examples, but a pilot needs 100"):
        keepers.advise_online(three(60), run=tmp_path / "a")
    with pytest.raises(ParameterError, match=r"^target: got 'linear', which scikit-learn fits"):
        keepers.advise_online(three(), target="linear", run=tmp_path / "b")
    others = keepers.IrreducibleLosses.given(["a", "b"], [0.1, 2.0])
    with pytest.raises(ParameterError, match="il: 240 of 240 examples have no irreducible loss"):
        keepers.advise_online(three(), il=others, target="logistic", run=tmp_path / "c")
    with pytest.raises(ParameterError, match="holdout: got together with il"):
        keepers.advise_online(three(), il=others, holdout=0.5, run=tmp_path / "d")
    x, y = three()
    with pytest.raises(ParameterError, match=r"the targets are numbers.* compare --online"):
        keepers.advise_online((x, y + 0.5), task="number", run=tmp_path / "e")
    assert not list(tmp_path.rglob("advice.json"))


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        (["--online", "--labelling"], "labelling: got together with --online. Give one of them"),
        (
            ["--folds", "3"],
            "folds: got a value, but it works only with --online. Add --online",
        ),
        (
            ["--online", "--methods", "margin"],
            "methods: got a value, but it works only with core-sets and",
        ),
        (
            ["--labelling", "--keep", "0.1"],
            "keep: got a value, but it works only with core-sets and --online",
        ),
        (["--labelling", "--budgets", "10%"], "budgets: got '10%'"),
        (["--online", "--keep", "0.1,0.5"], "keep: got '0.1,0.5'"),
        (["--online", "--keep", "20"], "keep: got the count 20"),
    ],
)
def test_questions_and_their_options(typed: list[str], error: str, run: Keepers) -> None:
    said = run("advise", "digits", *typed)
    assert said.status == 2
    assert error in said.err
