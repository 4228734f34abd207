"""Does selecting beat a random part where targets are several labels, or numbers?

    python benchmarks/tasks.py [--data FOLDER] [--out FILE.json] [--seeds 5]

`keepers.compare` as anybody would call it: GoEmotions (28 labels, 6,000 comments drawn at random;
FOLDER holds goemotions/train.tsv), diabetes (442 patients; scikit-learn has it) and the first
problem of Friedman (3,000 rows made by scikit-learn). Errors are 1 less the score: average
precision, R².
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from sklearn.datasets import load_diabetes, make_friedman1

import keepers
from keepers.files import write_json

DATA = os.environ.get("KEEPERS_DATA", "data")
KEEP = [0.1, 0.3, 0.7]


def sets(folder: Path) -> dict[str, tuple[Any, dict[str, Any], list[str]]]:
    """Data, options and methods by name."""
    x, y = load_diabetes(return_X_y=True)
    made, target = make_friedman1(3000, noise=1.0, random_state=0)
    numbers = ["stratified", "facility-location", "loss", "committee", "greedy-sampling", "auto"]
    labels = [
        "stratified",
        "facility-location",
        "loss",
        "label-entropy",
        "label-margin",
        "mmc",
        "auto",
    ]
    return {
        "goemotions": (
            str(folder / "goemotions" / "train.tsv"),
            {"header": "no", "limit": 6000},
            labels,
        ),
        "diabetes": ((x.astype("float32"), y + 0.25), {}, numbers),
        "friedman1": ((made.astype("float32"), target), {}, numbers),
    }


def main() -> None:
    """Compare on each, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(DATA))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    for name, (data, options, methods) in sets(asked.data).items():
        with tempfile.TemporaryDirectory() as run:
            result = keepers.compare(
                data, test=0.3, methods=methods, keep=KEEP, seeds=asked.seeds, run=run, **options
            ).result
        rows = [
            {key: row[key] for key in ("method", "taken", "keep", "k", "errors", "error_mean")}
            | {"difference": row["difference"]}
            for row in result["rows"]
        ]
        found[name] = {"score": result["score"], "n": result["data"]["n"], "rows": rows}
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
