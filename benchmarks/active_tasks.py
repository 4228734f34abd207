"""Does choosing what to label beat random where targets are several labels, or numbers?

    python benchmarks/active_tasks.py [--data FOLDER] [--out FILE.json] [--seeds 5] [--only NAME]
        [--cold typiclust --methods auto --rounds 2]

`keepers.simulate` as anybody would call it: GoEmotions (28 labels, 8,000 comments drawn at random;
FOLDER holds goemotions/train.tsv and test.tsv), the tags of 6,000 Debian packages (see
`task_data.py`), diabetes (442 patients) and the first problem of Friedman (3,000 rows), both of
scikit-learn, and, where the package ISLP is there, hourly counts of rented bicycles. Errors are 1
less the score: average precision, R². `--cold` takes the first labels as a campaign does, without a
proxy; `--rounds` plays fewer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import task_data
from sklearn.datasets import load_diabetes

import keepers
from keepers.files import write_json

DATA = os.environ.get("KEEPERS_DATA", "data")
LABELS = ["auto", "label-entropy", "label-margin", "mmc", "k-center", "typiclust"]
NUMBERS = ["auto", "committee", "greedy-sampling", "k-center", "typiclust"]
BICYCLES = ["season", "day", "workingday", "temp", "atemp", "hum", "windspeed"]


def bicycles() -> tuple[Any, Any] | None:
    """Weather and hour, and how many bicycles were rented; None where the package is not there."""
    package = importlib.util.find_spec("ISLP")
    if package is None or package.origin is None:
        return None
    table = pyarrow.csv.read_csv(Path(package.origin).parent / "data" / "Bikeshare.csv")
    frame: Any = table.to_pandas()
    hour = frame["hr"].astype(int) / 24 * 2 * np.pi
    rows = np.column_stack([frame[BICYCLES], np.sin(hour), np.cos(hour)]).astype("float32")
    return rows, frame["bikers"].to_numpy("float64") + 0.25


def sets(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Data and options by name."""
    x, y = load_diabetes(return_X_y=True)
    numbers = {"methods": NUMBERS, "test": 0.3, "task": "number"}
    found: dict[str, tuple[Any, dict[str, Any]]] = {
        "diabetes": (
            (x.astype("float32"), y),
            {**numbers, "initial": 20, "rounds": [40, 80, 160]},
        ),
        "goemotions": (
            str(folder / "goemotions" / "train.tsv"),
            {
                "test": str(folder / "goemotions" / "test.tsv"),
                "header": "no",
                "limit": 8000,
                "methods": LABELS,
                "initial": 100,
                "rounds": [200, 400, 800, 1600, 3200],
            },
        ),
    }
    made, drawn = task_data.debian(folder)
    found["debian"] = (
        made,
        {**drawn, "test": 0.3, "methods": LABELS, "initial": 100, "rounds": [200, 400, 800, 1600]},
    )
    few = {"initial": 20, "rounds": [40, 80, 160, 320]}
    found["friedman1"] = (task_data.friedman(folder)[0], {**numbers, **few})
    if (rented := bicycles()) is not None:
        found["bicycles"] = (rented, {**numbers, **few})
    return found


def main() -> None:
    """Play campaigns on each, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(DATA))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--cold", default="random")
    parser.add_argument("--methods", nargs="+", help="in place of the usual ones")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for name, (data, options) in sets(asked.data).items():
        if asked.only not in (None, name):
            continue
        options["rounds"] = options["rounds"][: asked.rounds]
        options |= {"cold": asked.cold, **({"methods": asked.methods} if asked.methods else {})}
        with tempfile.TemporaryDirectory() as run:
            simulation = keepers.simulate(data, seeds=asked.seeds, run=run, **options)
        result = simulation.result
        rows = [
            {key: row[key] for key in ("method", "k", "errors", "error_mean", "difference")}
            for row in result["rows"]
        ]
        data_facts = {key: result["data"][key] for key in ("n", "test_n", "score")}
        found[name] = {**data_facts, "initial": result["initial"], "rows": rows}
        for row in rows:
            gap = row["difference"] or {"mean": 0.0, "low": None, "high": None, "verdict": ""}
            print(
                name, row["method"], row["k"], f"{row['error_mean']:.4f}", *gap.values(), flush=True
            )
    if asked.out:
        write_json(asked.out, json.loads(json.dumps(found)), overwrite=True)


if __name__ == "__main__":
    main()
