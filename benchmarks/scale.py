"""A whole command on more and more short texts: does its cost grow as its rows do?

    python benchmarks/scale.py [--rows 100000,300000,1000000] [--ways entropy:fasttext,entropy,auto]
                               [--out FILE.json]

N texts of about 150 characters in two classes, drawn from 20,000 words with a fixed seed, written
as Parquet; then `keepers coreset`, in a process of its own on one thread, from start to exit. A way
is a method, and the proxy that is named or, without one, the default. One row in a hundred is
split off, and the proxy's accuracy is that on these. CPU seconds and the largest resident size are
those that the operating system counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from commands import KEEPERS, timed

WORDS, LENGTH, BLOCK = 20_000, 24, 100_000
WAYS = ("entropy:fasttext", "entropy", "auto")


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


def measure(rows: int, way: str) -> dict[str, Any]:
    method, _, proxy = way.partition(":")
    with tempfile.TemporaryDirectory(prefix="keepers-benchmark-") as temporary:
        folder = Path(temporary)
        write_texts(folder / "texts.parquet", rows)
        options = ["--method", method, "--keep", "0.5", "--val", "0.01", "--run", "run", "--json"]
        options += ["--proxy", proxy] if proxy else []
        command = (KEEPERS, "coreset", "texts.parquet", *options)
        measured, stdout = timed(command, threads=1, folder=folder)
    found = json.loads(stdout)
    model = found["proxy"] and found["proxy"]["model"]  # none where nothing was ranked
    proxy = {"proxy": model, "accuracy": found["proxy_validation_accuracy"]}
    phases = {cost["phase"]: round(cost["seconds"], 2) for cost in found["costs"]}
    return {"rows": rows, "way": way, **proxy, **measured, "kept": found["kept"], "phases": phases}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default="100000,300000,1000000", help="separated by commas")
    parser.add_argument("--ways", default=",".join(WAYS), help="METHOD or METHOD:PROXY")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    args = parser.parse_args()
    lines: list[dict[str, Any]] = []
    if args.out and args.out.exists():
        lines = json.loads(args.out.read_text())["lines"]
    for rows, way in product(map(int, args.rows.split(",")), args.ways.split(",")):
        line = measure(rows, way)
        cpu, memory, right = line["cpu_s"], line["peak_mib"], line["accuracy"]
        said = "" if right is None else f"{right:.1%}"
        print(f"{rows:>9,} {way:18} {cpu:8.1f} s CPU {memory:6.0f} MiB {said}", flush=True)
        others = (one for one in lines if (one["rows"], one["way"]) != (rows, way))
        lines = sorted([*others, line], key=lambda one: (one["rows"], one["way"]))
        if args.out:
            args.out.write_text(json.dumps({"threads": 1, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
