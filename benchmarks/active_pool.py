"""Seconds and memory of planning batches from a large pool.

    python benchmarks/active_pool.py [--rows N] [--dim D] [--cold NAME] [--neighbours M]
                                     [--out FILE]

A campaign on a Parquet file of N vectors of D numbers in ten groups: start, a batch of 1,000
without labels by `--cold`, a batch of 1,000 by margin and a linear proxy once those are labelled,
and the same again in a campaign that was opened anew. With `--neighbours` it is run once more,
where only so many neighbours of each labelled example are scored. The phases of a batch are those
of planning it and of measuring the proxy: with 100 control labels, selection is compared with
random by ten trainings. Every campaign is a process of its own on one thread; memory is the
largest resident size over that after the imports, and what of it is over the bytes of the
vectors. 1,000,000 rows take some minutes, and 20,000 a quarter of one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLASSES = 10
BATCH = 1000
GROUPED_BY = 0.7
"""Standard deviation of the groups' centres, where that of the points around them is 1."""


def write_pool(folder: Path, rows: int, dim: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, dim)).astype(np.float32) * GROUPED_BY
    labels = rng.integers(0, CLASSES, rows)
    schema = pa.schema([("key", pa.int64()), ("x", pa.list_(pa.float32(), dim))])
    with pq.ParquetWriter(folder / "pool.parquet", schema) as writer:
        for start in range(0, rows, 100_000):
            part = labels[start : start + 100_000]
            noise = rng.standard_normal((len(part), dim), dtype=np.float32)
            values = pa.array((centres[part] + noise).ravel())
            keys = pa.array(np.arange(start, start + len(part)))
            columns = [keys, pa.FixedSizeListArray.from_arrays(values, dim)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    np.save(folder / "labels.npy", labels)


def measure(folder: Path, name: str, cold: str, neighbours: int | None) -> list[dict[str, Any]]:
    """One campaign, in this process: what each step took."""
    import numpy as np
    import torch

    from keepers import Campaign, Vote
    from keepers.ledger import peak_memory_mib

    torch.set_num_threads(1)
    labels = np.load(folder / "labels.npy", mmap_mode="r")
    steps: list[dict[str, Any]] = []
    before = peak_memory_mib()
    begun = time.perf_counter()

    def step(what: str, costs: Any = ()) -> None:
        nonlocal begun
        seconds = time.perf_counter() - begun
        phases = {cost["phase"]: round(cost["seconds"], 2) for cost in costs}
        extra = round(peak_memory_mib() - before)
        steps.append({"step": what, "seconds": round(seconds, 2), "mib": extra, "phases": phases})
        begun = time.perf_counter()

    campaign = Campaign.start(
        folder / "pool.parquet",
        campaign=folder / name,
        classes=[str(number) for number in range(CLASSES)],
        input="x",
        id="key",
        proxy="logistic",
        cold=cold,  # type: ignore[arg-type]
        neighbours=neighbours,
    )
    step("start")
    for what in ("first batch", "second batch", "third batch"):
        if what == "third batch":
            campaign.close()
            campaign = Campaign.open(folder / name)
            step("open")
        batch = campaign.query(BATCH)
        state = campaign.state
        cold_start = what == "first batch"
        step(what, state.rounds[-1].costs if cold_start else state.trained[-1].facts["costs"])
        classes = [str(labels[int(item)]) for item in batch.ids]
        pairs = zip(batch.ids, classes, strict=True)
        campaign.record([Vote(item=item, annotator="oracle", label=name) for item, name in pairs])
        step(f"labels of the {what}")
    return steps


def child(folder: Path, name: str, cold: str, neighbours: int | None) -> list[dict[str, Any]]:
    found = subprocess.run(
        [sys.executable, __file__, "--child", str(folder), name, cold, str(neighbours or 0)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise SystemExit(found.stderr)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--cold", default="random")
    parser.add_argument("--neighbours", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        folder, name, cold, count = given.child
        print(json.dumps(measure(Path(folder), name, cold, int(count) or None)))
        return
    own = given.rows * given.dim * 4 / 2**20
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": 1,
        "load_before": os.getloadavg()[0],
        "rows": given.rows,
        "dim": given.dim,
        "batch": BATCH,
        "cold": given.cold,
        "mib_of_the_vectors": round(own),
        "campaigns": [],
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pool(folder, given.rows, given.dim)
        for neighbours in (None, given.neighbours) if given.neighbours else (None,):
            name = f"neighbours-{neighbours or 'all'}"
            steps = child(folder, name, given.cold, neighbours)
            peak = max(step["mib"] for step in steps)
            found["campaigns"].append(
                {
                    "neighbours": neighbours,
                    "peak_mib": peak,
                    "mib_over_the_vectors": round(peak - own),
                    "steps": steps,
                }
            )
            print(f"neighbours {neighbours or 'all'}: peak {peak:,} MiB, vectors {own:,.0f} MiB")
            for step in steps:
                phases = ", ".join(f"{name} {value:g}" for name, value in step["phases"].items())
                line = f"{step['step']:26} {step['seconds']:8.2f} s {step['mib']:7,} MiB  {phases}"
                print(f"  {line.rstrip()}")
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


class _Plain(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
