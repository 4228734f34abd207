"""Why modAL chooses several labels worse than at random (its issue 191), and what would not.

    pip install modAL-python
    python benchmarks/modal_labels.py [--data FOLDER] [--out FILE.json] [--seeds 5]

A pool of texts, a logistic regression for each label over TF-IDF, 100 labels at random to begin
with, and batches up to 3,200. `modal:` are the query functions of modAL 0.4.2.1 (they work with
scikit-learn 1.9; its `ActiveLearner.teach` does not); the other methods rank the same predictions
by the formulas of keepers.
`confidence:min` and `confidence:mean` are what modAL's two cite (Esuli and Sebastiani, ECIR 2009):
the confidence in a label is how far its probability is from one half. `labels` is how many labels
the chosen examples have on average. Errors are 1 less the average precision over all pairs.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as csv
import task_data
import torch
from modAL import multilabel  # pyright: ignore[reportMissingImports]
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from keepers import scores
from keepers.experiments.summary import random_of, with_differences
from keepers.files import write_json

DATA = os.environ.get("KEEPERS_DATA", "data")
FIRST = 100
ROUNDS = (200, 400, 800, 1600, 3200)
POOL = 8000
MODAL = ("min_confidence", "avg_confidence", "max_score", "avg_score")
Query = Callable[[Any, Any, int], Any]
"""Of a learner, the pool and a count: places in the pool."""


def goemotions(folder: Path) -> tuple[Any, Any, Any, Any]:
    """Texts and labels of the pool, drawn at random, and of the test."""
    parts: list[Any] = []
    for name in ("train", "test"):
        table = csv.read_csv(
            folder / "goemotions" / f"{name}.tsv",
            read_options=csv.ReadOptions(column_names=["text", "label", "id"]),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(column_types={"label": "string"}),
        )
        texts, labels = np.array(table["text"].to_pylist(), object), table["label"].to_pylist()
        given = [each.split(",") for each in labels]
        if name == "train":
            drawn = np.random.default_rng(0).permutation(len(texts))[:POOL]
            texts, given = texts[drawn], [given[place] for place in drawn]
        parts += [texts, given]
    return parts[0], parts[1], parts[2], parts[3]


def debian(folder: Path) -> tuple[Any, Any, Any, Any]:
    """The same of Debian's packages: a line about each, and its tags."""
    table, _ = task_data.debian(folder)
    drawn = np.random.default_rng(0).permutation(table.num_rows)[: POOL + 4000]
    texts = np.array(table["text"].to_pylist(), object)[drawn]
    every = table["label"].to_pylist()
    given = [every[place] for place in drawn]
    return texts[:POOL], given[:POOL], texts[POOL:], given[POOL:]


def by_modal(name: str) -> Query:
    """One of modAL's."""
    function: Any = getattr(multilabel, name)
    return lambda learner, pool, count: function(learner, pool, n_instances=count)[0]


def by_score(score: Callable[[torch.Tensor], torch.Tensor]) -> Query:
    """The highest scores of the log-odds."""

    def query(learner: Any, pool: Any, count: int) -> Any:
        likely = torch.from_numpy(learner.predict_proba(pool)).double()
        return torch.argsort(score(likely.logit(eps=1e-9)), descending=True)[:count].numpy()

    return query


def methods(draw: np.random.Generator) -> dict[str, Query]:
    """By name."""
    return {
        "random": lambda learner, pool, count: draw.choice(pool.shape[0], count, replace=False),
        **{f"modal:{name}": by_modal(name) for name in MODAL},
        "confidence:min": by_score(scores.label_margin),
        "confidence:mean": by_score(lambda odds: -(2 * odds.sigmoid() - 1).abs().mean(1)),
        "label-entropy": by_score(scores.label_entropy),
        "mmc": by_score(scores.maximal_confidence_loss),
    }


def campaign(
    name: str, seed: int, pool: Any, y: Any, test: Any, truth: Any
) -> list[tuple[int, float, float]]:
    """How many labels there are, the error with them, and labels of an example just chosen."""
    draw = np.random.default_rng(seed)
    first = draw.permutation(pool.shape[0])[:FIRST]  # the same for all methods
    query = methods(np.random.default_rng([seed, 1]))[name]
    chosen, rest = first, np.setdiff1d(np.arange(pool.shape[0]), first)
    learner = OneVsRestClassifier(LogisticRegression(solver="liblinear", C=10))
    learner.fit(pool[chosen], y[chosen])
    found: list[tuple[int, float, float]] = []
    for number in ROUNDS:
        new = rest[query(learner, pool[rest], number - len(chosen))]
        chosen, rest = np.concatenate([chosen, new]), np.setdiff1d(rest, new)
        learner.fit(pool[chosen], y[chosen])
        said = learner.predict_proba(test)
        error = 1 - average_precision_score(truth, said, average="micro")
        found.append((number, float(error), float(y[new].sum(1).mean())))
    return found


def main() -> None:
    """Play campaigns by each method on both sets, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(DATA))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="Label")
    result: dict[str, Any] = {}
    for data, read in (("goemotions", goemotions), ("debian", debian)):
        texts, given, test_texts, test_given = read(asked.data)
        several = MultiLabelBinarizer().fit([*given, *test_given])
        y, truth = several.transform(given), several.transform(test_given)
        words = TfidfVectorizer(min_df=2, sublinear_tf=True)
        pool, test = words.fit_transform(texts), words.transform(test_texts)
        rows: list[dict[str, Any]] = []
        for name in methods(np.random.default_rng(0)):
            played = [campaign(name, seed, pool, y, test, truth) for seed in range(asked.seeds)]
            rows += [
                {
                    "method": name,
                    "k": at[0][0],
                    "errors": [error for _, error, _ in at],
                    "error_mean": float(np.mean([error for _, error, _ in at])),
                    "labels": float(np.mean([labels for *_, labels in at])),
                }
                for at in zip(*played, strict=True)
            ]
        told = with_differences(rows, difference=random_of(rows))
        result[data] = {
            "n": len(texts),
            "test_n": len(test_texts),
            "labels": float(y.sum(1).mean()),
            "names": len(several.classes_),
            "rows": [
                row | {"difference": row["difference"] and vars(row["difference"])} for row in told
            ],
        }
        for row in result[data]["rows"]:
            gap = row["difference"] or {"mean": 0, "verdict": ""}
            print(
                data,
                row["method"],
                row["k"],
                f"{row['error_mean']:.4f} {gap['mean']:+.4f} {row['labels']:.2f}",
                gap["verdict"],
                flush=True,
            )
    if asked.out:
        write_json(asked.out, result, overwrite=True)


if __name__ == "__main__":
    main()
