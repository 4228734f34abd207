"""Does memory grow with the labels that are there, rather than with examples × labels?

    python benchmarks/labels_memory.py [--rows 100000] [--labels 100 1000] [--out FILE.json]

Texts with 3 labels each, of 100 and of 1,000 different ones: as many labels are there in both. For
each number of labels a process of its own reads the file and selects: `reading` opens it,
`stratified` selects without a model, `loss` trains the network `fasttext` for one epoch and scores
every text. The most anonymous memory is noted, beyond that of importing the library (Linux). A
dense table of 0 and 1 in float32 would take 4 bytes × rows × labels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORK = ("reading", "stratified", "loss")
EACH = 3


def make(path: Path, rows: int, labels: int) -> None:
    """Texts whose words hint at their labels, as a Parquet file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(0)
    of = draw.integers(0, labels, (rows, EACH))
    words = draw.integers(0, 5000, (rows, 5))
    text = [
        " ".join([*(f"hint{each}" for each in own), *(f"word{each}" for each in more)])
        for own, more in zip(of.tolist(), words.tolist(), strict=True)
    ]
    names = [[f"label {each}" for each in sorted(set(row))] for row in of.tolist()]
    pq.write_table(pa.table({"text": text, "label": names}), path)


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status says nothing of RssAnon: this needs Linux")


def work(what: str, path: str) -> None:
    """Do it, and print the most memory beyond that before."""
    import keepers
    from keepers.data import open_source
    from keepers.workflows.options.coreset import CoresetOptions

    assert CoresetOptions
    before = most = anonymous()
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.01):
            most = max(most, anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    with tempfile.TemporaryDirectory() as run:
        if what == "reading":
            kept: Any = open_source(path)
        else:
            more: dict[str, Any] = {"proxy": "fasttext", "epochs": 1} if what == "loss" else {}
            kept = keepers.coreset(path, method=what, keep=0.1, run=run, **more)
    over.set()
    thread.join()
    print(json.dumps({"bytes": most - before, "n": len(kept)}))


def main() -> None:
    """Measure each, in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(*asked.work)
        return
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for labels in asked.labels:
            path = Path(folder) / f"{labels}.parquet"
            make(path, asked.rows, labels)
            for what in WORK:
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", __file__, "--work", what, str(path)],
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                size = json.loads(done.stdout.splitlines()[-1])["bytes"]
                dense = 4 * asked.rows * labels
                row = {"work": what, "rows": asked.rows, "labels": labels, "bytes": size}
                found.append({**row, "dense_bytes": dense})
                print(f"{what:12} {labels:5} labels: {size / 1e6:7.0f} MB; dense {dense / 1e6:.0f}")
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
