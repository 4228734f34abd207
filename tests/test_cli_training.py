"""`keepers train` and `keepers il` on the command line."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console
from rich.progress import Progress

import forked
import keepers
from commands import Keepers, Said
from keepers.cli import outputs
from keepers.cli.commands import Request
from keepers.cli.settings import echo
from keepers.online import IrreducibleLosses
from keepers.types import Silent
from keepers.workflows.options.coreset import ScoreOptions

COMMON = ("digits", "--limit", "150", "--device", "cpu")
PLAIN = ("train", *COMMON, "--il-model", "logistic", "--il-epochs", "1")
TRAIN = (*PLAIN, "--select", "rho-loss", "--steps", "4")
IL = ("il", *COMMON, "--model", "logistic", "--epochs", "1")


def _refused(said: Said, *words: str) -> None:
    assert said.status == 2, said.err
    assert said.out == ""
    last = said.err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "Traceback" not in said.err
    for word in words:
        assert word in last


# What is printed ----------------------------------------------------------------------------


def test_train_prints_one_json_object(run: Keepers) -> None:
    said = run(*TRAIN, "--test", "0.2", "--out", "model.safetensors", "--json")
    found = said.json()
    assert (found["select"], found["keep"], found["trained_on"]) == ("rho-loss", 0.1, 120)
    assert found["curve"][-1]["step"] == 4
    assert found["curve"][-1]["accuracy"] == found["accuracy"]
    assert found["step_cost"]["expected"] > 1
    assert found["irreducible"]["folds"] == 2
    assert set(found["files"]) == {"weights", "out", "losses", "result"}
    assert Path("model.safetensors").read_bytes() == Path(found["files"]["weights"]).read_bytes()
    stored = json.loads(Path(found["files"]["result"]).read_text())
    assert stored.items() <= found.items()
    phases = [cost["phase"] for cost in found["costs"]]
    assert phases == [
        "reading",
        "encoding",
        "irreducible-loss training",
        "irreducible-loss scoring",
        "target training",
    ]


def test_il_prints_one_json_object_and_train_uses_its_file(run: Keepers) -> None:
    found = run(*IL, "--json").json()
    assert (found["n"], found["folds"], found["holdout"]) == (150, 2, None)
    assert found["files"] == {"losses": "il.parquet"}
    assert len(IrreducibleLosses.load("il.parquet")) == 150
    used = run(*TRAIN, "--il", "il.parquet", "--json").json()
    assert "losses" not in used["files"]
    assert used["irreducible"]["fingerprint"] == IrreducibleLosses.load("il.parquet").fingerprint


def test_without_json_a_person_reads_how_it_went(run: Keepers) -> None:
    said = run(*TRAIN, "--test", "0.2")
    lines = said.out.splitlines()
    assert lines[0].startswith("Trained mlp by rho-loss on 120 examples: 4 steps, ")
    assert lines[1].startswith("Test accuracy ")
    assert "a selecting step cost " in lines[2]
    assert lines[3].startswith("In the time of this training and the irreducible losses, uniform ")
    assert lines[4].startswith("The irreducible losses took ")
    for word in ("target training", "weights: keepers-runs/train-digits-", "import keepers"):
        assert word in said.out
    for sentence in ("A selecting step costs ", "it saves time if", "step 4, epoch"):
        assert sentence in said.err
    how = next(line for line in lines if "load_model" in line).partition("#")[0]
    names: dict[str, Any] = {"keepers": keepers}
    exec(how.strip(), names)
    assert names["model"].module is not None


def test_nothing_is_selected_by_default_where_that_loses(run: Keepers) -> None:
    said = run(*PLAIN, "--test", "0.2")
    assert said.out.startswith("Trained mlp by uniform (auto) on 120 examples: 400 steps, ")
    assert "auto: every step is uniform: " in said.err
    assert "irreducible" not in said.out


def test_the_summary_says_what_given_losses_cost(run: Keepers) -> None:
    said = run(*IL)
    assert said.out.startswith("Irreducible losses of 150 examples from 2 models")
    assert "keepers train digits --select rho-loss --il il.parquet" in said.out
    used = run(*TRAIN, "--il", "il.parquet")
    assert "The irreducible losses were given; making them took " in used.out
    table = pa.table(
        {"id": IrreducibleLosses.load("il.parquet").ids, "irreducible_loss": np.zeros(150)}
    )
    pq.write_table(table, "own.parquet")
    own = run(*TRAIN, "--il", "own.parquet")
    assert "The irreducible losses were given; making them took an unknown time" in own.out
    assert "irreducible" not in run(*TRAIN, "--select", "uniform").out


def test_a_sentence_goes_above_the_progress_bar() -> None:
    out = io.StringIO()
    with Progress(console=Console(file=out, force_terminal=True, width=60)):
        echo("step 4: as said")
        assert "step 4: as said" in out.getvalue()


def test_the_progress_bar_is_taken_off_however_the_work_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished: list[bool] = []

    class Shown(Silent):
        def finish(self) -> None:
            finished.append(True)

    monkeypatch.setattr(outputs, "TerminalProgress", Shown)
    with outputs.work(Request("digits", ScoreOptions, {"seed": 3})) as options:
        assert options.seed == 3
        assert not finished
    with pytest.raises(KeyboardInterrupt), outputs.listening():
        raise KeyboardInterrupt
    assert finished == [True, True]


# Settings -----------------------------------------------------------------------------------


def test_settings_from_a_file_and_from_set(run: Keepers) -> None:
    settings = {
        "limit": 150,
        "device": "cpu",
        "test": 0.2,
        "holdout": 0.25,
        "select": "rho-loss",
        "keep": 0.5,
        "steps": 2,
        "model": {"model": "mlp", "options": {"hidden": [8]}},
        "il_model": {"model": "logistic", "epochs": 1, "lr": 0.02},
        "out": "m.safetensors",
    }
    Path("a.yaml").write_text(yaml.safe_dump(settings))
    argv = ("train", "digits", "--config", "a.yaml", "--set", "il_model.lr=0.03", "--keep", "25%")
    found = run(*argv, "--json").json()
    assert found["keep"] == 0.25
    assert found["model"]["options"] == {"hidden": [8]}
    assert found["irreducible"]["model"]["lr"] == 0.03
    assert found["trained_on"] == 90
    assert Path("m.safetensors").exists()


def test_options_of_a_selection_come_from_set(run: Keepers) -> None:
    argv = (*TRAIN, "--select", "infobatch", "--json")
    assert run(*argv, "--set", "select_options.keep=0.25").status == 0
    _refused(
        run(*argv, "--set", "select_options.kepp=0.25"),
        "select_options of infobatch: got 'kepp'",
        "Did you mean 'keep'",
    )


# Bad input ----------------------------------------------------------------------------------

BAD: dict[tuple[str, ...], tuple[str, ...]] = {
    (*TRAIN, "--keep", "32"): ("keep: got the count 32",),
    (*TRAIN, "--select", "uniform", "--keep", "20%"): (
        "keep: got 0.2, which uniform does not use",
        "Leave it out",
    ),
    (*TRAIN, "--select", "rho"): ("select: got 'rho'", "Did you mean 'rho-loss'"),
    (*TRAIN, "--il", "none.parquet"): ("il: there is no file none.parquet", "keepers il"),
    (*TRAIN, "--test", "none.parquet"): ("test: none.parquet does not exist",),
    (*TRAIN, "--test", "150%"): ("test: got",),
    (*TRAIN, "--epochs", "2"): ("steps: got together with epochs",),
    (*TRAIN, "--holdout", "0.2", "--il", "list.yaml"): ("holdout: got together with il",),
    (*TRAIN, "--il", "list.yaml"): ("il: cannot read list.yaml as Parquet",),
    (*TRAIN, "--batch-norm", "none"): ("--batch-norm", "'none' is not one of"),
    (*TRAIN, "--score-precision", "fp8"): ("--score-precision", "'fp8' is not one of"),
    (*TRAIN, "--target", "logistics"): ("model: got 'logistics'", "Did you mean 'logistic'"),
    (*TRAIN, "--out", "list.yaml"): ("out: list.yaml exists", "--overwrite"),
    (*TRAIN, "--out", "mine"): ("out: mine is a folder",),
    (*TRAIN, "--il", "list.yaml", "--out", "list.yaml", "--overwrite"): ("is the data file",),
    (*TRAIN, "--run", "mine"): ("run: mine is not empty and holds no run",),
    (*TRAIN, "--set", "stand_in.epoch=2"): ("stand_in.epoch: got 'epoch'",),
    (*TRAIN, "--set", "score_prat=1"): ("set: got 'score_prat'", "Did you mean 'score_part'"),
    (*IL, "--folds", "1"): ("folds: got 1",),
    (*IL, "--epochs", "0"): ("epochs: got 0",),
    (*IL, "--model", "logistics"): ("model: got 'logistics'", "Did you mean 'logistic'"),
    (*IL, "--holdout", "none.parquet"): ("holdout: none.parquet does not exist",),
    (*IL, "--holdout", "1.0"): ("holdout: got 100%, which leaves nothing",),
    (*IL, "--out", "list.yaml"): ("out: list.yaml exists", "--overwrite"),
}  # fmt: skip


@pytest.mark.parametrize("argv", BAD, ids=lambda argv: " ".join([argv[0], *argv[-2:]]))
def test_bad_options_are_one_sentence_and_nothing_is_trained(
    run: Keepers, argv: tuple[str, ...]
) -> None:
    Path("list.yaml").write_text("- a\n")
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("precious")
    _refused(run(*argv, "--json"), *BAD[argv])
    assert not list(Path().rglob("model.safetensors"))
    assert Path("list.yaml").read_text() == "- a\n"
    assert Path("mine/thesis.tex").read_text() == "precious"


def test_outputs_never_go_over_data_or_losses(run: Keepers) -> None:
    draw = np.random.default_rng(0)
    for name in ("a", "t", "h"):
        columns = {"x": draw.normal(size=40), "y": draw.normal(size=40), "label": [0, 1] * 20}
        pq.write_table(pa.table(columns), f"{name}.parquet")
    before = {path.name: path.read_bytes() for path in Path().glob("*.parquet")}
    for name in before:
        said = run(
            "train", "a.parquet", "--test", "t.parquet", "--holdout", "h.parquet",
            "--out", name, "--overwrite",
        )  # fmt: skip
        _refused(said, f"out: {name} is the data file {name}")
        if name != "t.parquet":
            argv = ("il", "a.parquet", "--holdout", "h.parquet", "--out", name, "--overwrite")
            _refused(run(*argv), f"out: {name} is the data file {name}")
    assert {path.name: path.read_bytes() for path in Path().glob("*.parquet")} == before


def test_an_output_that_exists_is_replaced_when_told(run: Keepers) -> None:
    Path("m.safetensors").write_text("old")
    Path("il.parquet").write_text("old")
    _refused(run(*TRAIN, "--out", "m.safetensors"), "--overwrite")
    _refused(run(*IL), "--overwrite")
    assert Path("m.safetensors").read_text() == Path("il.parquet").read_text() == "old"
    assert run(*TRAIN, "--out", "m.safetensors", "--overwrite").status == 0
    assert run(*IL, "--overwrite").status == 0
    assert keepers.load_model("m.safetensors").module is not None
    assert len(IrreducibleLosses.load("il.parquet")) == 150


# Kills --------------------------------------------------------------------------------------


def test_ctrl_c_and_kill_leave_the_old_file_and_the_same_command_continues(tmp_path: Path) -> None:
    argv = [*TRAIN, "--run", "run", "--out", "m.safetensors", "--overwrite", "--json"]
    moments: list[dict[str, Any]] = [
        {"at": "keepers.training.checkpoint:save", "call": 2, "signal": signal.SIGINT},
        {"at": "keepers.workflows.teaching:extract", "call": 3, "signal": signal.SIGKILL},
        {"at": "keepers.workflows.online.stage:save_weights", "signal": signal.SIGKILL},
    ]
    jobs: list[dict[str, Any]] = []
    for number, moment in enumerate([{}, *moments]):
        cwd = tmp_path / str(number)
        cwd.mkdir()
        (cwd / "m.safetensors").write_text("old")
        common = {"argv": argv, "cwd": str(cwd)}
        jobs += [{**common, **moment, "look": "m.safetensors"}] if moment else []
        jobs += [common]
    whole, *ended = forked.run(*jobs)
    for again in (whole, *ended[1::2]):
        assert again.status == 0, again.stderr
    plain = (tmp_path / "0" / "m.safetensors").read_bytes()
    for number, (moment, stopped) in enumerate(zip(moments, ended[::2], strict=True), start=1):
        wanted = 130 if moment["signal"] == signal.SIGINT else -signal.SIGKILL
        assert stopped.status == wanted, stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert (stopped.stdout, stopped.looked) == ("", "old")
        assert (tmp_path / str(number) / "m.safetensors").read_bytes() == plain
        assert not list((tmp_path / str(number)).glob(".*partial"))
