from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from keepers import runs
from keepers.errors import KeepersWarning, RunError
from keepers.ledger import Cost, Ledger
from keepers.runs import Run, StageRecord

IDENTITY = {"data": "abc"}
COST = Cost(phase="scoring", seconds=1.5, examples=10, steps=2, flops=3.0)


def write_one(folder: Path) -> StageRecord:
    (folder / "one.txt").write_text("1")
    return StageRecord(facts={"accuracy": 0.5}, costs=(COST,))


def refuse(folder: Path) -> StageRecord:
    raise AssertionError("computed again")


def test_a_finished_stage_is_found_with_its_costs(tmp_path: Path) -> None:
    with Run(tmp_path / "run", IDENTITY) as run:
        first, record = run.stage("proxy", {"seed": 0}, write_one)
    with Run(tmp_path / "run", IDENTITY) as run:
        assert run.finished("proxy", {"seed": 0})
        assert not run.finished("proxy", {"seed": 1})
        again, found = run.stage("proxy", {"seed": 0}, refuse)
    assert first == again
    assert record == found
    assert (again / "one.txt").read_text() == "1"
    assert found.costs == (COST,)


def test_a_stage_that_fails_leaves_no_finished_folder(tmp_path: Path) -> None:
    def fail(folder: Path) -> StageRecord:
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    with Run(tmp_path / "run", IDENTITY) as run, pytest.raises(KeyboardInterrupt):
        run.stage("proxy", 0, fail)
    with Run(tmp_path / "run", IDENTITY) as run:
        assert not run.finished("proxy", 0)

        def resume(folder: Path) -> StageRecord:
            assert (folder / "checkpoint").read_text() == "half"
            return StageRecord()

        run.stage("proxy", 0, resume)
        assert run.finished("proxy", 0)


def test_without_resume_a_stage_is_computed_once_again(tmp_path: Path) -> None:
    with Run(tmp_path / "run", IDENTITY) as run:
        run.stage("proxy", 0, write_one)
    computed: list[Path] = []

    def compute(folder: Path) -> StageRecord:
        assert not list(folder.iterdir())
        computed.append(folder)
        return StageRecord()

    with Run(tmp_path / "run", IDENTITY, resume=False) as run:
        run.stage("proxy", 0, compute)
        run.stage("proxy", 0, compute)
    assert len(computed) == 1


def test_a_result_in_the_place_of_another_one_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    first = {"kind": "compare", "config": {"seeds": 2, "keep": (0.5,)}, "costs": [1.5]}
    with Run(tmp_path / "run", IDENTITY) as run:
        run.leave("compare.json", first, said.append)
        run.leave("compare.json", first | {"costs": [2.5]}, said.append)
        assert not said
        (tmp_path / "run" / "compare.json").write_text("[")  # damaged: there is nothing to compare
        run.leave("compare.json", first, said.append)
        assert not said
        other = first | {"config": {"seeds": 3, "keep": (0.5,)}}
        run.leave("compare.json", other, said.append)
    written = tmp_path / "run" / "compare.json"
    assert json.loads(written.read_text())["config"] == {"seeds": 3, "keep": [0.5]}
    assert said == [
        f"{written} had an earlier result, with config.seeds 2 (now 3); it is replaced. "
        "Use another --run to keep both"
    ]


def test_a_run_directory_of_other_data_is_refused(tmp_path: Path) -> None:
    Run(tmp_path / "run", IDENTITY).close()
    with pytest.raises(RunError, match="data 'abc', but this one has 'def'"):
        Run(tmp_path / "run", {"data": "def"})


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        Run(tmp_path, IDENTITY)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Run(tmp_path / "run", IDENTITY):
        code = f"""
            from pathlib import Path
            from keepers.runs import Run
            Run(Path({str(tmp_path / "run")!r}), {{"data": "abc"}})
        """
        other = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
        )
    assert "in use by another process" in other.stderr
    Run(tmp_path / "run", IDENTITY).close()


def test_the_record_on_disk_names_its_inputs(tmp_path: Path) -> None:
    with Run(tmp_path / "run", IDENTITY) as run:
        folder, _ = run.stage("proxy", {"seed": 3}, write_one)
    note = json.loads((folder / "stage.json").read_text())
    assert note["inputs"] == {"seed": 3}
    assert note["costs"][0]["flops"] == 3.0


def test_ledger_sums_by_phase() -> None:
    ledger = Ledger([COST, COST, Cost(phase="selecting", seconds=1.0)])
    with ledger.phase("reading") as tally:
        tally.examples = 7
    assert [c.phase for c in ledger.by_phase()] == ["scoring", "selecting", "reading"]
    assert ledger.total("scoring").examples == 20
    assert ledger.total().examples == 27


@pytest.mark.parametrize("damage", ["missing", "empty", "other", "no record", "no JSON"])
def test_a_damaged_stage_is_computed_again(tmp_path: Path, damage: str) -> None:
    with Run(tmp_path / "run", IDENTITY) as run:
        folder, _ = run.stage("proxy", 0, write_one)
    if damage == "missing":
        (folder / "one.txt").unlink()
    elif damage in ("empty", "other"):
        (folder / "one.txt").write_text("" if damage == "empty" else "2")
    elif damage == "no record":
        (folder / "stage.json").unlink()
    else:
        (folder / "stage.json").write_text("[]")
    with Run(tmp_path / "run", IDENTITY) as run:
        again, record = run.stage("proxy", 0, write_one)
    assert (again / "one.txt").read_text() == "1"
    assert record.costs == (COST,)


def test_a_stage_found_whole_is_read_once_while_it_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    digest = runs.file_digest  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(runs, "file_digest", lambda path: read.append(path) or digest(path))
    with Run(tmp_path, IDENTITY) as run:
        folder, _ = run.stage("proxy", 0, write_one)
    read.clear()
    for _ in range(2):
        with Run(tmp_path, IDENTITY) as run:
            assert run.finished("proxy", 0)
    assert read == [folder / "one.txt"]
    before = (folder / "one.txt").stat()
    (folder / "one.txt").write_text("2")
    os.utime(folder / "one.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    with (
        Run(tmp_path, IDENTITY) as run,
        pytest.warns(KeepersWarning, match=r"one\.txt is damaged"),
    ):
        assert not run.finished("proxy", 0)


@pytest.mark.parametrize("damage", ["gone", "torn", "flipped"])
def test_a_run_without_its_note_goes_on(tmp_path: Path, damage: str) -> None:
    with Run(tmp_path, IDENTITY) as run:
        run.stage("proxy", 0, write_one)
    note = tmp_path / "run.json"
    whole = note.read_bytes()
    if damage == "gone":
        note.unlink()
    else:
        note.write_bytes(b"{" if damage == "torn" else whole.replace(b'"abc"', b'"abd"'))
    with pytest.warns(KeepersWarning, match="again"), Run(tmp_path, IDENTITY) as run:
        run.stage("proxy", 0, refuse)
    assert note.read_bytes() == whole


def test_a_damaged_note_among_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"race": "10 km"}')
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"run\.json is damaged. Name another directory"):
        Run(tmp_path, IDENTITY)
    assert (tmp_path / "run.json").read_text() == '{"race": "10 km"}'


def test_one_changed_digit_of_a_record_is_noticed(tmp_path: Path) -> None:
    with Run(tmp_path, IDENTITY) as run:
        folder, record = run.stage("proxy", 0, write_one)
    path = folder / "stage.json"
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.6'))
    with (
        pytest.warns(KeepersWarning, match=r"stage\.json is damaged.* computed again"),
        Run(tmp_path, IDENTITY) as run,
    ):
        assert run.stage("proxy", 0, write_one)[1] == record


def test_a_record_of_another_stage_is_not_taken(tmp_path: Path) -> None:
    with Run(tmp_path, IDENTITY) as run:
        first, _ = run.stage("proxy", 0, write_one)
        second, _ = run.stage("proxy", 1, write_one)
    shutil.copy(first / "stage.json", second / "stage.json")
    with Run(tmp_path, IDENTITY) as run, pytest.warns(KeepersWarning, match="to another stage"):
        assert not run.finished("proxy", 1)


def test_what_a_kill_left_is_swept_and_enters_no_stage(tmp_path: Path) -> None:
    Run(tmp_path, IDENTITY).close()

    def killed(folder: Path) -> StageRecord:
        (folder / ".checkpoint.safetensors.x1x2x3x4.partial").write_text("half")
        (folder / "checkpoint.safetensors").write_text("whole")
        raise KeyboardInterrupt

    with Run(tmp_path, IDENTITY) as run, pytest.raises(KeyboardInterrupt):
        run.stage("proxy", 0, killed)
    (tmp_path / ".report.html.x1x2x3x4.partial").write_text("half")
    with Run(tmp_path, IDENTITY) as run:
        folder, _ = run.stage("proxy", 0, write_one)
    assert not list(tmp_path.rglob("*.partial"))
    note = json.loads((folder / "stage.json").read_text())
    assert sorted(note["files"]) == ["checkpoint.safetensors", "one.txt"]


def test_a_run_killed_while_it_wrote_whose_it_is_begins_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.x1.partial").write_text("{")
    Run(tmp_path / "run", IDENTITY).close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        Run(tmp_path / "other", IDENTITY)
