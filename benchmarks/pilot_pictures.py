"""Is a pilot right about pictures that a network is trained on? Truth by whole experiments.

For each data set and share of wrong labels: four times, 2,000 pictures are drawn, a residual
network chooses by every method at every budget, another network is trained on each choice and on
random ones, and tested on pictures that nothing else saw. Of each draw there is a pilot, alone and
with the second look of `auto`; and, of the first draw, with one by two small networks. One JSON
file for each draw: a run that is interrupted goes on.

    python benchmarks/pilot_pictures.py run mnist cifar10 --out FOLDER
    python benchmarks/pilot_pictures.py summary FOLDER --out pilot-pictures.json
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pilot as whole
import torch
from driver import run_or_summary

from keepers import methods
from keepers.data import Source, corrupt_labels, open_source
from keepers.files import write_json
from keepers.random import generator
from keepers.roles import Role, prepare
from keepers.statistics import paired_difference
from keepers.workflows.judge import Judge, mean_error
from keepers.workflows.offered import row_for
from keepers.workflows.pilot import run_pilot
from keepers.workflows.second_look import looked_at_again, second_look
from keepers.workflows.settling import findings, settle
from keepers.workflows.stages import Training, train
from keepers.workflows.workplace import Workplace

SETS, NOISE, KEEP, DRAWS, TRIED = ("mnist", "cifar10"), (0.0, 0.2), (0.1, 0.3), 4, 1
LARGEST, TESTED, AT_RANDOM, SIDE = 2_000, 2_000, 2, 16
METHODS = whole.METHODS
PROXY = Role(model="preact8", options={"width": 0.5}, resolution=SIDE, batch_size=32, min_steps=300)
TARGET = Role(
    model="small-cnn", options={"width": 0.5}, resolution=24, batch_size=32, min_steps=400
)
NETWORKS = {
    "a small network": Role(
        model="small-cnn", options={"width": 0.5}, resolution=SIDE, batch_size=32, min_steps=300
    ),
    "a residual network": Role(
        model="preact8", options={"width": 0.5}, resolution=SIDE, batch_size=32, min_steps=300
    ),
}


def pictures(name: str, seed: int, noise: float) -> Source:
    """`LARGEST` pictures to choose from, some labels wrong, and `TESTED` others, at the end."""
    source = open_source(whole.ROOT / name / "train.parquet")
    drawn = np.random.default_rng(seed).permutation(len(source))[: LARGEST + TESTED]
    part = source.take(drawn)
    assert part.labels is not None
    at = generator(seed, "noise")
    given = torch.from_numpy(part.labels)
    wrong, _ = corrupt_labels(given[:LARGEST], len(part.class_names), noise, generator=at)
    return replace(part, labels=torch.cat([wrong, given[LARGEST:]]).numpy())


def truth(source: Source, place: Workplace, seed: int) -> dict[str, Any]:
    """Test errors of the target on every choice, by `method keep`."""
    members, held = torch.arange(LARGEST), torch.arange(LARGEST, len(source))
    chooser = prepare(PROXY, source)[1]
    needs = frozenset().union(*(row_for(name, PROXY.model).needs for name in METHODS)) - {"labels"}
    training = Training(
        prepared=chooser, source=source, members=members, seed=seed, wanted=needs, scored=members
    )
    signals = replace(train(place, training).signals, labels=chooser.labels[members])
    target = Judge(prepared=prepare(TARGET, source)[1], source=source, place=place, seed=seed)
    found: dict[str, Any] = {}
    for keep in KEEP:
        k = int(keep * LARGEST)
        choices = {
            "random": [
                torch.randperm(LARGEST, generator=generator(seed, "random", k, draw))[:k]
                for draw in range(AT_RANDOM)
            ]
        }
        for name in METHODS:
            at, floor = generator(seed, "select", name), methods.Floor(chooser.labels[members], 1)
            row = row_for(name, PROXY.model)
            choices[name] = [
                methods.choose(row, [signals], k, generator=at, floor=floor)[0].positions
            ]
        for name, several in choices.items():
            found[f"{name} {keep}"] = mean_error([target], several, held, 0)
    return found


def pilots(source: Source, place: Workplace, seed: int) -> dict[str, Any]:
    """What a pilot finds alone, and with a second look by each other model; and its CPU seconds."""
    source = source.take(np.arange(LARGEST))
    prepared = prepare(Role(model="linear", resolution=SIDE), source)[1]
    judge = Judge(prepared=prepared, source=source, place=place, seed=seed)
    start = time.process_time()
    tried = [row_for(name, prepared.role.model) for name in METHODS]
    seen = run_pilot(judge, tried, KEEP, drawn=False)
    alone = findings(seen, METHODS, KEEP)
    spent = time.process_time() - start
    found: dict[str, Any] = {"alone": {"rows": alone, "seconds": spent}}
    start = time.process_time()
    _, rows = second_look(seen, alone, judge, KEEP)
    found["a random forest"] = {"rows": rows, "seconds": spent + time.process_time() - start}
    for name, role in NETWORKS.items() if seed < TRIED else ():
        start = time.process_time()
        network = replace(judge, prepared=prepare(role, source)[1])
        rows = looked_at_again(seen, alone, network, KEEP)
        found[name] = {"rows": rows, "seconds": spent + time.process_time() - start}
    for each in found.values():
        best = {keep: settle(each["rows"], keep) for keep in KEEP}
        each["takes"] = {
            str(keep): None if row is None else row.method for keep, row in best.items()
        }
        each["rows"] = [asdict(row) for row in each["rows"]]
    return found


def run_all(names: list[str], out: Path) -> None:
    """Every draw that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for seed, noise, name in product(range(DRAWS), NOISE, names):
        for kind, work in (("truth", truth), ("pilots", pilots)):
            path = out / f"{name}-{noise}-{seed}-{kind}.json"
            if path.exists():
                continue
            part = pictures(name, seed, noise)
            found = whole._in_a_run(part, out, partial(work, part, seed=seed))
            write_json(path, {"data": name, "noise": noise, "seed": seed, kind: found})
            print(path.name, f"{time.process_time():.0f} CPU s", flush=True)


def summary(folder: Path) -> dict[str, Any]:
    """What is true of each method, and what each kind of pilot takes."""
    rows: list[dict[str, Any]] = []
    taken: list[dict[str, Any]] = []
    for name, noise, keep in product(SETS, NOISE, KEEP):
        known, seen = (
            [
                json.loads(path.read_text())[kind]
                for path in sorted(folder.glob(f"{name}-{noise}-?-{kind}.json"))
            ]
            for kind in ("truth", "pilots")
        )
        if not known:
            continue
        random = [each[f"random {keep}"] for each in known]
        about = {"data": name, "noise": noise, "keep": keep}
        true = {
            method: paired_difference([each[f"{method} {keep}"] for each in known], random)
            for method in METHODS
        }
        rows += [
            {**about, "method": method, "random": float(np.mean(random)), "truth": asdict(found)}
            for method, found in true.items()
        ]
        taken += [
            {
                **about,
                "pilot": kind,
                "takes": each["takes"][str(keep)],
                "seconds": each["seconds"],
                "truth": true[each["takes"][str(keep)] or "stratified"].mean,
                "said": {
                    row["method"]: [
                        row["error"]["mean"],
                        row["probability"],
                        row["other"] and row["other"]["mean"],
                    ]
                    for row in each["rows"]
                    if row["keep"] == keep
                },
            }
            for found in seen
            for kind, each in found.items()
        ]
    return {"truth": rows, "pilots": taken}


if __name__ == "__main__":
    parser, _ = run_or_summary(__doc__, SETS)
    given = parser.parse_args()
    if given.command == "run":
        run_all(given.names, given.out)
    else:
        write_json(given.out, summary(given.folder), overwrite=True)
