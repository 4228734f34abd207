"""The notebook runs from top to bottom, and what it shows was made by a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "one-selection.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell: Any) -> str:
    parts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "".join(parts)


def kinds_of(cell: Any) -> set[str]:
    return {kind for o in cell.outputs for kind in o.get("data", {"stream": None})}


def test_the_committed_outputs_are_those_of_one_run_and_small() -> None:
    notebook = read()
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    source = NOTEBOOK.read_text(encoding="utf-8")
    assert len(source) < 100_000
    assert not re.search(r"/(home|tmp|root|work|Users)/|Traceback|\"stderr\"", source)


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    # Where Lightning is installed it imports tqdm, which would have widgets in a notebook.
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")
    notebook = read()
    resources = {"metadata": {"path": str(tmp_path)}}
    return NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources)


def test_the_notebook_runs_and_gives_what_it_shows(executed: NotebookClient) -> None:
    shown = code_cells(read())
    again = code_cells(executed.execute())
    for old, new in zip(shown, again, strict=True):
        assert kinds_of(old) == kinds_of(new), old.source
    (first,) = [cell for cell in again if "say=print" in cell.source]
    assert text_of(first).splitlines()[:3] == [
        "1,198 vectors",
        "10 classes from 'label': 0, 1, 2, 3, 4, 5, …",
        "ids are hashes of the inputs",
    ]
    assert "kept=599 of 1198" in text_of(first)
    (last,) = [cell for cell in again if "range(5)" in cell.source]
    lines = re.findall(r"^(\d+%) (\w+): ([\d.]+)", text_of(last), re.MULTILINE)
    errors = {(keep, name): float(mean) for keep, name, mean in lines}
    assert errors["50%", "entropy"] < errors["50%", "random"]
    assert errors["10%", "entropy"] > errors["10%", "random"]
