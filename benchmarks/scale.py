"""A whole command on more and more short texts: does its cost grow as its rows do?

    python benchmarks/scale.py [--rows 100000,300000,1000000] [--out FILE.json]

N texts of about 150 characters in two classes, drawn from 20,000 words with a fixed seed, written
as Parquet; then `keepers coreset --method entropy`, in a process of its own on one thread, from
start to exit. CPU seconds and the largest resident size are those that the operating system counts.
1,000,000 rows take ten minutes and 2 GB.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from commands import KEEPERS, timed

WORDS, LENGTH, BLOCK = 20_000, 24, 100_000


def write_texts(path: Path, rows: int) -> None:
    """`rows` texts with their labels, one block of rows after another."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, WORDS)]
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, BLOCK):
            labels = rng.integers(0, 2, min(BLOCK, rows - start))
            # Few words are frequent, as in any language; one in eight tells the class.
            drawn = (WORDS * rng.random((len(labels), LENGTH)) ** 3).astype(np.int64)
            drawn[:, ::8] = drawn[:, ::8] // 2 * 2 + labels[:, None]
            texts = [" ".join(words[word] for word in row) for row in drawn.tolist()]
            writer.write_table(pa.table({"text": texts, "label": labels}, schema=schema))


def measure(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        folder = Path(temporary)
        write_texts(folder / "texts.parquet", rows)
        options = ("--keep", "0.5", "--run", "run", "--json")
        command = (KEEPERS, "coreset", "texts.parquet", "--method", "entropy", *options)
        measured, stdout = timed(command, threads=1, folder=folder)
    found = json.loads(stdout)
    phases = {cost["phase"]: round(cost["seconds"], 2) for cost in found["costs"]}
    accuracy = round(found["proxy_training_accuracy"], 4)
    return {"rows": rows, **measured, "kept": found["kept"], "accuracy": accuracy, "phases": phases}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default="100000,300000,1000000", help="separated by commas")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    args = parser.parse_args()
    lines: list[dict[str, Any]] = []
    if args.out and args.out.exists():
        lines = json.loads(args.out.read_text())["lines"]
    for rows in (int(part) for part in args.rows.split(",")):
        line = measure(rows)
        print(f"{rows:>9,} {line['cpu_s']:8.1f} s CPU {line['peak_mib']:8.0f} MiB", flush=True)
        lines = sorted([*(one for one in lines if one["rows"] != rows), line], key=by_rows)
        if args.out:
            args.out.write_text(json.dumps({"threads": 1, "lines": lines}, indent=1) + "\n")


def by_rows(line: dict[str, Any]) -> int:
    return int(line["rows"])


if __name__ == "__main__":
    main()
