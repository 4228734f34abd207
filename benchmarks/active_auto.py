"""Does a campaign by `auto` fall behind random labels? Accuracy at 200, 500 and 1,000 labels.

Every campaign of one seed begins with the same 100 random labels, and asks for 100 or 200 more in
each round; the default proxy selects, the default target is trained on all that is labelled. Beside
`auto` stands `margin` from the first round on. Each data set has a run directory in FOLDER, so that
a run that is interrupted goes on.

    python benchmarks/active_auto.py run DATA... --folder FOLDER     # sst2 cola foods mails ...
    python benchmarks/active_auto.py summary FOLDER --out docs/results/benchmarks/active-auto.json
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import material
from driver import run_or_summary

import keepers
from keepers.files import write_json

ROOT = Path(os.environ.get("KEEPERS_DATA", "data"))
DATA: dict[str, dict[str, Any]] = {
    "sst2": {"data": ROOT / "sst2/train.parquet", "test": ROOT / "sst2/test.parquet"},
    "imdb": {"data": ROOT / "imdb/train.parquet", "test": ROOT / "imdb/test.parquet"},
    "cola": {"data": ROOT / "cola/train.parquet", "test": ROOT / "cola/validation.parquet"},
    "digits": {"data": "digits", "test": 0.3},
    "mnist": {
        "data": ROOT / "mnist/train.parquet",
        "test": ROOT / "mnist/test.parquet",
        "proxy": "mlp",  # the default networks take too long here
        "target": "mlp",
    },
    **{name: {} for name in ("foods", "mails", "tweets", "churn", "jobs", "loans")},
}
"""See `labelling_rule.py` for the data on which the rule of `auto` was made."""
LIMIT = {"imdb": 5_000, "mnist": 4_000}
ROUNDS, MEASURED = (200, 300, 400, 500, 600, 800, 1000), (200, 500, 1000)


def run(names: list[str], folder: Path, seeds: int) -> None:
    """Simulate campaigns, one data set after the other."""
    for name in names:
        given = {**DATA[name], "limit": LIMIT.get(name)}
        if name in material.CONVERTED:
            given["data"], given["test"] = material.load(name)
        data = given.pop("data")
        found = keepers.simulate(
            data,
            **given,
            methods=("auto", "margin"),
            initial=100,
            rounds=ROUNDS,
            measure=MEASURED,
            seeds=seeds,
            run=folder / name,
            say=print,
        )
        found.to_json(folder / f"{name}.json", overwrite=True)


def summary(folder: Path, out: Path) -> None:
    """The rows of every data set, and what `auto` took in each round."""
    results: dict[str, Any] = {}
    for name in DATA:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        kept = ("method", "k", "errors", "error_mean", "difference")
        results[name] = {
            "pool": result["data"]["n"],
            "proxy": result["config"]["proxy"]["model"],
            "rows": [{key: row[key] for key in kept} for row in result["rows"]],
            "auto": [
                {"seed": each["seed"], "labels": each["k"], **each["taken"]}
                for each in result["auto"]
            ],
        }
        for row in sorted(results[name]["rows"], key=lambda row: (row["k"], row["method"])):
            gap = row["difference"]
            told = f" {100 * gap['mean']:+.2f} ({gap['verdict']})" if gap else ""
            print(f"{name} {row['k']:5d} {row['method']:8s} {100 * row['error_mean']:.2f}{told}")
    write_json(out, results, overwrite=True)


def main() -> None:
    parser, running = run_or_summary(__doc__, DATA, "--folder")
    running.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    if given.command == "run":
        run(given.names, given.folder, given.seeds)
    else:
        summary(given.folder, given.out)


if __name__ == "__main__":
    main()
