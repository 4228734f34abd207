"""The proxy `linear` on few texts: fitted in the span of its rows, and on the words themselves.

    python benchmarks/linear_span.py MORE/texts --out docs/results/benchmarks/linear-span.json

The tasks are those of benchmarks/material_texts.py with texts of ten entries (words and pairs) and
more, and up to 300 classes. `LinearClassifier` settles its regularisation and is fitted, as it is
and with rows left as they are, one after the other in each repeat, on one thread. `ratio` is the
median of CPU seconds on the words by those in the span; `settled` whether both settle on the same
regularisation (where two values are equally likely, the last digits decide); `apart` the share of
other texts, a quarter as many, that get another class.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import CountVectorizer

from keepers.files import write_json
from keepers.models.linear import LinearClassifier
from keepers.models.span import Spanned

LEAST, MOST_CLASSES = 10, 300


def counted(path: Path, rows: int) -> tuple[Any, Any, int] | None:
    """Counts (5/4 of the rows, words and pairs), classes, words; None where there are too few."""
    frame = pd.read_parquet(path).dropna()
    if len(frame) < rows * 5 // 4:
        return None
    frame = frame.sample(rows * 5 // 4, random_state=0)
    counter: Any = CountVectorizer(ngram_range=(1, 2), dtype=np.float32)
    counts = counter.fit_transform(frame.iloc[:, 0].astype(str))
    pairs = np.array([" " in name for name in counter.get_feature_names_out()])
    labels = pd.factorize(frame.iloc[:, 1])[0]
    if counts.nnz < LEAST * len(frame) or len(set(labels)) > MOST_CLASSES:
        return None
    counts = counts[:, np.argsort(pairs, kind="stable")].tocsr()
    counts.sort_indices()
    return counts, labels, int((~pairs).sum())


def _as_they_are(rows: Any, classes: int) -> Spanned:
    return Spanned(rows)


def measure(counts: Any, labels: Any, words: int, rows: int, repeats: int) -> dict[str, Any]:
    linear = importlib.import_module("keepers.models.linear")
    ways = {"words": _as_they_are, "span": linear.spanned}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    said: dict[str, Any] = {}
    settled: dict[str, Any] = {}
    for _ in range(repeats):
        for way, function in ways.items():
            start = time.process_time()
            with patch.object(linear, "spanned", function):
                model = LinearClassifier(words=words).fit(counts[:rows], labels[:rows])
            seconds[way].append(time.process_time() - start)
            said[way], settled[way] = model.predict(counts[rows:]), model.settled
    return {
        "classes": len(set(labels[:rows])),
        "entries": round(counts.nnz / counts.shape[0]),
        "seconds": {way: round(median(took), 3) for way, took in seconds.items()},
        "ratio": round(median(a / b for a, b in zip(*seconds.values(), strict=True)), 2),
        "settled": settled["words"] == settled["span"],
        "apart": round(float((said["words"] != said["span"]).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--rows", default="300,1000,2000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {}
    for rows in map(int, options.rows.split(",")):
        for path in sorted(options.texts.glob("*.parquet")):
            if (given := counted(path, rows)) is None:
                continue
            row = measure(*given, rows, options.repeats)
            found.setdefault(str(rows), {})[path.stem] = row
            print(rows, path.stem, json.dumps(row), flush=True)
    for rows, tasks in found.items():
        ratios = sorted(row["ratio"] for row in tasks.values())
        total = {
            way: sum(row["seconds"][way] for row in tasks.values()) for way in ("words", "span")
        }
        print(f"{rows} rows, {len(tasks)} tasks: {total['words']:.1f} CPU s on the words,", end=" ")
        print(f"{total['span']:.1f} in the span, ratio {ratios[0]} to {ratios[-1]}", end=" ")
        print(f"(median {median(ratios)})")
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
