"""Is a pilot right about what selecting does? Truth by whole experiments, against pilots.

For each data set and share of wrong labels: ten times, a training set is drawn, a proxy trained on
all of it, every method chooses at every budget, and two kinds of target are trained on each choice
and on random ones, and tested on test data. Pilots see a training set alone, that of one of the
first draws. One JSON file for each: a run that is interrupted goes on.

    python benchmarks/pilot.py run DATA... --out FOLDER [--examples 6000]    # sst2 imdb digits ...
    python benchmarks/pilot.py summary FOLDER --out docs/results/benchmarks/pilot.json
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import material
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from driver import run_or_summary

from keepers import methods
from keepers.data import Source, corrupt_labels, open_source
from keepers.files import write_json
from keepers.random import generator
from keepers.roles import Prepared, Role, encode_like, prepare
from keepers.runs import Run
from keepers.statistics import paired_difference
from keepers.training import Hardware, fit_classifier, predict
from keepers.types import Pool
from keepers.workflows.judge import Held, Judge
from keepers.workflows.offered import row_for
from keepers.workflows.pilot import Pilot, run_pilot
from keepers.workflows.settling import findings, settle
from keepers.workflows.stages import Training, train
from keepers.workflows.workplace import Workplace

GROUPS = {
    "design": ("sst2", "cola", "digits", "mnist", "cifar10"),
    "first try": ("goemotions", "imdb", "diamonds", "credit", "cells"),
    "untouched": ("churn", "jobs", "loans", "spam-words"),
    "untouched texts": ("tweets",),
}
"""What the rule was chosen on; what it was tried on and made stricter after; what came last."""

NOISE, KEEP, SEEDS, PILOTS = (0.0, 0.2), (0.1, 0.3, 0.5), 10, 3
METHODS = ("stratified", "margin", "facility-location", "confident-learning")
DRAWS = 2
LARGEST, TESTED = 1_200, 2_000
COMMON = (0, 1, 3, 4, 7, 15, 18, 27)
"""The eight emotions of GoEmotions with the most comments."""

ROOT = Path(os.environ.get("KEEPERS_DATA", "data"))


def load(name: str) -> tuple[Any, Any]:
    """Training and test data: frames of texts, or arrays."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order].astype(np.float32), y[order]
        return (x[:1200], y[:1200]), (x[1200:], y[1200:])
    if name in ("mnist", "cifar10"):
        from io import BytesIO

        from PIL import Image

        def pixels(split: str, count: int) -> tuple[Any, Any]:
            table = pq.read_table(ROOT / name / f"{split}.parquet").slice(0, count)
            column = table.column(table.column_names[0]).to_pylist()
            side = 14 if name == "mnist" else 8
            opened = [Image.open(BytesIO(cell["bytes"])) for cell in column]
            rows = [np.asarray(each.resize((side, side), Image.Resampling.BOX)) for each in opened]
            stacked = np.stack(rows).astype(np.float32).reshape(len(rows), -1) / 255
            return stacked, np.asarray(table.column("label"))

        return pixels("train", 2 * LARGEST), pixels("test", TESTED)
    if name == "goemotions":

        def comments(split: str) -> pd.DataFrame:
            frame = pd.read_csv(ROOT / name / f"{split}.tsv", sep="\t", header=None, quoting=3)
            frame = frame[~frame[1].astype(str).str.contains(",")]
            numbers: Any = frame[1].astype(int)
            common = numbers.isin(COMMON)
            return pd.DataFrame({"text": frame[0][common], "label": frame[1][common].astype(str)})

        return comments("train").sample(2 * LARGEST, random_state=0), comments("test")
    if name in material.CONVERTED:
        train, test = material.load(name)
        if isinstance(train, tuple):
            order = np.random.default_rng(0).permutation(len(train[1]))[: 2 * LARGEST]
            return tuple(each[order] for each in train), tuple(each[:TESTED] for each in test)
        few = min(2 * LARGEST, len(train)), min(TESTED, len(test))
        return train.sample(few[0], random_state=0), test.sample(few[1], random_state=0)
    folder = "imdb" if name.startswith("imdb") else name
    splits = ("train", "validation" if name == "cola" else "test")
    tables = [pq.read_table(ROOT / folder / f"{split}.parquet").to_pandas() for split in splits]
    label = "rating" if name == "imdb-rating" else "label"
    text = "text" if folder == "imdb" else "sentence"
    frames = [
        pd.DataFrame({"text": frame[text], "label": frame[label].astype(str)}) for frame in tables
    ]
    few = min(2 * LARGEST, len(frames[0]))
    return (
        frames[0].sample(few, random_state=0),
        frames[1].sample(min(TESTED, len(frames[1])), random_state=0),
    )


def targets(source: Source) -> tuple[str, ...]:
    """The model of the pilot, and one of another kind."""
    other = "naive_bayes:ComplementNB" if source.kind == "text" else "ensemble:ExtraTreesClassifier"
    return ("linear", f"sklearn:sklearn.{other}")


def drawn(source: Source, noise: float, seed: int) -> Source:
    """A training set of this seed: a random half of what there is, with wrong labels."""
    few = min(LARGEST, len(source) * 4 // 5)
    part = source.take(np.random.default_rng(seed).permutation(len(source))[:few])
    assert part.labels is not None
    if not noise:
        return part
    labels, _ = corrupt_labels(
        torch.from_numpy(part.labels),
        len(part.class_names),
        noise,
        generator=generator(seed, "noise"),
    )
    return replace(part, labels=labels.numpy())


def truth(source: Source, test: Source, place: Workplace, seed: int) -> dict[str, Any]:
    """Test errors of every target on every choice, by `target method keep`."""
    roles = [Role(model=name) for name in targets(source)]
    made = [prepare(role, source)[1] for role in roles]
    views = [encode_like(each, test) for each in made]
    proxy = made[0]
    everything = torch.arange(len(source))
    needs = frozenset().union(*(row_for(name, "linear").needs for name in METHODS)) - {"labels"}
    training = Training(
        prepared=proxy, source=source, members=everything, seed=seed, wanted=needs | {"log_probs"}
    )
    signals = train(place, training).signals
    found: dict[str, Any] = {}
    choices: dict[str, list[torch.Tensor]] = {"everything 1.0": [everything]}
    for keep in KEEP:
        k = max(1, int(keep * len(source) + 0.5))
        choices[f"random {keep}"] = [
            torch.randperm(len(source), generator=generator(seed, "random", k, draw))[:k]
            for draw in range(DRAWS)
        ]
        for name in METHODS:
            at = generator(seed, "select", name)
            floor = methods.Floor(proxy.labels, 1)
            row = row_for(name, "linear")
            picks, _ = methods.choose(row, [signals], k, generator=at, floor=floor)
            choices[f"{name} {keep}"] = [picks.positions]
    for role, prepared, view in zip(roles, made, views, strict=True):
        for choice, several in choices.items():
            start = time.process_time()
            errors = [_error(prepared, view.pool, view.labels, part, seed) for part in several]
            seconds = (time.process_time() - start) / len(several)
            found[f"{role.model}|{choice}"] = [float(np.mean(errors)), seconds]
    return found


def _error(prepared: Prepared, pool: Pool, labels: Any, members: torch.Tensor, seed: int) -> float:
    assert prepared.classifier is not None
    fitted = fit_classifier(
        prepared.classifier, prepared.pool, prepared.labels, members.sort().values, seed=seed
    )
    said = predict(fitted, pool, torch.arange(len(pool)), prepared.info.num_classes)
    return float((said.argmax(1) != labels).double().mean())


def pilot(source: Source, place: Workplace, seed: int) -> dict[str, Any]:
    """What a pilot on this training set saw."""
    _, prepared = prepare(Role(model="linear"), source)
    judge = Judge(prepared=prepared, source=source, place=place, seed=seed)
    rows = [row_for(name, "linear") for name in METHODS]
    start = time.process_time()
    seen = run_pilot(judge, rows, KEEP, drawn=False)
    results = {
        f"{name} {keep}": [[each.error, each.loss] for each in held]
        for (name, keep), held in seen.found.items()
    }
    seconds = time.process_time() - start
    return {
        "results": results,
        "seconds": seconds,
        "overlap": seen.overlap,
        "smaller": seen.smaller,
    }


def run_all(names: Sequence[str], out: Path) -> None:
    """Every draw that is not there yet, and the pilots of the first ones."""
    out.mkdir(parents=True, exist_ok=True)
    opened: dict[str, tuple[Source, Source]] = {}
    for name in names:
        train, test = load(name)
        source = open_source(train)
        opened[name] = source, open_source(test, like=source)
    for seed in range(SEEDS):
        for name, noise in product(opened, NOISE):
            source, test = opened[name]
            part = drawn(source, noise, seed)
            about = {"data": name, "n": len(part), "noise": noise, "seed": seed}
            works: dict[str, Callable[[Workplace], dict[str, Any]]] = {
                "truth": partial(truth, part, test, seed=seed)
            }
            if seed < PILOTS:
                works["pilot"] = partial(pilot, part, seed=seed)
            for kind, work in works.items():
                path = out / f"{name}-{noise}-{seed}-{kind}.json"
                if not path.exists():
                    found = _in_a_run(part, out, work)
                    path.write_text(json.dumps({**about, kind: found}), encoding="utf-8")
                    print(path.name, f"{time.process_time():.0f} CPU s", flush=True)


def _in_a_run(
    part: Source, out: Path, work: Callable[[Workplace], dict[str, Any]]
) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(dir=out))
    try:
        with Run(folder / "run", {"data": part.fingerprint}) as run:
            return work(Workplace(run=run, hardware=Hardware()))
    finally:
        shutil.rmtree(folder)


def summary(folder: Path) -> dict[str, Any]:
    """What pilots said against what is true, cell by cell, and what `auto` would have gained."""
    rows: list[dict[str, Any]] = []
    autos: list[dict[str, Any]] = []
    opened: set[str] = set()
    for name, noise in product((name for names in GROUPS.values() for name in names), NOISE):
        draws, seen = (
            [
                json.loads(path.read_text())
                for path in sorted(folder.glob(f"{name}-{noise}-?-{kind}.json"))
            ]
            for kind in ("truth", "pilot")
        )
        if len(draws) < 2:
            continue
        opened.add(name)
        models = sorted({key.partition("|")[0] for key in draws[0]["truth"]})
        pilots = [
            (each["seed"], findings(_as_pilot(each["pilot"]), METHODS, KEEP)) for each in seen
        ]
        for model, keep in product(models, KEEP):
            errors = {
                method: [draw["truth"][f"{model}|{method} {keep}"][0] for draw in draws]
                for method in (*METHODS, "random")
            }
            true = {
                method: paired_difference(errors[method], errors["random"]) for method in METHODS
            }
            for seed, told in pilots:
                cell = {"data": name, "noise": noise, "target": model, "keep": keep, "seed": seed}
                rows += [
                    cell
                    | {"method": found.method, "told": found.told, "seeds": len(draws)}
                    | {
                        "probability": found.probability,
                        "pilot": found.error.mean,
                        "truth": asdict(true[found.method]),
                    }
                    for found in told
                    if found.keep == keep and found.method != "stratified"
                ]
                taken = settle(told, keep)
                method = "stratified" if taken is None else taken.method
                best = min(0.0, *(each.mean for each in true.values()))
                autos.append(
                    cell | {"taken": method, "truth": asdict(true[method]), "hindsight": best}
                )
    counts = {
        group: _counts(*([row for row in some if row["data"] in names] for some in (rows, autos)))
        for group, names in {**GROUPS, "all": tuple(opened)}.items()
    }
    return {"rows": rows, "auto": autos, "counts": counts}


def _read(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


def _as_pilot(seen: dict[str, Any]) -> Pilot:
    found: dict[tuple[str, float], tuple[Held, ...]] = {}
    for key, results in seen["results"].items():
        name, _, keep = key.rpartition(" ")
        found[name, float(keep)] = tuple(Held(error=error, loss=loss) for error, loss in results)
    return Pilot(
        found=found,
        examples=0,
        judged=0,
        overlap=seen["overlap"],
        smaller=seen.get("smaller", False),
        costs=(),
    )


def _counts(rows: Sequence[dict[str, Any]], autos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {"cells": 0}
    clear = [row for row in rows if row["truth"]["low"] > 0 or row["truth"]["high"] < 0]
    answered = [row for row in rows if row["told"] != "cannot tell"]
    gained = sum(-each["truth"]["mean"] for each in autos)
    possible = sum(-each["hindsight"] for each in autos)
    worst = max(autos, key=lambda each: each["truth"]["mean"])
    return {
        "cells": len(rows),
        "clear": len(clear),
        "forced_sign_right": _share(row["pilot"] * row["truth"]["mean"] > 0 for row in clear),
        "answered": len(answered) / len(rows),
        "answered_right": _share(map(_right, answered)),
        "calibration": _calibration(rows),
        "auto_cells": len(autos),
        "auto_gain_of_hindsight": gained / possible if possible else None,
        "auto_worst": worst,
        "auto_below_random": sum(each["truth"]["low"] > 0.005 for each in autos),
    }


def _calibration(rows: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """How often a method is better, by the probability that the pilot stated."""
    found: list[dict[str, float]] = []
    for low, high in pairwise((0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.01)):
        here = [row for row in rows if low <= row["probability"] < high]
        if here:
            stated = float(np.mean([row["probability"] for row in here]))
            better = float(np.mean([row["truth"]["mean"] < 0 for row in here]))
            found.append({"stated": stated, "better": better, "cells": len(here)})
    return found


def _right(row: dict[str, Any]) -> bool:
    truth = row["truth"]
    if row["told"] == "no difference":
        return truth["low"] <= 0.01 and truth["high"] >= -0.01
    return (truth["mean"] < 0) == (row["told"] == "better")


def _share(right: Iterable[bool]) -> float | None:
    found = list(right)
    return sum(found) / len(found) if found else None


if __name__ == "__main__":
    parser, run = run_or_summary(__doc__, [name for names in GROUPS.values() for name in names])
    run.add_argument("--examples", type=int, default=LARGEST, help="of a training set, at most")
    arguments = parser.parse_args()
    if arguments.command == "run":
        LARGEST = arguments.examples
        run_all(arguments.names, arguments.out)
    else:
        found = summary(arguments.folder)
        print(json.dumps(found["counts"], indent=2))
        write_json(arguments.out, found, overwrite=True)
