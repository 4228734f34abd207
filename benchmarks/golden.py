"""Do the commands still say and choose the same? For a change that must not change anything.

    python benchmarks/golden.py record FOLDER [--only NAME ...]    # before, and after
    python benchmarks/golden.py compare BEFORE AFTER

`record` runs every command on small data, one thread, and writes what it printed, its JSON, the
report as text and the rows it chose. `compare` shows what differs. Seconds, operations, paths and
versions are left out; on one machine all else is the same to the bit, but for two results that
depend on time: `uniform-equal-time` of compare-online trains for a number of seconds, and
advise-online measures the cost of a step. This file imports no keepers: the one that `python -m`
finds runs.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TRAINING = "--model mlp --epochs 3 --test 0.2 --evaluate-every 10"
ONLINE = "--test 0.2 --online --target mlp --epochs 3 --il-epochs 2 --seeds 2"
COMPARE = "--test 0.2 --keep 0.2,0.5 --target mlp --target-epochs 3 --seeds 2"
CORESET = "coreset digits --out kept.parquet"

COMMANDS = {
    "coreset-auto": f"{CORESET} --keep 0.2 --limit 600",
    "coreset-entropy": f"{CORESET} --method entropy --epochs 3 --keep 0.3 --val 0.1",
    "coreset-el2n": f"{CORESET} --method el2n --epochs 3 --balance class",
    "coreset-forgetting": f"{CORESET} --method forgetting --epochs 3 --keep 200",
    "coreset-badge": f"{CORESET} --method badge --epochs 2 --keep 100",
    "coreset-k-center": f"{CORESET} --method k-center --epochs 2 --keep 100 --min-per-class 5",
    "coreset-ccs": f"{CORESET} --method ccs --proxy mlp --epochs 2 --keep 0.2",
    "coreset-clean": f"{CORESET} --method confident-learning --keep 0.7",
    "coreset-texts": "coreset texts.csv --out kept.parquet --method margin --keep 0.3",
    "coreset-mixed": "coreset mixed.csv --out kept.parquet --keep 30% --method entropy "
    "--group kind",
    "coreset-unlabelled": "coreset bare.jsonl --out kept.parquet --features v --keep 20",
    "score": "score digits --method margin --epochs 2 --out kept.parquet",
    "il": "il digits --model mlp --epochs 2 --out il.parquet",
    "il-holdout": "il digits --model mlp --epochs 2 --holdout 0.3 --out il.parquet",
    "train-rho": f"train digits {TRAINING} --il-model mlp --il-epochs 2",
    "train-auto": f"train digits {TRAINING} --select auto --il-model mlp --il-epochs 2",
    "train-uniform": f"train digits {TRAINING} --select uniform",
    "train-infobatch": f"train digits {TRAINING} --select infobatch",
    "train-texts": "train texts.csv --test 0.2 --model fasttext --epochs 3 --select loss "
    "--keep 0.5",
    "compare": f"compare digits {COMPARE} --methods entropy,k-center,auto --with-target",
    "compare-noise": f"compare digits {COMPARE} --methods loss --proxy linear --noise 0.2",
    "compare-online": f"compare digits {ONLINE} --methods rho-loss,infobatch --noise 0.1",
    "simulate": "active simulate digits --test 0.2 --methods margin,auto --rounds 60,100 "
    "--initial 30 --target mlp --target-epochs 3 --seeds 2",
    "advise": "advise digits --keep 0.2,0.5",
    "advise-online": "advise digits --online --target mlp --il-model mlp --il-epochs 2",
    "advise-labelling": "advise digits --labelling --budgets 50,100",
    "active-start": "active start pool.csv --campaign c --test tests.csv "
    "--classes good,bad,calm --json",
    "active-query": "active query 30 --campaign c --out batch.csv",
    "active-import": "active import answers.csv --campaign c",
    "active-query-again": "active query 20 --campaign c --out batch.csv --new",
    "active-status": "active status --campaign c --json",
    "active-export": "active export --campaign c --out kept.parquet",
    "methods": "methods",
    "models": "models",
}

UNSTABLE = re.compile(
    r"second|flops|speed|time|version|path|^run$|created|fingerprint|identity|report|written|cost"
)
NUMBER = r"[-+]?[\d][\d.,]*(?:e[-+]?\d+)?"
UNITS = r"s|ms|min|h|CPU|GFLOPs?|MFLOPs?|TFLOPs?|kB|MB|GB|×|x"
IN_WORDS = re.compile(
    rf"(?<=costs ){NUMBER}|(?<=1/){NUMBER}|{NUMBER}(?= ?(?:{UNITS})\b|×)|/[\w/.-]*/[\w.-]+"
)

PASSING = re.compile(
    r' +|[\d-]{10}T[\d:.]{8,15}Z|(?<="campaign": ")\w{16}|(?<="ratio": )[\d.]+'
    r"|(?<=step cost )[\d.]+|(?<=take about )\d+|(?<=^seconds: )[\d.]+"
)
"""What differs between two runs: widths of columns, dates, random names, ratios of times."""


def data(folder: Path) -> None:
    """Small files of texts, of numbers beside texts, and of vectors alone."""
    words = {"good": "fine great nice lovely warm", "bad": "poor dull cold broken sad"}
    words["calm"] = "table chair window door lamp"
    rows: list[list[Any]] = []
    state = 1
    for number in range(360):
        label = list(words)[number % 3]
        text: list[str] = []
        for _ in range(7):
            state = (state * 1103515245 + 12345) % 2**31
            own = words[label if state % 10 < 6 else list(words)[state % 3]].split()
            text.append(own[state // 7 % len(own)])
        rows.append([f"{' '.join(text)} {number}", state % 97 / 7, label, f"k{number % 5}"])
    for name, chosen, columns in (
        ("texts", rows[:240], (0, 2)),
        ("pool", rows[:240], (0,)),
        ("tests", rows[240:], (0, 2)),
        ("mixed", rows[:240], (0, 1, 2, 3)),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            names = ("text", "price", "label", "kind")
            writer.writerow([names[column] for column in columns])
            writer.writerows([row[column] for column in columns] for row in chosen)
    bare = [{"text": row[0], "v": [row[1], place % 11]} for place, row in enumerate(rows[:120])]
    (folder / "bare.jsonl").write_text("\n".join(map(json.dumps, bare)))


def stable(value: Any) -> Any:
    """What of a JSON value is the same in every run."""
    if isinstance(value, dict):
        return {key: stable(each) for key, each in value.items() if not UNSTABLE.search(key)}
    if isinstance(value, list):
        return [stable(each) for each in value]
    return IN_WORDS.sub("#", value) if isinstance(value, str) else value


def record(out: Path, only: list[str]) -> None:
    """Run the commands in `out`/work and write what each left to `out`/NAME.txt."""
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    data(work)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    for name, command in COMMANDS.items():
        if only and not any(name.startswith(each) for each in only):
            continue
        argv = [sys.executable, "-c", "from keepers.cli import main; main()", *command.split()]
        if command.split()[0] not in ("active", "methods", "models", "score", "il") or (
            "simulate" in command
        ):
            argv += ["--run", f"run-{name}", "--no-resume"]
        if "--out" in argv:
            argv.append("--overwrite")
        if name == "active-import":
            answers(work)
        found = subprocess.run(argv, cwd=work, capture_output=True, text=True, env=environment)
        parts = [command, f"exit {found.returncode}", "", IN_WORDS.sub("#", found.stderr)]
        try:
            parts.append(json.dumps(stable(json.loads(found.stdout)), indent=1))
        except ValueError:
            parts.append(IN_WORDS.sub("#", found.stdout))
        for path in sorted((work / f"run-{name}").glob("*.json")):
            read = json.loads(path.read_text())
            parts.append(f"{path.name}: {json.dumps(stable(read), indent=1)}")
        report = work / f"run-{name}" / "report.html"
        if report.exists():
            parts.append(as_text(report.read_text()))
        kept = work / "kept.parquet"
        if kept.exists() and "kept.parquet" in command:
            import pyarrow.parquet as pq

            parts.append(pq.read_table(kept).to_pandas().to_csv(index=False))
            kept.unlink()
        if "batch.csv" in command and not found.returncode:
            parts.append((work / "batch.csv").read_text())
        (out / f"{name}.txt").write_text("\n".join(parts))
        print(name, found.returncode, flush=True)


def as_text(page: str) -> str:
    """The words of a page, a line for each element, without scripts, styles and pictures."""
    page = re.sub(r"(?s)<(script|style|svg).*?</\1>", "", page)
    page = re.sub(r'src="data:[^"]*"', "", page)
    words = re.sub(r"\s*\n\s*", "\n", re.sub("<[^>]+>", "\n", page))
    return IN_WORDS.sub("#", html.unescape(words))


def answers(work: Path) -> None:
    """The labels of a batch, by its texts."""
    with (work / "texts.csv").open() as file:
        known = {row["text"]: row["label"] for row in csv.DictReader(file)}
    with (work / "batch.csv").open() as file:
        rows = [{"id": row["id"], "label": known[row["text"]]} for row in csv.DictReader(file)]
    with (work / "answers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "label"])
        writer.writeheader()
        writer.writerows(rows)


def compare(before: Path, after: Path) -> int:
    """Print what differs; how many files do."""
    different = 0
    for old in sorted(before.glob("*.txt")):
        new = after / old.name
        if not new.exists():
            continue
        one, two = (
            [PASSING.sub(" ", line).rstrip() for line in path.read_text().splitlines()]
            for path in (old, new)
        )
        if one != two:
            different += 1
            print(f"== {old.stem}")
            print("\n".join(list(difflib.unified_diff(one, two, lineterm="", n=1))[2:40]))
    print(f"{different} differ")
    return different


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--only", nargs="*", default=[])
    asked = parser.parse_args()
    if asked.what == "record":
        record(asked.folders[0].resolve(), asked.only)
        return 0
    return min(1, compare(*asked.folders))


if __name__ == "__main__":
    sys.exit(main())
