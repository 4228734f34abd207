"""What a small command costs, beside another checkout of keepers on the same machine.

    python benchmarks/starting.py [--beside SRC] [--repeats 3] [--out FILE.json]

`keepers coreset digits --method entropy`, and a labelling campaign on 1,000 short texts: its first
batch of 50, those labels taken in, and its status. Each is a process of its own on one thread, in a
fresh copy of a folder that the same code prepared. `--beside` is the folder `src` of the other
checkout: in every repeat both run one after the other, in an order that turns, and the median of
the ratios is shown.
Seconds are CPU seconds, imports included; the row `import torch` says what of it none avoids.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
from scale import write_texts

from commands import HERE, timed

OURS = str(HERE.parent / "src")
KEEPERS = (sys.executable, "-c", "from keepers.cli import main; main()")
ITEMS, BATCH = 1000, 50
COMMANDS = {
    "import torch": (sys.executable, "-c", "import torch"),
    "keepers coreset digits --method entropy": (
        *KEEPERS,
        "coreset",
        "digits",
        "--method",
        "entropy",
    ),
    "keepers active query 50": (*KEEPERS, "active", "query", str(BATCH), "--campaign", "began"),
    "keepers active import": (*KEEPERS, "active", "import", "labels.csv", "--campaign", "asked"),
    "keepers active status": (*KEEPERS, "active", "status", "--campaign", "labelled"),
}


def prepare(folder: Path) -> None:
    """One campaign at three moments: `began`, `asked` and `labelled`."""

    def keepers(*argv: str) -> None:
        subprocess.run((*KEEPERS, "active", *argv), cwd=folder, check=True, capture_output=True)

    write_texts(folder / "texts.parquet", ITEMS)
    texts = pq.read_table(folder / "texts.parquet").to_pylist()
    label_of = {row["text"]: row["label"] for row in texts}
    with open(folder / "pool.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in label_of)])
    pool = str(folder / "pool.csv")
    keepers("start", pool, "--classes", "0,1", "--campaign", "began")
    shutil.copytree(folder / "began", folder / "asked")
    keepers("query", str(BATCH), "--campaign", "asked", "--out", "batch.csv")
    with open(folder / "batch.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "label": label_of[row["text"]]} for row in rows)
    shutil.copytree(folder / "asked", folder / "labelled")
    keepers("import", "labels.csv", "--campaign", "labelled")


def once(name: str, source: str, prepared: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        folder = Path(temporary) / "here"
        shutil.copytree(prepared, folder)
        os.environ["PYTHONPATH"] = source
        return timed(COMMANDS[name], threads=1, folder=folder)[0]


def measure(
    name: str, sides: Mapping[str, str], repeats: int, prepared: Mapping[str, Path]
) -> dict[str, Any]:
    runs: list[dict[str, dict[str, float]]] = []
    for repeat in range(repeats):
        order = list(sides)[:: 1 if repeat % 2 == 0 else -1]
        runs.append({side: once(name, sides[side], prepared[side]) for side in order})
    row: dict[str, Any] = {
        side: {key: median(run[side][key] for run in runs) for key in ("cpu_s", "peak_mib")}
        for side in sides
    }
    if "beside" in sides:
        row["ratio"] = round(
            median(run["ours"]["cpu_s"] / run["beside"]["cpu_s"] for run in runs), 3
        )
    return {**row, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--beside", help="the folder src of another checkout")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    args = parser.parse_args()
    sides = {"ours": OURS} | ({"beside": args.beside} if args.beside else {})
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        prepared = {side: Path(temporary) / side for side in sides}
        for side, source in sides.items():
            os.environ["PYTHONPATH"] = source
            prepared[side].mkdir()
            prepare(prepared[side])
        for name in COMMANDS:
            rows[name] = measure(name, sides, args.repeats, prepared)
            row = rows[name]
            ratio = f"{row['ratio']:.2f} of the other's" if "ratio" in row else ""
            print(f"{name:36} {row['ours']['cpu_s']:6.2f} s CPU  {ratio}", flush=True)
            if args.out:
                result = {"repeats": args.repeats, "items": ITEMS, "rows": rows}
                args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
