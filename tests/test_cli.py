"""The command line: the names and defaults of Python, one JSON object, and hostile input."""

from __future__ import annotations

import inspect
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main
import yaml

import forked
import keepers
from commands import Keepers, Said
from keepers.cli import app
from keepers.methods import METHODS
from keepers.selection import Selection
from keepers.workflows.online import POLICIES

QUICK = ("--limit", "150", "--epochs", "1", "--proxy", "logistic", "--device", "cpu")
DIGITS = ("coreset", "digits", "--method", "entropy", *QUICK)


# JSON ---------------------------------------------------------------------------------------


def test_another_choice_in_the_run_of_an_earlier_one_is_told(run: Keepers) -> None:
    drawn = ("coreset", "digits", "--method", "random")
    assert "held" not in run(*drawn).err
    assert "held" not in run(*drawn).err
    told = run(*drawn, "--keep", "0.2").err
    assert "had an earlier selection, with keep 50% (now 20%); it is replaced. Use --out" in told
    assert "report.html had another report (Kept 899 of 1,797 · digits); it is replaced" in told
    assert "with seed 0 (now 1); it is replaced" in run(*drawn, "--keep", "0.2", "--seed", "1").err
    scored = (*DIGITS, "--run", "run")
    assert "held" not in run(*scored).err
    assert "with proxy.epochs 1 (now 2); it is replaced" in run(*scored, "--epochs", "2").err


def test_coreset_prints_one_json_object(run: Keepers, tmp_path: Path) -> None:
    said = run(*DIGITS, "--val", "0.2", "--out", "kept.parquet", "--export", "kept", "--json")
    found = said.json()
    assert found["counts"] == {
        "rows": 1797,
        "candidates": 120,
        "kept": 60,
        "validation": 30,
        "skipped": 0,
        "near_duplicates": 0,
    }
    phases = {cost["phase"]: cost for cost in found["costs"]}
    assert list(phases) == ["reading", "encoding", "proxy training", "scoring", "selecting"]
    assert set(phases["scoring"]) == {"phase", "seconds", "examples", "steps", "flops"}
    assert 0 <= found["proxy_validation_accuracy"] <= 1
    assert found["peak_memory_mib"] > 50
    for path in found["files"].values():
        assert Path(path).exists()
    assert len(Selection.read_parquet(tmp_path / "kept.parquet")) == 60
    assert "Proxy: logistic" in said.err


def test_score_prints_one_json_object(run: Keepers, tmp_path: Path) -> None:
    found = run("score", "digits", *QUICK, "--method", "margin", "--json").json()
    assert found["method"] == "margin"
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table.column_names == ["id", "row", "label", "score"]
    assert table.num_rows == 150


def test_compare_prints_one_json_object(run: Keepers) -> None:
    argv = (*QUICK, "--test", "0.2", "--keep", "50%", "--seeds", "1", "--target", "logistic")
    argv = (*argv, "--methods", "entropy")
    found = run("compare", "digits", *argv, "--target-epochs", "1", "--json", "--out", "c.json")
    result = found.json()
    assert [row["method"] for row in result["rows"]] == [
        "everything",
        "random",
        "fresh-random",
        "entropy",
    ]
    written = json.loads(Path("c.json").read_text())
    assert written["rows"] == result["rows"]
    again = run("compare", "digits", *argv, "--target-epochs", "1", "--out", "c.json")
    assert again.status == 2
    assert "--overwrite" in again.err


def test_demo_prints_one_json_object(run: Keepers, monkeypatch: pytest.MonkeyPatch) -> None:
    from keepers.cli import running

    logistic = {"model": "logistic", "epochs": 1}
    less = {"proxy": logistic, "target": logistic, "seeds": 1, "limit": 150}
    monkeypatch.setattr(running, "DEMO", {**running.DEMO, **less})
    result = run("demo", "--json").json()
    assert result["data"]["name"] == "digits"
    assert Path(result["files"]["report"]).exists()


def test_listings_print_one_json_value(run: Keepers) -> None:
    rows = run("methods", "--json").json()
    assert [row["name"] for row in rows] == [*METHODS, *POLICIES, "svp"]
    assert all(row.keys() == rows[0].keys() for row in rows)
    offered = {row["name"]: row["offered"] for row in rows}
    assert offered["infobatch"] == ["online"]
    assert offered["svp"] == ["compare --online"]
    assert "preact164" in [row["name"] for row in run("models", "--json").json()]
    shown = run("methods")
    assert all(name in shown.out for name in (*METHODS, *POLICIES, "svp"))


def test_without_json_a_person_reads_a_table(run: Keepers) -> None:
    said = run(*DIGITS)
    assert said.status == 0
    assert said.out.startswith("Kept 75 of 150 examples (50%) by entropy, with logistic")
    assert "proxy training" in said.out
    assert "report: keepers-runs/coreset-digits-" in said.out


# The same names and defaults ----------------------------------------------------------------

LAST = ["config", "set_", "json_"]
ONLY_PYTHON = {"method_options", "select_options", "progress", "say"}
ONLY_FILES = {"method_options", "select_options"}


@pytest.mark.parametrize(
    ("python", "name"),
    [
        (keepers.train, "train"),
        (keepers.irreducible_losses, "il"),
        (keepers.simulate, "active simulate"),
        (keepers.Campaign.start, "active start"),
    ],
)
def test_a_command_offers_the_keywords_of_python(python: Callable[..., Any], name: str) -> None:
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    group, _, action = name.rpartition(" ")
    found = commands[group].commands[action] if group else commands[name]
    offered = [each.name for each in found.params]
    _, *keywords = inspect.signature(python).parameters
    without = {"progress", "say", *ONLY_FILES}
    assert offered[1:] == [*(each for each in keywords if each not in without), *LAST]
    assert python.__doc__ is not None
    for keyword in keywords:
        assert f"\n    {keyword}: " in python.__doc__


QUESTIONS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "advise": {
        "": keepers.advise,
        "online": keepers.advise_online,
        "labelling": keepers.advise_labelling,
    },
    "compare": {"": keepers.compare, "online": keepers.compare_online},
    "coreset": {"": keepers.coreset, "shards": keepers.coreset_shards},
    "score": {"": keepers.score, "shards": keepers.score_shards},
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_command_of_several_questions_offers_the_keywords_of_all(name: str) -> None:
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    offered = {each.name: each for each in commands[name].params}
    usual, *others = (inspect.signature(each).parameters for each in QUESTIONS[name].values())
    keywords = {keyword for each in (usual, *others) for keyword in list(each)[1:]}
    switches = [word for word in QUESTIONS[name] if word]
    assert offered.keys() == keywords - ONLY_PYTHON | {"data", *switches, *LAST}
    for keyword in keywords & offered.keys():
        taken = {word for word, each in QUESTIONS[name].items() if keyword in _keywords(each)}
        head = offered[keyword].help.partition(": ")[0]
        assert (head.lower() in taken) is ("" not in taken), keyword


def _keywords(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)[1:]


def test_options_are_spelt_as_in_python() -> None:
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    names = {"advise", "coreset", "score", "compare", "train", "il", "demo"}
    assert set(commands) == names | {"active", "methods", "models"}
    inside = commands["active"].commands
    actions = {"start", "query", "import", "label", "label-studio", "status", "export", "classes"}
    assert set(inside) == actions | {"moved", "simulate"}
    for command in (*commands.values(), *inside.values()):
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] == f"--{parameter.name.rstrip('_').replace('_', '-')}"
                assert parameter.help


# Settings -----------------------------------------------------------------------------------


def test_the_command_line_goes_over_set_over_the_file_over_the_default(run: Keepers) -> None:
    settings = {
        "keep": 0.2,
        "method": "entropy",
        "seed": 5,
        "val": 0.1,
        "proxy": {"model": "mlp", "epochs": 1, "options": {"hidden": [8]}, "lr": 0.02},
        "limit": 150,
        "device": "cpu",
    }
    Path("a.yaml").write_text(yaml.safe_dump(settings))
    argv = ("coreset", "digits", "--config", "a.yaml", "--set", "seed=6", "--set", "proxy.lr=0.03")
    found = run(*argv, "--keep", "0.3", "--json").json()
    assert (found["keep"], found["seed"]) == ("30%", 6)
    assert found["counts"]["validation"] == 15
    proxy = found["proxy"]
    assert (proxy["model"], proxy["epochs"], proxy["lr"]) == ("mlp", 1, 0.03)
    assert proxy["options"] == {"hidden": [8]}


def test_settings_of_a_proxy_named_on_the_command_line(run: Keepers) -> None:
    found = run(*DIGITS, "--set", "proxy.lr=0.5", "--set", "proxy.batch_size=30", "--json").json()
    proxy = found["proxy"]
    assert (proxy["model"], proxy["lr"], proxy["batch_size"]) == ("logistic", 0.5, 30)


def test_settings_of_the_default_proxy_and_of_the_method(run: Keepers) -> None:
    argv = ("coreset", "digits", "--limit", "150", "--epochs", "1", "--method", "ccs", "--json")
    settings = ("--set", "proxy.lr=0.01", "--set", "method_options.beta=0.2")
    found = run(*argv, *settings).json()
    assert (found["proxy"]["model"], found["proxy"]["lr"]) == ("mlp", 0.01)
    assert found["method_options"]["beta"] == 0.2


def test_outputs_and_switches_from_a_file(run: Keepers) -> None:
    Path("a.yaml").write_text("out: kept.parquet\noverwrite: false\nresume: false\n")
    assert run(*DIGITS, "--config", "a.yaml").status == 0
    said = run(*DIGITS, "--config", "a.yaml")
    assert said.status == 2
    assert "kept.parquet exists" in said.err
    assert run("score", "digits", *QUICK, "--set", "out=s.parquet").status == 0
    assert Path("s.parquet").exists()


# Bad input ----------------------------------------------------------------------------------

WORDS = [f"word {i} and {i * i}" for i in range(40)]
HALVES = [i % 2 for i in range(40)]


def _good() -> pa.Table:
    return pa.table({"text": WORDS, "label": HALVES})


def _write(name: str, columns: Mapping[str, Any]) -> str:
    pq.write_table(pa.table(dict(columns)), name)
    return name


def _truncated() -> str:
    pq.write_table(_good(), "cut.parquet")
    whole = Path("cut.parquet").read_bytes()
    Path("cut.parquet").write_bytes(whole[: len(whole) // 2])
    return "cut.parquet"


def _corrupt_picture() -> str:
    from PIL import Image

    Image.fromarray(np.zeros((4, 4), np.uint8)).save("p.png")
    good = Path("p.png").read_bytes()
    pictures = [good + bytes([i]) for i in range(40)]
    pictures[9] = b"no picture"
    return _write("pictures.parquet", {"image": pictures, "label": HALVES})


def _missing_labels() -> str:
    return _write("some.parquet", {"text": WORDS, "label": [None, *HALVES[1:]]})


def _multi_label() -> str:
    return _write("many.parquet", {"text": WORDS, "label": [[i, i + 1] for i in HALVES]})


def _features(**changed: Any) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    return {"a": draw.normal(size=40), "b": draw.normal(size=40), "label": HALVES} | changed


def _nan() -> str:
    values = np.arange(40.0)
    values[17] = np.nan
    return _write("nan.parquet", _features(b=values))


def _good_file() -> str:
    return _write("good.parquet", {"text": WORDS, "label": HALVES})


BAD_DATA: dict[str, tuple[Callable[[], str], tuple[str, ...], tuple[str, ...]]] = {
    "missing file": (
        lambda: _good_file().replace("good", "goood"),
        (),
        ("goood.parquet", "does not exist", "good.parquet"),
    ),
    "truncated Parquet": (_truncated, (), ("cut.parquet is not a readable Parquet file",)),
    "corrupt picture": (
        _corrupt_picture,
        (),
        ("picture in row 9 (id ", "cannot be decoded", "--on-bad-row skip"),
    ),
    "missing column": (
        _good_file,
        ("--label", "lable"),
        ("label: got 'lable'", "Did you mean 'label'"),
    ),
    "ambiguous input": (
        lambda: _write("two.parquet", {"title": WORDS, "body": WORDS[::-1], "label": HALVES}),
        (),
        ("input: several", "'title', 'body'", "--input"),
    ),
    "ambiguous label": (
        lambda: _write("two.parquet", {"text": WORDS, "class": HALVES, "target": HALVES[::-1]}),
        (),
        ("label: several", "'class', 'target'", "--label"),
    ),
    "only one class": (
        lambda: _write("one.parquet", {"text": WORDS, "label": ["same"] * 40}),
        (),
        ("label", "same", "class"),
    ),
    "missing labels": (_missing_labels, (), ("label", "row", "0")),
    "continuous target": (
        lambda: _write("float.parquet", {"text": WORDS, "label": np.linspace(0, 1, 40)}),
        ("--task", "class"),
        ("label", "--task number"),
    ),
    "multi-label target": (_multi_label, ("--task", "class"), ("label", "several labels")),
    "NaN feature": (_nan, (), ("'b'", "row 17", "NaN")),
    "duplicate keys": (
        lambda: _write("twice.parquet", {"text": WORDS, "label": HALVES, "key": [*range(39), 5]}),
        ("--id", "key"),
        ("key", "5", "unique"),
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_sentence_and_nothing_is_written(run: Keepers, case: str) -> None:
    write, argv, words = BAD_DATA[case]
    name = write() if not os.listdir() else ""
    before = set(os.listdir())
    said = run("coreset", name, *argv, "--out", "kept.parquet", "--json")
    _refused(said, words)
    assert set(os.listdir()) - before <= {"keepers-runs"}
    stages = list(Path().glob("keepers-runs/*/stages"))
    assert not stages


def _refused(said: Said, words: tuple[str, ...], status: int = 2) -> None:
    assert said.status == status, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    last = said.err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    for each in words:
        assert each in last


BAD_OPTIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("--keep", "0"): ("keep: got '0', which keeps nothing", "0.5 or 50%"),
    ("--keep", "1.5"): ("keep: got the fraction '1.5', which is over 1",),
    ("--keep", "151"): ("keep: got the count 151", "only 150 examples", "up to 150"),
    ("--keep", "140", "--val", "0.2"): ("keep: got the count 140", "only 120 examples"),
    ("--keep", "half"): ("keep: got 'half'", "not a number"),
    ("--keep", "nan"): ("keep: got 'nan'",),
    ("--keep", "-3"): ("keep: got '-3'",),
    ("--method", "entropi"): ("method: got 'entropi'", "Did you mean 'entropy'"),
    ("--proxy", "logistics"): ("proxy: got 'logistics'", "Did you mean 'logistic'"),
    ("--proxy", "fasttext"): ("proxy: got 'fasttext', which takes texts", "the data are pictures"),
    ("--proxy", "nowhere:model"): ("proxy: got 'nowhere:model'", "no module 'nowhere'"),
    ("--epochs", "0"): ("epochs: got 0", "1 or more"),
    ("--epochs", "two"): ("--epochs", "valid integer"),
    ("--limit", "0"): ("limit: got 0", "1 or more"),
    ("--ensemble", "0"): ("ensemble: got 0", "1 or more"),
    ("--val", "1"): ("val: got 1", "[0, 1)"),
    ("--balance", "group"): ("--balance", "group", "class"),
    ("--min-per-class", "-1"): ("min_per_class: got -1", "0 for no floor"),
    ("--min-per-class", "1.5"): ("--min-per-class", "valid integer"),
    ("--set", "min_per_class=1.5"): ("min_per_class: got 1.5",),
    ("--precision", "fp8"): ("--precision", "fp8", "bf16"),
    ("--device", "tpu"): ("device: got 'tpu'", "cpu"),
    ("--on-bad-row", "ignore"): ("--on-bad-row", "ignore", "skip"),
    ("--resolution", "0"): ("resolution: got 0",),
    ("--no-such-option",): ("--no-such-option",),
    ("--set", "keeep=1"): ("set: got 'keeep'", "Did you mean 'keep'"),
    ("--set", "keep"): ("set: got 'keep'", "--set proxy.epochs=10"),
    ("--set", "keep=["): ("set: got 'keep=['", "YAML"),
    ("--set", "limit=ten"): ("limit: got 'ten'", "integer"),
    ("--set", "seed=[1]"): ("seed: got [1]",),
    ("--set", "resume=perhaps"): ("resume: got 'perhaps'", "boolean"),
    ("--set", "label=3"): ("label: got 3", "string"),
    ("--set", "proxy.epoch=3"): ("proxy.epoch: got 'epoch'", "Did you mean 'epochs'"),
    ("--set", "proxy.lr=fast"): ("proxy.lr: got 'fast'",),
    ("--set", "method_options.beta=1"): ("method_options: got options for 'auto'",),
    ("--config", "missing.yaml"): ("config: cannot read missing.yaml",),
    ("--config", "list.yaml"): ("config: list.yaml holds no options", "keep: 0.5"),
    ("--config", "binary.yaml"): ("config: binary.yaml is not YAML",),
    ("--config", "torn.yaml"): ("config: torn.yaml is not YAML",),
    ("--config", "other.yaml"): ("config other.yaml: got 'kepp'", "Did you mean 'keep'"),
    ("--run", "list.yaml"): ("run: list.yaml is a file", "Name a folder"),
    ("--run", "mine"): ("run: mine is not empty and holds no run",),
    ("--out", "mine"): ("out: mine is a folder", "Name another"),
    ("--out", "list.yaml/kept.parquet"): ("out: list.yaml is a file", "Name a folder"),
    ("--out", "list.yaml"): ("out: list.yaml exists", "--overwrite"),
    ("--export", "mine"): ("export: mine exists", "did not export", "Name another"),
    ("--export", "mine", "--overwrite"): ("export: mine exists", "did not export"),
    ("--export", "k", "--out", "k/k.parquet"): ("out: k/k.parquet is inside k", "--out"),
    ("--export", "k", "--run", "k"): ("run: k is inside k", "--run"),
    ("--export", "list.yaml", "--overwrite"): ("export: list.yaml is a file", "Name a folder"),
    ("--split", "train"): ("split: got 'train'",),
    ("--label", "target"): ("label: got 'target'",),
}  # fmt: skip


@pytest.mark.parametrize("argv", BAD_OPTIONS, ids=" ".join)
def test_bad_options_are_one_sentence_and_nothing_is_trained(
    run: Keepers, argv: tuple[str, ...]
) -> None:
    Path("list.yaml").write_text("- a\n- b\n")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00keep")
    Path("torn.yaml").write_text("keep: [")
    Path("other.yaml").write_text("kepp: 0.5")
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("precious")
    # What the case is about comes from --set alone, where it does.
    common = ("--limit", "150") if not any("limit" in each for each in argv) else ()
    proxy = () if any("proxy" in each for each in argv) else ("--proxy", "logistic")
    _refused(run("coreset", "digits", *common, *proxy, *argv, "--json"), BAD_OPTIONS[argv])
    assert not list(Path().rglob("stages"))
    assert not list(Path().rglob("*.partial"))
    assert Path("list.yaml").read_text() == "- a\n- b\n"
    assert Path("mine/thesis.tex").read_text() == "precious"


def test_a_method_without_scores_does_not_score(run: Keepers) -> None:
    said = run("score", "digits", "--method", "k-center")
    _refused(said, ("method: got 'k-center', which gives no scores", "entropy"))


def test_corrupt_pictures_can_be_skipped(run: Keepers) -> None:
    found = run(
        "coreset", _corrupt_picture(), "--proxy", "logistic", "--epochs", "1",
        "--on-bad-row", "skip", "--json",
    ).json()  # fmt: skip
    assert found["counts"]["skipped"] == 1
    assert found["counts"]["candidates"] == 39


def test_a_run_directory_of_other_data(run: Keepers) -> None:
    assert run(*DIGITS, "--run", "mine").status == 0
    said = run("coreset", _good_file(), "--run", "mine", "--epochs", "1")
    _refused(said, ("run: mine holds a run with data", "Name another --run directory"))


def test_outputs_that_exist_are_refused_before_training_and_replaced_when_told(
    run: Keepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("kept.parquet").write_text("old")
    Path("kept").mkdir()
    Path("kept/old").write_text("old")
    Path("kept/.keepers-export").write_text(json.dumps(["old", ".keepers-export"]))
    with monkeypatch.context() as patched:
        for name in ("cli.running.coreset", "cli.running.score", "experiments.compare"):
            patched.setattr(f"keepers.{name}", _refuse_to_work)
        _refused(run(*DIGITS, "--out", "kept.parquet"), ("kept.parquet exists", "--overwrite"))
        _refused(run(*DIGITS, "--export", "kept"), ("kept exists", "--overwrite"))
        said = run("score", "digits", "--out", "kept.parquet")
        _refused(said, ("kept.parquet exists", "--overwrite"))
        said = run("compare", "digits", "--test", "0.2", "--out", "kept.parquet")
        _refused(said, ("kept.parquet exists", "--overwrite"))
    assert Path("kept.parquet").read_text() == "old"
    said = run(*DIGITS, "--out", "kept.parquet", "--export", "kept", "--overwrite")
    assert said.status == 0, said.err
    assert len(Selection.read_parquet("kept.parquet")) == 75
    assert not Path("kept/old").exists()


def test_outputs_never_go_over_the_data(run: Keepers, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("d").mkdir()
    data, test = (
        str(Path(_good_file()).rename(f"d/{name}")) for name in ("r.parquet", "t.parquet")
    )
    Path("link.parquet").symlink_to(data)
    before = Path(data).read_bytes()
    for name in ("cli.running.coreset", "cli.running.score", "experiments.compare"):
        monkeypatch.setattr(f"keepers.{name}", _refuse_to_work)
    for command in (("coreset", data), ("score", data), ("compare", data, "--test", "0.2")):
        for out in (data, "link.parquet"):
            said = run(*command, "--out", out, "--overwrite")
            _refused(said, (f"out: {out} is the data file d/r.parquet", "another with --out"))
        said = run(command[0], "d", *command[2:], "--out", "d/new.parquet")
        _refused(said, ("out: d/new.parquet lies inside the data d",))
    said = run("compare", data, "--test", test, "--out", test, "--overwrite")
    _refused(said, (f"out: {test} is the data file {test}",))
    for folder in ("d", "."):
        said = run("coreset", data, "--export", folder, "--overwrite")
        _refused(said, (f"export: {folder} contains the data d/r.parquet", "--export"))
    said = run("coreset", "d", "--export", "d/kept")
    _refused(said, ("export: d/kept lies inside the data d",))
    assert Path(data).read_bytes() == before


def _refuse_to_work(*_: Any, **__: Any) -> None:
    raise AssertionError("worked before it looked at its outputs")


# Full disks and Ctrl-C ----------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """The limit of a file's size stands for the disk: checkpoint, table, report.

    A checkpoint is larger than the table, so the table is met in a run that has its proxy already.
    """
    hit = {
        2_000: "checkpoint.safetensors was not written",
        9_000: "run/selection.parquet is as it was",
        30_000: "report.html was not written",
    }
    jobs: list[dict[str, Any]] = []
    for size in hit:
        cwd = tmp_path / str(size)
        cwd.mkdir()
        (cwd / "kept.parquet").write_text("old")
        argv = [*DIGITS, "--run", "run", "--out", "kept.parquet", "--overwrite"]
        common = {"argv": argv, "cwd": str(cwd)}
        full = {**common, "file_size": size, "look": "kept.parquet"}
        before = [*DIGITS, "--keep", "0.3", "--run", "run"] if size == 9_000 else ["--version"]
        jobs += [{**common, "argv": before, "report": False}, full, {**common, "report": False}]
    ended = forked.run(*jobs)
    assert [done.status for done in ended[::3]] == [0, 0, 0]
    for (size, what), full, again in zip(hit.items(), ended[1::3], ended[2::3], strict=True):
        assert full.status == 1, (size, full.stderr)
        assert "Traceback" not in full.stderr, full.stderr
        error = full.stderr.strip().splitlines()[-1]
        assert error.startswith("Error: "), error
        assert what in error
        assert full.stdout == ""
        assert full.looked == "old" or size == 30_000  # the table was written before it
        assert again.status == 0, (size, again.stderr)
        assert len(Selection.read_parquet(tmp_path / str(size) / "kept.parquet")) == 75


def test_ctrl_c_leaves_the_old_file_and_the_same_command_continues(tmp_path: Path) -> None:
    moments = {
        "training": {"at": "keepers.training.checkpoint:save", "call": 2},
        "scoring": {"at": "keepers.workflows.stages:extract"},
        "writing": {"at": "keepers.selection:write_table", "call": 2},
    }
    jobs: list[dict[str, Any]] = []
    for name, at in moments.items():
        cwd = tmp_path / name
        cwd.mkdir()
        (cwd / "kept.parquet").write_text("old")
        argv = [*DIGITS, "--run", "run", "--out", "kept.parquet", "--overwrite"]
        common = {"argv": argv, "cwd": str(cwd), "report": False}
        jobs += [{**common, **at, "signal": signal.SIGINT, "look": "kept.parquet"}, common]
    ended = forked.run(*jobs)
    for name, stopped, again in zip(moments, ended[::2], ended[1::2], strict=True):
        assert stopped.status == 130, (name, stopped.stderr)
        assert "Traceback" not in stopped.stderr
        assert "Interrupted" in stopped.stderr
        assert stopped.stdout == ""
        assert stopped.looked == "old", name
        assert again.status == 0, (name, again.stderr)
        assert not list((tmp_path / name).glob(".*partial"))
