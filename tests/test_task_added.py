"""A task of another package, installed as such: one module, and one row of entry points."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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


def keepers(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keepers", *words],
        cwd=site,
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
    )


def command(site: Path, *words: str) -> str:
    done = keepers(site, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


DATA = ("graded.parquet", "--task", "ordinal", "--label", "grade")


@pytest.mark.parametrize("method", ["stratified", "gradient-norm", "el2n:0-90%+craig"])
def test_a_core_set(site: Path, tmp_path: Path, method: str) -> None:
    words = ("--keep", "60", "--method", method, "--epochs", "20", "--val", "0.2", "--json")
    out = json.loads(
        command(site, "coreset", *DATA, *words, "--run", str(tmp_path), "--out", f"{method[:4]}.p")
    )
    assert out["kept"] == 60
    kept = pq.read_table(site / f"{method[:4]}.p").to_pydict()
    assert {*kept["label"]} == {*GRADES}
    assert {label for label, there in zip(kept["label"], kept["kept"], strict=True) if there} == {
        *GRADES
    }


def test_losses_and_training(site: Path, tmp_path: Path) -> None:
    losses = str(tmp_path / "il.parquet")
    command(site, "il", *DATA, "--epochs", "20", "--out", losses, "--run", str(tmp_path / "il"))
    words = ("--test", "0.25", "--il", losses, "--select", "rho-loss", "--keep", "0.5")
    run = tmp_path / "run"
    command(site, "train", *DATA, *words, "--epochs", "40", "--run", str(run))
    found = json.loads((run / "train.json").read_text())
    assert found["task"] == "ordinal"
    assert found["score"] == "closeness"
    assert found["accuracy"] > 0.85


def test_what_it_cannot_read_is_said_with_the_column(site: Path) -> None:
    done = keepers(site, "coreset", "graded.parquet", "--task", "ordinal", "--label", "grade,again")
    assert "label: 'grade,again' names several columns, and a grade is one" in done.stderr
    done = keepers(site, "coreset", *DATA[:2], "ordinals", *DATA[3:])
    assert "task: got 'ordinals', which is not known. Did you mean 'ordinal'?" in done.stderr
    done = keepers(site, "coreset", *DATA, "--method", "entropy")
    assert "the targets are grades" in done.stderr
