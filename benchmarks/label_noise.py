"""How near estimates of the share of wrong labels come to the truth, with noise that is known.

    python benchmarks/label_noise.py [--data DIR] [--seeds N] [--only NAME ...] [--cache DIR]
                                      [--out FILE]

Of each data set 0, 5, 10, 20 and 40% of the labels are changed to another class, drawn uniformly.
A scikit-learn model predicts every example from the four fifths that it does not stand in (5 folds,
stratified). From those predictions and the given labels alone the share of changed labels is
estimated:

- `label_noise`: what keepers says, with its interval of 95%;
- confident joint: the calibrated joint of confident learning (Northcutt, Jiang and Chuang 2021);
- anchors: one less the share of the most confident tenth, of each predicted class, whose prediction
  is the label (after Liu and Tao 2016, Patrini et al. 2017);
- disagreement: the share of all examples whose prediction is not the label.

The truth is the share that was changed. What was wrong before is not counted: MNIST and IMDB are
known for some. The rules of `label_noise` were settled on the others; MNIST was tried once, at the
end. CoLA is the hard case, where no example is easy for a bag of words. Tables came after: what a
linear model cannot predict there, trees can. `both`: by the model that is right more often. With
`--cache` predictions are kept, so that other estimates can be tried. A seed takes three minutes of
one core.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import material
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keepers.data import corrupt_labels
from keepers.scores import label_noise

NOISE = (0.0, 0.05, 0.1, 0.2, 0.4)
Array = npt.NDArray[Any]


def texts(data: Path, name: str, column: str, limit: int | None) -> tuple[Any, Array]:
    table = pq.read_table(next((data / name).glob("train*.parquet")), columns=[column, "label"])
    rows = np.arange(len(table))
    if limit is not None:
        rows = np.sort(np.random.default_rng(0).permutation(len(table))[:limit])
    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    return vectors.fit_transform(table[column].take(rows).to_pylist()), table["label"].to_numpy()[
        rows
    ]


def mnist(data: Path) -> tuple[Any, Array]:
    table = pq.read_table(data / "mnist" / "train.parquet")
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[:5000])
    files = (picture["bytes"] for picture in table["image"].take(rows).to_pylist())
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file))).ravel() for file in files])
    return PCA(50, random_state=0).fit_transform(pixels / 255), table["label"].to_numpy()[rows]


def linear(**given: Any) -> Any:
    return make_pipeline(
        StandardScaler(with_mean=False), LogisticRegression(max_iter=1000, **given)
    )


def table(name: str) -> tuple[Any, Array]:
    """2,000 rows of numbers, and their classes as numbers."""
    rows, labels = material.load(name)[0]
    at = np.sort(np.random.default_rng(0).permutation(len(rows))[:2000])
    return rows[at], np.unique(labels[at], return_inverse=True)[1]


def of_table(name: str) -> tuple[Callable[[Path], tuple[Any, Array]], Models]:
    return (
        lambda _: table(name),
        {"logistic": linear, "forest": lambda: RandomForestClassifier(50, random_state=0)},
    )


Models = dict[str, Callable[[], Any]]
TABLES = ("diamonds", "jobs", "cells", "credit", "churn")
CASES: dict[str, tuple[Callable[[Path], tuple[Any, Array]], Models]] = {
    "digits": (
        lambda _: load_digits(return_X_y=True),
        {
            "logistic": lambda: linear(C=0.1),
            "forest": lambda: RandomForestClassifier(100, random_state=0),
        },
    ),
    "mnist": (
        mnist,
        {"logistic": lambda: linear(C=0.01), "neighbours": lambda: KNeighborsClassifier(20)},
    ),
    "sst2": (
        lambda data: texts(data, "sst2", "sentence", None),
        {"tfidf": lambda: LogisticRegression(C=4, solver="liblinear")},
    ),
    "imdb": (
        lambda data: texts(data, "imdb", "text", 5000),
        {"tfidf": lambda: LogisticRegression(C=4, solver="liblinear")},
    ),
    "cola": (
        lambda data: texts(data, "cola", "sentence", None),
        {"tfidf": lambda: LogisticRegression(C=4, solver="liblinear")},
    ),
    **{name: of_table(name) for name in TABLES},
}


def predictions(
    data: Path, seeds: int, cache: Path | None, names: list[str]
) -> Iterator[dict[str, Any]]:
    """Given labels, which of them were changed, and log-probabilities, for every case."""
    for name in names:
        load, models = CASES[name]
        features, right = load(data)
        for seed in range(seeds):
            for noise in NOISE:
                given, changed = corrupt_labels(
                    torch.from_numpy(np.asarray(right, dtype=np.int64)),
                    int(right.max()) + 1,
                    noise,
                    generator=torch.Generator().manual_seed(seed),
                )
                for model, make in models.items():
                    kept = None if cache is None else cache / f"{name}-{model}-{noise}-{seed}.npy"
                    if kept is not None and kept.exists():
                        probs = np.load(kept)
                    else:
                        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
                        probs = cross_val_predict(
                            make(), features, given.numpy(), cv=folds, method="predict_proba"
                        )
                        if kept is not None:
                            np.save(kept, probs.astype(np.float32))
                    yield {
                        "data": name,
                        "model": model,
                        "noise": noise,
                        "seed": seed,
                        "labels": given,
                        "changed": changed,
                        "log_probs": torch.from_numpy(np.log(np.clip(probs, 1e-12, 1.0))).float(),
                    }


def confident_joint(labels: Array, probs: Array) -> float:
    """What lies off the diagonal of the calibrated joint of confident learning."""
    classes = probs.shape[1]
    thresholds = np.array([probs[labels == c, c].mean() for c in range(classes)])
    over = probs >= thresholds
    some = over.any(1)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[some], np.where(over, probs, -1).argmax(1)[some]), 1)
    joint *= (np.bincount(labels, minlength=classes) / np.maximum(joint.sum(1), 1))[:, None]
    return float(1 - np.trace(joint) / joint.sum())


def anchors(labels: Array, probs: Array, part: float = 0.1) -> float:
    """The share of wrong predictions among the most confident of each class, weighted by class."""
    predicted, ordered = probs.argmax(1), np.sort(probs, 1)
    sure = ordered[:, -1] - ordered[:, -2]
    total = 0.0
    for number in np.unique(predicted):
        here = np.flatnonzero(predicted == number)
        first = here[np.argsort(-sure[here], kind="stable")[: max(1, int(part * len(here)))]]
        total += len(here) * float((labels[first] != number).mean())
    return total / len(labels)


def measure(case: dict[str, Any]) -> dict[str, Any]:
    labels, log_probs = case["labels"], case["log_probs"]
    truth = float(case["changed"].double().mean())
    start = time.process_time()
    found = label_noise(labels, log_probs)
    seconds = time.process_time() - start
    probs = log_probs.double().exp().numpy()
    return {
        **{name: case[name] for name in ("data", "model", "noise", "seed")},
        "truth": truth,
        "rate": found.rate,
        "low": found.low,
        "high": found.high,
        "within": found.low <= truth <= found.high,
        "confident_joint": confident_joint(labels.numpy(), probs),
        "anchors": anchors(labels.numpy(), probs),
        "disagreement": found.disagreement,
        "seconds": seconds,
    }


def better(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of the models of each table, the one that is right more often."""
    cells: dict[tuple[str, float, int], list[dict[str, Any]]] = {}
    for row in rows:
        if row["data"] in TABLES:
            cells.setdefault((row["data"], row["noise"], row["seed"]), []).append(row)
    for group in cells.values():
        yield {**min(group, key=lambda row: row["disagreement"]), "model": "both"}


def shown(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, in percent, as Markdown."""
    lines = [
        "| data, model | wrong | `label_noise` | interval | within | joint | anchors | disagree |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cells: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["data"], row["model"], row["noise"]), []).append(row)
    for (data, model, noise), group in cells.items():
        names = ("rate", "low", "high", "confident_joint", "anchors", "disagreement")
        mean = [f"{100 * np.mean([row[name] for row in group]):.1f}" for name in names]
        cells_of = [
            f"{data}, {model}",
            f"{100 * noise:g}",
            mean[0],
            f"{mean[1]} to {mean[2]}",
            f"{sum(row['within'] for row in group)} of {len(group)}",
            *mean[3:],
        ]
        lines.append(f"| {' | '.join(cells_of)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("KEEPERS_DATA"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.data is None:
        parser.error("name the folder of the data: --data, or KEEPERS_DATA")
    if given.cache is not None:
        given.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for case in predictions(given.data, given.seeds, given.cache, given.only):
        rows.append(measure(case))
        print(json.dumps(rows[-1]), flush=True)
    rows += list(better(rows))
    print(shown(rows))
    counts: dict[str, Any] = {}
    for name, here in (
        ("others", [row for row in rows if row["data"] not in TABLES]),
        *(
            (model, [row for row in rows if (row["data"] in TABLES and row["model"] == model)])
            for model in ("logistic", "forest", "both")
        ),
    ):
        counts[name] = {
            "of": len(here),
            "within": sum(row["within"] for row in here),
            "too_low": sum(row["high"] < row["truth"] for row in here),
            "said_many_of_none": sum(row["low"] > 0.05 and not row["noise"] for row in here),
        }
    print(json.dumps(counts, indent=1))
    if given.out is not None:
        command = f"python benchmarks/label_noise.py --seeds {given.seeds}"
        result = {"command": command, "rows": rows, "counts": counts}
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
