"""Does `keepers coreset --shards --method auto` do harm? Its part against that of one file.

Five times, 3,000 training examples (or four fifths, where there are fewer) are drawn, some of their
labels made wrong, and written twice: as seven Parquet files of uneven size, and as one. `auto`
chooses from the shards and from the file, `margin` from the shards, and another model than any of
the proxies is trained on each part, on three random parts of the same size, and tested on clean
data. One JSON file for each; a run that is interrupted goes on.

    python benchmarks/auto_shards.py run digits diamonds sst2 tweets spam-words cells --out FOLDER
    python benchmarks/auto_shards.py summary FOLDER --out docs/results/benchmarks/auto-shards.json
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from by_default import inputs, load, trained
from driver import run_or_summary

import keepers
from keepers.data import corrupt_labels
from keepers.files import write_json
from keepers.random import generator
from keepers.statistics import paired_difference

DATA = ("digits", "diamonds", "sst2", "tweets", "spam-words", "cells")
SEEDS, RANDOM, SHARDS, EXAMPLES, TESTED = 5, 3, 7, 3_000, 4_000
KEEP, NOISE = (0.1, 0.4), (0.0, 0.2)
ARMS = ("shards", "file", "margin")


def drawn(name: str, noise: float, seed: int) -> tuple[pa.Table, pa.Table]:
    """Training data of this seed, some labels wrong, with keys; and test data."""
    train, test = load(name)
    rng = np.random.default_rng(seed)
    few = min(EXAMPLES, len(train) * 4 // 5)
    train = train.take(np.sort(rng.permutation(len(train))[:few]))
    names, codes = np.unique(np.asarray(train["label"]), return_inverse=True)
    if noise:
        at = generator(seed, "noise")
        codes, _ = corrupt_labels(torch.from_numpy(codes), len(names), noise, generator=at)
        codes = codes.numpy()
    train = train.set_column(train.column_names.index("label"), "label", pa.array(names[codes]))
    test = test.take(np.sort(np.random.default_rng(0).permutation(len(test))[:TESTED]))
    return train.append_column("key", pa.array(np.arange(few))), test


def draw(name: str, noise: float, seed: int) -> dict[str, Any]:
    """The test errors of one draw, by what is kept and who chose it."""
    train, test = drawn(name, noise, seed)
    x, y = inputs(train.drop_columns(["key"])), np.asarray(train["label"])
    asked, truth = inputs(test), np.asarray(test["label"])
    rng = np.random.default_rng([seed, 1])

    def error(rows: npt.NDArray[np.int64]) -> float:
        rows = np.sort(rows)
        return float(np.mean(trained(x[rows], y[rows], seed)(asked) != truth))

    found: dict[str, Any] = {"examples": len(train), "everything": error(np.arange(len(train)))}
    with tempfile.TemporaryDirectory() as place:
        folder, file = Path(place) / "pool", Path(place) / "all.parquet"
        folder.mkdir()
        ends = np.sort(rng.integers(0, len(train) + 1, SHARDS - 1))
        for number, rows in enumerate(np.split(rng.permutation(len(train)), ends)):
            pq.write_table(train.take(rows), folder / f"part-{number}.parquet")
        pq.write_table(train, file)
        for keep in KEEP:
            kept, said = chosen(folder, file, keep, seed)
            k = len(kept["shards"])
            parts = [rng.permutation(len(train))[:k] for _ in range(RANDOM)]
            errors: dict[str, Any] = {arm: error(rows) for arm, rows in kept.items()}
            found[str(keep)] = errors | said | {"random": [error(part) for part in parts]}
    return found


def chosen(
    folder: Path, file: Path, keep: float, seed: int
) -> tuple[dict[str, npt.NDArray[np.int64]], dict[str, Any]]:
    """The rows that each arm keeps; what `auto` took in the end, and the CPU seconds of each."""
    same: dict[str, Any] = {"keep": keep, "id": "key", "seed": seed}
    kept: dict[str, npt.NDArray[np.int64]] = {}
    taken: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for arm in ARMS:
        start = time.process_time()
        method, run = "margin" if arm == "margin" else "auto", folder.parent / f"{arm}-{keep}"
        if arm == "file":
            picked: Any = keepers.coreset(file, method=method, run=run, **same)
            taken[arm] = picked.metadata["auto"]["taken"]
        else:
            picked = keepers.coreset_shards(folder, method=method, run=run, **same)
            taken[arm] = picked.metadata["method"]
        kept[arm] = np.array(picked.ids)
        seconds[arm] = time.process_time() - start
    return kept, {"taken": taken, "cpu_s": seconds}


def run(names: list[str], folder: Path) -> None:
    """All draws that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for seed, name, noise in product(range(SEEDS), names, NOISE):
        file = folder / f"{name}-{noise}-{seed}.json"
        if not file.exists():
            start = time.perf_counter()
            write_json(file, draw(name, noise, seed))
            print(f"{file.name}: {time.perf_counter() - start:.0f} s", flush=True)


def summary(folder: Path) -> list[dict[str, Any]]:
    """A row for each data set, share of wrong labels and part kept."""
    rows: list[dict[str, Any]] = []
    for name, noise in product(DATA, NOISE):
        files = sorted(folder.glob(f"{name}-{noise}-?.json"))
        draws = [json.loads(file.read_text()) for file in files]
        if len(draws) < 2:
            continue
        for keep in map(str, KEEP):
            here = [each[keep] for each in draws]
            random = [float(np.mean(each["random"])) for each in here]
            errors = {arm: [each[arm] for each in here] for arm in ARMS}
            rows.append(
                {
                    "data": name,
                    "wrong": noise,
                    "keep": float(keep),
                    "examples": draws[0]["examples"],
                    "everything": float(np.mean([each["everything"] for each in draws])),
                    "random": float(np.mean(random)),
                    **{arm: float(np.mean(values)) for arm, values in errors.items()},
                    "taken": {
                        arm: [each["taken"][arm] for each in here] for arm in ("shards", "file")
                    },
                    "differences": {
                        arm: asdict(paired_difference(values, random))
                        for arm, values in errors.items()
                    }
                    | {
                        "shards - file": asdict(paired_difference(errors["shards"], errors["file"]))
                    },
                    "draws": here,
                }
            )
    return rows


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__, DATA)
    given = parser.parse_args()
    if given.command == "run":
        run(given.names, given.out)
    else:
        write_json(given.out, {"rows": summary(given.folder)}, overwrite=True)
