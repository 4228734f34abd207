"""Do hard-first methods harm less when they read predictions that are out of fold?

A classifier of scikit-learn fits its training texts: what it predicts for them says little of what
is hard. For each data set and seed a training set is drawn, `linear` is fitted on all of it, and
every method chooses once by what that model says of its own training examples, and once by what
models say that were not fitted on them. `linear` is then fitted on each choice and tested. One JSON
file for each draw: a run that is interrupted goes on.

    python benchmarks/out_of_fold.py run DATA... --out FOLDER
    python benchmarks/out_of_fold.py summary FOLDER --out docs/results/benchmarks/out-of-fold.json
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import run_or_summary
from material import TEXTS, opened

from keepers import methods
from keepers.data import Source
from keepers.files import write_json
from keepers.random import generator
from keepers.roles import Role, encode_like, prepare
from keepers.runs import Run
from keepers.statistics import paired_difference
from keepers.training import Hardware, fit_classifier, predict
from keepers.workflows.stages import OUT_OF_FOLD, Training, train
from keepers.workflows.workplace import Workplace

METHODS = ("entropy", "margin", "least-confidence", "loss", "badge", "cluster-margin")
KEEP, SEEDS, LARGEST, TESTED = (0.1, 0.3, 0.5), 5, 5_000, 3_000
DRAWS = 2


def one(source: Source, test: Source, seed: int, place: Workplace) -> dict[str, Any]:
    """Test errors of `linear` on every choice, by `method way keep`, and CPU seconds."""
    _, prepared = prepare(Role(model="linear"), source)
    view = encode_like(prepared, test)
    everything = torch.arange(len(source))
    labels, found = prepared.labels, dict[str, float]()
    start = time.process_time()
    training = Training(
        prepared=prepared,
        source=source,
        members=everything,
        seed=seed,
        wanted=frozenset({"log_probs", "losses", "features"}),
    )
    inside = train(place, training).signals
    between = time.process_time()
    wanted = training.wanted | {OUT_OF_FOLD}
    outside = train(place, replace(training, wanted=wanted)).signals
    seconds = {"in sample": between - start, "out of fold": time.process_time() - start}
    said = outside.get(OUT_OF_FOLD)
    ways = {
        "in sample": inside,
        "out of fold": replace(
            inside, log_probs=said, losses=-said.gather(1, labels[:, None])[:, 0]
        ),
    }

    def error(members: torch.Tensor) -> float:
        assert prepared.classifier is not None
        members = members.sort().values
        fitted = fit_classifier(prepared.classifier, prepared.pool, labels, members, seed=seed)
        at = torch.arange(len(view.pool))
        guessed = predict(fitted, view.pool, at, prepared.info.num_classes).argmax(1)
        return float((guessed != view.labels).double().mean())

    found["everything"] = error(everything)
    for keep in KEEP:
        k = int(keep * len(source) + 0.5)
        draws = [
            error(torch.randperm(len(source), generator=generator(seed, "random", k, draw))[:k])
            for draw in range(DRAWS)
        ]
        found[f"random {keep}"] = float(np.mean(draws))
        for name in METHODS:
            for way, signals in ways.items():
                picks, _ = methods.choose(
                    methods.get(name),
                    [signals],
                    k,
                    generator=generator(seed, name),
                    floor=methods.Floor(labels, 1),
                )
                found[f"{name} {way} {keep}"] = error(picks.positions)
    return {"errors": found, "seconds": seconds}


def run_all(names: Sequence[str], out: Path) -> None:
    """Every draw that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        source, test = opened(name, TESTED)
        for seed in range(SEEDS):
            path = out / f"{name}-{seed}.json"
            if path.exists():
                continue
            few = np.random.default_rng(seed).permutation(len(source))
            part = source.take(few[: min(LARGEST, len(source) * 4 // 5)])
            folder = Path(tempfile.mkdtemp(dir=out))
            try:
                with Run(folder / "run", {"data": part.fingerprint}) as run:
                    place = Workplace(run=run, hardware=Hardware())
                    result = one(part, test, seed, place)
            finally:
                shutil.rmtree(folder)
            about = {"data": name, "n": len(part), "classes": len(part.class_names), "seed": seed}
            path.write_text(json.dumps(about | result), encoding="utf-8")
            print(path.name, f"{time.process_time():.0f} CPU s", flush=True)


def summary(folder: Path) -> dict[str, Any]:
    """Differences from random in points of error, by data set, budget, method and way."""
    draws = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(draw["data"] for draw in draws):
        here = [draw for draw in draws if draw["data"] == name]
        for keep in KEEP:
            by = {
                key: [draw["errors"][f"{key} {keep}"] for draw in here]
                for key in ("random", *(f"{m} {w}" for m in METHODS for w in WAYS))
            }
            for method in METHODS:
                inside, outside = (by[f"{method} {way}"] for way in WAYS)
                rows.append(
                    {"data": name, "n": here[0]["n"], "classes": here[0]["classes"], "keep": keep}
                    | {"method": method, "seeds": len(here), "random": float(np.mean(by["random"]))}
                    | {
                        way: asdict(paired_difference(by[f"{method} {way}"], by["random"]))
                        for way in WAYS
                    }
                    | {"outside_less_inside": asdict(paired_difference(outside, inside))}
                )
    ratio = [draw["seconds"]["out of fold"] / draw["seconds"]["in sample"] for draw in draws]
    return {"rows": rows, "seconds_ratio": float(np.median(ratio))}


WAYS = ("in sample", "out of fold")

if __name__ == "__main__":
    parser, _ = run_or_summary(__doc__, TEXTS)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run_all(arguments.names, arguments.out)
    else:
        write_json(arguments.out, summary(arguments.folder), overwrite=True)
