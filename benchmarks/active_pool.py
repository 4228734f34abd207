"""Seconds and memory of planning batches from a large pool.

    python benchmarks/active_pool.py [--rows N] [--dim D] [--cold NAME] [--neighbours M]
                                     [--out FILE]

A campaign on a Parquet file of N vectors of D numbers in ten groups: start, a batch of 1,000
without labels by `--cold`, a batch of 1,000 by margin and a linear proxy once those are labelled,
and the same again in a campaign that was opened anew. With `--neighbours` it is run twice more,
where only so many neighbours of each labelled example are scored: found by an index (with faiss,
in a pool that is large enough; the share of the exact ones that it finds is told), and exactly.
The phases of a batch are those of planning it and of measuring the proxy: with 100 control labels,
selection is compared with random by ten trainings. Every campaign is a process of its own on one
thread. Seconds are CPU seconds, which other work on the machine changes least; those on the wall
stand in the file, too. Memory is the largest resident size over that after the imports, and what
of it is over the bytes of the vectors. 1,000,000 rows take some minutes, and 20,000 a quarter of
one.
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
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
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


def measure(
    folder: Path, name: str, cold: str, neighbours: int | None, exact: bool
) -> dict[str, Any]:
    """One campaign, in this process: what each step took."""
    import numpy as np
    import torch

    from keepers import Campaign, Vote, ledger
    from keepers.workflows.active import neighbour_index

    torch.set_num_threads(1)
    clock = SimpleNamespace(perf_counter=time.process_time)
    for module in (ledger, import_module("keepers.training.fit")):
        module.time = clock  # type: ignore[attr-defined]
    peak_memory_mib = ledger.peak_memory_mib
    if exact:
        neighbour_index.INDEXED_FROM = sys.maxsize
    labels = np.load(folder / "labels.npy", mmap_mode="r")
    steps: list[dict[str, Any]] = []
    before = peak_memory_mib()
    begun = time.perf_counter(), time.process_time()

    def step(what: str, costs: Any = ()) -> None:
        nonlocal begun
        wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
        phases = {cost["phase"]: round(cost["seconds"], 2) for cost in costs}
        extra = round(peak_memory_mib() - before)
        taken = {"wall_seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)}
        steps.append({"step": what, **taken, "mib": extra, "phases": phases})
        begun = time.perf_counter(), time.process_time()

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
    found = None if neighbours is None or exact else share_found(folder / name, neighbours)
    return {"steps": steps, "share_found": found}


def share_found(campaign: Path, count: int) -> float | None:
    """Of the exact nearest of a thousand examples, the share that the index finds."""
    import numpy as np
    import torch

    from keepers.workflows.active.neighbour_index import Index
    from keepers.workflows.active.neighbours import nearest

    stages = campaign / "work" / "stages"
    folder = next(stages.glob("neighbour-index-*"), None)
    if folder is None:
        return None
    facts = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["facts"]
    index = Index(folder=folder, **facts)
    (features,) = stages.glob("features-*/features.npy")
    near = torch.from_numpy(np.load(features))
    order = torch.randperm(len(near), generator=torch.Generator().manual_seed(0))
    anchors, candidates = order[:BATCH], order[BATCH:].sort().values
    exact = nearest(near, anchors, candidates, count)
    found = nearest(near, anchors, candidates, count, index)
    return round(float(torch.isin(exact, found).double().mean()), 3)


def child(
    folder: Path, name: str, cold: str, neighbours: int | None, exact: bool
) -> dict[str, Any]:
    given = (str(folder), name, cold, str(neighbours or 0), "exact" if exact else "")
    found = subprocess.run(
        [sys.executable, __file__, "--child", *given],
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
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        folder, name, cold, count, exact = given.child
        measured = measure(Path(folder), name, cold, int(count) or None, bool(exact))
        print(json.dumps(measured))
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
        kinds: list[tuple[int | None, bool]] = [(None, False)]
        if given.neighbours:
            kinds += [(given.neighbours, False), (given.neighbours, True)]
        for neighbours, exact in kinds:
            name = f"neighbours-{neighbours or 'all'}{'-exact' if exact else ''}"
            measured = child(folder, name, given.cold, neighbours, exact)
            steps = measured["steps"]
            peak = max(step["mib"] for step in steps)
            found["campaigns"].append(
                {
                    "neighbours": neighbours,
                    "exact": exact,
                    "share_found": measured["share_found"],
                    "peak_mib": peak,
                    "mib_over_the_vectors": round(peak - own),
                    "steps": steps,
                }
            )
            print(f"{name}: peak {peak:,} MiB, vectors {own:,.0f} MiB, {measured['share_found']}")
            for step in steps:
                phases = ", ".join(f"{name} {value:g}" for name, value in step["phases"].items())
                seconds = f"{step['cpu_seconds']:8.2f} s"
                print(f"  {step['step']:26} {seconds} {step['mib']:7,} MiB  {phases}".rstrip())
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


class _Plain(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
