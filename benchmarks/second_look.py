"""Does a second look, by another kind of model, keep `auto` from harm, and what does it cost?

The pilots of `pilot.py` again, on the same training sets; where a method has a chance of 70% or
more, the other kind of model, a random forest, is trained on the pilot's choices, too. What is true
of them stands in `pilot.json`: the test errors of whole experiments, for a linear target and one of
another kind. The rules differ in the chance that a method must have, and in whether the second look
has a say.

    python benchmarks/second_look.py run sst2 digits ... --out FOLDER
    python benchmarks/second_look.py summary FOLDER --out docs/results/benchmarks/second-look.json
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import material
import pilot as whole
from driver import run_or_summary

from keepers.baselines import SAFE
from keepers.data import Source, open_source
from keepers.files import write_json
from keepers.roles import Role, prepare
from keepers.workflows import second_look as looking
from keepers.workflows import settling
from keepers.workflows.judge import Judge
from keepers.workflows.offered import row_for
from keepers.workflows.pilot import run_pilot
from keepers.workflows.workplace import Workplace

TRUTH = Path(__file__).parent.parent / "docs/results/benchmarks/pilot.json"
CHANCES = (0.7, 0.8, 0.9)


def looked_twice(source: Source, place: Workplace, seed: int) -> dict[str, Any]:
    """The findings of a pilot and of a second look, and the CPU seconds of both."""
    _, prepared = prepare(Role(model="linear"), source)
    judge = Judge(prepared=prepared, source=source, place=place, seed=seed)
    rows = [row_for(name, "linear") for name in whole.METHODS]
    start = time.process_time()
    seen = run_pilot(judge, rows, whole.KEEP, drawn=False)
    found = settling.findings(seen, whole.METHODS, whole.KEEP)
    middle = time.process_time()
    settling.AGREED = CHANCES[0]
    try:
        _, found = looking.second_look(seen, found, judge, whole.KEEP)
    finally:
        settling.AGREED = CHANCES[1]
    end = time.process_time()
    return {
        "rows": [asdict(row) for row in found],
        "seconds": middle - start,
        "second": end - middle,
    }


def run_all(names: list[str], out: Path) -> None:
    """Every pilot that is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    opened = {name: open_source(whole.load(name)[0]) for name in names}
    for seed, (name, noise) in product(range(whole.PILOTS), product(names, whole.NOISE)):
        path = out / f"{name}-{noise}-{seed}.json"
        if not path.exists():
            part = whole.drawn(opened[name], noise, seed)
            found = whole._in_a_run(part, out, partial(looked_twice, part, seed=seed))
            about = {"data": name, "noise": noise, "seed": seed}
            path.write_text(json.dumps({**about, **found}), encoding="utf-8")
            print(path.name, f"{found['seconds']:.0f} + {found['second']:.0f} CPU s", flush=True)


def summary(folder: Path) -> dict[str, Any]:
    """What each rule takes, gains and loses, by group of data sets and by target."""
    known = json.loads(TRUTH.read_text(encoding="utf-8"))
    true = {
        (row["data"], row["noise"], row["target"], row["keep"], row["method"]): row["truth"]
        for row in known["rows"]
    }
    best = {
        (row["data"], row["noise"], row["target"], row["keep"]): row["hindsight"]
        for row in known["auto"]
    }
    pilots = [json.loads(path.read_text()) for path in sorted(folder.glob("*-?.json"))]
    for each in pilots:
        if each["data"] in material.TEXTS:  # of naive Bayes, which was tried, and is not used
            each["rows"] = [{**row, "other": None, "tried": row["other"]} for row in each["rows"]]
    cells: list[dict[str, Any]] = []
    for each, keep in product(pilots, whole.KEEP):
        here = [row for row in each["rows"] if row["keep"] == keep and row["method"] != SAFE]
        for target in sorted({key[2] for key in true if key[0] == each["data"]}):
            at = each["data"], each["noise"], target, keep
            cells.append(
                {
                    "data": each["data"],
                    "noise": each["noise"],
                    "seed": each["seed"],
                    "keep": keep,
                    "target": target,
                    "hindsight": best[at],
                    "rows": [row | {"truth": true[(*at, row["method"])]} for row in here],
                }
            )
    counts = {
        group: [
            _counted([cell for cell in cells if cell["data"] in names], chance, asked)
            for chance, asked in (*product(CHANCES, (False, True)), ("auto", True))
        ]
        for group, names in {**whole.GROUPS, "all": tuple(each["data"] for each in pilots)}.items()
        if any(cell["data"] in names for cell in cells)
    }
    seconds = sum(each["seconds"] for each in pilots), sum(each["second"] for each in pilots)
    return {
        "pilots": len(pilots),
        "seconds": seconds,
        "counts": counts,
        "looks": [
            {name: cell[name] for name in ("data", "noise", "seed", "keep", "target")}
            | {name: row[name] for name in ("method", "probability")}
            | {"error": row["error"]["mean"], "truth": row["truth"]["mean"]}
            | {name: row[name]["mean"] for name in ("other", "tried") if row.get(name)}
            for cell in cells
            for row in cell["rows"]
            if row["other"] or row.get("tried")
        ],
    }


def _counted(cells: list[dict[str, Any]], chance: float | str, asked: bool) -> dict[str, Any]:
    """What a rule takes in these cells, by target: the linear one, and the other kind."""
    found: dict[str, Any] = {"chance": chance, "second_look": asked}
    for kind, linear in (("linear", True), ("other", False)):
        here = [cell for cell in cells if (cell["target"] == "linear") == linear]
        taken = [(cell, _taken(cell["rows"], chance, asked)) for cell in here]
        truths = [row["truth"] for _, row in taken if row]
        found[kind] = {
            "cells": len(here),
            "taken": len(truths),
            "gain_of_hindsight": sum(each["mean"] for each in truths)
            / sum(cell["hindsight"] for cell in here),
            "worse_by_half_a_point": sum(each["mean"] > 0.005 for each in truths),
            "clearly_worse": sum(each["low"] > 0 for each in truths),
            "worst": max((each["mean"] for each in truths), default=0.0),
        }
    return found


def _taken(rows: list[dict[str, Any]], chance: float | str, asked: bool) -> dict[str, Any] | None:
    """What is taken; `auto` asks for less of what another kind of model gains by, too."""

    def least(row: dict[str, Any]) -> float:
        if isinstance(chance, float):
            return chance
        return settling.TAKEN if row["other"] is None else settling.AGREED

    good = [
        row
        for row in rows
        if row["probability"] >= least(row)
        and row["stratified"]["mean"] < 0
        and not (asked and row["other"] and row["other"]["mean"] >= 0)
    ]
    return min(good, key=lambda row: row["error"]["mean"], default=None)


if __name__ == "__main__":
    names = [name for some in whole.GROUPS.values() for name in some]
    parser, _ = run_or_summary(__doc__, names)
    given = parser.parse_args()
    if given.command == "run":
        run_all(given.names, given.out)
    else:
        found = summary(given.folder)
        print(json.dumps(found["counts"], indent=2))
        write_json(given.out, found, overwrite=True)
