"""What a message says of a name that is not known, and when: before anything is read."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import keepers
from keepers.cli.commands import Request
from keepers.cli.outputs import work
from keepers.cli.training import uniform_words
from keepers.errors import ExistsError, KeepersError, RunError
from keepers.ledger import Cost
from keepers.words import SHOWN, nearest, remedy
from keepers.workflows.options.coreset import CoresetOptions

INTENTS = [f"card_payment_{what}" for what in ("declined", "fee_charged", "not_recognised")]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("card_payment_fee_charge", "card_payment_fee_charged"),
        ("Card_Payment_Declined", "card_payment_declined"),
        ("refund", None),
    ],
)
def test_the_nearest_name_is_offered(name: str, near: str | None) -> None:
    assert nearest(name, INTENTS) == near


def test_many_names_are_listed_only_where_none_is_near() -> None:
    many = [f"intent {number:02d}" for number in range(SHOWN + 47)]
    assert remedy("intnt 40", many) == "Did you mean 'intent 40'?"
    assert remedy("xyz", many) == f"Known: {', '.join(many[:SHOWN])}, …"
    assert remedy("margn", ["margin", "entropy"]) == "Did you mean 'margin'? Known: entropy, margin"
    assert remedy("x", []) == "Known: none"


OPTIONS: list[tuple[Any, dict[str, Any], str]] = [
    (keepers.coreset, {"proxy": "fastext"}, "proxy: .*Did you mean 'fasttext'"),
    (keepers.coreset, {"proxy": {"model": "mpl"}}, "proxy: .*Did you mean 'mlp'"),
    (keepers.coreset, {"epochs": 0}, "epochs: got 0"),
    (keepers.coreset, {"method": "margn"}, "method: .*Did you mean 'margin'"),
    (keepers.score, {"proxy": "mpl"}, "proxy: .*Did you mean 'mlp'"),
    (keepers.train, {"model": "mpl"}, "model: .*Did you mean 'mlp'"),
    (keepers.train, {"stand_in": "mpl"}, "stand_in: .*Did you mean 'mlp'"),
    (keepers.train, {"il_model": "mpl"}, "il_model: .*Did you mean 'mlp'"),
    (keepers.irreducible_losses, {"model": "mpl"}, "model: .*Did you mean 'mlp'"),
    (keepers.compare, {"test": 0.2, "target": "mpl"}, "target: .*Did you mean 'mlp'"),
    (keepers.compare, {"test": 0.2, "proxy": "mpl"}, "proxy: .*Did you mean 'mlp'"),
    (keepers.compare, {"test": 0.2, "target_epochs": 0}, "target_epochs: got 0"),
    (keepers.compare, {"test": 0.2, "target_resolution": 0}, "target_resolution: got 0"),
    (keepers.simulate, {"test": 0.2, "target_resolution": 0}, "target_resolution: got 0"),
    (keepers.compare_online, {"test": 0.2, "target": "mpl"}, "target: .*Did you mean 'mlp'"),
    (keepers.simulate, {"test": 0.2, "target": "mpl"}, "target: .*Did you mean 'mlp'"),
    (keepers.Campaign.start, {"campaign": "c", "proxy": "mpl"}, "proxy: .*Did you mean 'mlp'"),
]


@pytest.mark.parametrize(("work", "given", "said"), OPTIONS)
def test_options_are_checked_before_data_are_read(
    work: Any, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(KeepersError, match=said):
        work("nowhere.csv", **given)  # reading it would say that it does not exist


def test_a_command_that_finds_its_own_output_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept 1.parquet").write_bytes(b"of an hour ago")
    typed = ["coreset", "digits", "--keep", "0.5", "--out", "kept 1.parquet"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/keepers", *typed])
    given = {"keep": "0.5", "out": "kept 1.parquet"}
    with pytest.raises(ExistsError) as caught, work(Request("digits", CoresetOptions, given)):
        pass
    assert str(caught.value) == (
        "out: kept 1.parquet exists. Pass --overwrite (overwrite=True) to replace it: "
        "keepers coreset digits --keep 0.5 --out 'kept 1.parquet' --overwrite"
    )


def test_outputs_that_exist_are_named_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept.parquet").write_bytes(b"of an hour ago")
    Path("export").mkdir()
    given: dict[str, Any] = {"keep": 0.5, "out": "kept.parquet", "export": "export"}
    with pytest.raises(ExistsError) as caught:
        keepers.coreset("digits", **given)
    assert str(caught.value) == (
        "out, export: kept.parquet and export exist. Pass --overwrite (overwrite=True) to replace "
        "both"
    )
    Path("export/mine.txt").touch()  # what is not to be replaced at all comes first
    with pytest.raises(RunError, match="export: export exists, and holds files"):
        keepers.coreset("digits", **given)


def test_a_training_says_what_uniform_steps_its_time_would_have_paid_for() -> None:
    facts = {"choosing_seconds": 6.0}
    result: Any = SimpleNamespace(metadata=facts, made_losses=False)
    trained = Cost(phase="target training", seconds=9.0, examples=60, steps=10)
    said = uniform_words(result, trained)  # a plain step takes 0.3 s
    assert said.startswith("In the time of this training, uniform training could take about 30 s")
    assert "keepers compare --online" in said
