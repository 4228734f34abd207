"""What equal shares and floors of classes cost or bring, for an ordinary model of scikit-learn.

Two questions. `keep`: random rows, the same with a floor (`--min-per-class`), and with equal shares
(`--balance class`). `label`: campaigns by `auto` from 100 random labels to 1,000, with and without
`--balance class`, seed by seed from the same first labels. The rows train TF-IDF and logistic
regression on texts, gradient-boosted trees on numbers; error and mean error of the classes on test
data, which have the classes as they come. Data sets are cut to 6,000 rows, test data to 3,000. One
JSON file for each draw: a run that is interrupted goes on.

    python benchmarks/class_shares.py run DATA... --out FOLDER
    python benchmarks/class_shares.py summary FOLDER --out docs/results/benchmarks/class-shares.json
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from by_default import inputs, load, trained
from driver import run_or_summary

import keepers
from keepers.data import open_source
from keepers.files import write_json
from keepers.statistics import paired_difference

DATA = (
    *("sst2", "digits", "foods", "mails", "tweets", "fortunes", "jobs", "churn", "loans"),
    "goemotions",
)
ROWS, TESTED = 6_000, 3_000
KEPT, KEPT_SEEDS = (100, 300, 1000), 10
VARIANTS: Mapping[str, dict[str, Any]] = {
    "none": {"min_per_class": 0},
    "floor 1": {"min_per_class": 1},
    "floor 10": {"min_per_class": 10},
    "balance": {"balance": "class"},
}
INITIAL, ROUNDS, MEASURED, SEEDS = 100, (200, 300, 400, 500, 600, 800, 1000), (200, 500, 1000), 6


class Judge:
    """Data of a name, and what a model makes of some of its rows."""

    def __init__(self, name: str) -> None:
        train, test = load(name)
        cut = np.random.default_rng(0)
        self.table = train.take(np.sort(cut.permutation(len(train))[:ROWS]))
        self.test = test.take(np.sort(cut.permutation(len(test))[:TESTED]))
        self.x, self.y = inputs(self.table), np.asarray(self.table["label"])
        self.asked, self.truth = inputs(self.test), np.asarray(self.test["label"])

    def __call__(self, rows: npt.NDArray[np.int64], seed: int) -> dict[str, float]:
        rows = np.sort(rows)
        found, counts = np.unique(self.y[rows], return_counts=True)
        said: Any = np.repeat(found, len(self.truth))
        if len(found) > 1:
            said = trained(self.x[rows], self.y[rows], seed)(self.asked)
        wrong = said != self.truth
        by_class = [float(wrong[self.truth == each].mean()) for each in np.unique(self.truth)]
        missing = len(np.unique(self.y)) - len(found)
        fewest = 0 if missing else int(counts.min())
        return {
            "error": float(wrong.mean()),
            "by_class": float(np.mean(by_class)),
            "fewest": fewest,
            "missing": missing,
        }


def keep(judge: Judge, seed: int) -> dict[str, Any]:
    """Random rows by every variant, which draw the same rows first."""
    found: dict[str, Any] = {}
    for k in KEPT:
        for name, options in VARIANTS.items():
            with tempfile.TemporaryDirectory() as run:
                kept = keepers.coreset(
                    judge.table, keep=k, method="random", seed=seed, run=run, **options
                )
            found.setdefault(str(k), {})[name] = judge(np.asarray(kept.indices), seed)
    return found


def label(judge: Judge, seeds: int) -> list[dict[str, Any]]:
    """Campaigns with and without equal shares, by seed; what `auto` took in each round."""
    source = open_source(judge.table)
    row_of = dict(zip(source.ids.tolist(), source.rows.tolist(), strict=True))
    found: list[dict[str, Any]] = [{"auto": {}} for _ in range(seeds)]
    for name in ("none", "balance"):
        balance = "class" if name == "balance" else None
        with tempfile.TemporaryDirectory() as run:
            result = keepers.simulate(
                judge.table,
                test=judge.test,
                balance=balance,
                initial=INITIAL,
                rounds=ROUNDS,
                measure=ROUNDS[-1:],  # the target: not looked at here
                seeds=seeds,
                run=run,
            )
            picks = result.picks.to_pandas()
        for taken in result.result["auto"]:
            found[taken["seed"]]["auto"].setdefault(name, []).append(taken["taken"]["method"])
        for method in ("random", "auto") if balance is None else ("auto",):
            for seed, mine in picks[picks["method"] == method].groupby("seed"):
                ordered = mine.sort_values(["round", "rank"], kind="stable")["id"]
                rows = np.array([row_of[each] for each in ordered])
                for k in MEASURED:
                    here = found[seed].setdefault(str(k), {})
                    here["random" if method == "random" else name] = judge(rows[:k], seed)
    return found


def run(names: Sequence[str], out: Path, parts: Sequence[str]) -> None:
    """Everything that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        for part in parts:
            path = out / f"{part}-{name}.json"
            if path.exists():
                continue
            start, judge = time.process_time(), Judge(name)
            if part == "keep":
                draws = [keep(judge, seed) for seed in range(KEPT_SEEDS)]
            else:
                draws = label(judge, SEEDS)
            shares = np.unique(judge.y, return_counts=True)[1] / len(judge.y)
            about = {"data": name, "rows": len(judge.y), "classes": len(shares)}
            about |= {"smallest": float(shares.min()), "largest": float(shares.max())}
            write_json(path, about | {"part": part, "draws": draws})
            print(path.name, f"{time.process_time() - start:.0f} CPU s", flush=True)


def summary(folder: Path) -> list[dict[str, Any]]:
    """A row for each question, data set, number of rows and variant."""
    rows: list[dict[str, Any]] = []
    for part in ("keep", "label"):
        for name in DATA:
            path = folder / f"{part}-{name}.json"
            if not path.exists():
                continue
            found = json.loads(path.read_text())
            draws = found.pop("draws")
            for k in map(str, KEPT if part == "keep" else MEASURED):
                for variant in draws[0][k]:
                    row = found | {"k": int(k), "variant": variant, "seeds": len(draws)}
                    for fact in ("error", "by_class", "fewest", "missing"):
                        values = [draw[k][variant][fact] for draw in draws]
                        row[fact] = float(np.mean(values))
                        if fact in ("error", "by_class") and variant != "none":
                            plain = [draw[k]["none"][fact] for draw in draws]
                            row[f"{fact}_difference"] = asdict(paired_difference(values, plain))
                    if variant in draws[0].get("auto", ()):
                        taken = [method for draw in draws for method in draw["auto"][variant]]
                        row["selected"] = [sum(m != "random" for m in taken), len(taken)]
                    rows.append(row)
    return rows


def said(row: dict[str, Any]) -> list[str]:
    """The errors of a row in percent, with their differences from none."""
    words: list[str] = []
    for fact in ("error", "by_class"):
        words.append(f"{100 * row[fact]:.1f}")
        if gap := row.get(f"{fact}_difference"):
            mean, low, high = (f"{100 * gap[end]:+.1f}" for end in ("mean", "low", "high"))
            words.append(f"{mean} ({low} to {high})")
    return words


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__, DATA)
    running.add_argument("--parts", nargs="+", choices=("keep", "label"), default=["keep", "label"])
    given = parser.parse_args()
    if given.command == "run":
        run(given.names, given.out, given.parts)
    else:
        found = summary(given.folder)
        for row in found:
            print(*(row[name] for name in ("part", "data", "k", "variant")), *said(row))
        write_json(given.out, {"rows": found}, overwrite=True)
