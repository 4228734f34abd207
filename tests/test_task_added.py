"""A task of another package, installed as such: one module, and one row of entry points."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands import Keepers
from keepers.tasks import kinds

N = 200
GRADES = ("1 poor", "2 fair", "3 good", "4 best")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package `ordinal`, as pip leaves one, and data for it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).parent / "ordinal.py", folder / "ordinal.py")
    about = folder / "ordinal-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ordinal\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[keepers.tasks]\nordinal = ordinal:Ordinal\n")
    at = np.random.default_rng(0)
    x = at.normal(size=(N, 4)).astype(np.float32)
    grade = np.digitize(x[:, 0] + 0.2 * at.normal(size=N), (-0.7, 0.2, 0.9))
    names = [GRADES[each] for each in grade]
    table = pa.table({"x": list(x), "grade": names, "again": names})
    pq.write_table(table, folder / "graded.parquet")
    return folder


@pytest.fixture(autouse=True)
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is found as long as a test runs."""
    monkeypatch.syspath_prepend(site)
    kinds.cache_clear()
    yield
    kinds.cache_clear()
    sys.modules.pop("ordinal", None)


def data(site: Path) -> tuple[str, ...]:
    return (str(site / "graded.parquet"), "--task", "ordinal", "--label", "grade")


@pytest.mark.parametrize("method", ["stratified", "gradient-norm", "el2n:0-90%+craig"])
def test_a_core_set(run: Keepers, site: Path, method: str) -> None:
    words = ("--keep", "60", "--method", method, "--epochs", "20", "--val", "0.2", "--json")
    done = run("coreset", *data(site), *words, "--out", "kept.parquet")
    assert done.status == 0, done.err
    assert json.loads(done.out)["kept"] == 60
    kept = pq.read_table("kept.parquet").to_pydict()
    assert {*kept["label"]} == {*GRADES}
    assert {label for label, there in zip(kept["label"], kept["kept"], strict=True) if there} == {
        *GRADES
    }


def test_losses_and_training(run: Keepers, site: Path) -> None:
    done = run("il", *data(site), "--epochs", "20", "--out", "losses.parquet")
    assert done.status == 0, done.err
    words = ("--il", "losses.parquet", "--select", "rho-loss", "--keep", "0.5", "--test", "0.25")
    done = run("train", *data(site), *words, "--epochs", "40", "--run", "run")
    assert done.status == 0, done.err
    found = json.loads(Path("run/train.json").read_text())
    assert found["task"] == "ordinal"
    assert found["score"] == "closeness"
    assert found["accuracy"] > 0.85


def test_what_it_cannot_read_is_said_with_the_column(run: Keepers, site: Path) -> None:
    where, *_ = data(site)
    done = run("coreset", where, "--task", "ordinal", "--label", "grade,again")
    assert "label: 'grade,again' names several columns, and a grade is one" in done.err
    done = run("coreset", where, "--task", "ordinals", "--label", "grade")
    assert "task: got 'ordinals', which is not known. Did you mean 'ordinal'?" in done.err
    (site / "some.jsonl").write_text('{"text": "a", "grade": "good"}\n{"text": "b", "grade": null}')
    words = ("--task", "ordinal", "--label", "grade", "--on-bad-row", "skip")
    done = run("coreset", site / "some.jsonl", *words)
    assert "1 of 2 rows have no label in 'grade' (row 1). Label them, or remove those" in done.err
    done = run("coreset", *data(site), "--method", "entropy")
    assert "the targets are grades" in done.err


def test_it_is_found_by_a_process_of_its_own(site: Path) -> None:
    """The package is installed as pip installs one, not by this test's own means."""
    path = f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    code = "from keepers.tasks import kinds; print(kinds()['ordinal'].plural)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "grades\n", done.stderr
