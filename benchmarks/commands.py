"""Whole commands beside a bare script that does the same work, and how fast keepers starts.

    python benchmarks/commands.py [--data FOLDER] [--repeats 3] [--threads N] [--only NAME]
                                  [--beside SRC] [--out FILE.json]

Every run is a process of its own, with a run directory of its own, from start to exit. In each
repeat the candidates run one after the other, in an order that turns; a ratio is taken within a
repeat and the median over the repeats is shown. Wall and CPU seconds and the largest resident size
are those that the operating system counts for that process. FOLDER holds imdb/train.parquet and
cifar10/train.parquet. This file imports neither torch nor keepers.

With `--beside`, the folder `src` of another checkout, it is the command by its defaults alone
that is held against that of the other, on IMDB and one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
KEEPERS = str(Path(sys.executable).parent / "keepers")
DATA = os.environ.get("KEEPERS_DATA", str(HERE.parent.parent / "shared" / "data"))
PHASES = ("reading", "encoding", "proxy training", "scoring", "selecting", "writing", "the rest")


@dataclass(frozen=True)
class Case:
    """A command, and the bare scripts that it is held against: the first is the one that counts."""

    name: str
    data: str
    options: str
    bare: Mapping[str, tuple[str, ...]]


CASES = (
    Case(
        "imdb",
        "imdb/train.parquet",
        "--method entropy --proxy fasttext",
        {
            "bare script": ("bare_imdb.py",),
            "bare script, scikit-learn hashing": ("bare_imdb.py", "--hashing", "scikit-learn"),
        },
    ),
    Case(
        "cifar10",
        "cifar10/train.parquet",
        "--method entropy --proxy preact8 --resolution 16 --epochs 5 --precision bf16",
        {"bare script": ("bare_cifar10.py",)},
    ),
)
STARTS = {
    "python -c 'import keepers'": (sys.executable, "-c", "import keepers"),
    "keepers --help": (KEEPERS, "--help"),
}


def timed(command: Sequence[str], *, threads: int, folder: Path) -> tuple[dict[str, float], str]:
    """Seconds and memory of one process, and what it wrote on stdout."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            stderr.seek(0)
            status = f"failed with status {child.returncode}: {' '.join(command)}"
            raise SystemExit(f"{status}\n{stderr.read()}")
        stdout.seek(0)
        measured = {
            "wall_s": round(wall, 3),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_mib": round(usage.ru_maxrss / 1024, 1),
        }
        return measured, stdout.read()


def run(case: Case, name: str, data: Path, threads: int) -> dict[str, Any]:
    """One candidate of a case, with its phases in seconds."""
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        folder = Path(temporary)
        source = str((data / case.data).resolve())
        if name == "keepers":
            outputs = ("--run", "run", "--out", "kept.parquet", "--json")
            command = (
                KEEPERS,
                "coreset",
                source,
                "--method",
                "entropy",
                *case.options.split(),
                *outputs,
            )
        else:
            script, *options = case.bare[name]
            command = (sys.executable, str(HERE / script), source, "kept.parquet", *options)
        measured, stdout = timed(command, threads=threads, folder=folder)
    found = json.loads(stdout)
    if name == "keepers":
        phases = {cost["phase"]: cost["seconds"] for cost in found["costs"]}
        accuracy = found["proxy_training_accuracy"]
    else:
        phases, accuracy = found["phases"], found["accuracy"]
    phases = {phase: round(seconds, 3) for phase, seconds in phases.items()}
    phases["the rest"] = round(measured["wall_s"] - sum(phases.values()), 3)
    return {**measured, "kept": found["kept"], "accuracy": round(accuracy, 4), "phases": phases}


def compare(case: Case, data: Path, repeats: int, threads: int) -> dict[str, Any]:
    names = ["keepers", *case.bare]
    load = round(os.getloadavg()[0], 1)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names if repeat % 2 == 0 else names[::-1]:
            runs[name].append(run(case, name, data, threads))
            last = runs[name][-1]
            print(
                f"{case.name:8} {name:34} {last['wall_s']:7.1f} s wall {last['cpu_s']:7.1f} s CPU "
                f"{last['peak_mib']:6.0f} MiB",
                flush=True,
            )
    rows = {name: summary(found) for name, found in runs.items()}
    for name in case.bare:
        for clock in ("wall_s", "cpu_s"):
            pairs = zip(runs["keepers"], runs[name], strict=True)
            ratio = median(own[clock] / other[clock] for own, other in pairs)
            rows[name][f"keepers_ratio_{clock.removesuffix('_s')}"] = round(ratio, 3)
            print(f"{case.name:8} keepers over {name}: {ratio:.2f} by {clock}")
    setting = {"threads": threads, "repeats": repeats, "load_before": load, "keep": 0.5}
    return {**setting, "options": case.options, "rows": rows}


def beside(other: Path, data: Path, repeats: int) -> dict[str, Any]:
    """The command on IMDB by its defaults, with the code of this checkout and of another."""
    path = str((data / CASES[0].data).resolve())
    sides = {"now": HERE.parent / "src", "before": other.resolve()}
    runs: list[dict[str, dict[str, float]]] = []
    for repeat in range(repeats):
        runs.append({})
        for side in list(sides)[:: 1 if repeat % 2 == 0 else -1]:
            os.environ["PYTHONPATH"] = str(sides[side])
            with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as folder:
                start = (sys.executable, "-c", "from keepers.cli import main; main()", "coreset")
                command = (*start, path, "--keep", "0.5", "--run", "run", "--out", "kept.parquet")
                runs[-1][side] = timed(command, threads=1, folder=Path(folder))[0]
            print(f"imdb, defaults, {side:6} {runs[-1][side]}", flush=True)
    found: dict[str, Any] = {
        side: {
            measure: median(run[side][measure] for run in runs)
            for measure in ("wall_s", "cpu_s", "peak_mib")
        }
        for side in sides
    }
    ratio = median(run["now"]["cpu_s"] / run["before"]["cpu_s"] for run in runs)
    return {**found, "cpu_ratio": round(ratio, 3), "runs": runs}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    phases = {
        phase: round(median(run["phases"][phase] for run in runs), 3)
        for phase in PHASES
        if phase in runs[0]["phases"]
    }
    measures = ("wall_s", "cpu_s", "peak_mib", "accuracy")
    middle = {measure: median(run[measure] for run in runs) for measure in measures}
    return {**middle, "kept": runs[0]["kept"], "phases": phases, "runs": runs}


def starts(repeats: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in STARTS.items():
        runs = [timed(command, threads=1, folder=HERE)[0] for _ in range(repeats + 1)][1:]
        found[name] = {
            measure: median(run[measure] for run in runs) for measure in ("wall_s", "cpu_s")
        } | {"peak_mib": median(run["peak_mib"] for run in runs), "runs": len(runs)}
        print(f"{name:28} {found[name]['wall_s']:.3f} s wall {found[name]['cpu_s']:.3f} s CPU")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(DATA), help="folder of the data sets")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=("start", *(case.name for case in CASES)))
    parser.add_argument("--beside", type=Path, help="the folder src of another checkout")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    args = parser.parse_args()
    result: dict[str, Any] = {}
    if (args.only or args.beside) and args.out and args.out.exists():
        result = json.loads(args.out.read_text())

    def note(name: str, found: dict[str, Any]) -> None:
        result[name] = found
        if args.out:
            args.out.write_text(json.dumps(result, indent=1) + "\n")

    if args.beside:
        note("imdb, defaults", beside(args.beside, args.data, args.repeats))
        return
    if args.only in (None, "start"):
        note("start", starts(max(5, args.repeats)))
    for case in CASES:
        if args.only in (None, case.name):
            note(case.name, compare(case, args.data, args.repeats, args.threads))


if __name__ == "__main__":
    main()
