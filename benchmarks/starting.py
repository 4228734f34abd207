"""What a small command costs, beside another checkout of keepers on the same machine.

    python benchmarks/starting.py [--beside SRC] [--pool ROWS] [--repeats 3] [--out FILE.json]

`keepers coreset digits` by its defaults and with `--method entropy`, and a labelling campaign on
1,000 short texts: its first batch of 50, those labels taken in, and its status. Each is a process
of its own on one thread, in a fresh copy of a folder that the same code prepared. `--beside` is the
folder `src` of the other checkout: in every repeat both run one after the other, in an order that
turns, and the median of the ratios is shown.
Seconds are CPU seconds, imports included; the row `import torch` says what of it none avoids.

With `--pool` it is `import`, `status` and the next `query`, which is one at random, on an unchanged
pool of ROWS texts: what they cost more than on 1,000 of them, run in turn.
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
from collections.abc import Mapping, Sequence
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
    "keepers coreset digits": (*KEEPERS, "coreset", "digits"),
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
NEXT = "keepers active query 50, the next"
ON_A_POOL = {
    **{name: COMMANDS[name] for name in ("keepers active import", "keepers active status")},
    NEXT: (*KEEPERS, "active", "query", str(BATCH), "--campaign", "labelled"),
}


def prepare(folder: Path, rows: int = ITEMS, cold: str = "typiclust") -> None:
    """One campaign at three moments: `began`, `asked` and `labelled`."""

    def keepers(*argv: str) -> None:
        subprocess.run((*KEEPERS, "active", *argv), cwd=folder, check=True, capture_output=True)

    write_texts(folder / "texts.parquet", rows)
    texts = pq.read_table(folder / "texts.parquet").to_pydict()
    label_of = dict(zip(texts["text"], texts["label"], strict=True))
    with open(folder / "pool.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in label_of)])
    pool = str(folder / "pool.csv")
    keepers("start", pool, "--classes", "0,1", "--cold", cold, "--campaign", "began")
    keepers("status", "--campaign", "began")  # what is kept of the pool is there from now on
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


def once(command: Sequence[str], source: str, prepared: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        folder = Path(temporary) / "here"
        shutil.copytree(prepared, folder)
        os.environ["PYTHONPATH"] = source
        return timed(command, threads=1, folder=folder)[0]


def measure(
    command: Sequence[str], sides: Mapping[str, tuple[str, Path]], repeats: int
) -> dict[str, Any]:
    """One command on each side: a name, the code that runs there, and the folder it prepared."""
    runs: list[dict[str, dict[str, float]]] = []
    for repeat in range(repeats):
        order = list(sides)[:: 1 if repeat % 2 == 0 else -1]
        runs.append({side: once(command, *sides[side]) for side in order})
    row: dict[str, Any] = {
        side: {key: median(run[side][key] for run in runs) for key in ("cpu_s", "peak_mib")}
        for side in sides
    }
    for side in sides:
        if f"{side}, {ITEMS:,}" in sides:
            small = f"{side}, {ITEMS:,}"
            row[side]["more_s"] = round(
                median(run[side]["cpu_s"] - run[small]["cpu_s"] for run in runs), 3
            )
    if "beside" in sides:
        row["ratio"] = round(
            median(run["ours"]["cpu_s"] / run["beside"]["cpu_s"] for run in runs), 3
        )
    return {**row, "runs": runs}


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as everywhere
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--beside", help="the folder src of another checkout")
    parser.add_argument("--pool", type=int, help="rows of a pool, measured beside one of 1,000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    args = parser.parse_args()
    sources = {"ours": OURS} | ({"beside": args.beside} if args.beside else {})
    sizes = (args.pool, ITEMS) if args.pool else (ITEMS,)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        sides: dict[str, tuple[str, Path]] = {}
        for side, source in sources.items():
            os.environ["PYTHONPATH"] = source
            for items in sizes:
                name = side if items == sizes[0] else f"{side}, {items:,}"
                sides[name] = source, Path(temporary) / name
                sides[name][1].mkdir()
                prepare(sides[name][1], items, "random" if args.pool else "typiclust")
        for name, command in (ON_A_POOL if args.pool else COMMANDS).items():
            rows[name] = measure(command, sides, args.repeats)
            row = rows[name]
            ratio = f"{row['ratio']:.2f} of the other's" if "ratio" in row else ""
            more = "".join(f"  {side} {row[side].get('more_s', '')}" for side in sources)
            print(f"{name:36} {row['ours']['cpu_s']:6.2f} s CPU  {ratio}{more}", flush=True)
            if args.out:
                result = {"repeats": args.repeats, "items": sizes[0], "rows": rows}
                args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
