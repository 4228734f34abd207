"""Do the intervals of `keepers advise --labelling` hold the truth as often as they say?

python benchmarks/labelling_intervals.py --data FOLDER --out FILE [--pilots 40]

The truth is the mean of 60 campaigns, each tested on all that is not in its pool. Pilots, of 1,500
sentences of SST-2 and of 700 digits, are played as keepers.experiments.labelling_pilot plays them,
five folds and twice each, by a logistic regression on features that are made once, and read by its
own `rows_of`. What is written is how often each interval of 95% held the truth, its mean width in
points, and what was said of margin against random.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from keepers.experiments.labelling_pilot import DRAWS, Played, rows_of
from keepers.experiments.summary import ChoiceTrial
from keepers.ledger import Cost
from keepers.workflows.looked_at import FOLDS

METHODS, TRUTHS = ("random", "margin"), 60
NOTHING = Cost(phase="any")


class Data:
    """Features and labels, and campaigns on a part of them."""

    def __init__(self, name: str, folder: Path) -> None:
        if name == "sst2":
            table = pq.read_table(folder / "sst2" / "train.parquet")
            words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
            self.x: Any = words.fit_transform(table["sentence"].to_pylist())
            self.y = np.array(table["label"].to_pylist())
            self.c, self.budgets, self.n = 10.0, (100, 200, 500), 1500
        else:
            self.x, self.y = load_digits(return_X_y=True)
            self.x = self.x / 16
            self.c, self.budgets, self.n = 1.0, (50, 100, 200), 700

    def fitted(self, members: list[int]) -> LogisticRegression:
        model = LogisticRegression(C=self.c, max_iter=200, tol=1e-3)
        return model.fit(self.x[members], self.y[members])

    def errors(self, pool: Any, test: Any, method: str, rng: Any) -> dict[int, float]:
        """Test error by budget of one campaign in a pool."""
        members = [int(place) for place in rng.permutation(pool)[: self.budgets[0] // 2]]
        found: dict[int, float] = {}
        for k in self.budgets:
            rest = np.setdiff1d(pool, members)
            more = k - len(members)
            if method == "random":
                picks = rng.permutation(rest)[:more]
            else:
                probs = np.sort(self.fitted(members).predict_proba(self.x[rest]), 1)
                picks = rest[np.argsort(probs[:, -1] - probs[:, -2])[:more]]
            members += picks.tolist()
            found[k] = 1 - float(self.fitted(members).score(self.x[test], self.y[test]))
        return found


def truth(data: Data) -> dict[tuple[str, int], float]:
    rng, everything = np.random.default_rng(0), np.arange(len(data.y))
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(TRUTHS):
        pool = rng.permutation(everything)[: data.n * (FOLDS - 1) // FOLDS]
        for method in METHODS:
            played = data.errors(pool, np.setdiff1d(everything, pool), method, rng)
            for k, error in played.items():
                found.setdefault((method, k), []).append(error)
    return {cell: float(np.mean(errors)) for cell, errors in found.items()}


def pilot(data: Data, number: int) -> list[dict[str, Any]]:
    """What a pilot on a part of the data says: the rows of its advice."""
    part = np.random.default_rng([1, number]).permutation(len(data.y))[: data.n]
    fold_of, trials = np.arange(data.n) % FOLDS, list[ChoiceTrial]()
    for fold in range(FOLDS):
        pool, held = part[fold_of != fold], part[fold_of == fold]
        for seed in range(fold, FOLDS * DRAWS, FOLDS):
            for method in METHODS:
                rng = np.random.default_rng([2, number, seed])
                for k, error in data.errors(pool, held, method, rng).items():
                    trials.append(
                        ChoiceTrial(
                            method=method,
                            selector=None,
                            keep=k / len(pool),
                            k=k,
                            seed=seed,
                            test_error=error,
                            worst_class_error=error,
                            selection=NOTHING,
                            target=NOTHING,
                        )
                    )
    played = Played(
        trials=tuple(trials),
        taken={},
        rounds={},
        pool=data.n * (FOLDS - 1) // FOLDS,
        seconds=0.0,
    )
    return rows_of(played, data.budgets, data.n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pilots", type=int, default=40)
    given = parser.parse_args()
    table: list[dict[str, Any]] = []
    for name in ("sst2", "digits"):
        data = Data(name, given.data)
        known = truth(data)
        held: dict[tuple[str, int], list[tuple[bool, float]]] = {}
        told: dict[int, Counter[str]] = {}
        for number in range(given.pilots):
            for row in pilot(data, number):
                k, gap = row["k"], known["margin", row["k"]] - known["random", row["k"]]
                if row["method"] == "random":
                    found, right = row["score"], 1 - known["random", k]
                else:
                    found, right = row["difference"], gap
                    told.setdefault(k, Counter())[row["told"]] += 1
                what = "accuracy" if row["method"] == "random" else "margin less random"
                within = found["low"] <= right <= found["high"]
                held.setdefault((what, k), []).append((within, found["high"] - found["low"]))
        table += [
            {
                "data": name,
                "what": what,
                "labels": k,
                "truth": known["margin", k] - known["random", k]
                if what != "accuracy"
                else 1 - known["random", k],
                "held": float(np.mean([within for within, _ in pairs])),
                "width": 100 * float(np.mean([width for _, width in pairs])),
                "told": dict(told[k]) if what != "accuracy" else None,
            }
            for (what, k), pairs in held.items()
        ]
    given.out.write_text(json.dumps({"pilots": given.pilots, "table": table}, indent=1) + "\n")
    for row in table:
        print(row)


if __name__ == "__main__":
    main()
